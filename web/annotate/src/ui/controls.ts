/** Toolbar, buttons and sliders. */

import { keysOf, type Action } from "../input/keys";
import type { ToolName } from "../tools/tool";
import { byId, create } from "./dom";
import { icon, type IconName } from "./icons";

const TOOLS: readonly { name: ToolName & IconName; title: string; draws: boolean }[] = [
  { name: "select", title: "Select", draws: false },
  { name: "pan", title: "Pan", draws: false },
  { name: "brush", title: "Brush", draws: true },
  { name: "eraser", title: "Eraser", draws: true },
  { name: "polygon", title: "Polygon", draws: true },
  { name: "rectangle", title: "Rectangle", draws: true },
  { name: "boundary", title: "Redraw boundary", draws: true },
  { name: "vertices", title: "Vertices", draws: true },
];
const BUTTONS: readonly { id: string; picture: IconName; title: string; action: Action }[] = [
  { id: "toggle-slides", picture: "slides", title: "List of slides", action: "toggle-slides" },
  { id: "undo", picture: "undo", title: "Undo", action: "undo" },
  { id: "redo", picture: "redo", title: "Redo", action: "redo" },
  { id: "preview", picture: "preview", title: "Preview of patches", action: "toggle-preview" },
  { id: "visible", picture: "visible", title: "Show outlines", action: "toggle-outlines" },
  { id: "help", picture: "help", title: "Help", action: "help" },
];

export function makeButtons(act: (action: Action) => void, readOnly: boolean): void {
  for (const { name, title, draws } of TOOLS) {
    const button = create("button", { class: "icon" });
    button.id = `tool-${name}`;
    button.type = "button";
    button.disabled = readOnly && draws;
    byId("tools").append(button);
    equip(button, name, title, `tool:${name}`, act);
  }
  for (const { id, picture, title, action } of BUTTONS) equip(byId(id), picture, title, action, act);
  byId("done").addEventListener("click", () => act("done"));
}

function equip(button: HTMLElement, picture: IconName, title: string, action: Action, act: (action: Action) => void): void {
  button.append(icon(picture));
  button.setAttribute("aria-label", title);
  button.title = `${title} (${keysOf(action).join(", ")})`;
  button.addEventListener("click", () => act(action));
}

/** Show which tool is in use. */
export function markTool(name: ToolName): void {
  for (const tool of TOOLS) byId(`tool-${tool.name}`).setAttribute("aria-pressed", String(tool.name === name));
  byId("overlay").className = name === "pan" || name === "select" ? name : "";
  byId("radius-row").hidden = name !== "brush" && name !== "eraser";
}

/** The sliders of the view and of the brush. */
export class Sliders {
  private readonly opacityInput = byId<HTMLInputElement>("opacity");
  private readonly brightness = byId<HTMLInputElement>("brightness");
  private readonly contrast = byId<HTMLInputElement>("contrast");
  private readonly rotation = byId<HTMLInputElement>("rotation");
  private readonly radius = byId<HTMLInputElement>("radius");
  private brush = BRUSH_PX.initial as number;

  constructor(
    private readonly changed: () => void,
    filter: (brightness: number, contrast: number) => void,
    rotate: (degrees: number) => void,
    reset: () => void,
  ) {
    const filtered = (): void => filter(Number(this.brightness.value), Number(this.contrast.value));
    this.opacityInput.addEventListener("input", changed);
    this.brightness.addEventListener("input", filtered);
    this.contrast.addEventListener("input", filtered);
    this.rotation.addEventListener("input", () => rotate(Number(this.rotation.value)));
    this.radius.addEventListener("input", () => {
      this.brushPx = BRUSH_PX.least * (BRUSH_PX.most / BRUSH_PX.least) ** (Number(this.radius.value) / 100);
    });
    byId("reset-view").addEventListener("click", () => {
      for (const slider of [this.opacityInput, this.brightness, this.contrast, this.rotation]) {
        slider.value = slider.defaultValue;
      }
      filtered();
      reset();
    });
    this.brushPx = BRUSH_PX.initial;
  }

  get opacity(): number {
    return Number(this.opacityInput.value);
  }

  /** Radius of the brush on the screen. */
  get brushPx(): number {
    return this.brush;
  }

  set brushPx(px: number) {
    this.brush = Math.min(BRUSH_PX.most, Math.max(BRUSH_PX.least, px));
    const share = Math.log(this.brush / BRUSH_PX.least) / Math.log(BRUSH_PX.most / BRUSH_PX.least);
    this.radius.value = String(Math.round(100 * share));
    this.changed();
  }

  enlargeBrush(steps: number): void {
    this.brushPx *= BRUSH_PX.step ** steps;
  }
}

const BRUSH_PX = { least: 2, most: 160, initial: 24, step: 1.2 } as const;
