/** Fetches p(x given z, label) of latent codes, and keeps the last few; null is no label. */

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

  /** The field of a document's code and label that is here already, or null. */
  peek(document) {
    return this.kept.get(keyOf(document)) ?? null;
  }

  /** @param {{latents: number[], label: ?number}} document @returns {Promise<Field>} */
  async get(document) {
    const key = keyOf(document);
    const field = this.peek(document) ?? (await this.fetch(document));
    this.kept.delete(key);
    this.kept.set(key, field);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    return field;
  }

  async fetch({ latents, label }) {
    const inputs = given(label, { latents: batchOfOne(latents) });
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

function keyOf({ latents, label }) {
  return `${label}:${latents}`;
}

/** What a signature is asked with: its inputs, and the label of a conditional model. */
export function given(label, inputs) {
  return label === null ? inputs : { ...inputs, labels: { data: Int32Array.of(label), shape: [1] } };
}

export function batchOfOne(numbers) {
  return { data: Float32Array.from(numbers), shape: [1, numbers.length] };
}

/** The latent code of a seed: that of the signature `sample` for [seed, 0], whatever the label. */
export async function latentsOf(seed, label) {
  const seeds = { data: Int32Array.of(seed, 0), shape: [1, 2] };
  return Array.from((await predict("sample", given(label, { seeds }), ["latents"])).latents.data);
}
