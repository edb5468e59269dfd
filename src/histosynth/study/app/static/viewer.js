/**
 * The viewer of the patch: a whole number of screen pixels per patch pixel, so that nothing is blurred, at 1x to 8x.
 *
 * 1x is the largest whole number of screen pixels per patch pixel at which the patch fits its frame. A patch larger
 * than the frame is shrunk to fit, and becomes crisp once it is zoomed to at least one screen pixel per patch pixel.
 * The view is (zoom, center), with the center in patch pixels; everything drawn follows from these.
 */
const STEPS = [1, 2, 3, 4, 6, 8];
const MAX_ZOOM = STEPS.at(-1);
const WHEEL_STEP = 100; // CSS pixels of scrolling per step: one notch of most mice
const KEY_MOVE = 0.15; // as a fraction of the frame
const MAX_RETRY_MS = 8000; // between two tries to load the picture

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Viewer {
  #frame; #picture; #readout;
  #zoom = 1;
  #center = { x: 0, y: 0 };
  #fingers = new Map();
  #scrolled = 0;

  constructor(section) {
    this.#frame = section.querySelector(".frame");
    this.#picture = section.querySelector("img");
    this.#readout = section.querySelector("output");
    section.querySelector(".zoom").addEventListener("click", (event) => {
      const action = event.target.closest("[data-zoom]")?.dataset.zoom;
      if (action) this.act(action);
    });
    this.#frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#frame.addEventListener("pointerdown", (event) => this.#down(event));
    this.#frame.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) this.#frame.addEventListener(end, (event) => this.#up(event));
    new ResizeObserver(() => this.#draw()).observe(this.#frame);
    /** Resolves once the patch is visible. */
    this.shown = this.#load().then(() => this.act("whole"));
  }

  /** Wait for the picture; request it again if the network or the server failed. */
  async #load() {
    for (let wait = 500; ; wait = Math.min(2 * wait, MAX_RETRY_MS)) {
      try {
        await this.#picture.decode();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, wait));
        this.#picture.src = this.#picture.getAttribute("src");
      }
    }
  }

  /** Perform the action of a button or a key: "in", "out", "whole", "left", "right", "up", "down". */
  act(action) {
    if (action === "whole") this.#zoomTo(1);
    else if (action === "in") this.#zoomTo(STEPS.find((step) => step > this.#zoom + 0.01) ?? MAX_ZOOM);
    else if (action === "out") this.#zoomTo(STEPS.findLast((step) => step < this.#zoom - 0.01) ?? 1);
    else {
      const x = { left: -1, right: 1 }[action] ?? 0;
      const y = { up: -1, down: 1 }[action] ?? 0;
      this.#shift(x * KEY_MOVE * this.#frame.clientWidth, y * KEY_MOVE * this.#frame.clientHeight);
    }
  }

  /** CSS pixels per patch pixel. */
  get #scale() {
    const dense = window.devicePixelRatio || 1;
    const fits = Math.min(
      this.#frame.clientWidth / this.#picture.naturalWidth,
      this.#frame.clientHeight / this.#picture.naturalHeight,
    ) * dense;
    return ((fits >= 1 ? Math.floor(fits) : fits) * this.#zoom) / dense;
  }

  /** Zoom, keeping a point of the frame (by default its center) in place. */
  #zoomTo(zoom, at = { x: this.#frame.clientWidth / 2, y: this.#frame.clientHeight / 2 }) {
    const before = this.#scale;
    this.#zoom = clamp(zoom, 1, MAX_ZOOM);
    const after = this.#scale;
    this.#center.x += (at.x - this.#frame.clientWidth / 2) * (1 / before - 1 / after);
    this.#center.y += (at.y - this.#frame.clientHeight / 2) * (1 / before - 1 / after);
    this.#draw();
  }

  /** Move the view by CSS pixels. */
  #shift(x, y) {
    this.#center.x += x / this.#scale;
    this.#center.y += y / this.#scale;
    this.#draw();
  }

  #draw() {
    const { naturalWidth: width, naturalHeight: height } = this.#picture;
    if (!width) return;
    const dense = window.devicePixelRatio || 1;
    const scale = this.#scale;
    const place = (size, available, center) => {
      const half = available / scale / 2;
      const visible = size * scale <= available ? size / 2 : clamp(center, half, size - half);
      return { center: visible, corner: Math.round((available / 2 - visible * scale) * dense) / dense };
    };
    const x = place(width, this.#frame.clientWidth, this.#center.x);
    const y = place(height, this.#frame.clientHeight, this.#center.y);
    this.#center = { x: x.center, y: y.center };
    this.#picture.style.width = `${width * scale}px`;
    this.#picture.style.height = `${height * scale}px`;
    this.#picture.style.transform = `translate(${x.corner}px, ${y.corner}px)`;
    const movable = width * scale > this.#frame.clientWidth + 1 || height * scale > this.#frame.clientHeight + 1;
    this.#frame.classList.add("live");
    this.#frame.classList.toggle("movable", movable);
    this.#frame.classList.toggle("shrunk", scale * dense < 1);
    const shown = `${Math.round(this.#zoom * 10) / 10}×`;
    if (this.#readout.textContent !== shown) this.#readout.textContent = shown;
  }

  #point(event) {
    const box = this.#frame.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
    if (event.ctrlKey) { // a pinch on a touchpad
      this.#zoomTo(this.#zoom * Math.exp(-event.deltaY / 100), this.#point(event));
      return;
    }
    this.#scrolled += event.deltaY * lines;
    if (Math.abs(this.#scrolled) < WHEEL_STEP) return;
    const next = this.#scrolled < 0
      ? STEPS.find((step) => step > this.#zoom + 0.01) ?? MAX_ZOOM
      : STEPS.findLast((step) => step < this.#zoom - 0.01) ?? 1;
    this.#scrolled = 0;
    this.#zoomTo(next, this.#point(event));
  }

  #down(event) {
    if (event.button !== 0) return;
    this.#frame.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, this.#point(event));
    this.#frame.classList.add("moving");
  }

  #move(event) {
    const before = this.#fingers.get(event.pointerId);
    if (!before) return;
    const now = this.#point(event);
    const other = [...this.#fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const spread = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
      this.#zoomTo((this.#zoom * spread(now)) / spread(before), {
        x: (now.x + other.x) / 2,
        y: (now.y + other.y) / 2,
      });
      this.#shift((before.x - now.x) / 2, (before.y - now.y) / 2);
    } else this.#shift(before.x - now.x, before.y - now.y);
    this.#fingers.set(event.pointerId, now);
  }

  #up(event) {
    this.#fingers.delete(event.pointerId);
    if (!this.#fingers.size) this.#frame.classList.remove("moving");
  }
}
