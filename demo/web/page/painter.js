// Draws frames with what their labels make of them.

import { HOLE } from "./person.js";

/**
 * What the page knows of the model; demo/web/site.py writes it.
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {number} input_size side in pixels of the squares that it takes
 * @property {string[]} classes by label; the first is background
 * @property {[number, number, number][]} palette red, green and blue by label
 * @property {import("./follower.js").FaceLabels & { hair: number[], lips: number[] }} parts labels
 * @property {string} licence
 */

/** @typedef {import("./follower.js").Square} Square */
/** @typedef {"overlay" | "blur" | "recolour"} Effect */

/**
 * @typedef {object} Parsed
 * @property {ImageBitmap} frame
 * @property {Square} square of the frame
 * @property {Uint8Array | null} labels of the square; null: no face is in it
 * @property {boolean} fresh what was shown before says nothing about it
 */

/**
 * @typedef {object} Look
 * @property {Effect} effect
 * @property {number} strength 0 to 1
 * @property {string} hair colour, #rrggbb
 * @property {string} lips colour, #rrggbb
 */

const OPAQUE = 0xff000000; // as a pixel of ImageData
const FADE = 0.1; // of the square: the part of its border over which labels fade out
const STEADY = 0.3; // share of a new mask in what is shown, of a still scene
const YIELD = 7; // by how much that grows with the share of the labels that changed
const STEP = 4; // rows and columns from one compared label to the next
const BLURRED_SIDE = 256; // longer side of the picture that is blurred, which has no details
const HALVINGS = 4; // of that, for the strongest blur

/** Paints one canvas. */
export class Painter {
  /** @type {Uint8Array} */
  #labels = new Uint8Array();
  #layerKind = "";
  #square;
  #layer;
  #beyond;
  #pyramid;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Model} model
   */
  constructor(canvas, model) {
    this.context = context(canvas);
    this.model = model;
    this.#square = context(new OffscreenCanvas(model.input_size, model.input_size));
    this.#layer = context(new OffscreenCanvas(1, 1));
    this.#beyond = context(new OffscreenCanvas(1, 1));
    this.#pyramid = Array.from({ length: HALVINGS + 1 }, () => context(new OffscreenCanvas(1, 1)));
  }

