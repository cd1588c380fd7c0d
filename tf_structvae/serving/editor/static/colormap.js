/** Colours of maps, as [red, green, blue]; both scales are safe for the colour-blind. */

// ColorBrewer's RdBu: blue is negative
const DIVERGING = [[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]];
// five colours of Cividis (Nunez, Anderton and Renslow 2018)
const RISING = [[0, 34, 78], [65, 77, 107], [124, 123, 120], [188, 175, 111], [254, 232, 56]];

function between(colours, t) {
  const x = Math.min(Math.max(t, 0), 1) * (colours.length - 1);
  const i = Math.min(Math.floor(x), colours.length - 2);
  return colours[i].map((c, k) => c + (x - i) * (colours[i + 1][k] - c));
}

/** @param {number} t from -1 to 1 */
export const diverging = (t) => between(DIVERGING, (t + 1) / 2);

/** @param {number} t from 0 to 1 */
export const rising = (t) => between(RISING, t);
