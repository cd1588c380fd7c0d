/** Sessions as JSON: downloaded, restored and kept in the browser. */

import { isLabel } from "./classes.js";
import { $, attempt, keep, notify, onClick, remember } from "./ui.js";

const FORMAT = 3;
const MOST_BYTES = 50e6;

export class Session {
  /** @param {Studio} studio @param first makes the document that the page begins with */
  constructor(studio, first) {
    this.studio = studio;
    this.key = `structvae:session:${studio.info.name}`;
    studio.addEventListener("document", () => this.keepSoon());
    window.addEventListener("pagehide", () => this.keepNow());
    onClick("save-png", () => this.savePicture());
    onClick("save-session", () => {
      download(new Blob([this.text()], { type: "application/json" }), `${studio.info.name}-session.json`);
    });
    onClick("forget", async () => {
      await studio.commit(await first());
      notify("The first picture again. Undo brings yours back.");
    });
    $("load-session").addEventListener("change", () => {
      const [file] = $("load-session").files;
      $("load-session").value = "";
      if (file) attempt(() => this.load(file));
    });
  }

  text() {
    const { info, history } = this.studio;
    const model = { name: info.name, version: info.version, image_shape: info.image_shape };
    // states share their strokes: each is written once
    const numbers = new Map();
    const number = (stroke) => numbers.get(stroke) ?? (numbers.set(stroke, numbers.size), numbers.size - 1);
    const states = history.states.map((state) => ({ ...state, strokes: state.strokes.map(number) }));
    return JSON.stringify({ format: FORMAT, model, at: history.at, states, strokes: [...numbers.keys()] });
  }

  async load(file) {
    if (file.size > MOST_BYTES) throw new Error(`${file.name} is too large for a session.`);
    const made = await this.restore(await file.text(), file.name);
    const { name, version } = this.studio.info;
    const other = made.name !== name || made.version !== version;
    notify(other
      ? `${file.name} is restored. It was made with ${made.name}, version ${made.version}: on this model its pictures differ.`
      : `${file.name} is restored.`);
  }

  /** Shows what a text holds and returns the model it was made with; if it does not fit, nothing changes. */
  async restore(text, name) {
    const { states, at, model } = parse(text, name, this.studio.info);
    await this.studio.open(states, at);
    return model;
  }

  /** What this browser kept of this model, if anything. */
  async restoreKept() {
    const text = remember(this.key);
    if (!text) return false;
    try {
      await this.restore(text, "what this browser kept");
    } catch (error) {
      if (error.gone) throw error;
      keep(`${this.key}:old`, text); // of another version of the model, say
      return false;
    }
    return true;
  }

  keepSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keepNow(), 200);
  }

  keepNow() {
    if (this.studio.history && !keep(this.key, this.text())) {
      notify("This browser keeps nothing: download the session before you leave.", "information", "keep");
    }
  }

  async savePicture() {
    const blob = await new Promise((done) => $("picture").toBlob(done, "image/png"));
    download(blob, `${this.studio.info.name}.png`);
  }
}

function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function parse(text, name, info) {
  const refuse = (why) => {
    throw new Error(`${name} cannot be restored: ${why}.`);
  };
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    refuse("it is no JSON");
  }
  const { format, model, at, states: written, strokes } = found ?? {};
  const states = format === 2 && Array.isArray(written) ? written.map(ofFormat2) : written;
  if (![2, FORMAT].includes(format) || ![states, strokes].every(Array.isArray)) refuse("it is no session of this editor");
  if (String(model?.image_shape) !== String(info.image_shape)) {
    refuse(`it is of the model ${model?.name}, with pictures of another size`);
  }
  if (!Number.isInteger(at) || !states[at]) refuse("it does not say which picture was shown");
  const good =
    strokes.every((stroke) => isStroke(stroke, info.image_shape)) &&
    states.every((state) => isDocument(state, info, strokes.length));
  if (!good) refuse("it is of another model, or damaged");
  const whole = (state) => ({
    ...state,
    label: state.label ?? null,
    strokes: state.strokes.map((number) => strokes[number]),
  });
  return { states: states.map(whole), at, model };
}

/** Sliders once were factors of the noise. */
function ofFormat2(state) {
  const { scales, ...rest } = state ?? {};
  return { ...rest, coefficients: rest.noise?.map?.((x, k) => x * scales?.[k]) };
}

function isDocument(state, info, count) {
  const { seed, noiseSeed, latents, noise, coefficients, strokes, softness, settled, origin } = state ?? {};
  return (
    isLabel(state?.label ?? null, info.classes) &&
    [seed, noiseSeed, origin?.noiseSeed ?? null].every((x) => x === null || Number.isInteger(x)) &&
    areNumbers(latents, info.latent_dim) && areNumbers(noise, info.rank) &&
    areNumbers(coefficients, info.rank) &&
    Number.isFinite(softness) && softness >= 0 &&
    Array.isArray(strokes) && strokes.every((number) => isIndex(number, count)) &&
    isIndex(settled, strokes.length + 1) && (origin === null || areNumbers(origin?.noise, info.rank))
  );
}

function isIndex(number, count) {
  return Number.isInteger(number) && number >= 0 && number < count;
}

function isStroke(stroke, [height, width, channels]) {
  const { points, size, colour, kept, erase } = stroke ?? {};
  const inside = ([row, column]) => row >= 0 && column >= 0 && row < height && column < width;
  return (
    (kept ? isKept(kept, height * width, channels) : areNumbers(colour, channels)) && Number.isFinite(size) && size >= 0 && size <= height + width &&
    typeof erase === "boolean" && Array.isArray(points) && points.length > 0 &&
    points.every((point) => areNumbers(point, 2) && point.every(Number.isInteger) && inside(point))
  );
}

function isKept({ pixels, values }, count, channels) {
  return (
    Array.isArray(pixels) && pixels.every((pixel) => isIndex(pixel, count)) &&
    areNumbers(values, pixels.length * channels)
  );
}

function areNumbers(list, count) {
  return Array.isArray(list) && list.length === count && list.every(Number.isFinite);
}
