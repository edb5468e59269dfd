/** The page: the open slide, its strokes on their path to the server, the tools, and the picture of all this. */

import { viewActions } from "./actions";
import type { Client } from "./api/client";
import type { Session, Stroke } from "./api/types";
import { concerns, Drawing } from "./drawing";
import { apply, invert } from "./geometry/transform";
import type { Point } from "./geometry/types";
import { listenToKeys, listenToPointers } from "./input/events";
import type { Action } from "./input/keys";
import { PointerRouter, type Actions } from "./input/pointer";
import { PatchPreview } from "./preview";
import { newId, SendQueue, type Pending } from "./sending/queue";
import { StrokeStorage } from "./sending/storage";
import { makeTools } from "./tools/all";
import type { Tool, ToolContext, ToolName } from "./tools/tool";
import { makeButtons, markTool, Sliders } from "./ui/controls";
import { byId } from "./ui/dom";
import { fillHelp } from "./ui/help";
import { ClassPicker, showHistory, showSelection } from "./ui/panel";
import { SlideList } from "./ui/slide_list";
import { messageOf, notify, showSaved, showScale } from "./ui/status";
import { Overlay } from "./viewer/overlay";
import { SlideViewer } from "./viewer/viewer";

const POLL_MS = 20_000;
const LIST_DELAY_MS = 1000;
const UNKNOWN_COLOR = "#8c6bb1";

