/** The rectangle, parallel to the screen: drag from corner to corner, or click both corners. */

import { distance, type Point } from "../geometry/types";
import { CLICK_PX, pairs, type Draft, type Press, type Tool, type ToolContext } from "./tool";

export class RectangleTool implements Tool {
  private first: Point | null = null;
  private last: Point | null = null;
  private add = true;
  private pressed = false;

  /** `corners` returns the rectangle between two opposite corners, whose sides are parallel to those of the screen. */
  constructor(
    private readonly context: ToolContext,
    private readonly corners: (a: Point, b: Point) => readonly Point[],
  ) {}

  down({ at, invert }: Press): void {
    this.pressed = true;
    if (this.first === null) {
      this.first = at;
      this.add = !invert;
    }
    this.last = at;
    this.context.redraw();
  }

  move(points: readonly Point[]): void {
    if (this.pressed) this.hover(points.at(-1)!);
  }

  hover(at: Point): void {
    if (this.first === null) return;
    this.last = at;
    this.context.redraw();
  }

  up(): void {
    this.pressed = false;
    this.confirm();
  }

  confirm(): boolean {
    const [first, last] = [this.first, this.last];
    if (first === null || last === null || distance(first, last) < CLICK_PX * this.context.scale) return false;
    this.cancel();
    this.context.send({
      kind: "area",
      class: this.context.className,
      points: pairs(this.corners(first, last)),
      add: this.add,
      shape: "rectangle",
    });
    this.context.redraw();
    return true;
  }

  cancel(): boolean {
    const drawing = this.first !== null;
    this.first = this.last = null;
    this.pressed = false;
    return drawing;
  }

  draft(): Draft | null {
    if (this.first === null || this.last === null) return null;
    return { kind: "path", points: this.corners(this.first, this.last), closed: true, add: this.add };
  }
}
