/** What the page says about itself: whether everything is saved, the scale, and short notices. */

import { lengthLabel, scaleBar } from "../geometry/scale_bar";
import type { QueueState } from "../sending/queue";
import { byId } from "./dom";

const SCALE_BAR_PX = 140;
const NOTICE_MS = 6000;

export function showSaved(state: QueueState, annotator: string, readOnly: boolean): void {
  const element = byId("saved");
  element.className = state.kind === "failing" || state.kind === "blocked" ? "failing" : "";
  element.textContent = readOnly ? "View only" : savedText(state, annotator);
}

function savedText(state: QueueState, annotator: string): string {
  if (state.kind === "idle") return state.savedAt === null ? annotator : `${annotator}: saved`;
  if (state.kind === "sending") return "Saving …";
  const strokes = `${state.waiting} stroke${state.waiting === 1 ? "" : "s"} not saved`;
  return `${strokes}: ${state.reason}${state.kind === "failing" ? " Trying again." : "."}`;
}

/** Show the scale: `scale` is slide pixels per screen pixel, `brushPx` the radius of the brush on the screen. */
export function showScale(scale: number, mpp: number | null, brushPx: number): void {
  const perScreenPx = scale * (mpp ?? 1);
  const bar = scaleBar(perScreenPx, mpp === null ? "px" : "µm", SCALE_BAR_PX);
  byId("scale-bar").style.width = `${bar.lengthPx}px`;
  setText(byId("scale-label"), bar.label);
  const stated = mpp === null ? "" : `${perScreenPx.toPrecision(3)} µm per screen pixel (slide: ${mpp.toPrecision(3)})`;
  setText(byId("mpp"), mpp === null ? "The slide states no microns per pixel." : stated);
  const diameter = 2 * brushPx * perScreenPx;
  setText(byId("radius-label"), mpp === null ? `${Math.round(diameter)} px` : lengthLabel(diameter));
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

let noticeTimer: ReturnType<typeof setTimeout> | undefined;

export function notify(text: string): void {
  const notice = byId("notice");
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    notice.hidden = true;
  }, NOTICE_MS);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
