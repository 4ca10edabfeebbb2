// Where to look for the face: at all of the frame first, then at its surroundings as it moves.

/**
 * A square of a frame, in its pixels. It may reach over the frame's edges.
 *
 * @typedef {{ x: number, y: number, side: number }} Square
 */

const CELLS = 64; // along a side of the labels: faces are connected cells
const FEWEST = 6; // cells of a face; smaller ones are specks
const FEATURED = 0.08; // least share of features in a face; a fourth of most is
const PATIENCE = 5; // looks without a face before it is searched for again
const ENOUGH = 4; // sightings in one frame, the first of which may be coarse
const STILL = 0.05; // of the side: a face that moves less is not followed
const FAST = 0.4; // of the side: one that moves further is followed at once

// The side looked at over that of the face: the smaller, the finer the labels.
export const HEAD = 2.6;
export const BODY = 3.4;

/**
 * Labels by which a face is known.
 *
 * @typedef {object} FaceLabels
 * @property {number[]} face all that a face consists of
 * @property {number[]} features eyes, nose, mouth and the like; none: not asked for
 */

/**
 * Find the face that shows most of its features among some labels.
 *
 * A region in the colour of skin is none: it is told by eyes, nose and mouth in it.
 *
 * @param {Uint8Array} labels of a square, row by row
 * @param {FaceLabels} parts
 * @param {boolean} central prefer faces near the middle
 * @returns {Square | null} the square about its middle with its longer side, in parts of the square
 */
export function findFace(labels, { face, features }, central = false) {
  const counts = countCells(labels, face);
  const marks = features.length ? countCells(labels, features) : counts;
  const half = labels.length / CELLS ** 2 / 2;
  const open = counts.map((count) => Number(count >= half));
  /** @type {{ cells: number[], weight: number }} */
  let best = { cells: [], weight: 0 };
  for (let start = 0; start < open.length; start++) {
    if (!open[start]) continue;
    const cells = connected(open, start);
    const marked = sum(cells, (cell) => marks[cell]);
    if (cells.length < FEWEST || marked < FEATURED * sum(cells, (cell) => counts[cell])) continue;
    const weight = marked * (central ? nearness(cells) : 1);
    if (weight > best.weight) best = { cells, weight };
  }
  if (!best.weight) return null;
  const across = extent(best.cells, counts, column);
  const down = extent(best.cells, counts, line);
  const side = Math.max(across.length, down.length);
  return { x: across.middle - side / 2, y: down.middle - side / 2, side };
}

/** @param {number} cell */
const column = (cell) => cell % CELLS;
/** @param {number} cell */
const line = (cell) => Math.floor(cell / CELLS);

/**
 * @param {number[]} cells
 * @param {(cell: number) => number} value
 */
const sum = (cells, value) => cells.reduce((total, cell) => total + value(cell), 0);

/**
 * Return how many pixels of some labels lie in each cell.
 *
 * @param {Uint8Array} labels
 * @param {number[]} wanted
 */
function countCells(labels, wanted) {
  const size = Math.sqrt(labels.length);
  const is = new Uint8Array(256);
  for (const label of wanted) is[label] = 1;
  const counts = new Uint16Array(CELLS * CELLS);
  for (let row = 0, at = 0; row < size; row++) {
    const first = Math.floor((row * CELLS) / size) * CELLS;
    for (let place = 0; place < size; place++, at++) {
      counts[first + Math.floor((place * CELLS) / size)] += is[labels[at]];
    }
  }
  return counts;
}

/**
 * @param {Uint16Array} open 1 where a cell belongs to a region; those found are closed
 * @param {number} start
 */
function connected(open, start) {
  const cells = [start];
  open[start] = 0;
  for (const cell of cells) {
    const around = [cell - CELLS, cell + CELLS];
    if (column(cell) > 0) around.push(cell - 1);
    if (column(cell) < CELLS - 1) around.push(cell + 1);
    for (const next of around) {
      if (open[next]) {
        open[next] = 0;
        cells.push(next);
      }
    }
  }
  return cells;
}

/** @param {number[]} cells */
function nearness(cells) {
  const [x, y] = [column, line].map((place) => sum(cells, place) / cells.length / CELLS - 0.5);
  return Math.exp(-8 * (x * x + y * y));
}

