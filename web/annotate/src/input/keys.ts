/** The keyboard: one table for the key map, the help dialog and the tooltips. */

import type { ToolName } from "../tools/tool";

export type Action =
  | `tool:${ToolName}`
  | "class:1" | "class:2" | "class:3" | "class:4" | "class:5" | "class:6" | "class:7" | "class:8" | "class:9"
  | "undo" | "redo" | "confirm" | "cancel" | "remove" | "press"
  | "smaller" | "larger"
  | "zoom-in" | "zoom-out" | "home" | "full-resolution"
  | "pan-left" | "pan-right" | "pan-up" | "pan-down"
  | "rotate-left" | "rotate-right" | "rotate-reset"
  | "toggle-outlines" | "toggle-preview" | "toggle-slides" | "toggle-history" | "toggle-view"
  | "next-outline" | "comment" | "done" | "previous-slide" | "next-slide" | "help";

export interface Shortcut {
  readonly action: Action;
  /** As in `KeyboardEvent.key`, with "Ctrl+" and "Shift+" where they matter. */
  readonly keys: readonly string[];
  readonly what: string;
  readonly group: "Tools" | "Drawing" | "Outlines" | "View" | "Slides";
}

export const SHORTCUTS: readonly Shortcut[] = [
  { action: "tool:select", keys: ["v"], what: "Select an outline", group: "Tools" },
  { action: "tool:pan", keys: ["h"], what: "Pan; hold Space to pan with any tool", group: "Tools" },
  { action: "tool:polygon", keys: ["p"], what: "Polygon: click corners, or drag freehand", group: "Tools" },
  { action: "tool:brush", keys: ["b"], what: "Brush", group: "Tools" },
  { action: "tool:eraser", keys: ["e"], what: "Eraser", group: "Tools" },
  { action: "tool:rectangle", keys: ["r"], what: "Rectangle", group: "Tools" },
  { action: "tool:boundary", keys: ["l"], what: "Redraw part of a boundary", group: "Tools" },
  { action: "tool:vertices", keys: ["n"], what: "Move, insert and remove vertices", group: "Tools" },
  { action: "confirm", keys: ["Enter"], what: "Close the polygon", group: "Drawing" },
  { action: "cancel", keys: ["Escape"], what: "Cancel what is being drawn, or deselect", group: "Drawing" },
  { action: "remove", keys: ["Backspace", "Delete"], what: "Remove: last corner, vertex, selected outline", group: "Drawing" },
  { action: "smaller", keys: ["["], what: "Smaller brush", group: "Drawing" },
  { action: "larger", keys: ["]"], what: "Larger brush", group: "Drawing" },
  { action: "press", keys: ["."], what: "Click at the center of the view (cross), without a mouse", group: "Drawing" },
  { action: "undo", keys: ["Ctrl+z"], what: "Undo the last stroke", group: "Drawing" },
  { action: "redo", keys: ["Ctrl+Shift+z", "Ctrl+y"], what: "Redo", group: "Drawing" },
  ...(["1", "2", "3", "4", "5", "6", "7", "8", "9"] as const).map(
    (key): Shortcut => ({
      action: `class:${key}`,
      keys: [key],
      what: "Class by its number: for new strokes, and for the selected outline",
      group: "Outlines",
    }),
  ),
  { action: "next-outline", keys: ["Ctrl+ArrowRight", "j"], what: "Select the next outline", group: "Outlines" },
  { action: "comment", keys: ["c"], what: "Comment on the selected outline", group: "Outlines" },
  { action: "toggle-outlines", keys: ["o"], what: "Show or hide outlines", group: "Outlines" },
  { action: "toggle-preview", keys: ["g"], what: "Preview of patches", group: "Outlines" },
  { action: "toggle-history", keys: ["i"], what: "History", group: "Outlines" },
  { action: "zoom-in", keys: ["+", "="], what: "Zoom in", group: "View" },
  { action: "zoom-out", keys: ["-", "_"], what: "Zoom out", group: "View" },
  { action: "home", keys: ["0"], what: "Whole slide", group: "View" },
  { action: "full-resolution", keys: ["Shift+0", ")"], what: "Full resolution: one slide pixel per screen pixel", group: "View" },
  { action: "pan-left", keys: ["ArrowLeft"], what: "Move left", group: "View" },
  { action: "pan-right", keys: ["ArrowRight"], what: "Move right", group: "View" },
  { action: "pan-up", keys: ["ArrowUp"], what: "Move up", group: "View" },
  { action: "pan-down", keys: ["ArrowDown"], what: "Move down", group: "View" },
  { action: "rotate-left", keys: ["Shift+ArrowLeft"], what: "Rotate left by 15°", group: "View" },
  { action: "rotate-right", keys: ["Shift+ArrowRight"], what: "Rotate right by 15°", group: "View" },
  { action: "rotate-reset", keys: ["Shift+ArrowUp"], what: "No rotation", group: "View" },
  { action: "toggle-view", keys: ["u"], what: "Brightness, contrast, opacity", group: "View" },
  { action: "previous-slide", keys: ["PageUp"], what: "Previous slide", group: "Slides" },
  { action: "next-slide", keys: ["PageDown"], what: "Next slide", group: "Slides" },
  { action: "toggle-slides", keys: ["\\"], what: "Show or hide the list of slides", group: "Slides" },
  { action: "done", keys: ["d"], what: "Mark the slide done, or not done", group: "Slides" },
  { action: "help", keys: ["?", "F1"], what: "This help", group: "Slides" },
];

export interface KeyPress {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly shiftKey: boolean;
  readonly altKey: boolean;
}

const BY_KEY = new Map(SHORTCUTS.flatMap(({ action, keys }) => keys.map((key) => [key, action] as const)));

/** Return the action of a key, or null. On macOS, the command key counts as Ctrl. */
export function actionOf(press: KeyPress): Action | null {
  if (press.altKey && press.key.length > 1) return null; // Alt+Left and the like belong to the browser
  const ctrl = press.ctrlKey || press.metaKey;
  const letter = press.key.length === 1 ? press.key.toLowerCase() : press.key;
  const shiftMatters = press.key.length > 1 || ctrl || press.key === "0";
  const name = `${ctrl ? "Ctrl+" : ""}${press.shiftKey && shiftMatters ? "Shift+" : ""}${letter}`;
  return BY_KEY.get(name) ?? null;
}

/** Keys whose action is the same at any focus but that of a text field. */
export function isPlainCharacter(press: KeyPress): boolean {
  return press.key.length === 1 && !press.ctrlKey && !press.metaKey;
}

/** Return the keys of an action as written on a keyboard. */
export function keysOf(action: Action): string[] {
  const shortcut = SHORTCUTS.find((one) => one.action === action);
  return (shortcut?.keys ?? []).map(keyLabel);
}

const NAMES: Readonly<Record<string, string>> = {
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
  Escape: "Esc",
  PageUp: "Page ↑",
  PageDown: "Page ↓",
};

function keyLabel(keys: string): string {
  return keys
    .split(/\+(?=.)/)
    .map((key) => NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key))
    .join(" + ");
}
