/** Spherical interpolation (eq. 7), as tf_structvae.distributions.editing has it. */

const TINY = 1e-4;
const norm = (v) => Math.hypot(...v);
const combine = (p, a, q, b) => a.map((x, i) => p * x + q * b[i]);

/** From a (t = 0) to b (t = 1) along the great circle; linear where there is none. */
export function slerp(a, b, t) {
  const [lengthA, lengthB] = [norm(a), norm(b)];
  if (lengthA === 0 || lengthB === 0) return combine(1 - t, a, t, b);
  const unitA = a.map((x) => x / lengthA);
  const unitB = b.map((x) => x / lengthB);
  // by half-angles: exact where the cosine is flat
  const together = norm(combine(1, unitA, 1, unitB));
  const omega = 2 * Math.atan2(norm(combine(1, unitA, -1, unitB)), together);
  if (omega < TINY) return combine(1 - t, a, t, b);
  if (together < TINY) {
    const radius = (1 - t) * lengthA + t * lengthB;
    const around = combine(Math.cos(t * omega), unitA, Math.sin(t * omega), orthogonal(unitA));
    return around.map((x) => radius * x);
  }
  const sine = Math.sin(omega);
  return combine(Math.sin((1 - t) * omega) / sine, a, Math.sin(t * omega) / sine, b);
}

/** A unit vector orthogonal to `unit`, the same for the same vector; zero if there is none. */
function orthogonal(unit) {
  const sizes = unit.map(Math.abs);
  const axis = sizes.indexOf(Math.min(...sizes));
  const rest = unit.map((x, i) => (i === axis ? 1 : 0) - unit[axis] * x);
  const length = norm(rest);
  return length ? rest.map((x) => x / length) : rest;
}

/** Inside a square (Fig. 3): corners top left, top right, bottom left, bottom right. */
export function slerpSquare(corners, across, down) {
  const [a, b, c, d] = corners;
  return slerp(slerp(a, b, across), slerp(c, d, across), down);
}
