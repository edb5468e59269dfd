import { expect, it } from "vitest";
import { PointerRouter, type Actions, type Sample } from "../src/input/pointer";

function routed(options: Partial<Record<"drawing" | "taps" | "fingerDraws", boolean>> = {}) {
  const log: string[] = [];
  const actions: Actions = {
    drawing: () => options.drawing ?? true,
    taps: () => options.taps ?? false,
    fingerDraws: () => options.fingerDraws ?? false,
    press: (_, { invert }) => log.push(invert ? "press inverted" : "press"),
    drag: () => log.push("drag"),
    release: () => log.push("release"),
    cancel: () => log.push("cancel"),
    hover: () => log.push("hover"),
    pan: (dx, dy) => log.push(`pan ${dx} ${dy}`),
    flick: () => log.push("flick"),
    zoom: (factor) => log.push(`zoom ${factor}`),
    penSeen: () => log.push("pen seen"),
  };
  return { router: new PointerRouter(actions), log };
}

function sample(fields: Partial<Sample>): Sample {
  return { id: 1, type: "mouse", at: { x: 0, y: 0 }, button: 0, buttons: 1, alt: false, timeMs: 0, contactPx: 0, ...fields };
}

function drag(router: PointerRouter, fields: Partial<Sample>, x: number): void {
  router.down(sample(fields));
  router.move(sample({ ...fields, at: { x, y: 0 } }), [{ x, y: 0 }]);
  router.up(sample({ ...fields, at: { x, y: 0 }, timeMs: 1000 }));
}

it("draws with the left button and pans with the others, or while Space is held", () => {
  const { router, log } = routed();
  drag(router, {}, 5);
  drag(router, { button: 1 }, 5);
  router.holdsPan = true;
  drag(router, {}, 7);
  expect(log).toEqual(["press", "drag", "release", "pan 5 0", "pan 7 0"]);
});

it("erases with Alt and with the eraser end of a pen", () => {
  const { router, log } = routed();
  drag(router, { alt: true }, 5);
  drag(router, { type: "pen", button: 5, buttons: 32, timeMs: 5000 }, 5);
  expect(log.filter((line) => line.startsWith("press"))).toEqual(["press inverted", "press inverted"]);
});

it("pans with one finger and zooms with two", () => {
  const { router, log } = routed();
  router.down(sample({ id: 1, type: "touch", at: { x: 0, y: 0 } }));
  router.down(sample({ id: 2, type: "touch", at: { x: 100, y: 0 } }));
  router.move(sample({ id: 2, type: "touch", at: { x: 200, y: 0 } }), []);
  expect(log).toEqual(["pan 50 0", "zoom 2"]);
});

it("ignores the palm beside a pen, and the finger that drew when the pen came", () => {
  const { router, log } = routed({ fingerDraws: true });
  router.down(sample({ id: 1, type: "touch" }));
  router.down(sample({ id: 2, type: "pen", timeMs: 10 }));
  router.move(sample({ id: 1, type: "touch", at: { x: 50, y: 0 } }), [{ x: 50, y: 0 }]);
  router.down(sample({ id: 3, type: "touch", timeMs: 200, contactPx: 90 }));
  router.move(sample({ id: 3, type: "touch", at: { x: 9, y: 9 }, timeMs: 210 }), []);
  expect(log).toEqual(["press", "pen seen", "cancel", "press"]);
});
