/**
 * Strokes as data, and the pixels they paint. A stroke is {points: [[row, column], ...], size,
 * colour, erase}: discs of radius `size` pixels along its lines, as tf_structvae.distributions.editing.disc; the
 * colour has one whole number in [0, 255] a channel. In the place of a colour, a stroke that keeps
 * the picture has `kept`: {pixels, values}, the numbers of its pixels, each once, and what the picture
 * had there, C numbers a pixel.
 */

const DECIMALS = 1e5; // of kept values: sessions stay small, and 8 bits show 1 / 255

/**
 * Nothing painted. `settled` are the painted pixels of strokes that the noise was drawn to fit,
 * `kept` those that hold a value of the picture, whatever the softness.
 */
export function blank(size) {
  return {
    mask: new Uint8Array(size.height * size.width),
    settled: new Uint8Array(size.height * size.width),
    kept: new Uint8Array(size.height * size.width),
    values: new Float32Array(size.height * size.width * size.channels),
  };
}

/** All strokes, one after the other, of which the first few are settled. */
export function raster(strokes, size, settled = 0) {
  const edit = blank(size);
  for (const [number, stroke] of strokes.entries()) {
    if (stroke.kept) keepPixels(edit, size, stroke.kept);
    else {
      stroke.points.forEach((point, i) => {
        paintLine(edit, size, stroke, stroke.points[Math.max(i - 1, 0)], point);
      });
    }
    if (number === settled - 1) edit.settled.set(edit.mask);
  }
  return edit;
}

/** Paints a stroke's discs between two of its points. */
export function paintLine(edit, size, stroke, from, to) {
  for (const pixel of along(size, stroke.size, from, to)) paintPixel(edit, size, stroke, pixel);
}

/** Adds the pixels between two points of a stroke to what it keeps of a picture, and keeps them. */
export function keepLine(edit, size, stroke, from, to, picture) {
  const { pixels, values } = stroke.kept;
  const known = new Set(pixels);
  const fresh = { pixels: [], values: [] };
  for (const pixel of along(size, stroke.size, from, to)) {
    if (known.has(pixel)) continue;
    known.add(pixel);
    fresh.pixels.push(pixel);
    for (let i = pixel * size.channels; i < (pixel + 1) * size.channels; i++) {
      fresh.values.push(Math.round(DECIMALS * picture[i]) / DECIMALS);
    }
  }
  keepPixels(edit, size, fresh);
  pixels.push(...fresh.pixels);
  values.push(...fresh.values);
}

/** Pixels of discs on a line; some more than once. */
function* along({ height, width }, radius, from, to) {
  const steps = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1);
  const start = from[0] === to[0] && from[1] === to[1] ? steps : 0;
  for (let i = start; i <= steps; i++) {
    const row = Math.round(from[0] + ((to[0] - from[0]) * i) / steps);
    const column = Math.round(from[1] + ((to[1] - from[1]) * i) / steps);
    const reach = Math.floor(radius);
    for (let r = Math.max(row - reach, 0); r <= Math.min(row + reach, height - 1); r++) {
      for (let c = Math.max(column - reach, 0); c <= Math.min(column + reach, width - 1); c++) {
        if ((r - row) ** 2 + (c - column) ** 2 <= radius ** 2) yield r * width + c;
      }
    }
  }
}

function paintPixel(edit, { channels }, stroke, pixel) {
  edit.mask[pixel] = stroke.erase ? 0 : 1;
  edit.settled[pixel] = edit.kept[pixel] = 0;
  if (stroke.erase) return;
  for (let k = 0; k < channels; k++) {
    edit.values[pixel * channels + k] = stroke.colour[k] / 255;
  }
}

/** A settled pixel stays so: what it tells of the noise is the same as before. */
function keepPixels(edit, { channels }, { pixels, values }) {
  pixels.forEach((pixel, number) => {
    edit.mask[pixel] = edit.kept[pixel] = 1;
    for (let k = 0; k < channels; k++) {
      edit.values[pixel * channels + k] = values[number * channels + k];
    }
  });
}
