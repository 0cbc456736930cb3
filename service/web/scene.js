// The picture: what lies at the bottom, the instances over it, the one under the pointer on top.

import { paint } from "./rle.js";

const LONGEST_SIDE = 2048; // of the canvases; a larger image is shown at a whole fraction of itself
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

/** Draw the masks of an answer into one label image, at a size that a canvas can hold. */
export function labelsOf(answer) {
  const { width, height } = answer.image;
  const step = Math.max(1, Math.ceil(Math.max(width, height) / LONGEST_SIDE));
  const columns = Math.ceil(width / step);
  const rows = Math.ceil(height / step);
  const labels = new Int32Array(columns * rows);
  for (const instance of answer.instances) {
    paint(instance.segmentation, labels, instance.id, step);
  }
  return { labels, columns, rows, step };
}

export class Scene {
  /** @param {{base, overlay, highlight: HTMLCanvasElement}} layers */
  constructor(layers) {
    this.layers = layers;
    this.map = null;
    this.chosen = 0;
  }

  /** Take over a new answer. */
  take(answer) {
    this.map = labelsOf(answer);
    for (const canvas of Object.values(this.layers)) {
      if (canvas.width !== this.map.columns || canvas.height !== this.map.rows) {
        canvas.width = this.map.columns;
        canvas.height = this.map.rows;
      }
    }
    this.layers.highlight.getContext("2d").clearRect(0, 0, this.map.columns, this.map.rows);
  }

  /** Draw the bottom layer from anything a canvas can draw. */
  ground(picture) {
    const { base } = this.layers;
    base.getContext("2d").drawImage(picture, 0, 0, base.width, base.height);
  }

  /** Draw the instances: all of them, or the chosen one with a veil over the rest. */
  instances({ visible }) {
    const { labels, columns, rows } = this.map;
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
    for (let p = 0; p < labels.length && (visible || this.chosen); p++) {
      const id = labels[p];
      if (this.chosen && id !== this.chosen) pixels[p] = veil;
      else if (id && this.isEdge(p)) pixels[p] = inkOf(id, 255);
      else if (id && visible && !this.chosen) pixels[p] = inkOf(id, FILL);
    }
    this.layers.overlay.getContext("2d").putImageData(image, 0, 0);
  }

  /** Outline one instance on the top layer; 0 clears it. */
  outline(instance) {
    const { labels, columns, rows, step } = this.map;
    const context = this.layers.highlight.getContext("2d");
    context.clearRect(0, 0, columns, rows);
    if (!instance) return;
    const [left, top, width, height] = instance.bbox.map((value) => Math.floor(value / step));
    context.fillStyle = "#fff";
    const bottom = Math.min(rows, top + height + 2);
    const right = Math.min(columns, left + width + 2);
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const p = y * columns + x;
        if (labels[p] === instance.id && this.isEdge(p)) context.fillRect(x, y, 1, 1);
      }
    }
  }

  /** Whether a pixel has a neighbour of another label, or lies on the border. */
  isEdge(p) {
    const { labels, columns } = this.map;
    const id = labels[p];
    const x = p % columns;
    return (
      x === 0 || x === columns - 1 || labels[p - 1] !== id || labels[p + 1] !== id ||
      labels[p - columns] !== id || labels[p + columns] !== id
    );
  }

  /** The label under a point of the stage, given as shares of its width and height. */
  at(across, down) {
    if (!this.map) return 0;
    const { labels, columns, rows } = this.map;
    const x = Math.floor(across * columns);
    const y = Math.floor(down * rows);
    return x >= 0 && y >= 0 && x < columns && y < rows ? labels[y * columns + x] : 0;
  }
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
