/** Fetches p(x given z) of latent codes, and keeps the last few. */

import { predict } from "./api.js";
import { Field } from "./field.js";

const KEPT = 3;

export class Fields {
  constructor(info) {
    const [height, width, channels] = info.image_shape;
    this.size = { height, width, channels };
    this.steers = info.rank > 0;
    this.kept = new Map();
  }

  /** The field of a code that is here already, or null. */
  peek(latents) {
    return this.kept.get(String(latents)) ?? null;
  }

  /** @param {number[]} latents @returns {Promise<Field>} */
  async get(latents) {
    const key = String(latents);
    const field = this.peek(latents) ?? (await this.fetch(latents));
    this.kept.delete(key);
    this.kept.set(key, field);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    return field;
  }

  async fetch(latents) {
    const inputs = { latents: batchOfOne(latents) };
    const [decoded, factor] = await Promise.all([
      predict("decode", inputs, ["means", "variances"]),
      this.steers ? predict("components", inputs, ["components", "stddevs"]) : null,
    ]);
    const none = { components: new Float32Array(0), stddevs: new Float32Array(0) };
    return new Field(
      this.size,
      { means: decoded.means.data, variances: decoded.variances.data },
      factor ? { components: factor.components.data, stddevs: factor.stddevs.data } : none,
    );
  }
}

export function batchOfOne(numbers) {
  return { data: Float32Array.from(numbers), shape: [1, numbers.length] };
}

/** The latent code of a seed: that of the signature `sample` for [seed, 0]. */
export async function latentsOf(seed) {
  const seeds = { data: Int32Array.of(seed, 0), shape: [1, 2] };
  return Array.from((await predict("sample", { seeds }, ["latents"])).latents.data);
}
