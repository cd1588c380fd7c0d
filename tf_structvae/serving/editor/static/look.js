/** Maps of variance and of covariance with a pixel. */

import { paint } from "./canvas.js";
import { diverging, rising } from "./colormap.js";
import { listen } from "./pointer.js";
import { $ } from "./ui.js";

export class LookPanel {
  constructor(studio) {
    this.studio = studio;
    this.isShown = false;
    const { height, width } = studio.size;
    this.pixel = [Math.floor(height / 2), Math.floor(width / 2)];
    for (const radio of document.querySelectorAll("input[name=map]")) {
      radio.addEventListener("change", () => this.draw());
    }
    studio.addEventListener("document", () => this.draw());
    const here = (point) => this.at(point);
    listen($("map"), studio.size, { down: here, move: here, up() {}, leave() {} });
  }

  show(isShown) {
    this.isShown = isShown;
    this.draw();
  }

  at(pixel) {
    this.pixel = pixel;
    this.draw();
  }

  get kind() {
    return document.querySelector("input[name=map]:checked").value;
  }

  draw() {
    const { studio } = this;
    if (!this.isShown || !studio.conditional) return;
    if (this.kind === "variance") this.drawVariance();
    else this.drawCovariance();
    this.picture = studio.picture;
  }

  drawVariance() {
    const { conditional, size } = this.studio;
    if (this.ofVariance !== conditional) {
      this.ofVariance = conditional;
      this.spread = meanOfChannels(conditional.variances(), size).map(Math.sqrt);
    }
    const largest = this.spread.reduce((a, x) => Math.max(a, x), 0);
    this.colour(this.spread, (x) => rising(x / (largest || 1)));
    this.legend(0, largest, rising);
    $("look-help").textContent = `Standard deviation of each pixel, the root of its variance${this.given()}. Bright: the model leaves it open.`;
  }

  drawCovariance() {
    const { conditional, size } = this.studio;
    const [row, column] = this.pixel;
    const found = conditional.covariances(row * size.width + column);
    const map = meanOfChannels(found, size);
    // without the pixel itself, whose own noise would outshine the rest
    const others = map.filter((_, i) => i !== row * size.width + column);
    const largest = others.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
    this.colour(map, (x) => diverging(x / (largest || 1)));
    this.legend(-largest, largest, (t) => diverging(2 * t - 1));
    $("look-help").textContent =
      `Covariance with the pixel at row ${row}, column ${column}${this.given()}. Red pixels change ` +
      "with it, blue ones against it. Move over the picture or the map.";
    this.mark(row, column);
  }

  given() {
    return this.studio.edit.mask.some((x) => x) ? ", given the strokes" : "";
  }

  colour(values, colourOf) {
    const { height, width } = this.studio.size;
    const picture = new Float32Array(3 * values.length);
    values.forEach((x, i) => picture.set(colourOf(x).map((c) => c / 255), 3 * i));
    paint($("map"), picture, { height, width, channels: 3 });
  }

  mark(row, column) {
    const context = $("map").getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(column, row, 1, 1);
  }

  legend(low, high, colourOf) {
    const strip = Float32Array.from({ length: 3 * 256 }, (_, i) => colourOf(Math.floor(i / 3) / 255)[i % 3] / 255);
    paint($("legend"), strip, { height: 1, width: 256, channels: 3 });
    $("legend-low").textContent = short(low);
    $("legend-high").textContent = short(high);
  }
}

function short(x) {
  const text = x === 0 ? "0" : Math.abs(x) < 0.001 ? x.toExponential(1) : x.toPrecision(2);
  return text.replaceAll("-", "−");
}

function meanOfChannels(values, { height, width, channels }) {
  return Float32Array.from({ length: height * width }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < channels; k++) sum += values[i * channels + k];
    return sum / channels;
  });
}
