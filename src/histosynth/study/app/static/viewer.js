/**
 * The patch: whole pixels of the screen for each pixel of the patch, so that nothing is blurred, at 1x to 8x.
 *
 * 1x is the largest whole number of screen pixels a patch pixel at which the patch fits its frame; a patch larger
 * than the frame is shrunk to fit, and becomes crisp as soon as it is zoomed to screen pixels or beyond.
 * The view is (zoom, center), the center in pixels of the patch; everything drawn follows from these.
 */
const STEPS = [1, 2, 3, 4, 6, 8];
const MOST = STEPS.at(-1);
const WHEEL_STEP = 100; // CSS pixels of scrolling a step; a notch of most mice
const KEY_MOVE = 0.15; // of the frame
const LONGEST_WAIT_MS = 8000; // between two tries to load the picture

const between = (value, low, high) => Math.min(Math.max(value, low), high);

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
      const asked = event.target.closest("[data-zoom]")?.dataset.zoom;
      if (asked) this.act(asked);
    });
    this.#frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#frame.addEventListener("pointerdown", (event) => this.#down(event));
    this.#frame.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) this.#frame.addEventListener(end, (event) => this.#up(event));
    new ResizeObserver(() => this.#draw()).observe(this.#frame);
    /** Resolves once the patch is to be seen. */
    this.shown = this.#load().then(() => this.act("whole"));
  }

  /** Wait for the picture; ask for it again where network or server failed. */
  async #load() {
    for (let wait = 500; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      try {
        await this.#picture.decode();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, wait));
        this.#picture.src = this.#picture.getAttribute("src");
      }
    }
  }

  /** Do what a button or a key asks for: "in", "out", "whole", "left", "right", "up", "down". */
  act(what) {
    if (what === "whole") this.#zoomTo(1);
    else if (what === "in") this.#zoomTo(STEPS.find((step) => step > this.#zoom + 0.01) ?? MOST);
    else if (what === "out") this.#zoomTo(STEPS.findLast((step) => step < this.#zoom - 0.01) ?? 1);
    else {
      const x = { left: -1, right: 1 }[what] ?? 0;
      const y = { up: -1, down: 1 }[what] ?? 0;
      this.#shift(x * KEY_MOVE * this.#frame.clientWidth, y * KEY_MOVE * this.#frame.clientHeight);
    }
  }

  /** CSS pixels a pixel of the patch. */
  get #scale() {
    const dense = window.devicePixelRatio || 1;
    const fits = Math.min(
      this.#frame.clientWidth / this.#picture.naturalWidth,
      this.#frame.clientHeight / this.#picture.naturalHeight,
    ) * dense;
    return ((fits >= 1 ? Math.floor(fits) : fits) * this.#zoom) / dense;
  }

  /** Zoom, keeping what lies at a point of the frame (its middle unless told) where it is. */
  #zoomTo(zoom, at = { x: this.#frame.clientWidth / 2, y: this.#frame.clientHeight / 2 }) {
    const before = this.#scale;
    this.#zoom = between(zoom, 1, MOST);
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
    const place = (size, room, center) => {
      const half = room / scale / 2;
      const kept = size * scale <= room ? size / 2 : between(center, half, size - half);
      return { kept, corner: Math.round((room / 2 - kept * scale) * dense) / dense };
    };
    const x = place(width, this.#frame.clientWidth, this.#center.x);
    const y = place(height, this.#frame.clientHeight, this.#center.y);
    this.#center = { x: x.kept, y: y.kept };
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
      ? STEPS.find((step) => step > this.#zoom + 0.01) ?? MOST
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
