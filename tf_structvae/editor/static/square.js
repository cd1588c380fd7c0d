/** A point inside a square whose corners are four noise samples (Fig. 3). */

import { paint } from "./canvas.js";
import { freshSeed, normals } from "./random.js";
import { slerpSquare } from "./slerp.js";
import { $, onClick } from "./ui.js";

const CELLS = 5;
const STEP = 0.05;

export class Square {
  constructor(studio) {
    this.studio = studio;
    this.isShown = false;
    this.corners = null;
    this.position = [0, 0]; // across, down
    onClick("new-corners", () => this.renew());
    studio.addEventListener("document", () => this.update());
    this.listen();
  }

  show(isShown) {
    this.isShown = isShown;
    this.update();
  }

  /** The present noise and three fresh ones. */
  renew() {
    const { field, history } = this.studio;
    const { noise, scales } = history.current;
    const own = noise.map((x, k) => x * scales[k]);
    const first = own.some((x) => x !== 0) ? own : normals(freshSeed(), field.rank);
    this.corners = [first, ...[0, 1, 2].map(() => normals(freshSeed(), field.rank))];
    this.position = [0, 0];
    this.drawnField = null;
    this.update();
  }

  /** What the point stands for. */
  get noise() {
    return slerpSquare(this.corners, ...this.position);
  }

  update() {
    const { studio } = this;
    if (!this.isShown || !studio.field) return;
    $("square").classList.toggle("empty", !studio.field.rank);
    $("square-point").disabled = $("new-corners").disabled = !studio.field.rank;
    if (!studio.field.rank) return;
    if (!this.corners) this.renew();
    if (this.drawnField !== studio.field) this.background();
    const [across, down] = this.position;
    $("square-point").style.left = `${100 * across}%`;
    $("square-point").style.top = `${100 * down}%`;
    $("square-point").setAttribute("aria-description", `${Math.round(100 * across)} % across, ${Math.round(100 * down)} % down`);
  }

  /** Small pictures of a grid of points. */
  background() {
    const { field, size } = this.studio;
    this.drawnField = field;
    const map = $("square-map");
    map.width = CELLS * size.width;
    map.height = CELLS * size.height;
    $("square").style.aspectRatio = `${size.width} / ${size.height}`;
    const cell = document.createElement("canvas");
    for (let r = 0; r < CELLS; r++) {
      for (let c = 0; c < CELLS; c++) {
        const noise = slerpSquare(this.corners, c / (CELLS - 1), r / (CELLS - 1));
        paint(cell, field.picture(noise), size);
        map.getContext("2d").drawImage(cell, c * size.width, r * size.height);
      }
    }
  }

  move(across, down) {
    this.position = [across, down].map((x) => Math.min(Math.max(x, 0), 1));
    this.studio.preview(this.changes());
  }

  changes() {
    const noise = this.noise;
    return { noise, noiseSeed: null, scales: noise.map(() => 1) };
  }

  listen() {
    const square = $("square");
    let down = false;
    const drag = (event) => {
      const box = square.getBoundingClientRect();
      this.move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    square.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || !this.corners || !this.studio.field?.rank) return;
      event.preventDefault();
      $("square-point").focus({ preventScroll: true });
      square.setPointerCapture(event.pointerId);
      down = true;
      drag(event);
    });
    square.addEventListener("pointermove", (event) => down && drag(event));
    for (const type of ["pointerup", "pointercancel"]) {
      square.addEventListener(type, () => {
        if (down) this.studio.push(this.changes());
        down = false;
      });
    }
    $("square-point").addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step || !this.corners) return;
      event.preventDefault();
      this.move(this.position[0] + STEP * step[0], this.position[1] + STEP * step[1]);
    });
    $("square-point").addEventListener("keyup", (event) => {
      if (event.key.startsWith("Arrow") && this.studio.live) this.studio.push(this.changes());
    });
  }
}
