/** Rings: decoding, and what lies under the pointer. A ring is x, y, x, y… in quarter pixels, without closing vertex. */

import { QUARTERS, type Box, type Point } from "./types";

export interface Vertex {
  readonly ring: number;
  readonly index: number;
  readonly at: Point;
  readonly distance: number;
}

/** Decode little-endian 32-bit integers. */
export function decodeIntegers(base64: string): Int32Array {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return new Int32Array(bytes.buffer);
}

export function boxOfRing(ring: Int32Array): Box {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let index = 0; index < ring.length; index += 2) {
    const x = ring[index]!;
    const y = ring[index + 1]!;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    if (y > bottom) bottom = y;
  }
  return { left: left / QUARTERS, top: top / QUARTERS, right: right / QUARTERS, bottom: bottom / QUARTERS };
}

/** Return whether the point lies inside by the even-odd rule, which makes holes of inner rings. */
export function contains(rings: readonly Int32Array[], point: Point): boolean {
  const [x, y] = [point.x * QUARTERS, point.y * QUARTERS];
  let inside = false;
  for (const ring of rings) {
    let previousX = ring[ring.length - 2]!;
    let previousY = ring[ring.length - 1]!;
    for (let index = 0; index < ring.length; index += 2) {
      const currentX = ring[index]!;
      const currentY = ring[index + 1]!;
      if (
        currentY > y !== previousY > y &&
        x < ((previousX - currentX) * (y - currentY)) / (previousY - currentY) + currentX
      ) {
        inside = !inside;
      }
      previousX = currentX;
      previousY = currentY;
    }
  }
  return inside;
}

/** Return the area enclosed by a ring, in square pixels. */
export function areaOfRing(ring: Int32Array): number {
  let twice = 0;
  const count = ring.length;
  for (let index = 0; index < count; index += 2) {
    const next = (index + 2) % count;
    twice += ring[index]! * ring[next + 1]! - ring[next]! * ring[index + 1]!;
  }
  return Math.abs(twice) / 2 / QUARTERS ** 2;
}

/** Return the nearest vertex within a distance, or null. */
export function nearestVertex(rings: readonly Int32Array[], point: Point, within: number): Vertex | null {
  let nearest: Vertex | null = null;
  rings.forEach((ring, number) => {
    for (let index = 0; index < ring.length; index += 2) {
      const at = { x: ring[index]! / QUARTERS, y: ring[index + 1]! / QUARTERS };
      const away = Math.hypot(at.x - point.x, at.y - point.y);
      if (away <= (nearest?.distance ?? within)) nearest = { ring: number, index: index / 2, at, distance: away };
    }
  });
  return nearest;
}

/** Return the nearest point of a boundary within a distance, or null; a vertex inserted there becomes vertex `index`. */
export function nearestEdge(rings: readonly Int32Array[], point: Point, within: number): Vertex | null {
  let nearest: Vertex | null = null;
  const [x, y] = [point.x * QUARTERS, point.y * QUARTERS];
  rings.forEach((ring, number) => {
    for (let index = 0; index < ring.length; index += 2) {
      const next = (index + 2) % ring.length;
      const [ax, ay] = [ring[index]!, ring[index + 1]!];
      const [dx, dy] = [ring[next]! - ax, ring[next + 1]! - ay];
      const length = dx * dx + dy * dy;
      const along = length === 0 ? 0 : Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / length));
      const at = { x: (ax + along * dx) / QUARTERS, y: (ay + along * dy) / QUARTERS };
      const away = Math.hypot(at.x - point.x, at.y - point.y);
      if (away <= (nearest?.distance ?? within)) nearest = { ring: number, index: index / 2 + 1, at, distance: away };
    }
  });
  return nearest;
}
