/** Which model the page shows. */

import { $, element } from "./ui.js";

function distribution(info) {
  const factor = info.rank ? `low-rank normal of rank ${info.rank}` : "independent normal";
  if (!info.signatures.includes("local")) return factor;
  return `${info.rank ? factor : "no low rank"}, and a local precision, which edits take for noise of each pixel`;
}

export function describe(info) {
  const [height, width, channels] = info.image_shape;
  const data = info.card?.data;
  $("model-name").textContent = info.name;
  document.title = `${info.name} · Structured VAE editor`;
  const kind = channels === 1 ? "grey" : "colour";
  const untold = info.card ? "not told by the model's card" : "not told: this server has no model card";
  const source = data ? `${data.name}, licence: ${data.license ?? "not told"}` : "data set and licence not told";
  $("model-facts").textContent = `version ${info.version} · ${width} × ${height} ${kind} · ${source}`;
  const facts = {
    Version: info.version,
    Resolution: `${width} × ${height} pixels, ${kind}`,
    Distribution: distribution(info),
    "Latent code": `${info.latent_dim} numbers, drawn from ${info.card?.prior ?? "N(0, I)"}`,
    Classes: info.classes.join(", "),
    Parameters: info.card?.parameters?.toLocaleString("en"),
    "Data set": data?.name ?? untold,
    "About it": data?.description,
    Licence: data?.license ?? untold,
    Attribution: data?.attribution,
    Homepage: data?.homepage,
  };
  for (const [name, value] of Object.entries(facts)) {
    if (!value) continue;
    const shown = /^https?:\/\//.test(value)
      ? element("a", { href: value, textContent: value, rel: "noreferrer", target: "_blank" })
      : String(value);
    $("model-card").append(element("dt", { textContent: name }), element("dd", {}, shown));
  }
}
