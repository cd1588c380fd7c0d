/** New latent codes and noise, by seeds that are shown. */

import { latentsOf } from "./fields.js";
import { freshSeed, normals } from "./random.js";
import { $, onClick, seedForm } from "./ui.js";

/** A document of two seeds; the noise is in the coordinates of the principal components. */
export async function documentOf(seed, noiseSeed, { rank, classes }) {
  const label = classes.length ? 0 : null;
  const latents = await latentsOf(seed, label);
  const noise = normals(noiseSeed, rank);
  const code = { seed, noiseSeed, label, latents, noise, coefficients: noise };
  return { ...code, strokes: [], softness: 0, settled: 0, origin: null };
}

export class SourcePanel {
  constructor(studio) {
    this.studio = studio;
    studio.addEventListener("document", () => this.show());
    onClick("new-latent", () => this.newLatent(freshSeed()));
    onClick("new-noise", () => this.newNoise(freshSeed()));
    onClick("no-noise", () => this.noise(null, new Array(this.rank).fill(0)));
    seedForm("latent-form", "latent-seed", (seed) => this.newLatent(seed));
    seedForm("noise-form", "noise-seed", (seed) => this.newNoise(seed));
    for (const id of ["new-noise", "no-noise", "noise-seed"]) $(id).disabled = !this.rank;
  }

  get rank() {
    return this.studio.info.rank;
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
    this.studio.push({ noiseSeed, noise });
  }
}
