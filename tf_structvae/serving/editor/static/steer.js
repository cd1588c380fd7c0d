/** A slider for the coefficient of each principal component, in its standard deviations (eq. 4). */

import { paint } from "./canvas.js";
import { $, element, onClick } from "./ui.js";

const RANGE = 5; // standard deviations to either side of the mean
const THUMBNAIL_CHANGE = 0.6; // of the range from 0 to 1, where a component changes most

const HELP =
  "Strongest first, with the share of variance. A slider is the coefficient of a component in its standard deviations (SD): 0 is the mean, beyond 3 is rare. The small picture shows what the component changes.";
const NOTHING =
  "This model has no signature 'components': its pixels vary independently (a standard VAE), so there is nothing to steer.";

/** Whether a slider of a document is elsewhere than its noise put it. */
export const isSteered = ({ noise, coefficients }) => coefficients.some((x, k) => x !== noise[k]);

export class SteerPanel {
  constructor(studio) {
    this.studio = studio;
    this.isShown = false;
    this.rows = [];
    this.drawnField = null;
    studio.addEventListener("document", () => this.update());
    onClick("reset-sliders", () => this.studio.push({ coefficients: this.studio.document.noise }));
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
    const { coefficients } = studio.document;
    this.rows.forEach((row, k) => {
      if (document.activeElement !== row.slider || !studio.live) row.slider.value = coefficients[k];
      this.label(k, coefficients[k]);
    });
    $("reset-sliders").disabled = !isSteered(studio.document);
    $("steer-help").textContent = rank ? HELP : NOTHING;
  }

  build(rank) {
    this.rows = Array.from({ length: rank }, (_, k) => {
      const canvas = element("canvas", { className: "thumbnail" });
      const slider = element("input", {
        type: "range", id: `component-${k}`, min: -RANGE, max: RANGE, step: 0.1, value: 0,
        className: "centred",
      });
      const name = element("label", { htmlFor: slider.id, textContent: `Component ${k + 1}` });
      const strength = element("span", { className: "quiet" });
      const output = element("output", {});
      slider.addEventListener("input", () => this.studio.preview(this.moved(k)));
      slider.addEventListener("change", () => this.studio.push(this.moved(k)));
      const words = element("div", { className: "words" }, name, strength, output);
      $("components").append(element("div", { className: "component" }, canvas, words, slider));
      return { canvas, slider, strength, output };
    });
  }

  moved(k) {
    const coefficients = [...this.studio.document.coefficients];
    coefficients[k] = Number(this.rows[k].slider.value);
    return { coefficients };
  }

  label(k, coefficient) {
    const { slider, output } = this.rows[k];
    const text = coefficient.toFixed(1).replace("-0.0", "0.0").replace("-", "−");
    output.textContent = `${text} SD`;
    slider.style.setProperty("--at", Math.min(Math.max(coefficient / RANGE, -1), 1));
    slider.setAttribute("aria-valuetext", `${text} standard deviations`);
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
