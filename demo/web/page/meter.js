// How long things take now: medians of the last frames, never means of a lifetime.

const KEPT = 30; // times of each stage
const WINDOW_MS = 2000;

export class Meter {
  /** @type {Map<string, number[]>} */
  #stages = new Map();
  /** @type {number[]} */
  #frames = [];

  /**
   * Note how long a stage took.
   *
   * @param {string} stage
   * @param {number} milliseconds
   */
  add(stage, milliseconds) {
    const times = this.#stages.get(stage) ?? [];
    times.push(milliseconds);
    this.#stages.set(stage, times.slice(-KEPT));
  }

  /** Note that a frame is shown. */
  tick() {
    const now = performance.now();
    this.#frames = this.#frames.filter((time) => now - time < WINDOW_MS);
    this.#frames.push(now);
  }

  /** Frames a second over the last two. */
  get rate() {
    const [first] = this.#frames;
    const last = this.#frames.at(-1) ?? 0;
    return this.#frames.length > 1 ? ((this.#frames.length - 1) * 1000) / (last - first) : 0;
  }

  /**
   * Return the median of a stage.
   *
   * @param {string} stage
   * @returns {number | undefined} milliseconds
   */
  median(stage) {
    const times = this.#stages.get(stage)?.toSorted((a, b) => a - b);
    return times?.[times.length >> 1];
  }
}
