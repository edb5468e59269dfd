/** Redraw part of a boundary: a line that starts and ends near the boundary of one outline replaces what lies between. */

import { simplify } from "../geometry/decimate";
import { nearestEdge } from "../geometry/rings";
import { distance, type Point } from "../geometry/types";
import type { Outline } from "../outlines";
import { HIT_PX, pairs, type Draft, type Press, type Tool, type ToolContext } from "./tool";

/** Screen pixels from the boundary within which a line may start; the selected outline is preferred. */
const REACH_PX = 3 * HIT_PX;

export class BoundaryTool implements Tool {
  private points: Point[] = [];
  private outline: string | null = null;

  constructor(private readonly context: ToolContext) {}

  down({ at }: Press): void {
    const outline = this.nearest(at);
    if (outline === null) {
      this.context.notify("Start the new line at the boundary of an outline.");
      return;
    }
    this.outline = outline.id;
    this.context.select(outline.id);
    this.points = [at];
    this.context.redraw();
  }

  move(points: readonly Point[]): void {
    if (this.outline === null) return;
    for (const point of points) {
      if (distance(point, this.points.at(-1)!) >= this.context.scale) this.points.push(point);
    }
    this.context.redraw();
  }

  up(): void {
    const outline = this.context.outlines.get(this.outline);
    const [points, last] = [this.points, this.points.at(-1)];
    this.cancel();
    this.context.redraw();
    if (outline === null || last === undefined || points.length < 2) return;
    if (nearestEdge(outline.rings, last, REACH_PX * this.context.scale) === null) {
      this.context.notify("End the new line at the boundary of the same outline.");
      return;
    }
    const line = simplify(points, 0.5 * this.context.scale);
    this.context.send({ kind: "boundary", outline: outline.id, points: pairs(line) });
  }

  cancel(): boolean {
    const drawing = this.outline !== null;
    this.points = [];
    this.outline = null;
    return drawing;
  }

  draft(): Draft | null {
    return this.points.length === 0 ? null : { kind: "path", points: this.points, closed: false, add: true };
  }

  private nearest(at: Point): Outline | null {
    const { selected, outlines, scale } = this.context;
    let reach = REACH_PX * scale;
    if (selected !== null && nearestEdge(selected.rings, at, reach) !== null) return selected;
    let nearest: Outline | null = null;
    for (const outline of outlines.all) {
      const { left, right, top, bottom } = outline.box;
      if (at.x < left - reach || at.x > right + reach || at.y < top - reach || at.y > bottom + reach) continue;
      const edge = nearestEdge(outline.rings, at, reach);
      if (edge !== null) [nearest, reach] = [outline, edge.distance];
    }
    return nearest;
  }
}
