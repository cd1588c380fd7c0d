/** Named arrays as bytes; editor/packing.py is the other end. */

const TYPES = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };

/** @param {Object<string, {data: TypedArray, shape: number[]}>} arrays @param {string[]} outputs */
export function pack(arrays, outputs) {
  const names = Object.keys(arrays);
  const listed = names.map((name) => {
    const { data, shape } = arrays[name];
    const dtype = Object.keys(TYPES).find((t) => data instanceof TYPES[t]);
    return { name, dtype, shape };
  });
  let text = JSON.stringify({ arrays: listed, outputs });
  text += " ".repeat((4 - (text.length % 4)) % 4);
  const header = new TextEncoder().encode(text);
  const length = new Uint32Array([header.length]);
  return new Blob([length, header, ...names.map((name) => arrays[name].data)]);
}

/** @param {ArrayBuffer} buffer @returns {Object<string, {data: TypedArray, shape: number[]}>} */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const found = {};
  let start = 4 + length;
  for (const { name, dtype, shape } of header.arrays) {
    const size = shape.reduce((a, b) => a * b, 1);
    const data = new TYPES[dtype](buffer, start, size);
    found[name] = { data, shape };
    start += data.byteLength;
  }
  return found;
}
