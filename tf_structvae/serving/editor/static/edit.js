/** Brush, brush that keeps, eraser and colour picker. */

import { colourAt } from "./canvas.js";
import { listen } from "./pointer.js";
import { $, isTyping } from "./ui.js";

const KEYS = { b: "brush", k: "keep", e: "eraser", i: "pick" };
const SWATCHES = ["#111111", "#ffffff", "#c8102e", "#f2a541", "#5b8c3e", "#2f6f8f", "#6b4a2f", "#f0c9a4"];
const GREYS = ["#000000", "#404040", "#808080", "#c0c0c0", "#ffffff"];
const SOFTEST = 0.5; // standard deviation of a stroke's colour, of the range from 0 to 1

/** Standard deviation of a position of the slider: 0, then 0.01 to 0.5 by equal ratios. */
export function softnessOf(position) {
  return position === 0 ? 0 : 0.01 * (SOFTEST / 0.01) ** ((position - 1) / 19);
}

export function positionOf(softness) {
  return softness === 0 ? 0 : 1 + Math.round((19 * Math.log(softness / 0.01)) / Math.log(SOFTEST / 0.01));
}

export class EditPanel {
  /** @param {Studio} studio @param {Stage} stage @param look takes pixels while it is shown */
  constructor(studio, stage, look) {
    Object.assign(this, { studio, stage, look });
    this.grey = studio.size.channels === 1;
    $("colour-row").hidden = false;
    $("grey-row").hidden = !this.grey;
    $("colour").hidden = this.grey;
    $("size").max = Math.max(4, Math.round(Math.max(studio.size.height, studio.size.width) / 8));
    $("size").value = Math.max(1, Math.round($("size").max / 4));
    this.swatches();
    this.inputs();
    listen($("overlay"), studio.size, {
      down: (point, event) => this.down(point, event),
      move: (point, isDown) => this.move(point, isDown),
      up: () => studio.finish(),
      leave: () => this.hover(null),
    });
    document.addEventListener("keydown", (event) => this.shortcut(event));
    studio.addEventListener("document", () => this.showSoftness());
    studio.addEventListener("drawn", () => this.tellColour());
    this.labels();
  }

  get tool() {
    return document.querySelector("input[name=tool]:checked").value;
  }

  set tool(name) {
    document.querySelector(`input[name=tool][value=${name}]`).checked = true;
    this.stage.drawOverlay();
  }

  get colour() {
    if (this.grey) return [Number($("grey").value)];
    return [1, 3, 5].map((i) => parseInt($("colour").value.slice(i, i + 2), 16));
  }

  set colour(numbers) {
    if (this.grey) $("grey").value = numbers[0];
    else $("colour").value = `#${numbers.map((x) => x.toString(16).padStart(2, "0")).join("")}`;
    this.labels();
  }

  get size() {
    return Number($("size").value);
  }

  swatches() {
    for (const colour of this.grey ? GREYS : SWATCHES) {
      const button = document.createElement("button");
      button.style.background = colour;
      button.setAttribute("aria-label", `Colour ${colour}`);
      button.title = colour;
      const channels = this.grey ? [1] : [1, 3, 5];
      button.addEventListener("click", () => {
        this.colour = channels.map((i) => parseInt(colour.slice(i, i + 2), 16));
        this.tool = "brush";
      });
      $("swatches").append(button);
    }
  }

  inputs() {
    for (const radio of document.querySelectorAll("input[name=tool]")) {
      radio.addEventListener("change", () => this.stage.drawOverlay());
    }
    for (const id of ["size", "grey"]) $(id).addEventListener("input", () => this.labels());
    const softness = () => softnessOf(Number($("softness").value));
    $("softness").addEventListener("input", () => this.studio.preview({ softness: softness() }));
    $("softness").addEventListener("change", () => this.studio.push({ softness: softness() }));
  }

  labels() {
    $("size-value").textContent = `${2 * this.size + 1} px`;
    if (this.grey) {
      const [value] = this.colour;
      showColour($("grey-value"), [value], value);
    }
    this.showSoftness();
  }

  showSoftness() {
    const softness = this.studio.document?.softness ?? 0;
    $("softness").value = positionOf(softness);
    const text = softness ? `± ${softness.toFixed(2)}` : "exact";
    $("softness-value").textContent = text;
    $("softness").setAttribute("aria-valuetext", text);
  }

  down(point, event) {
    const { studio } = this;
    if (!studio.field) return;
    if (this.look.isShown) return this.look.at(point);
    if (studio.showsBefore) this.stage.compare(false);
    if (this.tool === "pick" || event.altKey) {
      this.colour = colourAt($("picture"), studio.size.channels, point);
      this.tool = "brush";
      return;
    }
    const filling = this.tool === "keep" ? { kept: { pixels: [], values: [] } } : { colour: this.colour };
    const erase = this.tool === "eraser";
    studio.begin({ points: [point], size: this.size, ...filling, erase });
  }

  move(point, isDown) {
    if (this.look.isShown) this.look.at(point);
    else if (isDown) this.studio.extend(point);
    this.hover(point);
  }

  hover(point) {
    const size = this.look.isShown || this.tool === "pick" ? 0 : this.size;
    this.stage.cursor = point && { row: point[0], column: point[1], size };
    if (!this.studio.drawing) this.stage.drawOverlay();
    this.tellColour();
  }

  /** The picture's own colour under the pointer, also when the picture changes beneath it. */
  tellColour() {
    const { studio, stage } = this;
    if (!stage.cursor || !studio.picture) return;
    const { row, column } = stage.cursor;
    const colour = colourAt($("picture"), studio.size.channels, [row, column]);
    const name = this.grey ? "grey" : "rgb";
    showColour($("canvas-status"), colour, `Row ${row}, column ${column}: ${name} ${colour.join(", ")}`);
  }

  shortcut(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const step = { "[": -1, "]": 1 }[event.key];
    if (event.key.toLowerCase() in KEYS) this.tool = KEYS[event.key.toLowerCase()];
    if (step) {
      $("size").value = this.size + step;
      this.labels();
    }
  }
}

/** A text behind a patch of a colour of 1 or 3 channels. */
function showColour(element, colour, text) {
  const [red, green, blue] = colour.length === 1 ? [...colour, ...colour, ...colour] : colour;
  element.textContent = text;
  element.style.setProperty("--shown", `rgb(${red} ${green} ${blue})`);
}
