/** The affine map from slide pixels to screen pixels: screen = (a x + c y + e, b x + d y + f). */

import { boxAround, type Box, type Point } from "./types";

export interface Transform {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly e: number;
  readonly f: number;
}

export function apply(t: Transform, p: Point): Point {
  return { x: t.a * p.x + t.c * p.y + t.e, y: t.b * p.x + t.d * p.y + t.f };
}

export function invert(t: Transform): Transform {
  const determinant = t.a * t.d - t.b * t.c;
  const a = t.d / determinant;
  const b = -t.b / determinant;
  const c = -t.c / determinant;
  const d = t.a / determinant;
  return { a, b, c, d, e: -(a * t.e + c * t.f), f: -(b * t.e + d * t.f) };
}

/** Return the map that applies `first`, then `second`. */
export function compose(second: Transform, first: Transform): Transform {
  return {
    a: second.a * first.a + second.c * first.b,
    b: second.b * first.a + second.d * first.b,
    c: second.a * first.c + second.c * first.d,
    d: second.b * first.c + second.d * first.d,
    e: second.a * first.e + second.c * first.f + second.e,
    f: second.b * first.e + second.d * first.f + second.f,
  };
}

/** Return the screen pixels per slide pixel. */
export function magnification(t: Transform): number {
  return Math.hypot(t.a, t.b);
}

/** Return the smallest box of slide pixels that covers a screen of this size. */
export function visibleBox(t: Transform, widthPx: number, heightPx: number): Box {
  const back = invert(t);
  const corners = [
    { x: 0, y: 0 },
    { x: widthPx, y: 0 },
    { x: 0, y: heightPx },
    { x: widthPx, y: heightPx },
  ];
  return boxAround(corners.map((corner) => apply(back, corner)));
}
