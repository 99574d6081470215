// The exported models in LiteRT's WebAssembly runtime: one image at a time, as it knows no dynamic batch.
import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';

const here = path => new URL(path, document.baseURI).href;

/** {about, classify, generate, noiseSize} of the models in a folder that nvisa-tf export wrote; the last two only if it has a generator. */
export async function openModels(folder) {
  const answer = await fetch(here(`${folder}/model.json`));
  if (!answer.ok) throw new Error(`${folder}/model.json cannot be loaded (${answer.status}).`);
  const about = await answer.json();
  await loadLiteRt(here('litert/wasm/'));
  const holding = signature => about.files.find(file => file.signatures && signature in file.signatures);
  const open = file => loadAndCompile(here(`${folder}/${file.path}`), {accelerator: 'wasm'});
  const encoder = await open(holding('cluster'));
  const drawing = holding('generate');
  const generator = drawing && await open(drawing);

  /** The cluster and probabilities of one image's raw values, and the milliseconds that took. */
  async function classify(values) {
    const start = performance.now();
    const image = new Tensor(values, [1, ...about.input.shape]);
    const found = await encoder.run('cluster', {image});
    const cluster = (await found.cluster.data())[0];
    const probabilities = Array.from(await found.probabilities.data());
    const milliseconds = performance.now() - start;
    [image, ...Object.values(found)].forEach(tensor => tensor.delete());
    return {cluster, probabilities, milliseconds};
  }

  /** Raw values of the image that a cluster makes of noiseSize standard normal numbers. */
  async function generate(cluster, noise) {
    const inputs = {cluster: new Tensor(Int32Array.of(cluster), [1]), noise: new Tensor(noise, [1, noise.length])};
    const found = await generator.run('generate', inputs);
    const values = Array.from(await found.image.data());
    [...Object.values(inputs), found.image].forEach(tensor => tensor.delete());
    return values;
  }

  return {about, classify, ...drawing && {generate, noiseSize: drawing.signatures.generate.inputs.noise.shape.at(-1)}};
}