export class App {
  private readonly viewer: SlideViewer;
  private readonly overlay = new Overlay(byId<HTMLCanvasElement>("overlay"));
  private readonly drawing: Drawing;
  private readonly queue: SendQueue;
  private readonly storage: StrokeStorage;
  private readonly preview: PatchPreview;
  private readonly sliders: Sliders;
  private readonly list: SlideList;
  private readonly classes: ClassPicker;
  private readonly pointers: PointerRouter;
  private readonly tools: Record<Exclude<ToolName, "pan">, Tool>;
  private readonly actions: Partial<Record<Action, () => void>>;
  private readonly colors: ReadonlyMap<string, string>;
  private readonly begun = new Map<string, number>();
  private toolName: ToolName = "brush";
  private className: string;
  private hover: Point | null = null;
  private hasCross = false;
  private isVisible = true;
  private isPaintDue = false;
  private listTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly client: Client,
    private readonly session: Session,
  ) {
    this.colors = new Map(session.classes.map(({ name, color }) => [name, color]));
    this.className = session.classes[0]!.name;
    const repaint = (): void => this.requestPaint();
    this.viewer = new SlideViewer(byId("viewer"), byId("navigator"), () => this.paint());
    this.drawing = new Drawing(client, session, () => this.drawingChanged());
    this.storage = new StrokeStorage(session.annotator);
    this.queue = this.makeQueue();
    this.preview = new PatchPreview(client, session, () => this.drawing.slide, repaint, notify);
    this.tools = makeTools(this.toolContext(), (a, b) => this.screenRectangle(a, b));
    this.list = new SlideList((id) => void this.open(id));
    this.classes = new ClassPicker(session.classes, (name) => this.chooseClass(name));
    this.pointers = new PointerRouter(this.pointerActions());
    this.actions = this.makeActions();
    makeButtons((action) => this.act(action), session.read_only);
    this.sliders = new Sliders(
      repaint,
      (brightness, contrast) => this.viewer.setFilter(brightness, contrast),
      (degrees) => this.viewer.rotateTo(degrees),
      () => this.viewer.home(),
    );
  }

  async start(): Promise<void> {
    this.listen();
    fillHelp();
    this.chooseTool(this.session.read_only ? "pan" : "brush");
    this.chooseClass(this.className);
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
      empty.textContent = messageOf(error);
      return;
    }
    void this.viewer.complete().then(() => measure("open", start));
    empty.hidden = true;
    byId("title").textContent = id;
    byId("scale").hidden = false;
    history.replaceState(null, "", `#${encodeURIComponent(id)}`);
    this.list.mark(id);
    this.preview.refresh();
    void this.loadHistory();
    this.paint();
  }

  /** See what other tabs, other annotators and other programs have done meanwhile. */
  private async poll(): Promise<void> {
    try {
      this.list.set(await this.client.slides());
      if (this.queue.pending.length === 0 && !this.pointers.isBusy) await this.drawing.refresh(this.drawing.position.n);
    } catch {
      // The next stroke, or the next poll, tells.
    }
  }

  private refreshList(): void {
    clearTimeout(this.listTimer);
    this.listTimer = setTimeout(() => {
      this.client.slides().then(
        (slides) => this.list.set(slides),
        () => undefined,
      );
    }, LIST_DELAY_MS);
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

  private makeQueue(): SendQueue {
    return new SendQueue({
      post: (slide, body) => this.client.stroke(slide, body),
      storage: this.storage,
      known: (slide) => (slide === this.drawing.slide ? this.drawing.position.n : 0),
      saved: (entry, reply) => {
        this.drawing.apply(entry.slide, reply);
        this.paint();
        measure("stroke", this.begun.get(entry.id));
        this.begun.delete(entry.id);
        this.preview.refresh();
        void this.loadHistory();
        this.refreshList();
      },
      refused: (_, error) => {
        notify(error.message);
        void this.drawing.refresh(-1);
      },
      conflict: () => void this.drawing.refresh(-1),
      changed: () => {
        this.showSaved();
        this.requestPaint();
      },
    });
  }

  private send(stroke: Stroke): void {
    const { slide, position } = this.drawing;
    if (slide === null || this.session.read_only) return;
    const id = newId();
    this.begun.set(id, performance.now());
    this.queue.add({ id, slide, stroke, madeAt: position.n });
  }

  private pendingHere(): readonly Pending[] {
    return this.queue.pending.filter((entry) => entry.slide === this.drawing.slide);
  }

  private showSaved(): void {
    showSaved(this.queue.state, this.session.annotator, this.session.read_only);
  }

  private drawingChanged(): void {
    const { position, selected, slide } = this.drawing;
    const readOnly = this.session.read_only;
    byId<HTMLButtonElement>("undo").disabled = !position.can_undo;
    byId<HTMLButtonElement>("redo").disabled = !position.can_redo;
    const done = byId<HTMLButtonElement>("done");
    done.disabled = slide === null || readOnly;
    done.setAttribute("aria-pressed", String(position.done));
    done.textContent = position.done ? "Done" : "Mark done";
    showSelection(selected, readOnly);
    this.classes.mark(selected?.className ?? this.className);
    if (position.conflict !== null) {
      byId("conflict-text").textContent = position.conflict;
      const dialog = byId<HTMLDialogElement>("conflict-dialog");
      if (!dialog.open) dialog.showModal();
    }
    this.requestPaint();
  }

  private async settleConflict(choice: string): Promise<void> {
    const { slide } = this.drawing;
    if (slide === null || (choice !== "take" && choice !== "keep")) return;
    try {
      this.drawing.replace(await this.client.resolveConflict(slide, choice));
      this.queue.resume();
      void this.loadHistory();
    } catch (error) {
      notify(messageOf(error));
    }
  }

  // Painting

  private requestPaint(): void {
    if (this.isPaintDue) return;
    this.isPaintDue = true;
    requestAnimationFrame(() => {
      this.isPaintDue = false;
      this.paint();
    });
  }

  private paint(): void {
    if (!this.viewer.isOpen) return;
    const { transform, scale } = this.viewer;
    const isBrush = this.toolName === "brush" || this.toolName === "eraser";
    const { brushPx, opacity } = this.sliders;
    this.overlay.paint(
      {
        outlines: this.drawing.outlines.all,
        selected: this.drawing.selected,
        showVertices: this.toolName === "vertices",
        pending: this.pendingHere().map((entry) => entry.stroke),
        draft: this.tool?.draft() ?? null,
        tip: isBrush && this.hover !== null ? { at: this.hover, radius: brushPx * scale } : null,
        cross: this.hasCross,
        squares: this.preview.squares,
        colorOf: (name) => this.colorOf(name),
        draftColor: this.colorOf(this.className),
        opacity,
        visible: this.isVisible,
      },
      transform,
    );
    byId("overlay").dataset.transform = Object.values(transform).join(" ");
    showScale(scale, this.drawing.details?.mpp ?? null, brushPx);
  }

  private colorOf(name: string | null): string {
    return (name === null ? undefined : this.colors.get(name)) ?? UNKNOWN_COLOR;
  }

  // Tools

  private get tool(): Tool | null {
    return this.toolName === "pan" ? null : this.tools[this.toolName];
  }

  private toolContext(): ToolContext {
    const app = this as App;
    return {
      get className() {
        return app.className;
      },
      get scale() {
        return app.viewer.scale;
      },
      get radius() {
        return app.sliders.brushPx * app.viewer.scale;
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
      notify,
      redraw: () => app.requestPaint(),
    };
  }

  private chooseTool(name: ToolName): void {
    if (this.session.read_only && name !== "select" && name !== "pan") return;
    if (name !== this.toolName && this.tool?.draft() != null) this.tool.cancel();
    this.toolName = name;
    markTool(name);
    this.requestPaint();
  }

  private chooseClass(name: string): void {
    const { selected } = this.drawing;
    this.className = name;
    if (selected !== null && selected.className !== name) this.send({ kind: "class", outline: selected.id, class: name });
    this.classes.mark(name);
    this.requestPaint();
  }

  /** The rectangle between two corners whose sides are parallel to those of the screen. */
  private screenRectangle(a: Point, b: Point): Point[] {
    const { transform } = this.viewer;
    const back = invert(transform);
    const [first, last] = [apply(transform, a), apply(transform, b)];
    return [first, { x: last.x, y: first.y }, last, { x: first.x, y: last.y }].map((corner) => apply(back, corner));
  }

  // Pointers, keys and buttons

  private pointerActions(): Actions {
    const toSlide = (at: Point): Point => apply(invert(this.viewer.transform), at);
    return {
      drawing: () => this.tool !== null && this.viewer.isOpen && this.isVisible,
      taps: () => this.toolName === "select",
      fingerDraws: () => byId<HTMLInputElement>("finger").checked,
      press: (at, { invert: inverted, clicks }) => {
        this.hasCross = false;
        this.tool?.down({ at: toSlide(at), invert: inverted, clicks });
      },
      drag: (points) => {
        const there = points.map(toSlide);
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
        this.hover = toSlide(at);
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

  private listen(): void {
    listenToPointers(byId<HTMLCanvasElement>("overlay"), this.pointers, {
      pressed: () => byId("stage").focus({ preventScroll: true }),
      left: () => {
        this.hover = null;
        this.requestPaint();
      },
      zoomed: (factor, at) => {
        if (this.viewer.isOpen) this.viewer.zoom(factor, at, false);
      },
    });
    listenToKeys(this.pointers, (action) => this.act(action));
    byId("delete").addEventListener("click", () => this.tools.select.remove?.());
    byId("comment").addEventListener("change", (event) => {
      const { selected } = this.drawing;
      const text = (event.target as HTMLTextAreaElement).value;
      if (selected !== null && text !== selected.comment) this.send({ kind: "comment", outline: selected.id, text });
    });
    byId("conflict-dialog").addEventListener("close", (event) => {
      const dialog = event.target as HTMLDialogElement;
      void this.settleConflict(dialog.returnValue);
      dialog.returnValue = "";
    });
    addEventListener("beforeunload", (event) => {
      if (this.queue.pending.length > 0) event.preventDefault();
    });
    addEventListener("online", () => this.queue.resume());
  }

  private act(action: Action): void {
    const [kind, value] = action.split(":");
    if (kind === "tool") {
      this.chooseTool(value as ToolName);
    } else if (kind === "class") {
      const chosen = this.session.classes[Number(value) - 1];
      if (chosen !== undefined) this.chooseClass(chosen.name);
    } else {
      this.actions[action]?.();
    }
  }

  private makeActions(): Partial<Record<Action, () => void>> {
    const onSlide: Partial<Record<Action, () => void>> = {
      ...viewActions(this.viewer),
      undo: () => this.unlessDrafting({ kind: "undo" }),
      redo: () => this.unlessDrafting({ kind: "redo" }),
      done: () => this.send({ kind: "done", done: !this.drawing.position.done }),
      confirm: () => this.tool?.confirm?.(),
      cancel: () => {
        if (this.tool?.cancel() !== true) this.drawing.select(null);
        this.requestPaint();
      },
      remove: () => {
        if (this.tool?.remove?.() !== true) this.tools.select.remove?.();
      },
      press: () => this.pressAtCenter(),
      "toggle-outlines": () => {
        this.isVisible = !this.isVisible;
        byId("visible").setAttribute("aria-pressed", String(this.isVisible));
        this.requestPaint();
      },
      "toggle-preview": () => this.preview.toggle(),
      "next-outline": () => this.selectNext(),
      comment: () => {
        if (this.drawing.selected === null) notify("Select an outline first (V, then click it; or J).");
        else byId("comment").focus();
      },
    };
    for (const action of Object.keys(onSlide) as Action[]) {
      const run = onSlide[action]!;
      onSlide[action] = () => {
        if (this.viewer.isOpen) run();
      };
    }
    return {
      ...onSlide,
      smaller: () => this.sliders.enlargeBrush(-1),
      larger: () => this.sliders.enlargeBrush(1),
      "toggle-slides": () => {
        const slides = byId("slides");
        slides.hidden = !slides.hidden;
        byId("toggle-slides").setAttribute("aria-expanded", String(!slides.hidden));
      },
      "toggle-view": () => byId("opacity").focus(),
      "toggle-history": () => byId("history").focus(),
      help: () => byId<HTMLDialogElement>("help-dialog").showModal(),
      "previous-slide": () => this.openNext(-1),
      "next-slide": () => this.openNext(1),
    };
  }

  private openNext(step: number): void {
    const next = this.list.next(step);
    if (next !== null) void this.open(next);
  }

  /** Undo or redo; while something is being drawn, only forget that. */
  private unlessDrafting(stroke: Stroke): void {
    if (this.tool?.draft() != null) this.tool.cancel();
    else this.send(stroke);
    this.requestPaint();
  }

  /** Draw without a mouse: a press at the center of the view, where a cross is shown from then on. */
  private pressAtCenter(): void {
    this.hasCross = true;
    const { clientWidth, clientHeight } = byId("stage");
    const at = apply(invert(this.viewer.transform), { x: clientWidth / 2, y: clientHeight / 2 });
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

/** Note how long something took, for the performance panel of browsers and for `benchmarks/annotate.py`. */
function measure(what: string, start: number | undefined): void {
  if (start !== undefined) performance.measure(what, { start });
}
