/**
 * What a drawing tool is: it receives a press, moves and a release, holds a draft for the overlay to paint, and sends
 * strokes. All coordinates are slide pixels; `scale` is slide pixels per screen pixel.
 */

import type { Stroke } from "../api/types";
import { quarter, type Point } from "../geometry/types";
import type { Outline, OutlineSet } from "../outlines";

export type ToolName =
  | "select"
  | "pan"
  | "polygon"
  | "brush"
  | "eraser"
  | "rectangle"
  | "boundary"
  | "vertices";

/** What the overlay paints while a stroke is being drawn. */
export type Draft =
  | { readonly kind: "brush"; readonly points: readonly Point[]; readonly radius: number; readonly add: boolean }
  | { readonly kind: "path"; readonly points: readonly Point[]; readonly closed: boolean; readonly add: boolean }
  | { readonly kind: "vertex"; readonly at: Point; readonly neighbors: readonly Point[] };

export interface ToolContext {
  readonly className: string;
  readonly scale: number;
  /** Of the brush, in slide pixels. */
  readonly radius: number;
  readonly outlines: OutlineSet;
  readonly selected: Outline | null;
  /** Whether a stroke on this outline is not saved yet, so that its vertices may get other numbers. */
  isPending(outline: string): boolean;
  send(stroke: Stroke): void;
  select(outline: string | null): void;
  notify(message: string): void;
  /** Repaint the draft. */
  redraw(): void;
}

export interface Press {
  readonly at: Point;
  /** Alt, the eraser end or the side button of a pen: remove instead of add. */
  readonly invert: boolean;
  /** Of a double click, the second press has 2. */
  readonly clicks: number;
}

export interface Tool {
  down(press: Press): void;
  move(points: readonly Point[]): void;
  up(): void;
  hover?(at: Point): void;
  /** Escape, or a second finger: forget the draft. Return whether there was one. */
  cancel(): boolean;
  /** Enter. */
  confirm?(): boolean;
  /** Delete or Backspace. */
  remove?(): boolean;
  draft(): Draft | null;
}

/** Screen pixels within which a press hits a vertex, an edge or the first point of a polygon. */
export const HIT_PX = 9;
/** Screen pixels that a press may move and still be a click. */
export const CLICK_PX = 4;

export function pairs(points: readonly Point[]): [number, number][] {
  return points.map(({ x, y }) => [quarter(x), quarter(y)]);
}
