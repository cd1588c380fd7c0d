/** From one latent code to another by slerp: the model's means on the way. */

import { latestOnly, predict } from "./api.js";
import { paint } from "./canvas.js";
import { batchOfOne, given, latentsOf } from "./fields.js";
import { freshSeed } from "./random.js";
import { slerp } from "./slerp.js";
import { $, attempt, onClick } from "./ui.js";

export class Path {
  constructor(studio) {
    this.studio = studio;
    this.isShown = false;
    this.from = null;
    this.to = null;
    this.ask = latestOnly((t) => attempt(() => this.draw(t)));
    $("path").addEventListener("input", () => this.ask(this.position));
    onClick("new-target", () => this.renew());
    onClick("take-path", () => this.take());
    studio.addEventListener("document", () => this.update());
  }

  get position() {
    return Number($("path").value);
  }

  show(isShown) {
    this.isShown = isShown;
    attempt(() => this.update());
  }

  /** Begins at the shown code, unless that is on the way. */
  async update() {
    const { studio } = this;
    if (!this.isShown || !studio.field || studio.live) return;
    const { latents, label } = studio.history.current;
    const known = [this.from, this.taken].some((code) => String(latents) === String(code));
    if (known && label === this.label) return;
    const anew = label !== this.label && this.to;
    Object.assign(this, { from: latents, label });
    $("path").value = 0;
    $("take-path").disabled = true;
    paint($("path-from"), studio.field.mean, studio.size);
    if (!this.to) await attempt(() => this.renew());
    else if (anew) await attempt(async () => paint($("path-to"), await this.meanOf(this.to), studio.size));
  }

  async renew() {
    const to = await latentsOf(freshSeed(), this.studio.document.label);
    const mean = await this.meanOf(to);
    this.to = to;
    paint($("path-to"), mean, this.studio.size);
    if (this.position > 0) this.ask(this.position);
  }

  async draw(t) {
    if (!this.to) return;
    const { studio } = this;
    this.latents = slerp(this.from, this.to, t);
    const mean = await this.meanOf(this.latents);
    paint($("picture"), mean, studio.size);
    studio.tell("drawn");
    $("take-path").disabled = false;
  }

  async take() {
    this.taken = this.latents;
    const zeros = this.studio.document.noise.map(() => 0);
    await this.studio.commit({ latents: this.latents, seed: null, noise: zeros, noiseSeed: null });
    $("take-path").disabled = true;
  }

  /** Of a code, given the document's label. */
  async meanOf(latents) {
    const inputs = given(this.studio.document.label, { latents: batchOfOne(latents) });
    return (await predict("decode", inputs, ["means"])).means.data;
  }
}

