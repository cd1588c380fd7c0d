/** The large picture, what lies over it, and the buttons below it. */

import { crisp, hatch, outline, paint, twoTone } from "./canvas.js";
import { isSteered } from "./steer.js";
import { $, attempt, isTyping, onClick } from "./ui.js";

export class Stage {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.cursor = null; // {row, column, size} of the brush
    this.painted = false; // the hint to paint is needed no more
    this.overlay = $("overlay");
    const { height, width } = studio.size;
    $("picture").getContext("2d", { willReadFrequently: true }); // for the colour under the pointer
    $("frame").style.aspectRatio = `${width} / ${height}`;
    $("frame").style.setProperty("--ratio", width / height);
    studio.addEventListener("picture", () => this.draw());
    studio.addEventListener("document", () => this.state());
    studio.addEventListener("busy", (event) => ($("busy").hidden = !event.detail));
    $("show-edited").addEventListener("change", () => this.drawOverlay());
    $("smooth").addEventListener("change", () => {
      $("frame").classList.toggle("smooth", $("smooth").checked);
    });
    new ResizeObserver(() => this.drawOverlay()).observe(this.overlay);
    onClick("undo", () => studio.undo());
    onClick("redo", () => studio.redo());
    onClick("before", () => this.compare(!studio.showsBefore));
    onClick("reset", () => this.reset());
    document.addEventListener("keydown", (event) => this.shortcut(event));
    this.state();
  }

  draw() {
    const { studio } = this;
    paint($("picture"), studio.shown, studio.size);
    this.painted ||= studio.document.strokes.length > 0;
    $("hint").hidden = this.painted;
    this.drawOverlay();
    studio.tell("drawn");
  }

  drawOverlay() {
    const context = crisp(this.overlay);
    const { edit, size: shape } = this.studio;
    const scale = this.overlay.clientWidth / shape.width;
    const marks = $("show-edited").checked;
    if (marks || $("keep").checked || this.cursor) hatch(context, edit.kept, shape, scale);
    if (marks) outline(context, edit.mask, shape, scale);
    if (!this.cursor) return;
    const { row, column, size } = this.cursor;
    context.beginPath();
    context.arc((column + 0.5) * scale, (row + 0.5) * scale, (size + 0.5) * scale, 0, 2 * Math.PI);
    twoTone(context);
  }

  state() {
    const { history, showsBefore } = this.studio;
    $("undo").disabled = !history?.canUndo;
    $("redo").disabled = !history?.canRedo;
    $("reset").disabled = !this.isChanged();
    $("before").setAttribute("aria-pressed", String(showsBefore));
  }

  isChanged() {
    const shown = this.studio.history?.current;
    return Boolean(shown) && (shown.strokes.length > 0 || Boolean(shown.origin) || isSteered(shown));
  }

  compare(before) {
    this.studio.showsBefore = before;
    this.state();
    if (this.studio.picture) this.draw();
  }

  reset() {
    const { studio } = this;
    if (!this.isChanged()) return;
    const { origin, noise } = studio.history.current;
    studio.push({ strokes: [], noise, ...origin });
  }

  shortcut(event) {
    const key = event.key.toLowerCase();
    const command = event.ctrlKey || event.metaKey;
    if (isTyping(event.target)) return;
    if (command && (key === "z" || key === "y")) {
      event.preventDefault();
      const redo = key === "y" || event.shiftKey;
      attempt(() => (redo ? this.studio.redo() : this.studio.undo()));
    } else if (key === "v" && !command) {
      this.compare(!this.studio.showsBefore);
    }
  }
}
