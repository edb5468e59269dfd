/** The outlines of the open slide, as the server last reported them, with decoded rings. */

import type { WireOutline } from "./api/types";
import { areaOfRing, boxOfRing, contains, decodeIntegers } from "./geometry/rings";
import type { Box, Point } from "./geometry/types";

export interface Outline {
  readonly id: string;
  readonly className: string;
  readonly comment: string;
  readonly areaUm2: number | null;
  readonly areaPx2: number;
  readonly rings: readonly Int32Array[];
  readonly box: Box;
  readonly vertices: number;
}

export function decodeOutline(wire: WireOutline): Outline {
  const rings = wire.rings.map(decodeIntegers).filter((ring) => ring.length >= 6);
  const [exterior, ...holes] = rings.map(areaOfRing);
  return {
    id: wire.id,
    className: wire.class,
    comment: wire.comment,
    areaUm2: wire.area_um2,
    areaPx2: holes.reduce((area, hole) => area - hole, exterior ?? 0),
    rings,
    box: boxOfRing(rings[0] ?? new Int32Array()),
    vertices: rings.reduce((count, ring) => count + ring.length / 2, 0),
  };
}

export class OutlineSet {
  private readonly byId = new Map<string, Outline>();

  get all(): readonly Outline[] {
    return [...this.byId.values()];
  }

  get size(): number {
    return this.byId.size;
  }

  get(id: string | null): Outline | null {
    return id === null ? null : (this.byId.get(id) ?? null);
  }

  replace(outlines: readonly WireOutline[]): void {
    this.byId.clear();
    for (const wire of outlines) this.byId.set(wire.id, decodeOutline(wire));
  }

  update(changed: readonly WireOutline[], removed: readonly string[]): void {
    for (const id of removed) this.byId.delete(id);
    for (const wire of changed) this.byId.set(wire.id, decodeOutline(wire));
  }

  /** Return the smallest outline around a point, or null. */
  at(point: Point): Outline | null {
    const { x, y } = point;
    let smallest: Outline | null = null;
    for (const outline of this.byId.values()) {
      const { left, right, top, bottom } = outline.box;
      if (x < left || x > right || y < top || y > bottom) continue;
      if (smallest !== null && outline.areaPx2 >= smallest.areaPx2) continue;
      if (contains(outline.rings, point)) smallest = outline;
    }
    return smallest;
  }
}
