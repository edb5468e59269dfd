/** What each action of the keyboard and of the buttons does on the open slide. */

import type { Action } from "./input/keys";
import type { SlideViewer } from "./viewer/viewer";

type Views = Extract<
  Action,
  | "zoom-in" | "zoom-out" | "home" | "full-resolution"
  | "pan-left" | "pan-right" | "pan-up" | "pan-down"
  | "rotate-left" | "rotate-right" | "rotate-reset"
>;

/** The actions that move the view. */
export function viewActions(viewer: SlideViewer): Record<Views, () => void> {
  return {
    "zoom-in": () => viewer.zoomStep(1),
    "zoom-out": () => viewer.zoomStep(-1),
    home: () => viewer.home(),
    "full-resolution": () => viewer.fullResolution(),
    "pan-left": () => viewer.panStep(-1, 0),
    "pan-right": () => viewer.panStep(1, 0),
    "pan-up": () => viewer.panStep(0, -1),
    "pan-down": () => viewer.panStep(0, 1),
    "rotate-left": () => viewer.rotate(-15),
    "rotate-right": () => viewer.rotate(15),
    "rotate-reset": () => viewer.rotateTo(0),
  };
}
