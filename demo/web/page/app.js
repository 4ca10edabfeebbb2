// The page: what is shown, what is chosen, and the loop from one frame to the next.

import { BODY, FaceFollower, HEAD } from "./follower.js";
import { everywhere, Labeller } from "./labeller.js";
import { Meter } from "./meter.js";
import { Painter } from "./painter.js";
import { milliseconds, the, writeParts, writeSpeed } from "./panel.js";
import { mend } from "./person.js";
import { openCamera, openFile } from "./sources.js";

/** @typedef {import("./painter.js").Model} Model */
/** @typedef {import("./sources.js").Source} Source */
/** @typedef {import("./painter.js").Parsed} Parsed */

const NO_FACE = "No face is found.";
const FIGURES_MS = 500; // between two updates of what is written beside the picture

const canvas = /** @type {HTMLCanvasElement} */ (the("canvas"));
const video = /** @type {HTMLVideoElement} */ (the("video"));
const form = /** @type {HTMLFormElement} */ (the("look"));
const places = /** @type {HTMLSelectElement} */ (the("place"));

/** @type {Model} */
const model = await (await fetch(new URL("./model.json", import.meta.url))).json();
const painter = new Painter(canvas, model);
let meter = new Meter();
/** @type {Source | null} */
let source = null;
/** @type {Parsed | null} */
let shown = null;
/** @type {Labeller} */
let labeller;
/** @type {Labeller[] | null} to choose from before the next frame */
let candidates = null;

/** @param {string} text */
function say(text) {
  the("status").textContent = text;
}

/** @param {unknown} error */
const message = (error) => (error instanceof Error ? error.message : String(error));

/** @param {unknown} error */
const complain = (error) => stop(message(error));

/** @returns {import("./painter.js").Look} */
function look() {
  const values = /** @type {any} */ (Object.fromEntries(new FormData(form)));
  return { ...values, strength: Number(values.strength) };
}

/** Draw what was parsed last, with the effect as it is chosen now. */
function paint() {
  if (!shown) return;
  const started = performance.now();
  painter.paint(shown, look());
  meter.add("draw", performance.now() - started);
}

/** @param {Parsed} parsed */
function show(parsed) {
  shown?.frame.close();
  shown = parsed;
  const started = performance.now();
  if (parsed.labels) mend(parsed.labels);
  meter.add("mend", performance.now() - started);
  paint();
  meter.tick();
}

/**
 * Label the next frame. The one before is drawn meanwhile, unless it has been.
 *
 * @param {Source} from
 * @param {FaceFollower} follower
 * @param {Parsed | null} before
 * @returns {Promise<Parsed>}
 */
async function parse(from, follower, before) {
  if (candidates && (shown || candidates.length === 1)) await choose(candidates, shown);
  const waited = performance.now();
  const frame = await from.next();
  meter.add("capture", performance.now() - waited);
  const margin = look().effect === "blur" ? BODY : HEAD;
  const followed = follower.found;
  const square = follower.next(frame.width, frame.height, margin);
  const answer = labeller.label(frame, square);
  if (before) show(before);
  const { labels, preprocessMs, inferenceMs } = await answer;
  meter.add("preprocess", preprocessMs);
  meter.add("inference", inferenceMs);
  const fresh = from.still || !followed;
  return { frame, square, labels: follower.see(labels, square) ? labels : null, fresh };
}

/**
 * Show frames of a source until another one is opened.
 *
 * @param {Source} from
 */
async function play(from) {
  const follower = new FaceFollower(model.parts);
  /** @type {Parsed | null} */
  let waiting = null;
  while (source === from) {
    const parsed = await parse(from, follower, waiting);
    if (source !== from) return parsed.frame.close();
    waiting = from.ready && !from.still ? parsed : null;
    if (!waiting) show(parsed);
    if (!from.still) continue;
    if (parsed.labels || follower.settled) write();
    if (follower.settled) return;
  }
}

/** @param {string} why */
function stop(why = "") {
  source?.close();
  source = null;
  for (const id of ["pause", "mirroring"]) the(id).hidden = true;
  the("camera").textContent = "Start camera";
  say(why);
}

