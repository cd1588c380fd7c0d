/**
 * p(x given z) given painted pixels (eq. 5 and 6), in the coordinates of the principal components.
 *
 * x_i = mu_i + q_i u + n_i with q_i = s * U_i, n_i ~ N(0, D_i) and a prior N(u_0, I) of u, where u_0
 * is the noise of the picture that is edited. A painted b_i = x_i + N(0, v) tells of u with the
 * precision q_i^T q_i / (D_i + v). Seen through it, a painted entry is f (mu_i + q_i u) + (1 - f) b_i
 * with f = v / (D_i + v): exactly b_i at v = 0.
 */

import { cholesky, solveLower, solveUpper } from "./linalg.js";

export class Conditional {
  /**
   * @param {Field} field
   * @param {{mask: Uint8Array, values: Float32Array}} edit mask of H * W, values of H * W * C
   * @param {number} variance of what is painted; 0: exact
   * @param {ArrayLike<number>} u noise of the picture that is edited
   * @param {Conditional|null} earlier of the same field and variance; if all its pixels are painted
   *   still, only the new ones are added, whose sums then are rounded in another order
   */
  constructor(field, edit, variance, u, earlier = null) {
    this.field = field;
    this.edit = edit;
    this.variance = variance;
    const n = field.rank;
    const grows = earlier && earlier.variance === variance && covers(edit.mask, earlier.seen);
    this.precision = grows ? earlier.precision : identity(n);
    this.seen = grows ? earlier.seen : new Uint8Array(edit.mask.length);
    const shift = this.observe(u);
    this.lower = cholesky(this.precision, n);
    const moved = solveUpper(this.lower, n, solveLower(this.lower, n, shift));
    this.coefficients = moved.map((x, k) => x + u[k]);
  }

  /** Adds the precision of new pixels; returns the sum of q_i (b_i - its picture) / (D_i + v). */
  observe(u) {
    const { field, edit, seen, precision } = this;
    const n = field.rank;
    const channels = field.size.channels;
    const row = new Float64Array(n);
    const shift = new Float64Array(n);
    if (!n) return shift;
    for (let pixel = 0; pixel < edit.mask.length; pixel++) {
      if (!edit.mask[pixel]) continue;
      for (let i = pixel * channels; i < (pixel + 1) * channels; i++) {
        field.row(i, row);
        const weight = 1 / (field.noise[i] + this.variance);
        let residual = edit.values[i] - field.mean[i];
        for (let k = 0; k < n; k++) residual -= row[k] * u[k];
        for (let k = 0; k < n; k++) shift[k] += weight * residual * row[k];
        if (!seen[pixel]) addOuter(precision, weight, row);
      }
      seen[pixel] = 1;
    }
    return shift;
  }

  /** The mean, not clipped. */
  mean() {
    return this.render(this.coefficients);
  }

  /** A draw without pixel noise, of R standard normal numbers. */
  draw(normals) {
    return this.render(this.noiseOf(normals));
  }

  /** The noise u of such a draw. */
  noiseOf(normals) {
    const away = solveUpper(this.lower, this.field.rank, normals);
    return this.coefficients.map((x, k) => x + away[k]);
  }

  render(coefficients) {
    const picture = this.field.picture(coefficients);
    const { mask, values } = this.edit;
    const channels = this.field.size.channels;
    for (let pixel = 0; pixel < mask.length; pixel++) {
      if (!mask[pixel]) continue;
      for (let i = pixel * channels; i < (pixel + 1) * channels; i++) {
        const free = this.free(i);
        picture[i] = free * picture[i] + (1 - free) * values[i];
      }
    }
    return picture;
  }

  /** f of a painted entry; 1 of others. */
  free(entry) {
    if (!this.edit.mask[Math.floor(entry / this.field.size.channels)]) return 1;
    return this.variance / (this.field.noise[entry] + this.variance);
  }

  /** The part of an entry's variance that it shares with no other. */
  own(entry) {
    return this.field.noise[entry] * this.free(entry);
  }

  /** Variances of all entries. */
  variances() {
    const n = this.field.rank;
    const row = new Float64Array(n);
    return Float32Array.from({ length: this.field.count }, (_, i) => {
      const spread = solveLower(this.lower, n, this.field.row(i, row));
      return this.free(i) ** 2 * spread.reduce((sum, x) => sum + x * x, 0) + this.own(i);
    });
  }

  /** Covariances of all entries with the mean over the channels of a pixel. */
  covariances(pixel) {
    const { rank: n, size, count } = this.field;
    const row = new Float64Array(n);
    const mean = new Float64Array(n);
    const first = pixel * size.channels;
    for (let i = first; i < first + size.channels; i++) {
      this.field.row(i, row);
      for (let k = 0; k < n; k++) mean[k] += (this.free(i) * row[k]) / size.channels;
    }
    const weights = solveUpper(this.lower, n, solveLower(this.lower, n, mean));
    const found = new Float32Array(count);
    for (let k = 0; k < n; k++) {
      const weight = weights[k] * this.field.stddevs[k];
      const vector = this.field.component(k);
      for (let i = 0; i < count; i++) found[i] += weight * vector[i];
    }
    for (let p = 0; p < this.edit.mask.length; p++) {
      if (!this.edit.mask[p]) continue;
      for (let i = p * size.channels; i < (p + 1) * size.channels; i++) found[i] *= this.free(i);
    }
    for (let i = first; i < first + size.channels; i++) found[i] += this.own(i) / size.channels;
    return found;
  }
}

function identity(n) {
  const matrix = new Float64Array(n * n);
  for (let i = 0; i < n; i++) matrix[i * n + i] = 1;
  return matrix;
}

function addOuter(matrix, weight, row) {
  const n = row.length;
  for (let i = 0; i < n; i++) {
    const scaled = weight * row[i];
    for (let j = 0; j <= i; j++) matrix[i * n + j] += scaled * row[j];
  }
}

function covers(mask, other) {
  return other.every((x, i) => !x || mask[i]);
}
