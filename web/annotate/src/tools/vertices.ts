/** Move, insert and remove vertices of the selected outline. Pressing an edge inserts a vertex there. */

import { nearestEdge, nearestVertex, type Vertex } from "../geometry/rings";
import { distance, QUARTERS, type Point } from "../geometry/types";
import type { Outline } from "../outlines";
import { CLICK_PX, HIT_PX, pairs, type Draft, type Press, type Tool, type ToolContext } from "./tool";

interface Grip {
  readonly outline: Outline;
  readonly vertex: Vertex;
  readonly inserts: boolean;
  to: Point;
  moved: boolean;
}

export class VertexTool implements Tool {
  private grip: Grip | null = null;
  private pressed = false;

  constructor(private readonly context: ToolContext) {}

  down({ at }: Press): void {
    this.grip = null;
    const selected = this.context.selected;
    const reach = HIT_PX * this.context.scale;
    if (selected !== null) {
      const vertex = nearestVertex(selected.rings, at, reach);
      const grip = vertex ?? nearestEdge(selected.rings, at, reach);
      if (grip !== null) {
        if (this.context.isPending(selected.id)) {
          this.context.notify("This outline is still being saved. Try again in a moment.");
          return;
        }
        this.grip = { outline: selected, vertex: grip, inserts: vertex === null, to: grip.at, moved: false };
        this.pressed = true;
        this.context.redraw();
        return;
      }
    }
    this.context.select(this.context.outlines.at(at)?.id ?? null);
  }

  move(points: readonly Point[]): void {
    const last = points.at(-1);
    if (this.grip === null || !this.pressed || last === undefined) return;
    if (!this.grip.moved && distance(last, this.grip.vertex.at) < CLICK_PX * this.context.scale) return;
    this.grip.moved = true;
    this.grip.to = last;
    this.context.redraw();
  }

  up(): void {
    const grip = this.grip;
    this.pressed = false;
    if (grip === null || (!grip.moved && !grip.inserts)) return; // a click: the vertex stays gripped, for Delete
    this.grip = null;
    const { ring, index } = grip.vertex;
    this.context.send({
      kind: grip.inserts ? "vertex_insert" : "vertex",
      outline: grip.outline.id,
      ring,
      index,
      to: pairs([grip.to])[0]!,
    });
    this.context.redraw();
  }

  remove(): boolean {
    const grip = this.grip;
    if (grip === null || this.pressed) return false;
    this.grip = null;
    const { ring, index } = grip.vertex;
    if (this.context.outlines.get(grip.outline.id) !== grip.outline) {
      this.context.notify("The outline has changed since. Click the vertex again.");
    } else if (grip.outline.rings[ring]!.length <= 6) {
      this.context.notify("A ring needs at least three vertices. Erase it, or delete the outline.");
    } else {
      this.context.send({ kind: "vertex_remove", outline: grip.outline.id, ring, index });
    }
    this.context.redraw();
    return true;
  }

  cancel(): boolean {
    const gripped = this.grip !== null;
    this.grip = null;
    this.pressed = false;
    return gripped;
  }

  draft(): Draft | null {
    if (this.grip === null) return null;
    const { outline, vertex, inserts, to } = this.grip;
    const ring = outline.rings[vertex.ring]!;
    const count = ring.length / 2;
    const point = (index: number): Point => {
      const at = 2 * ((index + count) % count);
      return { x: ring[at]! / QUARTERS, y: ring[at + 1]! / QUARTERS };
    };
    const after = inserts ? vertex.index : vertex.index + 1;
    return { kind: "vertex", at: to, neighbors: [point(vertex.index - 1), point(after)] };
  }
}