/** @param {boolean} allowed */
function allowOpening(allowed) {
  for (const id of ["camera", "file"]) /** @type {any} */ (the(id)).disabled = !allowed;
}

/** @param {() => Promise<Source>} opening */
async function open(opening) {
  stop();
  allowOpening(false);
  try {
    source = await opening();
  } catch (error) {
    return complain(error);
  } finally {
    allowOpening(true);
  }
  meter = new Meter();
  the("hint").hidden = true;
  the("save").hidden = false;
  the("pause").hidden = source.still;
  the("pause").ariaPressed = "false";
  the("mirroring").hidden = !source.live;
  if (source.live) the("camera").textContent = "Stop camera";
  mirror();
  play(source).catch(complain);
}

function toggleCamera() {
  if (source?.live) return stop();
  const gone = () => stop("The camera is gone: connect it and start it again.");
  open(() => openCamera(video, gone));
}

/** @param {File | undefined} file */
function openChosen(file) {
  if (file && labeller) open(() => openFile(video, file));
}

function mirror() {
  canvas.classList.toggle("mirrored", Boolean(source?.live && new FormData(form).get("mirror")));
}

/** Write what is known of the picture beside it. */
function write() {
  writeSpeed(meter, source && !source.still ? source.dropped : null);
  if (!shown || !source) return;
  if (!shown.labels) say(NO_FACE);
  else if (the("status").textContent === NO_FACE) say("");
  const parts = writeParts(model, shown.labels ?? new Uint8Array());
  canvas.ariaLabel = parts.length
    ? `A face with ${look().effect}; seen: ${parts.join(", ")}`
    : "A picture without a face";
}

/**
 * Go on with the fastest of some labellers.
 *
 * @param {Labeller[]} among
 * @param {Parsed | null} on what to measure them, where there are several
 */
async function choose(among, on) {
  candidates = null;
  const times = new Map();
  if (on && among.length > 1) {
    for (const one of among) times.set(one, await one.time(on.frame, on.square));
    the("measured").textContent =
      `Measured at the start: ${among.map((one) => `${one.name} ${milliseconds(times.get(one))}`).join("; ")}.`;
  }
  const [best, ...others] = among.toSorted((a, b) => times.get(a) - times.get(b));
  if (best !== labeller) meter = new Meter();
  for (const one of new Set([...others, labeller])) if (one !== best) one.close();
  labeller = best;
  places.value = `${best.place} ${best.threads}`;
}

/** Run the model where the user says. */
async function move() {
  const [place, threads] = places.value.split(" ");
  places.disabled = true;
  say("Loading the model …");
  try {
    for (const one of candidates ?? []) if (one !== labeller) one.close();
    candidates = null;
    candidates = [await Labeller.open(/** @type {any} */ (place), Number(threads), model.input_size)];
    say("");
  } catch (error) {
    say(message(error));
  }
  places.disabled = false;
}

async function begin() {
  const opened = [];
  for await (const one of everywhere(model.input_size)) {
    opened.push(one);
    places.add(new Option(one.name, `${one.place} ${one.threads}`));
    if (opened.length > 1) continue;
    labeller = one;
    allowOpening(true);
    say("");
  }
  candidates = opened;
  places.disabled = false;
}

the("camera").addEventListener("click", toggleCamera);
the("file").addEventListener("change", ({ target }) => {
  const input = /** @type {HTMLInputElement} */ (target);
  openChosen(input.files?.[0]);
  input.value = ""; // so that the same file can be chosen again
});
the("pause").addEventListener("click", () => {
  const paused = video.paused;
  if (paused) video.play();
  else video.pause();
  the("pause").ariaPressed = String(!paused);
});
the("save").addEventListener("click", () =>
  canvas.toBlob((blob) => {
    if (!blob) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `face-${look().effect}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  }),
);
places.addEventListener("change", move);
form.addEventListener("input", () => {
  the("colours").hidden = look().effect !== "recolour";
  mirror();
  paint();
});
form.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  openChosen(event.dataTransfer?.files[0]);
});
setInterval(() => source && !source.still && write(), FIGURES_MS);

the("about").textContent = `Model ${model.name}. ${model.licence}`;
begin().catch(complain);
