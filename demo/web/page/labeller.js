// The model as the page sees it: a picture in, its labels out; and which place to run it is fastest.

/** @typedef {import("./inference-worker.js").Place} Place */
/** @typedef {import("./inference-worker.js").Labelled} Labelled */
/** @typedef {import("./follower.js").Square} Square */

const RUNS = 5;
const GRAPHICS_MS = 60_000; // to open the model there; what takes longer helps nobody
const MOST_THREADS = 4; // more do not help networks of this size

/** A model opened in a worker of its own; answers one call after the other. */
export class Labeller {
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();
  #worker = new Worker(new URL("./inference-worker.js", import.meta.url), { type: "module" });

  /**
   * @param {Place} place
   * @param {number} threads
   * @param {number} size side in pixels of the squares that the model takes
   */
  constructor(place, threads, size) {
    this.place = place;
    this.threads = threads;
    this.size = size;
  }

  /**
   * Open the model that lies beside the page, and run it once to warm it up.
   *
   * @param {Place} place
   * @param {number} threads
   * @param {number} size
   * @param {AbortSignal} [signal] gives up
   */
  static async open(place, threads, size, signal) {
    const labeller = new Labeller(place, threads, size);
    const given = new Promise((_, reject) =>
      signal?.addEventListener("abort", () => reject(signal.reason)),
    );
    try {
      await Promise.race([labeller.#ask({ place, threads, size }), given]);
      const blank = await createImageBitmap(new ImageData(size, size));
      await Promise.race([labeller.labelSquare(blank), given]);
      return labeller;
    } catch (error) {
      labeller.close();
      throw error;
    }
  }

  /**
   * Label a square of a frame, which stays as it is.
   *
   * @param {ImageBitmap} frame
   * @param {Square} square
   */
  async label(frame, { x, y, side }) {
    const scaled = { resizeWidth: this.size, resizeHeight: this.size };
    return this.labelSquare(
      await createImageBitmap(frame, x, y, side, side, { ...scaled, resizeQuality: "medium" }),
    );
  }

  /**
   * Label a picture of the model's size, which is used up.
   *
   * @param {ImageBitmap} picture
   * @returns {Promise<Labelled>}
   */
  labelSquare(picture) {
    return this.#ask({ picture }, [picture]);
  }

  /**
   * Return the median milliseconds of labelling a square, everything included.
   *
   * @param {ImageBitmap} frame
   * @param {Square} square
   */
  async time(frame, square) {
    const times = [];
    for (let run = 0; run < RUNS; run++) {
      const started = performance.now();
      await this.label(frame, square);
      times.push(performance.now() - started);
    }
    return times.sort((a, b) => a - b)[RUNS >> 1];
  }

  /** The place, for people. */
  get name() {
    if (this.place === "graphics") return "graphics card (WebGPU)";
    return `processor, ${this.threads} thread${this.threads > 1 ? "s" : ""}`;
  }

  close() {
    this.#worker.terminate();
  }

  /**
   * @param {object} message
   * @param {Transferable[]} transfer
   * @returns {Promise<any>}
   */
  #ask(message, transfer = []) {
    const answer = this.#last.then(
      () =>
        new Promise((resolve, reject) => {
          this.#worker.onmessage = ({ data }) =>
            data.error
              ? reject(new Error(`The model does not run in this browser (${data.error}).`))
              : resolve(data);
          this.#worker.onerror = (event) =>
            reject(new Error(event.message || "the worker cannot be loaded"));
          this.#worker.postMessage(message, transfer);
        }),
    );
    this.#last = answer.catch(() => {});
    return answer;
  }
}

/**
 * Open the model in every place that this browser has, the processor's threads first.
 *
 * @param {number} size side in pixels of the squares that the model takes
 * @returns {AsyncGenerator<Labeller>} without those places in which it does not run
 */
export async function* everywhere(size) {
  // Without the headers that isolate a page, browsers give it one thread. On a machine that is busy
  // with other things one can be faster than several.
  const threads = self.crossOriginIsolated
    ? Math.min(MOST_THREADS, navigator.hardwareConcurrency)
    : 1;
  yield Labeller.open("processor", threads, size);
  if (threads > 1) yield Labeller.open("processor", 1, size);
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  // Some processors play a graphics card.
  if (!adapter || adapter.info.isFallbackAdapter) return;
  try {
    yield await Labeller.open("graphics", 1, size, AbortSignal.timeout(GRAPHICS_MS));
  } catch (error) {
    console.warn(error);
  }
}
