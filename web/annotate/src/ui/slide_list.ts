/** The list of slides: thumbnails, states, who works on what, and a filter. */

import { slidePath } from "../api/client";
import type { SlideSummary } from "../api/types";
import { byId, create } from "./dom";

export class SlideList {
  private readonly list = byId<HTMLUListElement>("slide-list");
  private readonly filter = byId<HTMLInputElement>("filter");
  private readonly count = byId("count");
  private readonly buttons = new Map<string, HTMLButtonElement>();
  private slides: readonly SlideSummary[] = [];
  private current: string | null = null;

  constructor(private readonly open: (id: string) => void) {
    this.filter.addEventListener("input", () => this.show());
  }

  set(slides: readonly SlideSummary[]): void {
    this.slides = slides;
    for (const slide of slides) this.update(slide);
    this.show();
  }

  /** Mark the slide that is open. */
  mark(id: string): void {
    this.current = id;
    for (const [name, button] of this.buttons) button.setAttribute("aria-current", String(name === id));
    this.buttons.get(id)?.scrollIntoView({ block: "nearest" });
  }

  /** Return the readable slide that is so many places further in the filtered list. */
  next(step: number): string | null {
    const shown = this.shown().filter((slide) => slide.state !== "unreadable");
    const at = shown.findIndex((slide) => slide.id === this.current);
    return shown[at + step]?.id ?? null;
  }

  private shown(): SlideSummary[] {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    return this.slides.filter(({ id, state }) => words.every((word) => `${id} ${state}`.toLowerCase().includes(word)));
  }

  private show(): void {
    const shown = new Set(this.shown().map((slide) => slide.id));
    for (const [id, button] of this.buttons) button.parentElement!.hidden = !shown.has(id);
    const done = this.slides.filter((slide) => slide.state === "done").length;
    this.count.textContent = `${done} of ${this.slides.length} done`;
  }

  private update(slide: SlideSummary): void {
    let button = this.buttons.get(slide.id);
    if (button === undefined) {
      button = this.make(slide);
      this.buttons.set(slide.id, button);
      this.list.append(create("li", {}, [button]));
    }
    button.disabled = slide.state === "unreadable";
    const state = button.querySelector(".state")!;
    state.className = `state ${slide.state.replace(" ", "-")}`;
    state.textContent = describe(slide);
    if (slide.state === "unreadable") button.querySelector("img")!.hidden = true;
  }

  private make(slide: SlideSummary): HTMLButtonElement {
    const picture = create("img");
    picture.alt = "";
    picture.loading = "lazy";
    picture.src = `${slidePath(slide.id)}/thumbnail`;
    const text = create("span", {}, [create("span", { text: slide.id, class: "name" }), create("span", { class: "state" })]);
    const button = create("button", {}, [picture, text]);
    button.type = "button";
    button.addEventListener("click", () => this.open(slide.id));
    return button;
  }
}

function describe(slide: SlideSummary): string {
  if (slide.state === "unreadable") return slide.reason ?? "cannot be opened";
  const parts: string[] = [slide.state];
  if (slide.outlines > 0) parts.push(`${slide.outlines} outline${slide.outlines === 1 ? "" : "s"}`);
  for (const other of slide.others) parts.push(`${other.annotator}: ${other.state}`);
  if (slide.active.length > 0) parts.push(`open: ${slide.active.join(", ")}`);
  return parts.join(" · ");
}
