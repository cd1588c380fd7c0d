/** Arrays to canvases. */

/** An array of H * W * C in [0, 1] (clipped) at its own resolution. */
export function paint(canvas, picture, { height, width, channels }) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const image = new ImageData(width, height);
  const grey = channels === 1;
  for (let i = 0, j = 0; i < picture.length; i += channels, j += 4) {
    image.data[j] = 255 * picture[i]; // ImageData rounds and clips
    image.data[j + 1] = 255 * picture[grey ? i : i + 1];
    image.data[j + 2] = 255 * picture[grey ? i : i + 2];
    image.data[j + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The colour of a pixel as a canvas shows it: whole numbers in [0, 255], one a channel. */
export function colourAt(canvas, channels, [row, column]) {
  return Array.from(canvas.getContext("2d").getImageData(column, row, 1, 1).data.slice(0, channels));
}

/** Sizes a canvas to the device's pixels and returns a context in CSS pixels, cleared. */
export function crisp(canvas) {
  const { clientWidth: w, clientHeight: h } = canvas;
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, w, h);
  return context;
}

/** Lines around the pixels of a mask, seen on any colour. */
export function outline(context, mask, { height, width }, scale) {
  const at = (r, c) => r >= 0 && c >= 0 && r < height && c < width && mask[r * width + c];
  context.beginPath();
  for (let r = 0; r <= height; r++) {
    for (let c = 0; c <= width; c++) {
      if (Boolean(at(r, c)) !== Boolean(at(r - 1, c))) line(context, r, c, r, c + 1, scale);
      if (Boolean(at(r, c)) !== Boolean(at(r, c - 1))) line(context, r, c, r + 1, c, scale);
    }
  }
  twoTone(context);
}

const STRIPE = 8; // pixels of the screen from stripe to stripe

/** Stripes over the pixels of a mask, seen on any colour. */
export function hatch(context, mask, { height, width }, scale) {
  context.fillStyle = context.createPattern(stripes(), "repeat");
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      const first = c;
      while (c < width && mask[r * width + c]) c++;
      if (c > first) context.fillRect(first * scale, r * scale, (c - first) * scale, scale);
    }
  }
}

function stripes() {
  const tile = new OffscreenCanvas(STRIPE, STRIPE);
  const context = tile.getContext("2d");
  for (let i = 0; i < STRIPE; i++) {
    for (const [offset, colour] of ["#fffb", "#fffb", "#0008"].entries()) {
      context.fillStyle = colour;
      context.fillRect((i + offset) % STRIPE, STRIPE - 1 - i, 1, 1);
    }
  }
  return tile;
}

function line(context, r0, c0, r1, c1, scale) {
  context.moveTo(c0 * scale, r0 * scale);
  context.lineTo(c1 * scale, r1 * scale);
}

/** Strokes the path in white, with black dashes. */
export function twoTone(context) {
  context.lineWidth = 1.5;
  context.setLineDash([]);
  context.strokeStyle = "#fff";
  context.stroke();
  context.setLineDash([4, 4]);
  context.strokeStyle = "#000";
  context.stroke();
  context.setLineDash([]);
}
