/** A picture of the reader's own, cropped and resized here, and encoded by the model. */

import { predict } from "./api.js";
import { paint } from "./canvas.js";
import { given } from "./fields.js";
import { $, attempt } from "./ui.js";

const MOST_BYTES = 40e6;
const MOST_PIXELS = 100e6;

export class Upload {
  constructor(studio) {
    this.studio = studio;
    const { height, width } = studio.size;
    $("upload-size").textContent = `${width} × ${height} pixels`;
    $("upload").addEventListener("change", () => {
      const [file] = $("upload").files;
      $("upload").value = ""; // the same file may be chosen again
      if (file) attempt(() => this.open(file));
    });
    for (const target of [$("drop"), $("frame")]) this.acceptDrops(target);
    // a picture dropped beside must not replace the page
    for (const type of ["dragover", "drop"]) {
      window.addEventListener(type, (event) => event.preventDefault());
    }
  }

  acceptDrops(target) {
    target.addEventListener("dragover", () => target.classList.add("over"));
    target.addEventListener("dragleave", () => target.classList.remove("over"));
    target.addEventListener("drop", (event) => {
      target.classList.remove("over");
      const [file] = event.dataTransfer.files;
      if (file) attempt(() => this.open(file));
    });
  }

  async open(file) {
    const { studio } = this;
    if (!studio.info.signatures.includes("encode")) {
      throw new Error("This model has no signature 'encode', so it cannot take a picture of yours.");
    }
    const picture = toArray(await decode(file), studio.size);
    const { height, width, channels } = studio.size;
    const images = { data: picture, shape: [1, height, width, channels] };
    const { label } = studio.document;
    const found = await predict("encode", given(label, { images }), ["latents"]);
    const latents = Array.from(found.latents.data);
    const field = await studio.loading({ latents, label });
    const noise = Array.from(field.explain(picture));
    await studio.commit({ latents, label, noise, strokes: [], seed: null, noiseSeed: null });
    $("upload-pair").hidden = false;
    paint($("upload-seen"), picture, studio.size);
  }
}

async function decode(file) {
  if (file.size > MOST_BYTES) {
    const size = Math.ceil(file.size / 1e6);
    throw new Error(`${file.name} has ${size} MB; at most ${MOST_BYTES / 1e6} MB are taken.`);
  }
  const unreadable = () => {
    throw new Error(`${file.name} is no picture that this browser can read, or too large for it.`);
  };
  const [width, height] = await sizeOf(file).catch(unreadable);
  if (width * height > MOST_PIXELS) {
    throw new Error(
      `${file.name} has ${width} × ${height} pixels; at most ${MOST_PIXELS / 1e6} million are taken.`,
    );
  }
  return createImageBitmap(file).catch(unreadable);
}

/** Width and height of a picture, before the memory for its pixels is taken. */
async function sizeOf(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => Object.assign(image, { onload: resolve, onerror: reject }));
    return [image.naturalWidth, image.naturalHeight];
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

/** The largest part around the middle of the wanted proportions, resized. */
function toArray(bitmap, { height, width, channels }) {
  const scale = Math.min(bitmap.width / width, bitmap.height / height);
  const [w, h] = [width * scale, height * scale];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // under transparent parts
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, (bitmap.width - w) / 2, (bitmap.height - h) / 2, w, h, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const found = new Float32Array(height * width * channels);
  for (let i = 0; i < height * width; i++) {
    const [r, g, b] = data.subarray(4 * i, 4 * i + 3);
    if (channels === 1) found[i] = (0.299 * r + 0.587 * g + 0.114 * b) / 255;
    else found.set([r / 255, g / 255, b / 255], 3 * i);
  }
  return found;
}
