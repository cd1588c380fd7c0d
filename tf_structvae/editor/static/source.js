/** New latent codes and noise, by seeds that are shown. */

import { latentsOf } from "./fields.js";
import { freshSeed, normals } from "./random.js";
import { $, onClick, attempt } from "./ui.js";

/** A document of two seeds; the noise is in the coordinates of the principal components. */
export async function documentOf(seed, noiseSeed, { rank, classes }) {
  const label = classes.length ? 0 : null;
  const latents = await latentsOf(seed, label);
  const noise = normals(noiseSeed, rank);
  return { seed, noiseSeed, label, latents, noise, scales: noise.map(() => 1), strokes: [], softness: 0 };
}

export class SourcePanel {
  constructor(studio) {
    this.studio = studio;
    studio.addEventListener("document", () => this.show());
    onClick("new-latent", () => this.newLatent(freshSeed()));
    onClick("new-noise", () => this.newNoise(freshSeed()));
    onClick("no-noise", () => this.noise(null, new Array(this.rank).fill(0)));
    this.form("latent-form", "latent-seed", (seed) => this.newLatent(seed));
    this.form("noise-form", "noise-seed", (seed) => this.newNoise(seed));
    for (const id of ["new-noise", "no-noise", "noise-seed"]) $(id).disabled = !this.rank;
  }

  get rank() {
    return this.studio.info.rank;
  }

  form(id, input, action) {
    $(id).addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(() => {
        const text = $(input).value.trim();
        if (!/^\d{1,9}$/.test(text)) throw new Error("A seed is a whole number from 0 to 999999999.");
        return action(Number(text));
      });
    });
  }

  show() {
    const { seed, noiseSeed, noise } = this.studio.document;
    $("latent-seed").value = seed ?? "";
    $("noise-seed").value = noiseSeed ?? "";
    $("latent-seed").placeholder = "none";
    $("noise-seed").placeholder = noise.some((x) => x !== 0) ? "none" : "no noise";
  }

  async newLatent(seed) {
    await this.studio.commit({ seed, latents: await latentsOf(seed, this.studio.document.label) });
  }

  newNoise(seed) {
    this.noise(seed, normals(seed, this.rank));
  }

  noise(noiseSeed, noise) {
    this.studio.push({ noiseSeed, noise, scales: noise.map(() => 1) });
  }
}
