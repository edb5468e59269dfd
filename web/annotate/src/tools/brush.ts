/** The brush and the eraser: a round tip drawn along a line. */

import { simplify } from "../geometry/decimate";
import { distance, quarter, type Point } from "../geometry/types";
import { pairs, type Draft, type Press, type Tool, type ToolContext } from "./tool";

/** Screen pixels: nearer points are not recorded, and the line is simplified within half of it. */
const SPACING_PX = 0.7;

export class BrushTool implements Tool {
  private points: Point[] = [];
  private add = true;
  private radius = 0;

  constructor(
    private readonly context: ToolContext,
    private readonly erases: boolean,
  ) {}

  down({ at, invert }: Press): void {
    this.points = [at];
    this.add = this.erases === invert;
    this.radius = this.context.radius;
    this.context.redraw();
  }

  move(points: readonly Point[]): void {
    for (const point of points) {
      if (distance(point, this.points.at(-1) ?? point) >= SPACING_PX * this.context.scale) this.points.push(point);
    }
    this.context.redraw();
  }

  up(): void {
    if (this.points.length === 0) return;
    const line = simplify(this.points, (SPACING_PX / 2) * this.context.scale);
    // The eraser removes from all classes; a brush that is turned into an eraser, from its own class alone.
    const className = this.erases && !this.add ? null : this.context.className;
    this.points = [];
    this.context.send({
      kind: "brush",
      class: className,
      radius_px: Math.max(0.25, quarter(this.radius)),
      points: pairs(line),
      add: this.add,
    });
    this.context.redraw();
  }

  cancel(): boolean {
    const drawing = this.points.length > 0;
    this.points = [];
    return drawing;
  }

  draft(): Draft | null {
    if (this.points.length === 0) return null;
    return { kind: "brush", points: this.points, radius: this.radius, add: this.add };
  }
}
