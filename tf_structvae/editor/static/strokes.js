/**
 * Strokes as data, and the pixels they paint. A stroke is {points: [[row, column], ...], size,
 * colour, erase}: discs of radius `size` pixels along its lines, as tf_structvae.editing.disc; the
 * colour has one whole number in [0, 255] a channel.
 */

/** Nothing painted. `settled` are the painted pixels of strokes that the noise was drawn to fit. */
export function blank(size) {
  return {
    mask: new Uint8Array(size.height * size.width),
    settled: new Uint8Array(size.height * size.width),
    values: new Float32Array(size.height * size.width * size.channels),
  };
}

/** All strokes, one after the other, of which the first few are settled. */
export function raster(strokes, size, settled = 0) {
  const edit = blank(size);
  for (const [number, stroke] of strokes.entries()) {
    stroke.points.forEach((point, i) => {
      paintLine(edit, size, stroke, stroke.points[Math.max(i - 1, 0)], point);
    });
    if (number === settled - 1) edit.settled.set(edit.mask);
  }
  return edit;
}

/** Paints a stroke's discs between two of its points. */
export function paintLine(edit, size, stroke, from, to) {
  const steps = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1);
  const start = from[0] === to[0] && from[1] === to[1] ? steps : 0;
  for (let i = start; i <= steps; i++) {
    const row = Math.round(from[0] + ((to[0] - from[0]) * i) / steps);
    const column = Math.round(from[1] + ((to[1] - from[1]) * i) / steps);
    paintDisc(edit, size, stroke, row, column);
  }
}

function paintDisc(edit, { height, width, channels }, stroke, row, column) {
  const reach = Math.floor(stroke.size);
  for (let r = Math.max(row - reach, 0); r <= Math.min(row + reach, height - 1); r++) {
    for (let c = Math.max(column - reach, 0); c <= Math.min(column + reach, width - 1); c++) {
      if ((r - row) ** 2 + (c - column) ** 2 > stroke.size ** 2) continue;
      const pixel = r * width + c;
      edit.mask[pixel] = stroke.erase ? 0 : 1;
      edit.settled[pixel] = 0;
      if (stroke.erase) continue;
      for (let k = 0; k < channels; k++) {
        edit.values[pixel * channels + k] = stroke.colour[k] / 255;
      }
    }
  }
}
