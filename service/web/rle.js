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
 * Paint one mask into a label image, which may be smaller by a whole factor.
 * @param {{size: number[], counts: string|number[]}} rle
 * @param {Int32Array} labels  Row-major, ceil(height / step) x ceil(width / step).
 * @param {number} label       What the mask's pixels become.
 * @param {number} step        Every how many pixels are kept; 1 keeps all.
 * @throws {RangeError}        If the runs do not add up to the size.
 */
export function paint(rle, labels, label, step = 1) {
  const [height, width] = rle.size;
  const counts = typeof rle.counts === "string" ? parseCounts(rle.counts) : rle.counts;
  const total = counts.reduce((sum, run) => sum + run, 0);
  if (total !== height * width) {
    throw new RangeError(`counts: the runs add up to ${total}, the size to ${height * width}`);
  }
  const columns = Math.ceil(width / step);
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
      if (x % step === 0) {
        const last = stop - x * height;
        for (let y = Math.ceil((from - x * height) / step); y * step < last; y++) {
          labels[y * columns + x / step] = label;
        }
      }
      from = stop;
    }
  }
}