/**
 * Return where a region lies along an axis, in parts of the square. Ends are where all but a
 * fiftieth of it lies between, so that neither a cell more or less nor a strand makes it jump.
 *
 * @param {number[]} cells
 * @param {Uint16Array} counts pixels in each cell
 * @param {(cell: number) => number} place along the axis
 */
function extent(cells, counts, place) {
  const along = new Float64Array(CELLS);
  for (const cell of cells) along[place(cell)] += counts[cell];
  const total = sum(cells, (cell) => counts[cell]);
  /** @param {number} share */
  const quantile = (share) => {
    let before = 0;
    for (let at = 0; at < CELLS; at++) {
      if (before + along[at] >= share * total) return at + (share * total - before) / along[at];
      before += along[at];
    }
    return CELLS;
  };
  const [low, high] = [quantile(0.02), quantile(0.98)];
  return { middle: (low + high) / 2 / CELLS, length: (high - low) / CELLS };
}

/** Follows one face through the frames of a source. */
export class FaceFollower {
  /** @type {Square | null} */
  #face = null;
  #misses = 0;
  #sightings = 0;
  /** @type {Square[]} where it was not searched for yet, the last one first */
  #search = [];

  /** @param {FaceLabels} parts */
  constructor(parts) {
    this.parts = parts;
  }

  /** Whether a face is being followed. */
  get found() {
    return this.#face !== null;
  }

  /** Whether further looks at the same frame would show nothing new. */
  get settled() {
    return this.found ? this.#sightings >= ENOUGH : !this.#search.length;
  }

  /**
   * Return where to look in the next frame.
   *
   * @param {number} width of the frame in pixels
   * @param {number} height
   * @param {number} margin the side looked at over that of the face
   * @returns {Square}
   */
  next(width, height, margin) {
    if (this.#face) return grown(this.#face, margin);
    if (!this.#search.length) this.#search = searched(width, height).reverse();
    return /** @type {Square} */ (this.#search.pop());
  }

  /**
   * Learn from the labels of a look.
   *
   * @param {Uint8Array} labels
   * @param {Square} square where they are of
   * @returns {boolean} whether they show the face; if not they are of something else
   */
  see(labels, square) {
    const face = findFace(labels, this.parts, this.found);
    if (!face) {
      if (++this.#misses >= PATIENCE) this.#face = null;
      this.#sightings = 0;
      return this.found;
    }
    this.#misses = 0;
    this.#sightings++;
    this.#search = [];
    const seen = {
      x: square.x + face.x * square.side,
      y: square.y + face.y * square.side,
      side: face.side * square.side,
    };
    this.#face = this.#face ? towards(this.#face, seen) : seen;
    return true;
  }
}

/**
 * Return the squares in which a face is searched for: the whole frame, then ever smaller ones that
 * overlap by half, so that a face of an eighth of the frame's height is large in one of them.
 *
 * @param {number} width
 * @param {number} height
 */
function searched(width, height) {
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const squares = [{ x: (width - long) / 2, y: (height - long) / 2, side: long }];
  for (const side of [short, short / 2].filter((side) => side < long)) {
    for (const y of spread(height - side, side)) {
      for (const x of spread(width - side, side)) squares.push({ x, y, side });
    }
  }
  return squares;
}

/**
 * @param {number} room for the first of some squares to go
 * @param {number} side
 * @returns {number[]} where they begin along it, at most half a side apart
 */
function spread(room, side) {
  const steps = Math.ceil(room / (side / 2));
  return Array.from({ length: steps + 1 }, (_, step) => (steps ? (room * step) / steps : 0));
}

/**
 * @param {Square} square
 * @param {number} factor
 * @returns {Square}
 */
function grown({ x, y, side }, factor) {
  const border = (side * (factor - 1)) / 2;
  return { x: x - border, y: y - border, side: side * factor };
}

/**
 * Move a square towards another: not at all for a tremor, at once for a leap, else in between.
 *
 * @param {Square} from
 * @param {Square} to
 * @returns {Square}
 */
function towards(from, to) {
  const shift = Math.hypot(
    to.x + to.side / 2 - from.x - from.side / 2,
    to.y + to.side / 2 - from.y - from.side / 2,
    to.side - from.side,
  );
  const share = Math.min(1, Math.max(0, (shift / from.side - STILL) / (FAST - STILL)));
  return {
    x: from.x + share * (to.x - from.x),
    y: from.y + share * (to.y - from.y),
    side: from.side + share * (to.side - from.side),
  };
}
