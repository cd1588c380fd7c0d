/** A point inside a square whose corners are four noise samples (Fig. 3). */

import { paint } from "./canvas.js";
import { freshSeed, normals } from "./random.js";
import { slerpSquare } from "./slerp.js";
import { $, onClick, seedForm } from "./ui.js";

const CELLS = 5;
const STEP = 0.05;

export class Square {
  constructor(studio) {
    this.studio = studio;
    this.isShown = false;
    this.corners = null;
    this.position = [0, 0]; // across, down
    this.places = new Map(); // noise -> where the point was with it
    this.drawn = null; // what the small pictures show
    onClick("new-corners", () => this.renew(freshSeed()));
    seedForm("corners-form", "corners-seed", (seed) => this.renew(seed));
    studio.addEventListener("document", () => this.update());
    this.listen();
  }

  show(isShown) {
    this.isShown = isShown;
    this.update();
  }

  /** The present noise and three of a seed. */
  renew(seed) {
    const { rank } = this.studio.info;
    if (!rank) return;
    $("corners-seed").value = seed;
    this.corners = [null, ...[1, 2, 3].map((i) => normals(3 * seed + i, rank))];
    this.begin();
    this.update();
  }

  /** The first corner is the present noise; a new one, if that is none. */
  begin() {
    const own = this.own();
    const fresh = () => normals(3 * Number($("corners-seed").value), own.length);
    this.corners[0] = own.some((x) => x !== 0) ? own : fresh();
    this.position = [0, 0];
    this.places.clear();
    this.places.set(String(own), this.position);
    this.drawn = null;
  }

  own() {
    return this.studio.history.current.coefficients;
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
    if (!this.corners) return this.renew(freshSeed());
    if (!studio.live) this.follow();
    const [across, down] = this.position;
    $("square-point").style.left = `${100 * across}%`;
    $("square-point").style.top = `${100 * down}%`;
    $("square-point").setAttribute("aria-description", `${Math.round(100 * across)} % across, ${Math.round(100 * down)} % down`);
  }

  /** Keeps up with a noise that came from elsewhere, with undo, other codes and strokes. */
  follow() {
    const place = this.places.get(String(this.own()));
    if (place) this.position = place;
    else this.begin();
    const { strokes, softness } = this.studio.history.current;
    const shown = [this.studio.field, strokes, softness];
    if (this.drawn?.every((x, i) => x === shown[i])) return;
    this.drawn = shown;
    this.background();
  }

  /** Small pictures of a grid of points, as the large one would be there. */
  background() {
    const { field, size, conditional } = this.studio;
    const { strokes, softness } = this.studio.history.current;
    const edit = this.studio.editOf({ strokes, settled: 0 });
    const map = $("square-map");
    map.width = CELLS * size.width;
    map.height = CELLS * size.height;
    $("square").style.aspectRatio = `${size.width} / ${size.height}`;
    const cell = document.createElement("canvas");
    for (let r = 0; r < CELLS; r++) {
      for (let c = 0; c < CELLS; c++) {
        const noise = slerpSquare(this.corners, c / (CELLS - 1), r / (CELLS - 1));
        paint(cell, field.condition(edit, softness ** 2, noise, noise, conditional).picture(), size);
        map.getContext("2d").drawImage(cell, c * size.width, r * size.height);
      }
    }
  }

  move(across, down) {
    this.position = [across, down].map((x) => Math.min(Math.max(x, 0), 1));
    this.studio.preview(this.changes());
  }

  commit() {
    const changes = this.changes();
    this.places.set(String(changes.noise), this.position);
    this.studio.push(changes);
  }

  changes() {
    return { noise: this.noise, noiseSeed: null };
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
        if (down) this.commit();
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
      if (event.key.startsWith("Arrow") && this.studio.live) this.commit();
    });
  }
}