  /**
   * Paint a frame.
   *
   * @param {Parsed} parsed
   * @param {Look} look
   */
  paint({ frame, labels, square, fresh }, look) {
    const { width, height } = frame;
    for (const { canvas } of [this.context, this.#layer, this.#beyond]) {
      if (canvas.width !== width || canvas.height !== height) {
        Object.assign(canvas, { width, height });
        this.#labels = new Uint8Array();
      }
    }
    if (fresh) this.#labels = new Uint8Array();
    this.#addToLayer(labels ?? new Uint8Array(this.model.input_size ** 2), square, look);
    const layer = this.#layer.canvas;
    draw(this.context, frame, "copy");
    if (look.effect === "overlay") draw(this.context, layer, "source-over", look.strength);
    // Their lightness stays, and with it light, shadow and strands.
    if (look.effect === "recolour") draw(this.context, layer, "color", look.strength);
    if (look.effect === "blur" && look.strength > 0) {
      draw(this.#beyond, this.#blurred(frame, look.strength), "copy");
      draw(this.#beyond, layer, "destination-out");
      draw(this.context, this.#beyond.canvas, "source-over");
    }
  }

  /**
   * Mix what the effect makes of the labels into a layer over the frame, such that it neither
   * flickers nor trails: the more labels have changed, the less of the old layer is kept.
   *
   * @param {Uint8Array} labels
   * @param {Square} square
   * @param {Look} look
   */
  #addToLayer(labels, { x, y, side }, look) {
    const kind = [look.effect, look.hair, look.lips].join();
    const share =
      kind === this.#layerKind ? Math.min(1, STEADY + YIELD * changed(this.#labels, labels)) : 1;
    this.#layerKind = kind;
    this.#labels = labels;

    const { canvas } = this.#square;
    const image = this.#square.createImageData(canvas.width, canvas.height);
    const colours = this.#colours(look);
    const pixels = new Uint32Array(image.data.buffer);
    for (let at = 0; at < pixels.length; at++) pixels[at] = colours[labels[at]];
    this.#square.putImageData(image, 0, 0);
    const { width, height } = this.#layer.canvas;
    fade(this.#square, [x > 0, y > 0, x + side < width, y + side < height]);

    this.#layer.globalCompositeOperation = "destination-in";
    this.#layer.fillStyle = `rgb(0 0 0 / ${1 - share})`;
    this.#layer.fillRect(0, 0, width, height);
    this.#layer.globalCompositeOperation = "lighter";
    this.#layer.globalAlpha = share;
    this.#layer.drawImage(canvas, x, y, side, side);
    this.#layer.globalAlpha = 1;
  }

  /**
   * Return the colour of each label in an effect's layer, as pixels of ImageData.
   *
   * @param {Look} look
   */
  #colours({ effect, hair, lips }) {
    const { palette, parts } = this.model;
    const colours = new Uint32Array(256);
    if (effect === "recolour") {
      for (const label of parts.hair) colours[label] = pixel(channels(hair));
      for (const label of parts.lips) colours[label] = pixel(channels(lips));
    } else {
      palette.forEach((colour, label) => (colours[label] = label ? pixel(colour) : 0));
    }
    if (effect === "blur") colours[HOLE] = OPAQUE;
    return colours;
  }

  /**
   * Return the background alone, small and blurred.
   *
   * @param {ImageBitmap} frame
   * @param {number} strength
   */
  #blurred(frame, strength) {
    const scale = BLURRED_SIDE / Math.max(frame.width, frame.height);
    this.#pyramid.forEach(({ canvas }, level) => {
      canvas.width = Math.max(1, Math.round((frame.width * scale) / 2 ** level));
      canvas.height = Math.max(1, Math.round((frame.height * scale) / 2 ** level));
    });
    const levels = this.#pyramid.slice(0, 2 + Math.round(strength * (HALVINGS - 1)));
    const [first] = levels;
    draw(first, frame, "copy");
    // Without the person, whose colours would make a halo.
    draw(first, this.#layer.canvas, "destination-out");
    levels.slice(1).forEach((level, above) => draw(level, levels[above].canvas, "copy"));
    for (let level = levels.length - 2; level >= 0; level--) {
      draw(levels[level], levels[level + 1].canvas, "copy");
    }
    // The gap that the person left is half transparent now at its edges: over itself it fills up.
    for (let times = 0; times < 5; times++) draw(first, first.canvas, "source-over");
    return first.canvas;
  }
}

/**
 * @template {HTMLCanvasElement | OffscreenCanvas} Canvas
 * @param {Canvas} canvas
 */
function context(canvas) {
  const made = canvas.getContext("2d");
  if (!made) throw new Error("This browser cannot draw.");
  return /** @type {CanvasRenderingContext2D} */ (made);
}

/**
 * Draw a picture over all of a canvas.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {CanvasImageSource} picture
 * @param {GlobalCompositeOperation} operation
 * @param {number} alpha
 */
function draw(context, picture, operation, alpha = 1) {
  context.globalCompositeOperation = operation;
  context.globalAlpha = alpha;
  context.drawImage(picture, 0, 0, context.canvas.width, context.canvas.height);
  context.globalAlpha = 1;
}

/**
 * Let a square fade out towards some of its sides: left, top, right, bottom.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {boolean[]} sides
 */
function fade(context, sides) {
  const { width } = context.canvas;
  const reach = FADE * width;
  context.globalCompositeOperation = "destination-out";
  const ends = [
    [0, 0, reach, 0],
    [0, 0, 0, reach],
    [width, 0, width - reach, 0],
    [0, width, 0, width - reach],
  ];
  ends.forEach(([fromX, fromY, toX, toY], side) => {
    if (!sides[side]) return;
    const gradient = context.createLinearGradient(fromX, fromY, toX, toY);
    gradient.addColorStop(0, "#000");
    gradient.addColorStop(1, "#0000");
    context.fillStyle = gradient;
    context.fillRect(0, 0, width, width);
  });
  context.globalCompositeOperation = "source-over";
}

/**
 * Return which share of the labels of a person changed.
 *
 * @param {Uint8Array} before
 * @param {Uint8Array} after
 */
function changed(before, after) {
  if (before.length !== after.length) return 1;
  const size = Math.sqrt(after.length);
  let different = 0;
  let person = 1;
  for (let row = 0; row < size; row += STEP) {
    for (let at = row * size; at < (row + 1) * size; at += STEP) {
      if (before[at] || after[at]) person++;
      if (before[at] !== after[at]) different++;
    }
  }
  return different / person;
}

/** @param {string} colour #rrggbb */
function channels(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** @param {number[]} colour red, green, blue */
const pixel = ([red, green, blue]) => (OPAQUE | (blue << 16) | (green << 8) | red) >>> 0;
