/** The class that a conditional model is given: another one keeps latent code and noise. */

import { $, attempt, element } from "./ui.js";

export class ClassChooser {
  constructor(studio) {
    const { classes } = studio.info;
    const select = $("class");
    $("class-choice").hidden = !classes.length;
    select.append(...classes.map((name, k) => element("option", { value: k, textContent: name })));
    const show = () => (select.value = studio.document?.label ?? 0);
    studio.addEventListener("document", show);
    select.addEventListener("change", async () => {
      await attempt(() => studio.commit({ label: Number(select.value) }));
      show(); // the old one, if the model did not answer
    });
  }
}

/** Whether a label is one of the model's: null without classes. */
export function isLabel(label, classes) {
  return classes.length ? Number.isInteger(label) && label >= 0 && label < classes.length : label === null;
}
