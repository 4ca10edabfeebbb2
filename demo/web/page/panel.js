// What is written beside the picture.

/** @typedef {import("./meter.js").Meter} Meter */
/** @typedef {import("./painter.js").Model} Model */

const STAGES = ["capture", "preprocess", "inference", "mend", "draw"];
const SMALLEST_PART = 0.0005; // of the labels; smaller ones are not listed

/** @type {<Kind extends HTMLElement>(id: string) => Kind} */
export const the = (id) => /** @type {any} */ (document.getElementById(id));

/** @param {number | undefined} time */
export const milliseconds = (time) => (time === undefined ? "–" : `${time.toFixed(1)} ms`);

/**
 * @param {Meter} meter
 * @param {number | null} dropped frames; null: there is one alone
 */
export function writeSpeed(meter, dropped) {
  const { rate } = meter;
  the("rate").textContent = dropped === null ? "–" : rate.toFixed(rate < 10 ? 1 : 0);
  the("dropped").textContent = dropped === null ? "–" : String(dropped);
  the("stages").replaceChildren(
    ...STAGES.map((stage) => {
      const row = document.createElement("div");
      row.append(entry("dt", stage), entry("dd", milliseconds(meter.median(stage))));
      return row;
    }),
  );
}

/**
 * List the parts of people in some labels with their colours.
 *
 * @param {Model} model
 * @param {Uint8Array} labels
 * @returns {string[]} their names
 */
export function writeParts({ classes, palette }, labels) {
  const counts = new Uint32Array(256);
  for (const label of labels) counts[label]++;
  const present = [...classes.keys()].filter(
    (label) => label && counts[label] > SMALLEST_PART * labels.length,
  );
  the("legend").hidden = !present.length;
  the("parts").replaceChildren(
    ...present.map((label) => {
      const item = entry("li", classes[label]);
      const swatch = document.createElement("i");
      swatch.style.background = `rgb(${palette[label].join(" ")})`;
      item.prepend(swatch);
      return item;
    }),
  );
  return present.map((label) => classes[label]);
}

/**
 * @param {string} tag
 * @param {string} text
 */
function entry(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}
