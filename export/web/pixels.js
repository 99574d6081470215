// Between a browser's pixels (RGBA bytes) and the model's raw values. Pure functions.
// `input` is model.json's: {shape: [h, w] or [h, w, 1 or 3], dtype, range: [black, white], resize: pad, crop, stretch or null}.

export const isColour = input => input.shape[2] === 3;

// Grey as Pillow has it (ITU-R 601 in 16 bits), so that a file gives the same numbers in Python.
const luma = (r, g, b) => (19595 * r + 38470 * g + 7471 * b + 32768) >> 16;

/** Raw values of one image [h, w(, c)], flat, from its RGBA bytes. */
export function toValues(rgba, input, invert = false) {
  const [height, width] = input.shape;
  const channels = isColour(input) ? 3 : 1;
  const [low, high] = input.range;
  const exact = input.dtype === 'uint8';
  const values = new (exact ? Uint8Array : Float32Array)(height * width * channels);
  for (let i = 0; i < height * width; i++) {
    const pixel = rgba.slice(4 * i, 4 * i + 3);
    const bytes = channels === 3 ? pixel : [luma(...pixel)];
    bytes.forEach((byte, c) => {
      const value = low + (high - low) * (invert ? 255 - byte : byte) / 255;
      values[channels * i + c] = exact ? Math.round(value) : value;
    });
  }
  return values;
}

/** Where an image of this size comes to lie in the model's, [left, top, width, height]; what is outside is cut. As in io/images.py. */
export function placed(sourceWidth, sourceHeight, input) {
  const [height, width] = input.shape;
  if (input.resize === 'stretch') return [0, 0, width, height];
  const scales = [width / sourceWidth, height / sourceHeight];
  if (input.resize === 'crop') {
    const scale = Math.max(...scales);
    return [(width - scale * sourceWidth) / 2, (height - scale * sourceHeight) / 2, scale * sourceWidth, scale * sourceHeight];
  }
  const scale = Math.min(...scales);
  const [w, h] = [[sourceWidth, width], [sourceHeight, height]].map(([from, to]) => Math.max(1, Math.min(to, Math.floor(from * scale + .5))));
  return [Math.floor((width - w) / 2), Math.floor((height - h) / 2), w, h];
}

/** Continue each side of RGBA bytes, which hold an image at `place`, in the median colour of the edge it touches. */
export function fillBorder(rgba, input, [left, top, w, h]) {
  const [height, width] = input.shape;
  if (!isColour(input)) { // as the median of greys is not the grey of medians
    for (let i = 0; i < rgba.length; i += 4) rgba.fill(luma(rgba[i], rgba[i + 1], rgba[i + 2]), i, i + 3);
  }
  const median = values => values.sort((a, b) => a - b)[values.length >> 1];
  const line = (count, at) => [0, 1, 2].map(c => median(Array.from({length: count}, (_, i) => rgba[4 * at(i) + c])));
  const fill = (colour, x, y, columns, rows) => {
    for (let row = y; row < y + rows; row++) {
      for (let column = x; column < x + columns; column++) rgba.set(colour, 4 * (row * width + column));
    }
  };
  const row = y => line(w, i => y * width + left + i);
  fill(row(top), left, 0, w, top);
  fill(row(top + h - 1), left, top + h, w, height - top - h);
  const column = x => line(height, i => i * width + x);
  fill(column(left), 0, 0, left, height);
  fill(column(left + w - 1), left + w, 0, width - left - w, height);
}

/** RGBA bytes of raw values, for the screen. */
export function toRgba(values, input) {
  const [height, width] = input.shape;
  const channels = isColour(input) ? 3 : 1;
  const [low, high] = input.range;
  const rgba = new Uint8ClampedArray(4 * height * width).fill(255);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) {
      rgba[4 * i + c] = 255 * (values[channels * i + Math.min(c, channels - 1)] - low) / (high - low);
    }
  }
  return rgba;
}

/** Where the light parts of RGBA bytes are: their box {left, top, right, bottom} and centre of mass {x, y}; null if all is black. */
export function lightPart(rgba, width, height) {
  let mass = 0, x = 0, y = 0;
  const box = {left: width, top: height, right: 0, bottom: 0};
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const light = rgba[4 * (row * width + column)];
      if (!light) continue;
      mass += light;
      x += light * (column + .5);
      y += light * (row + .5);
      box.left = Math.min(box.left, column);
      box.top = Math.min(box.top, row);
      box.right = Math.max(box.right, column + 1);
      box.bottom = Math.max(box.bottom, row + 1);
    }
  }
  return mass ? {...box, x: x / mass, y: y / mass} : null;
}

/** A function that gives standard normal numbers, the same for the same seed (mulberry32 and Box-Muller). */
export function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6D2B79F5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
