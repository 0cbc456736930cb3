// The picture: what lies at the bottom, the instances over it, the one under the pointer on top.

import { paint, wholeOf } from "./rle.js";

const LONGEST_SIDE = 2048; // of a whole image; a larger one is shown at a whole fraction of itself
const MOST_PIXELS = LONGEST_SIDE ** 2; // of a part of it in more detail
const FILL = 96; // opacity of an instance, of 255
const SHADE = 150; // opacity of the veil over what is not chosen

/** The colour of an instance, as the server's own pictures draw it (service/masks/overlay.py). */
export function colourOf(id) {
  const hue = ((id * 0.6180339887498949) % 1) * 6;
  const saturation = 1 - 0.35 * (Math.floor(id / 3) % 2);
  const value = 1 - 0.2 * (id % 3);
  const channel = (turn) => {
    const k = (turn + hue) % 6;
    return Math.round(255 * value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}

/**
 * Draw the masks of an answer into one label image.
 * @param {{left, top, columns, rows}} cut  What of the image it holds, at every `step`th pixel.
 */
export function labelsOf(answer, step, cut) {
  const labels = new Int32Array(cut.columns * cut.rows);
  const [right, bottom] = [cut.left + cut.columns * step, cut.top + cut.rows * step];
  for (const { id, bbox: [x, y, width, height], segmentation } of answer.instances) {
    const outside = x >= right || y >= bottom || x + width <= cut.left || y + height <= cut.top;
    if (!outside) paint(segmentation, labels, id, step, cut);
  }
  const { width, height } = answer.image;
  return { labels, step, ...cut, toTheRight: right >= width, toTheBottom: bottom >= height };
}

/** All of an answer, at a size that a canvas can hold. */
export function overviewOf(answer) {
  const { width, height } = answer.image;
  const step = Math.max(1, Math.ceil(Math.max(width, height) / LONGEST_SIDE));
  return labelsOf(answer, step, wholeOf([height, width], step));
}

/** A part of an image, with what lies around it as far as a canvas holds that: it may be moved to next. */
export function cutAround({ left, top, right, bottom }, step, { width, height }) {
  const grow = Math.min(2, MOST_PIXELS ** 0.5 / sizeAt({ left, top, right, bottom }, step) ** 0.5);
  const along = (from, to, end) => {
    const margin = ((grow - 1) / 2) * (to - from);
    const first = Math.floor(Math.max(0, from - margin) / step);
    return [first * step, Math.ceil(Math.min(end, to + margin) / step) - first];
  };
  const [[x, columns], [y, rows]] = [along(left, right, width), along(top, bottom, height)];
  return { left: x, top: y, columns, rows };
}

const sizeAt = ({ left, top, right, bottom }, step) => ((right - left) / step) * ((bottom - top) / step);

export class Scene {
  /** @param {{base, overlay, highlight: HTMLCanvasElement}} layers */
  constructor(layers) {
    this.layers = layers;
    this.map = null; // labels of the whole image, coarser than it if it is large
    this.cut = null; // labels of what the layers hold: the same, or a part of it in more detail
    this.chosen = 0;
    this.outlined = null;
  }

  /** Take over a new answer. */
  take(answer) {
    this.answer = answer;
    this.map = overviewOf(answer);
    this.cut = this.outlined = this.whole = null;
  }

  /**
   * Have the layers hold what is visible, as finely as the screen shows it.
   * @param {{left, top, right, bottom}} visible  In pixels of the image.
   * @param {number} dots  Pixels of the screen that one of the image has.
   * @returns {boolean}    Whether they hold something else now, and must be drawn.
   */
  look(visible, dots) {
    let step = Math.max(1, Math.floor(1 / dots));
    while (sizeAt(visible, step) > MOST_PIXELS) step++;
    if (this.cut && this.cut.step <= step && this.holds(visible)) return false;
    const { answer, map } = this;
    this.cut = step < map.step ? labelsOf(answer, step, cutAround(visible, step, answer.image)) : map;
    for (const canvas of Object.values(this.layers)) {
      canvas.width = this.cut.columns;
      canvas.height = this.cut.rows;
    }
    return true;
  }

  /** Whether the layers hold a part of the image. */
  holds({ left, top, right, bottom }) {
    const { cut } = this;
    return left >= cut.left && top >= cut.top &&
      right <= cut.left + cut.columns * cut.step && bottom <= cut.top + cut.rows * cut.step;
  }

  /** Draw the bottom layer from a picture of the whole image, of any size; white shows through it. */
  ground(picture) {
    const { left, top, columns, rows, step } = this.cut;
    const { width, height } = this.answer.image;
    const [across, down] = [picture.width / width, picture.height / height];
    const right = Math.min(width, left + columns * step);
    const bottom = Math.min(height, top + rows * step);
    const from = [left * across, top * down, (right - left) * across, (bottom - top) * down];
    const to = [0, 0, (right - left) / step, (bottom - top) / step];
    const context = this.layers.base.getContext("2d");
    context.clearRect(0, 0, columns, rows);
    context.fillStyle = "#fff";
    context.fillRect(...to);
    context.drawImage(picture, ...from, ...to);
  }

  /** Draw the instances: all of them, or the chosen one with a veil over the rest. */
  instances({ visible }) {
    this.layers.overlay.getContext("2d").putImageData(inked(this.cut, visible, this.chosen), 0, 0);
  }

  /** All instances of the whole image, as something a canvas can draw. */
  overview() {
    if (!this.whole) {
      this.whole = new OffscreenCanvas(this.map.columns, this.map.rows);
      this.whole.getContext("2d").putImageData(inked(this.map, true, 0), 0, 0);
    }
    return this.whole;
  }

  /** Outline one instance on the top layer; null clears it. */
  outline(instance) {
    const { labels, left, top, columns, rows, step } = this.cut;
    const context = this.layers.highlight.getContext("2d");
    context.clearRect(0, 0, columns, rows);
    this.outlined = instance;
    if (!instance) return;
    const [x0, y0] = [(instance.bbox[0] - left) / step, (instance.bbox[1] - top) / step].map(Math.floor);
    const [width, height] = instance.bbox.slice(2).map((value) => Math.ceil(value / step) + 1);
    context.fillStyle = "#fff";
    for (let y = Math.max(0, y0); y < Math.min(rows, y0 + height); y++) {
      for (let x = Math.max(0, x0); x < Math.min(columns, x0 + width); x++) {
        const p = y * columns + x;
        if (labels[p] === instance.id && isEdge(this.cut, p)) context.fillRect(x, y, 1, 1);
      }
    }
  }

  /** The label at a point of the image, in its pixels. */
  at(x, y) {
    if (!this.cut) return 0;
    const { labels, left, top, columns, rows, step } = this.cut;
    const column = Math.floor((x - left) / step);
    const row = Math.floor((y - top) / step);
    const inside = column >= 0 && row >= 0 && column < columns && row < rows;
    return inside ? labels[row * columns + column] : 0;
  }
}

/** Whether a pixel has a neighbour of another label, or lies on the border of the image. */
function isEdge({ labels, left, top, columns, toTheRight, toTheBottom }, p) {
  const id = labels[p];
  const x = p % columns;
  return (
    (x > 0 ? labels[p - 1] !== id : left === 0) ||
    (x < columns - 1 ? labels[p + 1] !== id : toTheRight) ||
    (p >= columns ? labels[p - columns] !== id : top === 0) ||
    (p < labels.length - columns ? labels[p + columns] !== id : toTheBottom)
  );
}

/** Instances in their colours: all of them if they are visible, or one with a veil over the rest. */
function inked(map, visible, chosen) {
  const { labels, columns, rows } = map;
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const fills = new Map();
  const inkOf = (id, alpha) => {
    const key = id * 256 + alpha;
    let ink = fills.get(key);
    if (ink === undefined) {
      const [r, g, b] = colourOf(id);
      ink = ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
      fills.set(key, ink);
    }
    return ink;
  };
  const veil = (SHADE << 24) >>> 0;
  for (let p = 0; p < labels.length && (visible || chosen); p++) {
    const id = labels[p];
    if (chosen && id !== chosen) pixels[p] = veil;
    else if (id && isEdge(map, p)) pixels[p] = inkOf(id, 255);
    else if (id && visible && !chosen) pixels[p] = inkOf(id, FILL);
  }
  return image;
}

/**
 * Plot pixels where their vectors lie: red and green of the embedding picture are the first two
 * principal components.
 */
export function plotSpace(canvas, picture, map, chosen) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const small = new OffscreenCanvas(map.columns, map.rows).getContext("2d");
  small.drawImage(picture, 0, 0, map.columns, map.rows);
  const { data } = small.getImageData(0, 0, map.columns, map.rows);
  const members = [];
  for (let p = 0; p < map.labels.length; p++) if (map.labels[p]) members.push(p);
  const stride = Math.max(1, Math.ceil(members.length / 6000));
  const later = [];
  const dot = (p) => {
    const [r, g, b] = colourOf(map.labels[p]);
    const faint = chosen && map.labels[p] !== chosen;
    context.fillStyle = `rgba(${r},${g},${b},${faint ? 0.12 : 0.7})`;
    // A picture has 256 levels a channel; a fixed scatter within one level hides the grid.
    const x = (data[4 * p] + ((p * 0.618) % 1)) / 256;
    const y = (data[4 * p + 1] + ((p * 0.414) % 1)) / 256;
    context.fillRect(6 + x * (width - 14), 6 + (1 - y) * (height - 14), 2.2, 2.2);
  };
  for (let n = 0; n < members.length; n += stride) {
    if (map.labels[members[n]] === chosen) later.push(members[n]);
    else dot(members[n]);
  }
  later.forEach(dot);
}
