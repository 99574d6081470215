// The page: draw or drop images, and see their cluster, its probabilities and samples of it.
import {openModels} from './models.js';
import {drawingPad} from './pad.js';
import {fillBorder, lightPart, normals, placed, toRgba, toValues} from './pixels.js';

const SAMPLES = 12;
const SIDE = 280; // of the drawing pad, in its own pixels
const $ = id => document.getElementById(id);
let models, width, height, pad, seed = 1, chosen = null, job = Promise.resolve();

// One thing at a time: the runtime is not entered twice, and the newest drawing is shown last.
const after = work => job = job.then(work).catch(error => say(error.message, true));

function say(text, wrong = false) {
  $('answer').textContent = text;
  $('answer').classList.toggle('wrong', wrong);
}

function paint(canvas, values) {
  Object.assign(canvas, {width, height});
  canvas.getContext('2d').putImageData(new ImageData(toRgba(values, models.about.input), width, height), 0, 0);
  return canvas;
}

function show({values, cluster, probabilities}, milliseconds, images = 1) {
  const names = models.about.cluster_names;
  paint($('seen'), values);
  say(names[cluster]);
  $('latency').textContent = `${milliseconds.toFixed(2)} ms an image` + (images > 1 ? ` (mean of ${images})` : '');
  $('bars').replaceChildren(...probabilities.map((p, k) => {
    const item = document.createElement('li');
    item.classList.toggle('chosen', k === cluster);
    const [name, bar, value] = ['name', 'bar', 'value'].map(kind => Object.assign(document.createElement('span'), {className: kind}));
    name.textContent = names[k];
    bar.style.width = `${100 * p}%`;
    value.textContent = `${(100 * p).toFixed(1)}%`;
    item.append(name, bar, value);
    return item;
  }));
  if (chosen !== cluster) {
    chosen = cluster;
    if (models.generate) after(sample);
  }
}

async function sample() {
  const normal = normals(seed);
  const canvases = [];
  for (let i = 0; i < SAMPLES; i++) {
    const noise = Float32Array.from({length: models.noiseSize}, normal);
    canvases.push(paint(document.createElement('canvas'), await models.generate(chosen, noise)));
  }
  $('samples').replaceChildren(...canvases);
  $('samples-heading').textContent = `Samples of ${models.about.cluster_names[chosen]}`;
  $('again').disabled = false;
}

/** RGBA bytes of something drawable at the model's size, on white; `box` is the part of it to fit there. */
function scaled(source, sourceWidth, sourceHeight, place = [0, 0, width, height]) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  context.fillStyle = source === $('pad') ? '#000' : '#fff';
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(source, 0, 0, sourceWidth, sourceHeight, ...place);
  return context.getImageData(0, 0, width, height).data;
}

/** RGBA bytes of an image file at the model's size, brought to it as in training. */
function fitted(bitmap) {
  const {input} = models.about;
  const place = placed(bitmap.width, bitmap.height, input);
  const rgba = scaled(bitmap, bitmap.width, bitmap.height, place);
  if (input.resize !== 'stretch' && input.resize !== 'crop') fillBorder(rgba, input, place);
  return rgba;
}

function drawn() {
  const {width: w, height: h} = $('pad');
  const light = lightPart(pad.context.getImageData(0, 0, w, h).data, w, h);
  if (!light) return null;
  if (!$('centre').checked) return scaled($('pad'), w, h);
  // As MNIST's digits are: 20 of 28 pixels high or wide, the centre of mass in the middle.
  const scale = 20 / 28 * Math.min(width, height) / Math.max(light.right - light.left, light.bottom - light.top);
  return scaled($('pad'), w, h, [width / 2 - scale * light.x, height / 2 - scale * light.y, scale * w, scale * h]);
}

let waiting = false;
function drawingChanged(cleared) {
  if (cleared) return after(() => say('Nothing yet.'));
  if (waiting || !models) return;
  waiting = true;
  after(async () => {
    waiting = false;
    const rgba = drawn();
    if (!rgba) return;
    const values = toValues(rgba, models.about.input);
    const found = await models.classify(values);
    show({values, ...found}, found.milliseconds);
  });
}

