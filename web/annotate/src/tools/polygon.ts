/**
 * The polygon: clicks set its corners, dragging draws freehand, and both may be mixed.
 *
 * A double click, a click on the first corner or Enter closes it. A polygon drawn in a single drag closes on release.
 */

import { simplify } from "../geometry/decimate";
import { distance, type Point } from "../geometry/types";
import { CLICK_PX, HIT_PX, pairs, type Draft, type Press, type Tool, type ToolContext } from "./tool";

export class PolygonTool implements Tool {
  private points: Point[] = [];
  private pointer: Point | null = null;
  private pressed: Point | null = null;
  private dragged = false;
  private clicked = 0;
  private add = true;

  constructor(private readonly context: ToolContext) {}

  down({ at, invert, clicks }: Press): void {
    if (this.points.length === 0) {
      this.add = !invert;
      this.clicked = 0;
    }
    this.pressed = at;
    this.dragged = false;
    const near = HIT_PX * this.context.scale;
    const closes = this.points.length >= 3 && (clicks >= 2 || distance(at, this.points[0]!) <= near);
    if (closes) {
      this.pressed = null;
      this.confirm();
      return;
    }
    this.points.push(at);
    this.pointer = at;
    this.context.redraw();
  }

  move(points: readonly Point[]): void {
    if (this.pressed === null) return;
    const { scale } = this.context;
    for (const point of points) {
      if (!this.dragged && distance(point, this.pressed) < CLICK_PX * scale) continue;
      this.dragged = true;
      if (distance(point, this.points.at(-1)!) >= scale) this.points.push(point);
      this.pointer = point;
    }
    this.context.redraw();
  }

  up(): void {
    if (this.pressed === null) return;
    this.pressed = null;
    if (this.dragged && this.clicked === 0) this.confirm();
    else this.clicked++;
  }

  hover(at: Point): void {
    if (this.points.length === 0) return;
    this.pointer = at;
    this.context.redraw();
  }

  confirm(): boolean {
    if (this.points.length === 0) return false;
    const points = simplify(this.points, 0.5 * this.context.scale);
    this.cancel();
    if (points.length < 3) {
      this.context.notify("A polygon needs at least three corners.");
    } else {
      this.context.send({
        kind: "area",
        class: this.context.className,
        points: pairs(points),
        add: this.add,
        shape: "polygon",
      });
    }
    this.context.redraw();
    return true;
  }

  /** Take the last corner back. */
  remove(): boolean {
    if (this.points.length === 0) return false;
    this.points.pop();
    this.context.redraw();
    return true;
  }

  cancel(): boolean {
    const drawing = this.points.length > 0;
    this.points = [];
    this.pressed = this.pointer = null;
    this.clicked = 0;
    return drawing;
  }

  draft(): Draft | null {
    if (this.points.length === 0) return null;
    const points = this.pointer === null ? this.points : [...this.points, this.pointer];
    return { kind: "path", points, closed: true, add: this.add };
  }
}
