// People as they are: no islands of labels beside them, no holes in them.

export const HOLE = 255; // the label of what lies within a person and was taken for background
const LEAST = 0.1; // of the largest region; smaller ones are islands

/**
 * Remove islands from labels and mark holes, in place.
 *
 * @param {Uint8Array} labels of a square, row by row; 0 is background
 */
export function mend(labels) {
  const size = Math.sqrt(labels.length);
  const seen = new Uint8Array(labels.length);
  const stack = new Int32Array(labels.length); // of a region: what was found is never taken off

  /**
   * Find a region of person, or of background; return how many pixels of the stack it fills.
   *
   * @param {number} start
   */
  const region = (start) => {
    const person = labels[start] > 0;
    let found = 0;
    /** @param {number} at */
    const visit = (at) => {
      if (seen[at] || labels[at] > 0 !== person) return;
      seen[at] = 1;
      stack[found++] = at;
    };
    visit(start);
    for (let next = 0; next < found; next++) {
      const at = stack[next];
      const column = at % size;
      if (column > 0) visit(at - 1);
      if (column < size - 1) visit(at + 1);
      if (at >= size) visit(at - size);
      if (at < labels.length - size) visit(at + size);
    }
    return found;
  };

  const people = [];
  for (let at = 0; at < labels.length; at++) {
    if (labels[at] && !seen[at]) people.push(stack.slice(0, region(at)));
  }
  const largest = people.reduce((most, { length }) => Math.max(most, length), 0);
  for (const pixels of people) {
    if (pixels.length >= LEAST * largest) continue;
    for (const at of pixels) labels[at] = seen[at] = 0;
  }
  for (let at = 0; at < size; at++) {
    for (const edge of [at, labels.length - 1 - at, at * size, at * size + size - 1]) {
      if (!labels[edge] && !seen[edge]) region(edge);
    }
  }
  for (let at = 0; at < labels.length; at++) if (!seen[at]) labels[at] = HOLE;
}
