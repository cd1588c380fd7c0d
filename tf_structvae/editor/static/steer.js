/** A slider for each principal component (eq. 4). */

import { paint } from "./canvas.js";
import { $, element, onClick } from "./ui.js";

const RANGE = 5;
const THUMBNAIL_CHANGE = 0.6; // of the range from 0 to 1, where a component changes most

export class SteerPanel {
  constructor(studio) {
    this.studio = studio;
    this.isShown = false;
    this.rows = [];
    this.drawnField = null;
    studio.addEventListener("document", () => this.update());
    onClick("reset-scales", () => this.studio.push({ scales: this.rows.map(() => 1) }));
  }

  show(isShown) {
    this.isShown = isShown;
    this.update();
  }

  update() {
    const { studio } = this;
    if (!this.isShown || !studio.field) return;
    const { rank } = studio.field;
    if (this.rows.length !== rank) this.build(rank);
    if (this.drawnField !== studio.field) this.thumbnails();
    const { noise, scales } = studio.document;
    this.rows.forEach((row, k) => {
      if (document.activeElement !== row.slider || !studio.live) row.slider.value = scales[k];
      this.label(k, scales[k], noise[k]);
    });
    $("reset-scales").disabled = scales.every((x) => x === 1);
    $("steer-help").textContent = help(rank, noise);
  }

  build(rank) {
    this.rows = Array.from({ length: rank }, (_, k) => {
      const canvas = element("canvas", { className: "thumbnail" });
      const slider = element("input", {
        type: "range", id: `component-${k}`, min: -RANGE, max: RANGE, step: 0.1, value: 1,
      });
      const name = element("label", { htmlFor: slider.id, textContent: `Component ${k + 1}` });
      const strength = element("span", { className: "quiet" });
      const output = element("output", {});
      slider.addEventListener("input", () => this.studio.preview({ scales: this.scales(k) }));
      slider.addEventListener("change", () => this.studio.push({ scales: this.scales(k) }));
      const words = element("div", { className: "words" }, name, strength, output);
      $("components").append(element("div", { className: "component" }, canvas, words, slider));
      return { canvas, slider, strength, output };
    });
  }

  scales(k) {
    const scales = [...this.studio.document.scales];
    scales[k] = Number(this.rows[k].slider.value);
    return scales;
  }

  label(k, scale, drawn) {
    const { slider, output } = this.rows[k];
    output.textContent = `${scale.toFixed(1)} × ${drawn.toFixed(2)}`.replaceAll("-", "−");
    output.title = "slider × what the noise drew";
    slider.setAttribute("aria-valuetext", scale.toFixed(1));
  }

  /** The mean changed along each component alone, all as strongly. */
  thumbnails() {
    const { field, size } = this.studio;
    this.drawnField = field;
    const total = field.stddevs.reduce((sum, s) => sum + s * s, 0) || 1;
    this.rows.forEach(({ canvas, strength }, k) => {
      const vector = field.component(k);
      const largest = vector.reduce((a, x) => Math.max(a, Math.abs(x)), 0) || 1;
      const weight = THUMBNAIL_CHANGE / largest;
      paint(canvas, field.mean.map((x, i) => x + weight * vector[i]), size);
      strength.textContent = `${((100 * field.stddevs[k] ** 2) / total).toFixed(1)} %`;
    });
  }
}

function help(rank, noise) {
  if (!rank) {
    return "This model has no signature 'components': its pixels vary independently (a standard VAE), so there is nothing to steer.";
  }
  if (noise.every((x) => x === 0)) {
    return "This picture is the mean, without noise, so the sliders have nothing to multiply. Choose New noise under Picture.";
  }
  return "Strongest first, with the share of variance. A slider multiplies what the noise drew of a component: 1 is as drawn, 0 without. The small picture shows what the component changes.";
}
