// The view: what part of the image the stage shows, and how large. Wheel, pointers and keys move it.

const MOST = 32; // pixels of the page for one of the image, unless the whole image fits at more
const SLACK_PX = 4; // a pointer that moves less than this has not been dragged
const GESTURE_MS = 300; // turns of a wheel that follow each other sooner are one gesture
const LINE_PX = 20; // what a wheel that counts in lines moves by
const ROUNDING = 1e-9; // of factors that take each other back
const STEP = 1.5; // by how much a key or a button zooms
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const between = (least, value, most) => Math.min(most, Math.max(least, value));

export class View {
  /**
   * @param {HTMLElement} stage    What the image is seen in; its size is not changed here.
   * @param {() => void} changed   Told whenever another part is to be shown.
   */
  constructor(stage, changed) {
    this.stage = stage;
    this.changed = changed;
    this.image = { width: 1, height: 1 };
    this.scale = this.least = 1; // pixels of the page for one of the image; where all of it fits
    this.x = this.y = 0; // where the image begins, in pixels of the stage
    this.wide = this.high = 1; // the stage
    this.pointers = new Map(); // where those are that are down
    this.dragged = false; // since the first of them went down
    this.lastTurn = -Infinity;
    this.turns = false; // whether the wheel is turned to zoom, not to scroll the page
    this.listen();
  }

  get zoomed() {
    return this.scale > this.least;
  }

  get most() {
    return Math.max(MOST, this.least);
  }

  /** What is seen of the image, in its pixels. */
  get visible() {
    const { x, y, scale, wide, high, image } = this;
    return {
      left: Math.max(0, -x / scale), right: Math.min(image.width, (wide - x) / scale),
      top: Math.max(0, -y / scale), bottom: Math.min(image.height, (high - y) / scale),
    };
  }

  /** Show an image: all of it if it is another one, else the part that is shown already. */
  take({ width, height }, { another }) {
    const same = !another && width === this.image.width && height === this.image.height;
    this.image = { width, height };
    if (!same) this.scale = this.least;
    this.resize();
  }

  /** Go on showing the same part in a stage of another size. */
  resize() {
    const { zoomed } = this;
    const [x, y] = this.at({ x: this.wide / 2, y: this.high / 2 });
    this.wide = this.stage.clientWidth;
    this.high = this.stage.clientHeight;
    this.least = Math.min(this.wide / this.image.width, this.high / this.image.height);
    if (zoomed) this.centre(x, y);
    else this.fit();
  }

  /** A scale that is allowed: the least also where only rounding makes it more, or it would count as zoomed. */
  bounded(scale) {
    return scale < this.least * (1 + ROUNDING) ? this.least : Math.min(scale, this.most);
  }

  fit() {
    this.scale = this.least;
    this.settle();
  }

  /** Enlarge by a factor around a point of the stage, which stays where it is. */
  zoom(factor, { x, y } = { x: this.wide / 2, y: this.high / 2 }) {
    const scale = this.bounded(this.scale * factor);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.settle();
  }

  enlarge() {
    this.zoom(STEP);
  }

  reduce() {
    this.zoom(1 / STEP);
  }

  /** Move the image by pixels of the stage. */
  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.settle();
  }

  /** Bring a point of the image to the middle. */
  centre(x, y) {
    this.x = this.wide / 2 - x * this.scale;
    this.y = this.high / 2 - y * this.scale;
    this.settle();
  }

  /** Bring a box of the image into sight, unless it is. */
  reveal([x, y, width, height]) {
    const { left, top, right, bottom } = this.visible;
    const seen = x >= left && y >= top && x + width <= right && y + height <= bottom;
    if (!seen) this.centre(x + width / 2, y + height / 2);
  }

  /** The point of the image, in its pixels, that lies at a point of the stage. */
  at({ x, y }) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  /** Where on the stage an event is. */
  placeOf({ clientX, clientY }) {
    const box = this.stage.getBoundingClientRect();
    return { x: clientX - box.left, y: clientY - box.top };
  }

  /** Leave no room beside the image that it could fill, centre it where it cannot. */
  settle() {
    this.scale = this.bounded(this.scale);
    const along = (start, room, size) => (size <= room ? (room - size) / 2 : between(room - size, start, 0));
    this.x = along(this.x, this.wide, this.image.width * this.scale);
    this.y = along(this.y, this.high, this.image.height * this.scale);
    this.stage.classList.toggle("zoomed", this.zoomed);
    this.changed();
  }

  /** Take a key, and say whether it was one of the view's. */
  key(event) {
    const arrow = event.shiftKey && event.target === this.stage && ARROWS[event.key];
    if (arrow) this.move(-arrow[0] * this.wide / 4, -arrow[1] * this.high / 4);
    else if (event.key === "+" || event.key === "=") this.enlarge();
    else if (event.key === "-") this.reduce();
    else if (event.key === "0") this.fit();
    else return false;
    event.preventDefault();
    return true;
  }

  listen() {
    const { stage } = this;
    addEventListener("wheel", (event) => this.beginTurn(event), { capture: true, passive: true });
    stage.addEventListener("wheel", (event) => this.turn(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      stage.addEventListener(kind, (event) => this.lift(event));
    }
    for (const kind of ["touchstart", "touchmove"]) { // two fingers are not for the page to scroll
      stage.addEventListener(kind, (event) => {
        if (event.touches.length > 1 && event.cancelable) event.preventDefault();
      }, { passive: false });
    }
    stage.addEventListener("click", (event) => {
      if (this.dragged || (event.detail > 1 && this.zoomed)) event.stopPropagation();
    }, { capture: true });
    stage.addEventListener("dblclick", () => {
      if (this.zoomed && !this.dragged) this.fit(); // drags that follow each other soon are no clicks
    });
  }

  /** A gesture goes on as it began: one that scrolls the page does not zoom what comes under it. */
  beginTurn(event) {
    if (event.timeStamp - this.lastTurn > GESTURE_MS) {
      const enlarges = event.deltaY < 0 && this.scale < this.most;
      this.turns = this.stage.contains(event.target) && (this.zoomed || event.ctrlKey || enlarges);
    }
    this.lastTurn = event.timeStamp;
  }

  turn(event) {
    if (!this.turns) return;
    event.preventDefault();
    const unit = [1, LINE_PX, this.high][event.deltaMode];
    const turned = event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.002); // ctrl: a pinch on a touchpad
    this.zoom(Math.exp(between(-1, -turned, 1)), this.placeOf(event));
  }

  press(event) {
    if (event.button !== 0) return;
    if (!this.pointers.size) this.dragged = false;
    this.pointers.set(event.pointerId, this.placeOf(event));
  }

  lift(event) {
    this.pointers.delete(event.pointerId);
    this.stage.classList.toggle("held", this.dragged && this.pointers.size > 0);
  }

  drag(event) {
    if (!event.buttons) this.lift(event); // it went up elsewhere
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.placeOf(event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    const far = (one, two) => Math.hypot(one.x - two.x, one.y - two.y);
    if (!this.dragged && !other && (!this.zoomed || far(before, now) < SLACK_PX)) return;
    this.pointers.set(event.pointerId, now);
    if (!this.dragged) {
      this.dragged = true;
      this.stage.setPointerCapture(event.pointerId);
      this.stage.classList.add("held");
    }
    if (!other) return this.move(now.x - before.x, now.y - before.y);
    const middle = { x: (before.x + other.x) / 2, y: (before.y + other.y) / 2 };
    this.zoom(far(now, other) / Math.max(1, far(before, other)), middle);
    this.move((now.x - before.x) / 2, (now.y - before.y) / 2);
  }
}
