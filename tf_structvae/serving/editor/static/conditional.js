/**
 * p(x given z) given painted pixels (eq. 5 and 6), in the coordinates of the principal components.
 *
 * x_i = mu_i + q_i u + n_i with q_i = s * U_i, n_i ~ N(0, D_i) and u ~ N(0, I). A painted b_i = x_i +
 * N(0, v) tells of u with the precision q_i^T q_i / (D_i + v), all of them with Lambda less I: given
 * them, u ~ N(centre, Lambda^-1), centre = Lambda^-1 sum_i q_i^T (b_i - mu_i) / (D_i + v). Seen
 * through it, a painted entry is f (mu_i + q_i u) + (1 - f) b_i with f = v / (D_i + v): exactly b_i at
 * v = 0.
 *
 * A picture that has a noise u_0 of its own moves as little as the strokes allow: to the mean under
 * the prior N(u_0, I), u_0 + Lambda^-1 sum_i q_i^T (b_i - mu_i - q_i u_0) / (D_i + v). Strokes that a
 * noise w was drawn to fit are settled: they hold their pixels where w has them, mu_i + q_i w in the
 * place of b_i, so that a sample that was chosen stays as it was seen. Kept pixels have v = 0.
 */

import { cholesky, solveLower, solveUpper } from "./linalg.js";

const [EXACT, SOFT] = [1, 2];

export class Conditional {
  /**
   * @param {Field} field
   * @param {{mask, settled, kept: Uint8Array, values: Float32Array}} edit masks of H * W, values of H * W * C
   * @param {number} variance of what is painted and not kept; 0: exact
   * @param {ArrayLike<number>} u noise of the picture that is edited
   * @param {ArrayLike<number>} drawn the noise that settled strokes were drawn with
   * @param {Conditional|null} earlier of the same field and variance; if all its pixels are painted
   *   still, as exactly, only the new ones are added, whose sums then are rounded in another order
   */
  constructor(field, edit, variance, u, drawn = u, earlier = null) {
    this.field = field;
    this.edit = edit;
    this.variance = variance;
    const n = field.rank;
    const grows = earlier && earlier.variance === variance && this.covers(earlier.seen);
    this.precision = grows ? earlier.precision : identity(n);
    this.seen = grows ? earlier.seen : new Uint8Array(edit.mask.length); // EXACT, SOFT or 0: not yet
    const { shift, evidence } = this.observe(u, drawn);
    this.lower = cholesky(this.precision, n);
    this.coefficients = this.solve(shift).map((x, k) => x + u[k]);
    this.centre = this.solve(evidence);
  }

  solve(b) {
    return solveUpper(this.lower, this.field.rank, solveLower(this.lower, this.field.rank, b));
  }

  /** Adds the precision of new pixels; returns the sums of the picture that moves and of `centre`. */
  observe(u, drawn) {
    const { field, edit, seen, precision } = this;
    const n = field.rank;
    const channels = field.size.channels;
    const row = new Float64Array(n);
    const [shift, evidence] = [new Float64Array(n), new Float64Array(n)];
    if (!n) return { shift, evidence };
    for (let pixel = 0; pixel < edit.mask.length; pixel++) {
      if (!edit.mask[pixel]) continue;
      for (let i = pixel * channels; i < (pixel + 1) * channels; i++) {
        field.row(i, row);
        const weight = 1 / (field.noise[i] + this.varianceOf(pixel));
        const told = edit.values[i] - field.mean[i];
        let residual = edit.settled[pixel] ? 0 : told;
        if (edit.settled[pixel]) for (let k = 0; k < n; k++) residual += row[k] * (drawn[k] - u[k]);
        else for (let k = 0; k < n; k++) residual -= row[k] * u[k];
        for (let k = 0; k < n; k++) {
          shift[k] += weight * residual * row[k];
          evidence[k] += weight * told * row[k];
        }
        if (!seen[pixel]) addOuter(precision, weight, row);
      }
      seen[pixel] = this.kind(pixel);
    }
    return { shift, evidence };
  }

  /** v of a painted pixel. */
  varianceOf(pixel) {
    return this.edit.kept[pixel] ? 0 : this.variance;
  }

  kind(pixel) {
    return this.varianceOf(pixel) ? SOFT : EXACT;
  }

  covers(seen) {
    return seen.every((x, pixel) => !x || (this.edit.mask[pixel] && x === this.kind(pixel)));
  }

  /** The picture that is edited, not clipped. */
  picture() {
    return this.render(this.coefficients);
  }

  /** The noise u of a draw from all pictures with these strokes; of zeros: that of their mean. */
  noiseOf(normals) {
    const away = solveUpper(this.lower, this.field.rank, normals);
    return this.centre.map((x, k) => x + away[k]);
  }

  /** The picture of a noise with what is painted, without pixel noise, not clipped. */
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
    const pixel = Math.floor(entry / this.field.size.channels);
    if (!this.edit.mask[pixel]) return 1;
    const variance = this.varianceOf(pixel);
    return variance / (this.field.noise[entry] + variance);
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
    const weights = this.solve(mean);
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
