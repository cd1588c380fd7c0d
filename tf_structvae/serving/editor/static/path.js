/** From one latent code to another by slerp: the model's means on the way, with the strokes. */

import { latestOnly, predict } from "./api.js";
import { paint } from "./canvas.js";
import { batchOfOne, given, latentsOf } from "./fields.js";
import { freshSeed } from "./random.js";
import { slerp } from "./slerp.js";
import { $, attempt, onClick, seedForm } from "./ui.js";

export class Path {
  constructor(studio) {
    this.studio = studio;
    this.isShown = false;
    this.from = null;
    this.to = null;
    this.label = null;
    this.latents = null; // of the picture on the way that is shown, which is no document yet
    this.turn = 0; // grows when what was asked for is no longer wanted
    this.ask = latestOnly((t) => attempt(() => this.draw(t)));
    $("path").addEventListener("input", () => this.ask(this.position));
    onClick("new-target", () => this.renew(freshSeed()));
    seedForm("target-form", "target-seed", (seed) => this.renew(seed));
    onClick("take-path", () => this.take());
    studio.addEventListener("document", () => attempt(() => this.update()));
  }

  get position() {
    return Number($("path").value);
  }

  show(isShown) {
    this.isShown = isShown;
    if (!isShown && this.latents) {
      this.rewind();
      this.studio.tell("picture"); // the document's own again
    }
    attempt(() => this.update());
  }

  rewind() {
    this.turn++;
    this.latents = null;
    $("path").value = 0;
    $("take-path").disabled = true;
  }

  /** Begins at the shown code, unless that was taken on the way. */
  async update() {
    const { studio } = this;
    if (!this.isShown || !studio.field || studio.live) return;
    const { latents, label } = studio.history.current;
    const relabelled = label !== this.label;
    if (String(latents) === String(this.taken) && !relabelled) return;
    this.taken = null;
    this.from = latents;
    this.label = label;
    this.rewind();
    paint($("path-from"), studio.field.mean, studio.size);
    if (!this.to) await this.renew(freshSeed());
    else if (relabelled) paint($("path-to"), await this.meanOf(this.to), studio.size);
  }

  async renew(seed) {
    const to = await latentsOf(seed, this.studio.document.label);
    const mean = await this.meanOf(to);
    this.to = to;
    $("target-seed").value = seed;
    paint($("path-to"), mean, this.studio.size);
    if (this.position > 0) this.ask(this.position);
  }

  async draw(t) {
    if (!this.to || !this.isShown) return;
    const { turn, studio } = this;
    const latents = slerp(this.from, this.to, t);
    const picture = await this.pictureOf(latents);
    if (turn !== this.turn) return;
    this.latents = latents;
    paint($("picture"), picture, studio.size);
    studio.tell("drawn");
    $("take-path").disabled = false;
  }

  /** What `take` will show. */
  async pictureOf(latents) {
    const { label, strokes, softness, noise } = this.studio.history.current;
    if (!strokes.length) return this.meanOf(latents);
    const field = await this.studio.fields.get({ latents, label });
    const zeros = new Float64Array(noise.length);
    const edit = this.studio.editOf({ strokes, settled: 0 });
    return field.condition(edit, softness ** 2, zeros).picture();
  }

  async take() {
    const { latents, studio } = this;
    const zeros = studio.document.noise.map(() => 0);
    this.taken = latents;
    await studio.commit({ latents, seed: null, noise: zeros, noiseSeed: null });
    this.latents = null;
    $("take-path").disabled = true;
  }

  /** Of a code, given the document's label. */
  async meanOf(latents) {
    const inputs = given(this.studio.document.label, { latents: batchOfOne(latents) });
    return (await predict("decode", inputs, ["means"])).means.data;
  }
}
