/** From the events of the browser to the pointer router and to actions. */

import type { Point } from "../geometry/types";
import { actionOf, type Action } from "./keys";
import type { PointerKind, PointerRouter, Sample } from "./pointer";

const WHEEL_ZOOM = 0.0018;
const LINE_PX = 40;

export function listenToPointers(
  canvas: HTMLCanvasElement,
  router: PointerRouter,
  { pressed, left, zoomed }: { pressed: () => void; left: () => void; zoomed: (factor: number, at: Point) => void },
): void {
  const position = ({ clientX, clientY }: { clientX: number; clientY: number }): Point => {
    const box = canvas.getBoundingClientRect();
    return { x: clientX - box.left, y: clientY - box.top };
  };
  const sample = (event: PointerEvent): Sample => ({
    id: event.pointerId,
    type: event.pointerType as PointerKind,
    at: position(event),
    button: event.button,
    buttons: event.buttons,
    alt: event.altKey,
    timeMs: event.timeStamp,
    contactPx: event.pointerType === "touch" ? Math.max(event.width, event.height) : 0,
  });
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    pressed();
    router.down(sample(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const coalesced = event.getCoalescedEvents();
    router.move(sample(event), (coalesced.length > 0 ? coalesced : [event]).map(position));
  });
  canvas.addEventListener("pointerup", (event) => router.up(sample(event)));
  canvas.addEventListener("pointercancel", (event) => router.cancel(event.pointerId));
  canvas.addEventListener("pointerleave", left);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  const turned = (event: WheelEvent): void => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PX : 1);
    zoomed(Math.exp(-pixels * WHEEL_ZOOM), position(event));
  };
  canvas.addEventListener("wheel", turned, { passive: false });
}

/** Keys act wherever the focus is, except in texts and dialogs; a focused button or slider keeps its own keys. */
export function listenToKeys(router: PointerRouter, act: (action: Action) => void): void {
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (document.querySelector("dialog[open]") !== null || target.matches("textarea, input[type=search]")) return;
    if (event.key === " " && !target.matches("button, input")) {
      event.preventDefault();
      router.holdsPan = true;
      return;
    }
    const pressesButton = target.matches("button, input") && ["Enter", " "].includes(event.key);
    const movesSlider = target.matches("input[type=range]") && event.key.startsWith("Arrow");
    const action = actionOf(event);
    if (action === null || pressesButton || movesSlider) return;
    event.preventDefault();
    act(action);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") router.holdsPan = false;
  });
}
