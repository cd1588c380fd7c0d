/** The picture that the page begins with: one that shows what the model can do. */

import { normals } from "./random.js";
import { documentOf } from "./source.js";

const SEED = 34; // of the latent code: a clear face of the demonstration model
const NOISE_SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];
const MOST_CLIPPED = 0.01; // of the entries of a picture that may be outside [0, 1]

/** The latent code of a fixed seed with the noise seed of the clearest picture. */
export async function firstDocument(studio) {
  const document = await documentOf(SEED, NOISE_SEEDS[0], studio.info);
  const field = await studio.loading(document);
  const noiseSeed = clearest(field);
  const noise = normals(noiseSeed, field.rank);
  return { ...document, noiseSeed, noise, coefficients: noise };
}

/** Of the noise seeds, the one of the strongest edges, by the mean difference between neighbours. */
function clearest(field) {
  const scores = NOISE_SEEDS.map((seed) => clarity(field.picture(normals(seed, field.rank)), field.size));
  return NOISE_SEEDS[scores.indexOf(Math.max(...scores))];
}

/** Below 0 where too much is clipped. */
function clarity(picture, { height, width, channels }) {
  const clipped = picture.filter((x) => x < 0 || x > 1).length / picture.length;
  if (clipped > MOST_CLIPPED) return -clipped;
  const at = (r, c, k) => Math.min(Math.max(picture[(r * width + c) * channels + k], 0), 1);
  let sum = 0;
  for (let r = 1; r < height; r++) {
    for (let c = 1; c < width; c++) {
      for (let k = 0; k < channels; k++) {
        sum += Math.abs(at(r, c, k) - at(r - 1, c, k)) + Math.abs(at(r, c, k) - at(r, c - 1, k));
      }
    }
  }
  return sum / picture.length;
}
