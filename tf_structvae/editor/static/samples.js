/** Samples of the pictures that fit the strokes, beside their mean. */

import { paint } from "./canvas.js";
import { freshSeed, normals } from "./random.js";
import { $, element, onClick } from "./ui.js";

const COUNT = 4;

export class Samples {
  constructor(studio) {
    this.studio = studio;
    this.seed = 1;
    this.isShown = true;
    this.buttons = Array.from({ length: COUNT }, (_, i) => {
      const canvas = element("canvas", { className: "thumbnail" });
      const button = element("button", { className: "choice" }, canvas);
      button.setAttribute("aria-label", `Sample ${i + 1}: go on with it`);
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

  draws(i) {
    return normals(this.seed + i, this.studio.field.rank);
  }

  update() {
    const { studio } = this;
    clearTimeout(this.timer);
    if (!this.isShown || !studio.conditional) return;
    // the large picture comes first
    this.timer = setTimeout(() => {
      if (studio.live) return;
      this.buttons.forEach((button, i) => {
        const picture = studio.conditional.draw(this.draws(i));
        paint(button.firstChild, picture, studio.size);
        button.disabled = !studio.field.rank;
      });
    }, 30);
  }

  take(i) {
    const { studio } = this;
    const noise = Array.from(studio.conditional.noiseOf(this.draws(i)));
    studio.push({ noise, noiseSeed: null, scales: noise.map(() => 1) });
  }
}
