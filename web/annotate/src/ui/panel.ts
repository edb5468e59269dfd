/** The panel on the right: classes, the selected outline, patches, view and history. */

import type { HistoryEntry, OutlineClass, PreviewReply, Session } from "../api/types";
import { areaLabel, number } from "../geometry/scale_bar";
import type { Outline } from "../outlines";
import { byId, create } from "./dom";

export class ClassPicker {
  private readonly buttons: HTMLButtonElement[];

  constructor(
    private readonly classes: readonly OutlineClass[],
    private readonly choose: (name: string) => void,
  ) {
    this.buttons = classes.map((each, index) => {
      const swatch = create("span", { class: "swatch" });
      swatch.style.background = each.color;
      const key = create("kbd", { text: index < 9 ? String(index + 1) : "" });
      const button = create("button", {}, [swatch, create("span", { text: each.name }), key]);
      button.type = "button";
      button.setAttribute("role", "radio");
      button.addEventListener("click", () => this.choose(each.name));
      return button;
    });
    byId("classes").append(...this.buttons);
  }

  mark(name: string): void {
    this.buttons.forEach((button, index) =>
      button.setAttribute("aria-checked", String(this.classes[index]!.name === name)),
    );
  }
}

/** Show the facts of the selected outline; its comment is not replaced while it is being written. */
export function showSelection(outline: Outline | null, readOnly: boolean): void {
  byId("selection").hidden = outline === null;
  if (outline === null) return;
  const area = outline.areaUm2 === null ? `${number(Math.round(outline.areaPx2))} px²` : areaLabel(outline.areaUm2);
  const holes = outline.rings.length - 1;
  const facts = [outline.className, area, `${number(outline.vertices)} vertices`];
  if (holes > 0) facts.push(`${holes} hole${holes === 1 ? "" : "s"}`);
  byId("selection-facts").textContent = facts.join(" · ");
  const comment = byId<HTMLTextAreaElement>("comment");
  comment.readOnly = readOnly;
  if (document.activeElement !== comment) comment.value = outline.comment;
  byId("delete").hidden = readOnly;
}

const REASONS: Readonly<Record<string, string>> = {
  accepted: "patches",
  over_cap: "more than wanted",
  outside_slide: "outside the slide",
  outside_tumor: "too little tumor",
  too_close: "too close to others",
  too_little_tissue: "too little tissue",
  near_blank: "nearly blank",
  overexposed: "overexposed",
  underexposed: "underexposed",
  pen: "pen marks",
  dark_line: "dark line",
  blurred: "blurred",
};

export function showPatches(preview: PreviewReply | null, settings: Session["preview"]): void {
  byId("patches").hidden = preview === null;
  if (preview === null) return;
  const summary =
    preview.message ??
    `${settings.region_um} µm regions, at most ${settings.cap}, at least ${percent(settings.min_tumor)} tumor and ${percent(settings.min_tissue)} tissue`;
  byId("patches-summary").textContent = summary;
  const rows = Object.entries(preview.counts).map(([reason, count]) => {
    const row = create("tr", { class: reason }, [
      create("td", { text: REASONS[reason] ?? reason }),
      create("td", { text: number(count) }),
    ]);
    return row;
  });
  byId("patches-table").querySelector("tbody")!.replaceChildren(...rows);
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

export function showHistory(entries: readonly HistoryEntry[], restore: ((n: number) => void) | null): void {
  const items = entries.map((entry) => {
    const time = new Date(entry.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const item = create("li", { class: entry.shown ? "" : "gone" }, [
      create("span", { text: `${entry.n}. ${describe(entry)}, ${time}` }),
    ]);
    if (restore !== null && entry.kind !== "undo" && entry.kind !== "redo" && entry.kind !== "done") {
      const button = create("button", { text: "Restore" });
      button.type = "button";
      button.setAttribute("aria-label", `Restore the state after stroke ${entry.n}`);
      button.addEventListener("click", () => restore(entry.n));
      item.append(button);
    }
    return item;
  });
  byId("history").replaceChildren(...items);
}

function describe(entry: HistoryEntry): string {
  const of = entry.class === null ? "" : ` ${entry.class}`;
  switch (entry.kind) {
    case "brush":
      return entry.erases ? `erased${of}` : `brush${of}`;
    case "area":
      return entry.erases ? `area removed${of}` : `area${of}`;
    case "vertex":
    case "vertex_insert":
    case "vertex_remove":
      return "vertex";
    case "class":
      return `class${of}`;
    case "restore":
      return `restored ${entry.to ?? 0}`;
    default:
      return entry.kind;
  }
}
