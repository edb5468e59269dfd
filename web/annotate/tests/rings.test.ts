import { expect, it } from "vitest";
import { areaOfRing, contains, decodeIntegers, nearestEdge, nearestVertex } from "../src/geometry/rings";

const SQUARE = Int32Array.from([0, 0, 400, 0, 400, 400, 0, 400]); // 100 x 100 px
const HOLE = Int32Array.from([160, 160, 240, 160, 240, 240, 160, 240]);

it("decodes little-endian integers as the server writes them", () => {
  expect([...decodeIntegers("AQAAAP////8=")]).toEqual([1, -1]);
});

it("has holes by the even-odd rule", () => {
  expect(contains([SQUARE, HOLE], { x: 20, y: 20 })).toBe(true);
  expect(contains([SQUARE, HOLE], { x: 50, y: 50 })).toBe(false);
  expect(contains([SQUARE, HOLE], { x: 120, y: 50 })).toBe(false);
  expect(areaOfRing(SQUARE)).toBe(10_000);
});

it("finds vertices, and the place of a new one on an edge", () => {
  expect(nearestVertex([SQUARE, HOLE], { x: 99, y: 1 }, 5)).toMatchObject({ ring: 0, index: 1 });
  expect(nearestVertex([SQUARE], { x: 50, y: 50 }, 5)).toBeNull();
  expect(nearestEdge([SQUARE, HOLE], { x: 60.5, y: 50 }, 5)).toMatchObject({ ring: 1, index: 2, at: { x: 60, y: 50 } });
  expect(nearestEdge([SQUARE], { x: 0, y: 50 }, 5)).toMatchObject({ ring: 0, index: 4 });
});
