import { describe, expect, it } from "vitest";
import { decimate, simplify } from "../src/geometry/decimate";

const WIDE = { left: -1e6, top: -1e6, right: 1e6, bottom: 1e6 };

function circle(vertices: number, radius: number, at = 0): Int32Array {
  return Int32Array.from(
    Array.from({ length: vertices }, (_, index) => {
      const angle = (2 * Math.PI * index) / vertices;
      return [4 * (at + radius * Math.cos(angle)), 4 * (at + radius * Math.sin(angle))];
    }).flat(),
  );
}

/** Signed area by the shoelace formula. */
function area(ring: ArrayLike<number>): number {
  let twice = 0;
  for (let index = 0; index < ring.length; index += 2) {
    const next = (index + 2) % ring.length;
    twice += ring[index]! * ring[next + 1]! - ring[next]! * ring[index + 1]!;
  }
  return twice / 2;
}

describe("decimate", () => {
  it("keeps the shape of a fine circle with few vertices", () => {
    const kept = decimate(circle(100_000, 1000), 10, WIDE);
    expect(kept.length / 2).toBeLessThan(700);
    expect(area(kept)).toBeCloseTo(Math.PI * 1000 ** 2, -5);
  });

  it("leaves out what lies outside the view, and keeps the area inside it", () => {
    const clip = { left: 900, top: -200, right: 1100, bottom: 200 };
    const ring = circle(100_000, 1000);
    const kept = decimate(ring, 0, clip);
    expect(kept.length).toBeLessThan(ring.length / 4);
    // Inside the clipping box each kept vertex is one of the ring.
    const vertices = new Set(Array.from({ length: ring.length / 2 }, (_, index) => `${ring[2 * index]! / 4},${ring[2 * index + 1]! / 4}`));
    for (let index = 0; index < kept.length; index += 2) expect(vertices.has(`${kept[index]},${kept[index + 1]}`)).toBe(true);
  });
});

describe("simplify", () => {
  it("keeps a line within the tolerance", () => {
    const line = Array.from({ length: 500 }, (_, x) => ({ x, y: 20 * Math.sin(x / 40) }));
    const few = simplify(line, 0.5);
    expect(few.length).toBeLessThan(60);
    expect(few[0]).toEqual(line[0]);
    expect(few.at(-1)).toEqual(line.at(-1));
  });
});
