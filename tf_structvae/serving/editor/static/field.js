/**
 * p(x given z): normal, of mean mu and covariance P P^T + D, from what the signatures `decode` and
 * `components` tell. With P's principal components as the columns of U and their standard
 * deviations s, the picture of a noise u is mu + U (s u): u is standard normal before any edit.
 */

import { Conditional } from "./conditional.js";
import { blank } from "./strokes.js";

export class Field {
  /**
   * @param {{height: number, width: number, channels: number}} size
   * @param {{means, variances}} decoded arrays of H * W * C
   * @param {{components, stddevs}} factor arrays of R * H * W * C and R, both empty without P
   */
  constructor(size, decoded, factor) {
    this.size = size;
    this.count = size.height * size.width * size.channels;
    this.mean = decoded.means;
    this.components = factor.components;
    this.stddevs = factor.stddevs;
    this.rank = factor.stddevs.length;
    this.noise = pixelNoise(this, decoded.variances);
  }

  /** Unclipped picture of coefficients u. */
  picture(u) {
    const picture = Float32Array.from(this.mean);
    for (let k = 0; k < this.rank; k++) {
      const weight = u[k] * this.stddevs[k];
      if (weight !== 0) addScaled(picture, weight, this.component(k));
    }
    return picture;
  }

  /** The unit vector of a component. */
  component(k) {
    return this.components.subarray(k * this.count, (k + 1) * this.count);
  }

  /** Row of U diag(s) of an entry. */
  row(entry, into) {
    for (let k = 0; k < this.rank; k++) {
      into[k] = this.stddevs[k] * this.components[k * this.count + entry];
    }
    return into;
  }

  /** Mean of the noise u given a whole picture. */
  explain(picture) {
    const edit = { ...blank(this.size), values: picture };
    edit.mask.fill(1);
    return this.condition(edit, 0, new Float64Array(this.rank)).centre;
  }

  /** p given edits, and the picture of u that they move; see `Conditional`. */
  condition(edit, variance, u, drawn = u, earlier = null) {
    return new Conditional(this, edit, variance, u, drawn, earlier);
  }
}

function addScaled(sum, weight, vector) {
  for (let i = 0; i < sum.length; i++) sum[i] += weight * vector[i];
}

/** D: what the variances are beyond P P^T. */
function pixelNoise(field, variances) {
  const noise = Float64Array.from(variances);
  for (let k = 0; k < field.rank; k++) {
    const vector = field.component(k);
    const weight = field.stddevs[k] ** 2;
    for (let i = 0; i < noise.length; i++) noise[i] -= weight * vector[i] * vector[i];
  }
  // A difference of float32 numbers is uncertain by the rounding of the larger: where that is all
  // its entries differ by, D is one number, and their mean is far more exact.
  const mean = noise.reduce((a, b) => a + b, 0) / noise.length;
  const rounding = 1e-6 * variances.reduce((a, b) => Math.max(a, b), 0);
  if (noise.every((x) => Math.abs(x - mean) <= rounding)) noise.fill(mean);
  const least = Math.max(1e-9, rounding * 1e-3);
  return noise.map((x) => Math.max(x, least));
}
