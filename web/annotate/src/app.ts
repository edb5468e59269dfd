/** The page: what the pointers, the keys and the buttons do, and what is shown. */

import { ApiError, type Client } from "./api/client";
import type { PreviewReply, Session, Stroke } from "./api/types";
import { concerns, Drawing } from "./drawing";
import { decodeIntegers } from "./geometry/rings";
import { lengthLabel, scaleBar } from "./geometry/scale_bar";
import { apply, invert } from "./geometry/transform";
import type { Point } from "./geometry/types";
import { actionOf, keysOf, type Action } from "./input/keys";
import { PointerRouter, type PointerKind, type Sample } from "./input/pointer";
import { newId, SendQueue, type Pending } from "./sending/queue";
import { StrokeStorage } from "./sending/storage";
import { BoundaryTool } from "./tools/boundary";
import { BrushTool } from "./tools/brush";
import { PolygonTool } from "./tools/polygon";
import { RectangleTool } from "./tools/rectangle";
import { SelectTool } from "./tools/select";
import type { Tool, ToolContext, ToolName } from "./tools/tool";
import { VertexTool } from "./tools/vertices";
import { byId, create } from "./ui/dom";
import { fillHelp } from "./ui/help";
import { icon, type IconName } from "./ui/icons";
import { ClassPicker, showHistory, showPatches, showSelection } from "./ui/panel";
import { SlideList } from "./ui/slide_list";
import { Overlay, type Squares } from "./viewer/overlay";
import { SlideViewer } from "./viewer/viewer";

const POLL_MS = 20_000;
const PREVIEW_DELAY_MS = 300;
const LIST_DELAY_MS = 1000;
const NOTICE_MS = 6000;
const BRUSH_PX = { least: 2, most: 160, initial: 24, step: 1.2 } as const;
const WHEEL_ZOOM = 0.0018;
const SCALE_BAR_PX = 140;

const TOOLS: readonly { name: ToolName; title: string; icon: IconName }[] = [
  { name: "select", title: "Select", icon: "select" },
  { name: "pan", title: "Pan", icon: "pan" },
  { name: "brush", title: "Brush", icon: "brush" },
  { name: "eraser", title: "Eraser", icon: "eraser" },
  { name: "polygon", title: "Polygon", icon: "polygon" },
  { name: "rectangle", title: "Rectangle", icon: "rectangle" },
  { name: "boundary", title: "Redraw boundary", icon: "boundary" },
  { name: "vertices", title: "Vertices", icon: "vertices" },
];

