/**
 * Rings with no more vertices than the screen can show.
 *
 * A vertex nearer than `tolerance` to the last one kept is left out. Of consecutive vertices on the same side outside of
 * the clipping box, the first and the last are kept: the part of the ring between them moves within the outside, so
 * both the boundary and the even-odd area inside the box stay as they are. All in one pass, in quarter pixels.
 */

import type { Box } from "./types";
import { QUARTERS } from "./types";

const LEFT = 1;
const RIGHT = 2;
const ABOVE = 4;
const BELOW = 8;

export function decimate(ring: Int32Array, tolerance: number, clip: Box): Float32Array {
  const [left, top, right, bottom] = [clip.left, clip.top, clip.right, clip.bottom].map((side) => side * QUARTERS);
  const nearest = (tolerance * QUARTERS) ** 2;
  const kept = new Float32Array(ring.length);
  let size = 0;
  let [lastX, lastY] = [Infinity, Infinity];
  let sides = 0; // on which the current run of outside vertices lies
  let held = -1; // the last vertex of that run, not kept yet
  const keep = (index: number): void => {
    lastX = ring[index]!;
    lastY = ring[index + 1]!;
    kept[size++] = lastX / QUARTERS;
    kept[size++] = lastY / QUARTERS;
  };
  for (let index = 0; index < ring.length; index += 2) {
    const x = ring[index]!;
    const y = ring[index + 1]!;
    const outside =
      (x < left! ? LEFT : x > right! ? RIGHT : 0) | (y < top! ? ABOVE : y > bottom! ? BELOW : 0);
    if ((sides & outside) !== 0) {
      sides &= outside;
      held = index;
      continue;
    }
    if (held >= 0) {
      keep(held);
      held = -1;
    }
    sides = outside;
    if (outside !== 0 || (x - lastX) ** 2 + (y - lastY) ** 2 >= nearest) keep(index);
  }
  if (held >= 0) keep(held);
  return kept.slice(0, size);
}

/** Return a polyline without the points that lie within `tolerance` of it (Douglas and Peucker 1973). */
export function simplify<P extends { x: number; y: number }>(points: readonly P[], tolerance: number): P[] {
  if (points.length < 3) return [...points];
  const keep = new Uint8Array(points.length);
  keep[0] = keep[points.length - 1] = 1;
  const open: [number, number][] = [[0, points.length - 1]];
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    const [first, last] = part;
    let [farthest, far] = [-1, tolerance];
    for (let index = first + 1; index < last; index++) {
      const away = toSegment(points[index]!, points[first]!, points[last]!);
      if (away > far) [farthest, far] = [index, away];
    }
    if (farthest >= 0) {
      keep[farthest] = 1;
      open.push([first, farthest], [farthest, last]);
    }
  }
  return points.filter((_, index) => keep[index] === 1);
}

function toSegment(p: { x: number; y: number }, a: { x: number; y: number }, b: { x: number; y: number }): number {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : Math.max(0, Math.min(1, ((p.x - a.x) * dx + (p.y - a.y) * dy) / length));
  return Math.hypot(p.x - a.x - along * dx, p.y - a.y - along * dy);
}