async function classifyFiles(files) {
  const found = [], failed = [];
  for (const file of files) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      failed.push(file.name);
      continue;
    }
    const values = toValues(fitted(bitmap), models.about.input, $('invert').checked);
    bitmap.close();
    found.push({name: file.name, values, ...await models.classify(values)});
  }
  // The first run warms the runtime up; where there are more, it does not count.
  const timed = found.length > 1 ? found.slice(1) : found;
  const mean = timed.reduce((sum, one) => sum + one.milliseconds, 0) / timed.length;
  $('gallery-section').hidden = !found.length;
  $('gallery').replaceChildren(...found.map(one => {
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.cluster = one.cluster;
    button.title = one.name;
    button.append(paint(document.createElement('canvas'), one.values), models.about.cluster_names[one.cluster]);
    button.addEventListener('click', () => show(one, mean, timed.length));
    const item = document.createElement('li');
    item.append(button);
    return item;
  }));
  if (found.length) show(found[0], mean, timed.length);
  if (failed.length) say(`Not an image that this browser reads: ${failed.join(', ')}.`, true);
}

function listen() {
  $('clear').addEventListener('click', () => pad.clear());
  $('centre').addEventListener('change', () => drawingChanged(false));
  $('again').addEventListener('click', () => { seed++; after(sample); });
  for (const id of ['files', 'photo']) {
    $(id).addEventListener('change', event => after(() => classifyFiles([...event.target.files])));
  }
  addEventListener('dragover', event => { event.preventDefault(); $('drop').classList.add('over'); });
  addEventListener('dragleave', () => $('drop').classList.remove('over'));
  addEventListener('drop', event => {
    event.preventDefault();
    $('drop').classList.remove('over');
    const files = [...event.dataTransfer.files];
    after(() => classifyFiles(files));
  });
}

/** Photos are not drawn: a place to drop them, and the camera of a phone. */
function forPhotos() {
  for (const id of ['pad', 'drawing-tools', 'pen-state', 'dark']) $(id).hidden = true;
  for (const id of ['drop-here', 'camera']) $(id).hidden = false;
  $('input-heading').textContent = 'Photos';
}

/** Keep what the page has loaded, so that it opens without a network from now on. */
async function keepForOffline() {
  if (!('serviceWorker' in navigator)) return;
  await navigator.serviceWorker.register('sw.js');
  const worker = (await navigator.serviceWorker.ready).active;
  const loaded = performance.getEntriesByType('resource').map(entry => entry.name).filter(url => url.startsWith(location.origin));
  const kept = new Promise(resolve => navigator.serviceWorker.addEventListener('message', resolve, {once: true}));
  worker.postMessage([...new Set([location.href.split(/[?#]/)[0], ...loaded])]);
  await kept;
}

async function start() {
  models = await openModels('models');
  const {name, n_clusters: count, input} = models.about;
  [height, width] = input.shape;
  const scale = SIDE / Math.max(width, height);
  Object.assign($('pad'), {width: width * scale, height: height * scale});
  pad = drawingPad($('pad'), $('pen'), $('pen-state'), scale, drawingChanged);
  pad.clear();
  $('centre').checked = name === 'mnist';
  document.title = $('title').textContent = `Clusters of ${name}`;
  $('about').textContent = `${count} clusters found without labels by nvisa-tf, in images of ${width} x ${height} pixels. All runs in this browser.`;
  $('samples-section').hidden = !models.generate;
  if (input.backbone) forPhotos();
  listen();
  document.body.dataset.ready = 'yes';
  await keepForOffline();
  document.body.dataset.offline = 'yes';
}

start().catch(error => {
  $('about').textContent = document.body.dataset.ready ? `This page cannot be kept for offline use (${error.message}).`
    : `The model cannot be loaded: ${error.message}`;
});
