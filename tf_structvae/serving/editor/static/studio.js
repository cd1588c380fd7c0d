/**
 * What is shown and how it came about. A document is never changed in place:
 * {seed, noiseSeed, label, latents, noise, coefficients, strokes, softness, settled, origin}; seeds
 * are null where they do not tell (uploads, interpolation), `label` is null of a model without
 * classes. `noise` was drawn, in the coordinates of the principal components, in standard
 * deviations; `coefficients` are what the sliders made of it. `settled` of the strokes were there
 * when the noise was drawn to fit them, in the place of that of `origin`, {noise, noiseSeed}; else
 * they are 0 and null.
 *
 * Events: "document" (another one, committed or not), "picture" (the arrays are new), "busy".
 */

import { Fields } from "./fields.js";
import { History } from "./history.js";
import { blank, keepLine, paintLine, raster } from "./strokes.js";

export class Studio extends EventTarget {
  constructor(info) {
    super();
    this.info = info;
    this.fields = new Fields(info);
    this.size = this.fields.size;
    this.history = null;
    this.live = null; // a document that is not committed: a slider or a stroke on the way
    this.field = null;
    this.conditional = null;
    this.picture = null;
    this.edit = blank(this.size);
    this.drawing = false; // a stroke is on its way
    this.untouched = null; // the picture before it
    this.showsBefore = false;
    this.scheduled = false;
  }

  get document() {
    return this.live ?? this.history?.current ?? null;
  }

  /** Shows states instead of the present ones, once the field of the shown one is there. */
  async open(states, at) {
    this.field = await this.loading(states[at]);
    this.history = this.history ?? new History(states[at]);
    this.history.reset(states, at);
    this.settle();
  }

  /** Adds a state in which `changes` are made; with new latents or label, once its field is there. */
  async commit(changes) {
    const next = () => ({ ...this.history.current, ...changes });
    if ("latents" in changes || "label" in changes) {
      // the other of the two may change meanwhile
      while (!this.fields.peek(next())) await this.loading(next());
    }
    this.finish(); // a stroke that was drawn meanwhile
    this.field = this.fields.peek(next()) ?? this.field;
    this.push(changes);
  }

  push(changes) {
    this.history.push({ ...this.history.current, ...renewed(changes) });
    this.settle();
  }

  /** Shows a state in which `changes` are made, before it is committed. */
  preview(changes) {
    if (this.drawing) return;
    this.live = { ...this.history.current, ...renewed(changes) };
    this.schedule();
    this.tell("document");
  }

  async undo() {
    if (this.history?.canUndo) await this.move(-1);
  }

  async redo() {
    if (this.history?.canRedo) await this.move(1);
  }

  async move(step) {
    const { history } = this;
    const target = history.states[history.at + step];
    const field = await this.loading(target);
    this.finish();
    this.field = field;
    history.at = Math.max(history.states.indexOf(target), 0);
    this.settle();
  }

  async loading(document) {
    if (this.fields.peek(document)) return this.fields.get(document);
    this.tell("busy", true);
    try {
      return await this.fields.get(document);
    } finally {
      this.tell("busy", false);
    }
  }

  /** A stroke begins; `extend` leads it on, and `finish` commits it. */
  begin(stroke) {
    if (!this.history) return;
    this.drawing = true;
    this.live = { ...this.history.current, strokes: [...this.history.current.strokes, stroke] };
    this.edit = Object.fromEntries(Object.entries(this.edit).map(([k, v]) => [k, v.slice()]));
    this.untouched = this.picture;
    this.paint(stroke, stroke.points[0], stroke.points[0]);
  }

  extend(point) {
    if (!this.drawing) return;
    const stroke = this.live.strokes.at(-1);
    const last = stroke.points.at(-1);
    if (last[0] === point[0] && last[1] === point[1]) return;
    stroke.points.push(point);
    this.paint(stroke, last, point);
  }

  paint(stroke, from, to) {
    if (stroke.kept) keepLine(this.edit, this.size, stroke, from, to, this.untouched);
    else paintLine(this.edit, this.size, stroke, from, to);
    this.schedule();
  }

  finish() {
    if (!this.drawing) return;
    this.drawing = false;
    this.push({ strokes: this.live.strokes });
  }

  /** Computes anew from the document alone, so that the same document gives the same bits. */
  settle() {
    this.live = null;
    this.conditional = null;
    this.edit = this.editOf(this.history.current);
    this.compute();
    this.tell("document");
  }

  editOf({ strokes, settled }) {
    return raster(strokes, this.size, settled);
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      if (this.live) this.compute();
    });
  }

  compute() {
    const { noise, coefficients, softness } = this.document;
    const earlier = this.live ? this.conditional : null;
    this.conditional = this.field.condition(this.edit, softness ** 2, coefficients, noise, earlier);
    this.picture = this.conditional.picture();
    this.tell("picture");
  }

  /** The picture to draw: the edited one, or that before strokes and sliders. */
  get shown() {
    if (!this.showsBefore) return this.picture;
    const { origin, noise } = this.history.current;
    return this.field.picture(origin?.noise ?? noise);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Another noise, code or label fits no stroke yet, unless the changes say so; sliders follow the noise. */
function renewed(changes) {
  const isOther = changes.noise || changes.latents || "label" in changes;
  const moved = changes.noise && { coefficients: changes.noise };
  return isOther ? { settled: 0, origin: null, ...moved, ...changes } : changes;
}
