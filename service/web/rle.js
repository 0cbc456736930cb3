// COCO run lengths in the browser: read them, and paint them into a label image.
// Runs are column-major and begin with zeros; from the fourth on, the compressed form holds the
// difference to the run two before (cocodataset/cocoapi, common/maskApi.c).

/**
 * Read compressed counts.
 * @param {string} text  ASCII, five bits a character.
 * @returns {number[]}   Runs of zeros and ones in turn.
 * @throws {RangeError}  If a character or a number is malformed.
 */
export function parseCounts(text) {
  const counts = [];
  let value = 0;
  let place = 1;
  for (let p = 0; p < text.length; p++) {
    const code = text.charCodeAt(p) - 48;
    if (!(code >= 0 && code < 64) || place > 2 ** 50) {
      throw new RangeError(`counts: character ${p} is malformed`);
    }
    value += (code & 31) * place;
    place *= 32;
    if (code & 32) continue;
    if (code & 16) value -= place;
    if (counts.length > 2) value += counts[counts.length - 2];
    if (value < 0) throw new RangeError("counts: a run is negative");
    counts.push(value);
    value = 0;
    place = 1;
  }
  if (place !== 1) throw new RangeError("counts: the last number is cut off");
  return counts;
}

/**
 * Paint one mask into a label image, which may be smaller by a whole factor, or hold a cut alone.
 * @param {{size: number[], counts: string|number[]}} rle
 * @param {Int32Array} labels  Row-major, `cut.columns` x `cut.rows`.
 * @param {number} label       What the mask's pixels become.
 * @param {number} step        Every how many pixels are kept; 1 keeps all.
 * @param {{left, top, columns, rows}} cut  Its corner in pixels of the mask, multiples of `step`.
 * @throws {RangeError}        If the runs do not add up to the size.
 */
export function paint(rle, labels, label, step = 1, cut = wholeOf(rle.size, step)) {
  const [height, width] = rle.size;
  const counts = typeof rle.counts === "string" ? parseCounts(rle.counts) : rle.counts;
  const total = counts.reduce((sum, run) => sum + run, 0);
  if (total !== height * width) {
    throw new RangeError(`counts: the runs add up to ${total}, the size to ${height * width}`);
  }
  const bottom = cut.top + cut.rows * step;
  let at = 0;
  for (let r = 0; r < counts.length; r++) {
    const end = at + counts[r];
    if (r % 2) paintRun(at, end);
    at = end;
  }

  function paintRun(from, to) {
    while (from < to) {
      const x = Math.floor(from / height);
      const stop = Math.min(to, (x + 1) * height);
      const column = (x - cut.left) / step;
      if (x % step === 0 && column >= 0 && column < cut.columns) {
        const last = Math.min(stop - x * height, bottom);
        let y = Math.max(cut.top, Math.ceil((from - x * height) / step) * step);
        for (; y < last; y += step) labels[((y - cut.top) / step) * cut.columns + column] = label;
      }
      from = stop;
    }
  }
}

/** All of a mask, at every `step`th pixel. */
export const wholeOf = ([height, width], step) => ({
  left: 0, top: 0, columns: Math.ceil(width / step), rows: Math.ceil(height / step),
});