export class App {
  private readonly viewer: SlideViewer;
  private readonly overlay = new Overlay(byId<HTMLCanvasElement>("overlay"));
  private readonly drawing: Drawing;
  private readonly queue: SendQueue;
  private readonly storage: StrokeStorage;
  private readonly list: SlideList;
  private readonly classes: ClassPicker;
  private readonly pointers: PointerRouter;
  private readonly tools: Record<Exclude<ToolName, "pan">, Tool>;
  private readonly colors: ReadonlyMap<string, string>;
  private toolName: ToolName = "brush";
  private className: string;
  private brushPx: number = BRUSH_PX.initial;
  private hover: Point | null = null;
  private cross = false;
  private visible = true;
  private readonly begun = new Map<string, number>();
  private painting = false;
  private showsPreview = false;
  private squares: Squares | null = null;
  private previewTimer: ReturnType<typeof setTimeout> | undefined;
  private previewAbort = new AbortController();
  private listTimer: ReturnType<typeof setTimeout> | undefined;
  private noticeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly client: Client,
    private readonly session: Session,
  ) {
    this.colors = new Map(session.classes.map(({ name, color }) => [name, color]));
    this.className = session.classes[0]!.name;
    this.viewer = new SlideViewer(byId("viewer"), byId("navigator"), () => this.paint());
    this.drawing = new Drawing(client, session, () => this.drawingChanged());
    this.storage = new StrokeStorage(session.annotator);
    this.queue = new SendQueue({
      post: (slide, body) => client.stroke(slide, body),
      storage: this.storage,
      known: (slide) => (slide === this.drawing.slide ? this.drawing.position.n : 0),
      saved: (entry, reply) => {
        this.drawing.apply(entry.slide, reply);
        this.paint();
        this.measure("stroke", this.begun.get(entry.id));
        this.askForPreview();
        void this.loadHistory();
        this.refreshList();
      },
      refused: (_, error) => {
        this.notify(error.message);
        void this.drawing.refresh(-1);
      },
      conflict: () => void this.drawing.refresh(-1),
      changed: () => {
        this.showSaved();
        this.requestPaint();
      },
    });
    const context = this.context();
    this.tools = {
      select: new SelectTool(context),
      brush: new BrushTool(context, false),
      eraser: new BrushTool(context, true),
      polygon: new PolygonTool(context),
      rectangle: new RectangleTool(context, (a, b) => this.screenRectangle(a, b)),
      boundary: new BoundaryTool(context),
      vertices: new VertexTool(context),
    };
    this.list = new SlideList((id) => void this.open(id));
    this.classes = new ClassPicker(session.classes, (name) => this.chooseClass(name));
    this.pointers = new PointerRouter(this.pointerActions());
  }

  async start(): Promise<void> {
    this.wireButtons();
    this.wirePointers();
    this.wireKeys();
    fillHelp();
    this.chooseTool(this.session.read_only ? "pan" : "brush");
    this.chooseClass(this.className);
    this.setBrush(BRUSH_PX.initial);
    this.showSaved();
    const slides = await this.client.slides();
    this.list.set(slides);
    if (!this.session.read_only) this.queue.recover(await this.storage.all().catch(() => []));
    const wanted = decodeURIComponent(location.hash.slice(1));
    const first = slides.find(({ id }) => id === wanted) ?? slides.find(({ state }) => state !== "unreadable");
    if (first !== undefined) await this.open(first.id);
    setInterval(() => void this.poll(), POLL_MS);
  }

  // Slides

  private async open(id: string): Promise<void> {
    const start = performance.now();
    this.tool?.cancel();
    const empty = byId("empty");
    empty.textContent = "Opening …";
    empty.hidden = false;
    this.viewer.close();
    try {
      await this.drawing.open(id);
      await this.viewer.open(this.drawing.details!);
    } catch (error) {
      empty.textContent = message(error);
      return;
    }
    void this.viewer.complete().then(() => this.measure("open", start));
    empty.hidden = true;
    byId("title").textContent = id;
    byId("scale").hidden = false;
    history.replaceState(null, "", `#${encodeURIComponent(id)}`);
    this.list.mark(id);
    this.squares = null;
    this.askForPreview();
    void this.loadHistory();
    this.paint();
  }

  /** Show the new state of the slide in the list, soon. */
  private refreshList(): void {
    clearTimeout(this.listTimer);
    this.listTimer = setTimeout(() => {
      this.client.slides().then((slides) => this.list.set(slides), () => undefined);
    }, LIST_DELAY_MS);
  }

  private async poll(): Promise<void> {
    try {
      this.list.set(await this.client.slides());
      if (this.queue.pending.length === 0 && !this.pointers.isBusy) await this.drawing.refresh(this.drawing.position.n);
    } catch {
      // The next stroke, or the next poll, tells.
    }
  }

  private async loadHistory(): Promise<void> {
    const { slide } = this.drawing;
    if (slide === null || this.session.read_only) return;
    try {
      const entries = await this.client.history(slide);
      if (slide === this.drawing.slide) showHistory(entries, (to) => this.send({ kind: "restore", to }));
    } catch {
      // It is shown again after the next stroke.
    }
  }

  // Strokes

  private send(stroke: Stroke): void {
    const { slide, position } = this.drawing;
    if (slide === null || this.session.read_only) return;
    const id = newId();
    this.begun.set(id, performance.now());
    this.queue.add({ id, slide, stroke, madeAt: position.n });
  }

  /** Note how long something took, for the performance panel of the browser and for the benchmark. */
  private measure(what: string, start: number | undefined): void {
    if (start !== undefined) performance.measure(what, { start });
  }

  private pendingHere(): readonly Pending[] {
    return this.queue.pending.filter((entry) => entry.slide === this.drawing.slide);
  }

  private drawingChanged(): void {
    const { position, selected } = this.drawing;
    byId<HTMLButtonElement>("undo").disabled = !position.can_undo;
    byId<HTMLButtonElement>("redo").disabled = !position.can_redo;
    const done = byId<HTMLButtonElement>("done");
    done.disabled = this.drawing.slide === null || this.session.read_only;
    done.setAttribute("aria-pressed", String(position.done));
    done.textContent = position.done ? "Done" : "Mark done";
    showSelection(selected, this.session.read_only);
    if (selected !== null) this.classes.mark(selected.className);
    else this.classes.mark(this.className);
    if (position.conflict !== null) this.askAboutConflict(position.conflict);
    this.requestPaint();
  }

  private askAboutConflict(text: string): void {
    const dialog = byId<HTMLDialogElement>("conflict-dialog");
    byId("conflict-text").textContent = text;
    if (!dialog.open) dialog.showModal();
  }

  private async settleConflict(choice: string): Promise<void> {
    const { slide } = this.drawing;
    if (slide === null || (choice !== "take" && choice !== "keep")) return;
    try {
      this.drawing.replace(await this.client.resolveConflict(slide, choice));
      this.queue.resume();
      void this.loadHistory();
    } catch (error) {
      this.notify(message(error));
    }
  }

  private showSaved(): void {
    const { state } = this.queue;
    const element = byId("saved");
    element.className = state.kind === "failing" || state.kind === "blocked" ? "failing" : "";
    const strokes = state.kind === "idle" ? "" : `${state.waiting} stroke${state.waiting === 1 ? "" : "s"}`;
    if (this.session.read_only) element.textContent = "View only";
    else if (state.kind === "sending") element.textContent = "Saving …";
    else if (state.kind === "failing") element.textContent = `${strokes} not saved: ${state.reason} Trying again.`;
    else if (state.kind === "blocked") element.textContent = `${strokes} not saved: ${state.reason}.`;
    else element.textContent = state.savedAt === null ? this.session.annotator : `${this.session.annotator}: saved`;
  }

  // Preview of patches

  private askForPreview(): void {
    clearTimeout(this.previewTimer);
    this.previewAbort.abort();
    if (!this.showsPreview) return;
    this.previewTimer = setTimeout(() => void this.loadPreview(), PREVIEW_DELAY_MS);
  }

  private async loadPreview(): Promise<void> {
    const { slide } = this.drawing;
    if (slide === null) return;
    this.previewAbort = new AbortController();
    try {
      const reply = await this.client.preview(slide, this.session.annotators[0] ?? "", this.previewAbort.signal);
      if (slide === this.drawing.slide && this.showsPreview) this.showPreview(reply);
    } catch (error) {
      if (error instanceof ApiError) this.notify(error.message);
    }
  }

  private showPreview(reply: PreviewReply | null): void {
    this.squares = null;
    if (reply !== null) {
      const rejected = Object.entries(reply.rejected)
        .filter(([reason]) => reason !== "outside_tumor" && reason !== "outside_slide" && reason !== "too_close")
        .flatMap(([, corners]) => [...decodeIntegers(corners)]);
      this.squares = {
        extent: reply.extent_px,
        accepted: decodeIntegers(reply.accepted),
        rejected: Int32Array.from(rejected),
      };
    }
    showPatches(reply, this.session.preview);
    this.requestPaint();
  }

  private togglePreview(): void {
    this.showsPreview = !this.showsPreview;
    byId("preview").setAttribute("aria-pressed", String(this.showsPreview));
    if (this.showsPreview) this.askForPreview();
    else this.showPreview(null);
  }

  // Painting

  private requestPaint(): void {
    if (this.painting) return;
    this.painting = true;
    requestAnimationFrame(() => {
      this.painting = false;
      this.paint();
    });
  }

  private paint(): void {
    if (!this.viewer.isOpen) return;
    const { transform } = this.viewer;
    const tip = this.toolName === "brush" || this.toolName === "eraser" ? this.hover : null;
    const erases = this.toolName === "eraser";
    this.overlay.paint(
      {
        outlines: this.drawing.outlines.all,
        selected: this.drawing.selected,
        showVertices: this.toolName === "vertices",
        pending: this.pendingHere().map((entry) => entry.stroke),
        draft: this.tool?.draft() ?? null,
        tip: tip === null ? null : { at: tip, radius: this.brushPx * this.viewer.scale },
        cross: this.cross,
        squares: this.squares,
        colorOf: (name) => this.colorOf(name),
        draftColor: erases ? "#ffffff" : this.colorOf(this.className),
        opacity: Number(byId<HTMLInputElement>("opacity").value),
        visible: this.visible,
      },
      transform,
    );
    byId("overlay").dataset.transform = Object.values(transform).join(" ");
    this.showScale();
  }

  private showScale(): void {
    const mpp = this.drawing.details?.mpp ?? null;
    const perScreenPx = this.viewer.scale * (mpp ?? 1);
    const bar = scaleBar(perScreenPx, mpp === null ? "px" : "µm", SCALE_BAR_PX);
    byId("scale-bar").style.width = `${bar.lengthPx}px`;
    setText(byId("scale-label"), bar.label);
    const now = mpp === null ? "no microns per pixel" : `${perScreenPx.toPrecision(3)} µm per screen pixel (slide: ${mpp.toPrecision(3)})`;
    setText(byId("mpp"), now);
    const radius = this.brushPx * perScreenPx;
    setText(byId("radius-label"), mpp === null ? `${Math.round(2 * radius)} px` : lengthLabel(2 * radius));
  }

  private colorOf(name: string | null): string {
    return (name === null ? undefined : this.colors.get(name)) ?? "#8c6bb1";
  }

  private notify(text: string): void {
    const notice = byId("notice");
    notice.textContent = text;
    notice.hidden = false;
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => {
      notice.hidden = true;
    }, NOTICE_MS);
  }

  // Tools

  private get tool(): Tool | null {
    return this.toolName === "pan" ? null : this.tools[this.toolName];
  }

  private context(): ToolContext {
    const app = this as App;
    return {
      get className() {
        return app.className;
      },
      get scale() {
        return app.viewer.scale;
      },
      get radius() {
        return app.brushPx * app.viewer.scale;
      },
      get outlines() {
        return app.drawing.outlines;
      },
      get selected() {
        return app.drawing.selected;
      },
      isPending: (id) => {
        const outline = app.drawing.outlines.get(id);
        return outline !== null && app.pendingHere().some((entry) => concerns(entry.stroke, outline));
      },
      send: (stroke) => app.send(stroke),
      select: (id) => app.drawing.select(id),
      notify: (text) => app.notify(text),
      redraw: () => app.requestPaint(),
    };
  }

  private chooseTool(name: ToolName): void {
    if (this.session.read_only && name !== "select" && name !== "pan") return;
    if (name !== this.toolName && this.tool?.draft() != null) this.tool.cancel();
    this.toolName = name;
    for (const { name: other } of TOOLS) {
      byId(`tool-${other}`).setAttribute("aria-pressed", String(other === name));
    }
    byId("overlay").className = name === "pan" ? "pan" : name === "select" ? "select" : "";
    byId("radius-row").hidden = name !== "brush" && name !== "eraser";
    this.requestPaint();
  }

  private chooseClass(name: string): void {
    const { selected } = this.drawing;
    this.className = name;
    if (selected !== null && selected.className !== name) this.send({ kind: "class", outline: selected.id, class: name });
    this.classes.mark(name);
    this.requestPaint();
  }

  private setBrush(px: number): void {
    this.brushPx = Math.min(BRUSH_PX.most, Math.max(BRUSH_PX.least, px));
    const share = Math.log(this.brushPx / BRUSH_PX.least) / Math.log(BRUSH_PX.most / BRUSH_PX.least);
    byId<HTMLInputElement>("radius").value = String(Math.round(100 * share));
    this.requestPaint();
  }

  /** The rectangle between two corners whose sides are parallel to those of the screen. */
  private screenRectangle(a: Point, b: Point): Point[] {
    const { transform } = this.viewer;
    const back = invert(transform);
    const [first, last] = [apply(transform, a), apply(transform, b)];
    return [first, { x: last.x, y: first.y }, last, { x: first.x, y: last.y }].map((corner) => apply(back, corner));
  }

  private toSlide(at: Point): Point {
    return apply(invert(this.viewer.transform), at);
  }

  // Pointers

  private pointerActions(): ConstructorParameters<typeof PointerRouter>[0] {
    return {
      drawing: () => this.tool !== null && this.viewer.isOpen && this.visible,
      taps: () => this.toolName === "select",
      fingerDraws: () => byId<HTMLInputElement>("finger").checked,
      press: (at, { invert: inverted, clicks }) => {
        this.cross = false;
        this.tool?.down({ at: this.toSlide(at), invert: inverted, clicks });
      },
      drag: (points) => {
        const back = invert(this.viewer.transform);
        const there = points.map((point) => apply(back, point));
        this.hover = there.at(-1) ?? this.hover;
        this.tool?.move(there);
      },
      release: () => this.tool?.up(),
      cancel: () => {
        this.tool?.cancel();
        this.requestPaint();
      },
      hover: (at) => {
        if (!this.viewer.isOpen) return;
        this.hover = this.toSlide(at);
        this.tool?.hover?.(this.hover);
        this.requestPaint();
      },
      pan: (dx, dy) => this.viewer.pan(dx, dy, true),
      flick: (vx, vy) => this.viewer.flick(vx, vy),
      zoom: (factor, at) => this.viewer.zoom(factor, at, true),
      penSeen: () => {
        byId<HTMLInputElement>("finger").checked = false;
      },
    };
  }

  private wirePointers(): void {
    const canvas = byId<HTMLCanvasElement>("overlay");
    const sample = (event: PointerEvent): Sample => ({
      id: event.pointerId,
      type: event.pointerType as PointerKind,
      at: position(event),
      button: event.button,
      buttons: event.buttons,
      alt: event.altKey,
      timeMs: event.timeStamp,
      contactPx: event.pointerType === "touch" ? Math.max(event.width, event.height) : 0,
    });
    const position = (event: { clientX: number; clientY: number }): Point => {
      const { left, top } = canvas.getBoundingClientRect();
      return { x: event.clientX - left, y: event.clientY - top };
    };
    canvas.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      byId("stage").focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      this.pointers.down(sample(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      const coalesced = event.getCoalescedEvents();
      this.pointers.move(sample(event), (coalesced.length > 0 ? coalesced : [event]).map(position));
    });
    canvas.addEventListener("pointerup", (event) => this.pointers.up(sample(event)));
    canvas.addEventListener("pointercancel", (event) => this.pointers.cancel(event.pointerId));
    canvas.addEventListener("pointerleave", () => {
      this.hover = null;
      this.requestPaint();
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (!this.viewer.isOpen) return;
        const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 40 : 1;
        this.viewer.zoom(Math.exp(-event.deltaY * lines * WHEEL_ZOOM), position(event), false);
      },
      { passive: false },
    );
  }

  // Buttons

  private wireButtons(): void {
    for (const { name, title, icon: picture } of TOOLS) {
      const button = create("button", { class: "icon" }, [icon(picture)]);
      button.id = `tool-${name}`;
      button.type = "button";
      button.disabled = this.session.read_only && name !== "select" && name !== "pan";
      label(button, title, `tool:${name}`);
      button.addEventListener("click", () => this.chooseTool(name));
      byId("tools").append(button);
    }
    const buttons: readonly [id: string, picture: IconName, title: string, action: Action][] = [
      ["toggle-slides", "slides", "List of slides", "toggle-slides"],
      ["undo", "undo", "Undo", "undo"],
      ["redo", "redo", "Redo", "redo"],
      ["preview", "preview", "Preview of patches", "toggle-preview"],
      ["visible", "visible", "Show outlines", "toggle-outlines"],
      ["help", "help", "Help", "help"],
    ];
    for (const [id, picture, title, action] of buttons) {
      byId(id).append(icon(picture));
      label(byId(id), title, action);
      byId(id).addEventListener("click", () => this.act(action));
    }
    byId("done").addEventListener("click", () => this.act("done"));
    byId("delete").addEventListener("click", () => this.tools.select.remove?.());
    byId("comment").addEventListener("change", (event) => {
      const { selected } = this.drawing;
      const text = (event.target as HTMLTextAreaElement).value;
      if (selected !== null && text !== selected.comment) this.send({ kind: "comment", outline: selected.id, text });
    });
    const sliders = ["opacity", "brightness", "contrast", "rotation", "radius"].map((id) => byId<HTMLInputElement>(id));
    const [, brightness, contrast, rotation, radius] = sliders as [HTMLInputElement, HTMLInputElement, HTMLInputElement, HTMLInputElement, HTMLInputElement];
    for (const slider of sliders) {
      slider.addEventListener("input", () => {
        this.viewer.setFilter(Number(brightness.value), Number(contrast.value));
        if (slider === rotation) this.viewer.rotateTo(Number(rotation.value));
        if (slider === radius) {
          this.setBrush(BRUSH_PX.least * (BRUSH_PX.most / BRUSH_PX.least) ** (Number(radius.value) / 100));
        }
        this.requestPaint();
      });
    }
    byId("reset-view").addEventListener("click", () => {
      for (const slider of sliders) slider.value = slider.defaultValue;
      this.viewer.setFilter(1, 1);
      this.setBrush(BRUSH_PX.initial);
      this.viewer.home();
    });
    byId<HTMLDialogElement>("conflict-dialog").addEventListener("close", (event) => {
      const dialog = event.target as HTMLDialogElement;
      void this.settleConflict(dialog.returnValue);
      dialog.returnValue = "";
    });
    addEventListener("beforeunload", (event) => {
      if (this.queue.pending.length > 0) event.preventDefault();
    });
    addEventListener("online", () => this.queue.resume());
  }

  // Keys

  private wireKeys(): void {
    document.addEventListener("keydown", (event) => {
      const target = event.target as HTMLElement;
      if (document.querySelector("dialog[open]") !== null || target.matches("textarea, input[type=search]")) return;
      if (event.key === " " && !target.matches("button, input")) {
        event.preventDefault();
        this.pointers.holdsPan = true;
        return;
      }
      const action = actionOf(event);
      const used = target.matches("button, input") && ["Enter", " "].includes(event.key);
      const slides = target.matches("input[type=range]") && event.key.startsWith("Arrow");
      if (action === null || used || slides) return;
      event.preventDefault();
      this.act(action);
    });
    document.addEventListener("keyup", (event) => {
      if (event.key === " ") this.pointers.holdsPan = false;
    });
  }

  private act(action: Action): void {
    const [kind, value] = action.split(":");
    if (kind === "tool") return this.chooseTool(value as ToolName);
    if (kind === "class") {
      const chosen = this.session.classes[Number(value) - 1];
      if (chosen !== undefined) this.chooseClass(chosen.name);
      return;
    }
    switch (action) {
      case "toggle-slides": {
        const slides = byId("slides");
        slides.hidden = !slides.hidden;
        byId("toggle-slides").setAttribute("aria-expanded", String(!slides.hidden));
        return;
      }
      case "toggle-view":
        return byId("opacity").focus();
      case "toggle-history":
        return byId("history").focus();
      case "help":
        return byId<HTMLDialogElement>("help-dialog").showModal();
      case "previous-slide":
      case "next-slide": {
        const next = this.list.next(action === "next-slide" ? 1 : -1);
        if (next !== null) void this.open(next);
        return;
      }
      default:
        if (this.viewer.isOpen) this.actOnSlide(action);
    }
  }

  private actOnSlide(action: Action): void {
    const { viewer } = this;
    switch (action) {
      case "undo":
      case "redo":
        if (this.tool?.cancel() === true) return this.requestPaint();
        return this.send({ kind: action });
      case "done":
        return this.send({ kind: "done", done: !this.drawing.position.done });
      case "confirm":
        return void this.tool?.confirm?.();
      case "cancel":
        if (this.tool?.cancel() !== true) this.drawing.select(null);
        return this.requestPaint();
      case "remove":
        if (this.tool?.remove?.() !== true) this.tools.select.remove?.();
        return;
      case "press":
        return this.pressAtCenter();
      case "smaller":
        return this.setBrush(this.brushPx / BRUSH_PX.step);
      case "larger":
        return this.setBrush(this.brushPx * BRUSH_PX.step);
      case "zoom-in":
        return viewer.zoomStep(1);
      case "zoom-out":
        return viewer.zoomStep(-1);
      case "home":
        return viewer.home();
      case "full-resolution":
        return viewer.fullResolution();
      case "pan-left":
        return viewer.panStep(-1, 0);
      case "pan-right":
        return viewer.panStep(1, 0);
      case "pan-up":
        return viewer.panStep(0, -1);
      case "pan-down":
        return viewer.panStep(0, 1);
      case "rotate-left":
        return viewer.rotate(-15);
      case "rotate-right":
        return viewer.rotate(15);
      case "rotate-reset":
        return viewer.rotateTo(0);
      case "toggle-outlines":
        this.visible = !this.visible;
        byId("visible").setAttribute("aria-pressed", String(this.visible));
        return this.requestPaint();
      case "toggle-preview":
        return this.togglePreview();
      case "next-outline":
        return this.selectNext();
      case "comment":
        if (this.drawing.selected === null) this.notify("Select an outline first (V, then click it; or J).");
        else byId("comment").focus();
        return;
    }
  }

  /** Draw without a mouse: a press at the center of the view, where a cross is shown from then on. */
  private pressAtCenter(): void {
    this.cross = true;
    const { clientWidth, clientHeight } = byId("stage");
    const at = this.toSlide({ x: clientWidth / 2, y: clientHeight / 2 });
    this.tool?.down({ at, invert: false, clicks: 1 });
    this.tool?.up();
    this.requestPaint();
  }

  private selectNext(): void {
    const { outlines, selected } = this.drawing;
    const all = outlines.all;
    const next = all[(selected === null ? 0 : all.indexOf(selected) + 1) % all.length];
    if (next === undefined) return;
    this.drawing.select(next.id);
    const { left, top, right, bottom } = next.box;
    this.viewer.fit(left, top, right - left, bottom - top);
  }
}

function label(button: HTMLElement, title: string, action: Action): void {
  const keys = keysOf(action).join(", ");
  button.setAttribute("aria-label", title);
  button.title = keys === "" ? title : `${title} (${keys})`;
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
