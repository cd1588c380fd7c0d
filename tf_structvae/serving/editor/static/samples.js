/** All pictures that fit the strokes: their mean, and samples of them. */

import { paint } from "./canvas.js";
import { freshSeed, normals } from "./random.js";
import { $, element, onClick } from "./ui.js";

const COUNT = 4;

export class Samples {
  constructor(studio) {
    this.studio = studio;
    this.seed = 1;
    this.isShown = true;
    this.buttons = Array.from({ length: 1 + COUNT }, (_, i) => {
      const canvas = element("canvas", { className: "thumbnail" });
      const name = i ? `Sample ${i}` : "Mean";
      const caption = element("span", { textContent: i || name, className: "quiet" });
      const button = element("button", { className: "choice" }, canvas, caption);
      button.setAttribute("aria-label", `${name}: go on with it`);
      button.addEventListener("click", () => this.take(i));
      $("samples").append(button);
      return button;
    });
    studio.addEventListener("document", () => this.update());
    onClick("more-samples", () => {
      this.seed = freshSeed();
      this.update();
    });
  }

  show(isShown) {
    this.isShown = isShown;
    this.update();
  }

  /** The noise of a sample, or of the mean, which is the first. */
  noise(i) {
    const { field, conditional } = this.studio;
    const drawn = i ? normals(this.seed + i - 1, field.rank) : new Float64Array(field.rank);
    return conditional.noiseOf(drawn);
  }

  update() {
    const { studio } = this;
    clearTimeout(this.timer);
    if (!this.isShown || !studio.conditional) return;
    // the large picture comes first
    this.timer = setTimeout(() => {
      if (studio.live) return;
      this.buttons.forEach((button, i) => {
        paint(button.firstChild, studio.conditional.render(this.noise(i)), studio.size);
        button.disabled = !studio.field.rank;
      });
      $("more-samples").disabled = !studio.field.rank;
    }, 30);
  }

  take(i) {
    const { studio } = this;
    const current = studio.history.current;
    const noise = Array.from(this.noise(i));
    const origin = current.origin ?? { noise: current.noise, noiseSeed: current.noiseSeed };
    const settled = current.strokes.length;
    studio.push({
      noise, noiseSeed: null,
      ...(settled && { settled, origin }), // without strokes it is a new noise like any other
    });
  }
}
