/**
 * Which pointer draws, pans or zooms.
 *
 * The pen draws. The mouse draws with the left button, and pans with the middle or right button or while Space is held.
 * One finger pans and two zoom; where "draw with a finger" is on and no pen was ever used, one finger draws. A touch
 * while the pen is near is the palm, and is ignored until it is lifted.
 */

import { distance, type Point } from "../geometry/types";

export type PointerKind = "mouse" | "pen" | "touch";

/** What the router needs of a pointer event, with the position on the viewer in screen pixels. */
export interface Sample {
  readonly id: number;
  readonly type: PointerKind;
  readonly at: Point;
  readonly button: number;
  readonly buttons: number;
  readonly alt: boolean;
  readonly timeMs: number;
  /** The larger side of the contact. */
  readonly contactPx: number;
}

export interface Actions {
  /** Whether the current tool draws; if not, every press pans. */
  drawing(): boolean;
  /** Whether a tap of a finger is meant for the tool although the finger does not draw (select, smart fill). */
  taps(): boolean;
  fingerDraws(): boolean;
  press(at: Point, options: { invert: boolean; clicks: number }): void;
  drag(points: readonly Point[]): void;
  release(): void;
  cancel(): void;
  hover(at: Point): void;
  pan(dx: number, dy: number): void;
  /** The pan ended, at this speed in screen pixels per millisecond. */
  flick(vx: number, vy: number): void;
  zoom(factor: number, at: Point): void;
  penSeen(): void;
}

interface Contact {
  role: "draw" | "pan" | "ignored";
  type: PointerKind;
  at: Point;
  start: Sample;
  moved: boolean;
}

const PALM_PX = 70;
const PALM_AFTER_PEN_MS = 400;
const DOUBLE_CLICK_MS = 400;
const DOUBLE_CLICK_PX = 8;
const TAP_PX = 10;
const TAP_MS = 500;
const ERASER_BUTTON = 5;
const ERASER_BUTTONS = 32;
const BARREL_BUTTONS = 2;

export class PointerRouter {
  /** Space is held: the mouse pans. */
  holdsPan = false;
  private readonly contacts = new Map<number, Contact>();
  private penWasSeen = false;
  private penLastMs = -Infinity;
  private lastPress: { at: Point; timeMs: number; clicks: number } | null = null;
  private speed = { vx: 0, vy: 0, timeMs: 0 };

  constructor(private readonly actions: Actions) {}

  get isPenUsed(): boolean {
    return this.penWasSeen;
  }

  get isBusy(): boolean {
    return [...this.contacts.values()].some((contact) => contact.role !== "ignored");
  }

  down(sample: Sample): void {
    if (this.contacts.has(sample.id)) return; // another button of the same pointer
    const contact: Contact = { role: "pan", type: sample.type, at: sample.at, start: sample, moved: false };
    if (sample.type === "pen") this.usePen(sample);
    contact.role = this.roleOf(sample);
    this.contacts.set(sample.id, contact);
    this.speed = { vx: 0, vy: 0, timeMs: sample.timeMs };
    if (contact.role === "draw") this.press(sample);
  }

  /** `coalesced`: all samples since the last event. */
  move(sample: Sample, coalesced: readonly Point[]): void {
    if (sample.type === "pen") this.penLastMs = sample.timeMs;
    const contact = this.contacts.get(sample.id);
    if (contact === undefined) {
      if (sample.type !== "touch") this.actions.hover(sample.at);
      return;
    }
    const before = contact.at;
    contact.at = sample.at;
    if (distance(sample.at, contact.start.at) > TAP_PX) contact.moved = true;
    if (contact.role === "draw") this.actions.drag(coalesced);
    else if (contact.role === "pan") this.navigate(contact, before, sample);
  }

  up(sample: Sample): void {
    const contact = this.contacts.get(sample.id);
    if (contact === undefined) return;
    this.contacts.delete(sample.id);
    if (contact.role === "draw") {
      this.actions.release();
    } else if (contact.role === "pan") {
      const { start } = contact;
      const tapped = !contact.moved && sample.timeMs - start.timeMs < TAP_MS && this.panning().length === 0;
      if (start.type === "touch" && tapped && this.actions.drawing() && this.actions.taps()) {
        this.press(start);
        this.actions.release();
      } else if (this.panning().length === 0 && contact.moved && sample.timeMs - this.speed.timeMs < 60) {
        this.actions.flick(this.speed.vx, this.speed.vy);
      }
    }
  }

  cancel(id: number): void {
    const contact = this.contacts.get(id);
    this.contacts.delete(id);
    if (contact?.role === "draw") this.actions.cancel();
  }

  private roleOf(sample: Sample): Contact["role"] {
    const { type } = sample;
    if (type === "touch") {
      const nearPen = this.contactsOf("pen").length > 0 || sample.timeMs - this.penLastMs < PALM_AFTER_PEN_MS;
      if (nearPen || sample.contactPx > PALM_PX) return "ignored";
      const others = this.contactsOf("touch").filter((contact) => contact.role !== "ignored");
      if (others.length > 0) {
        for (const other of others) this.stopDrawing(other);
        return "pan";
      }
      return this.actions.fingerDraws() && !this.penWasSeen && this.actions.drawing() ? "draw" : "pan";
    }
    if (this.isBusy) return "ignored";
    const pans = type === "mouse" && (sample.button !== 0 || this.holdsPan);
    return !pans && this.actions.drawing() ? "draw" : "pan";
  }

  private press(sample: Sample): void {
    const last = this.lastPress;
    const again =
      last !== null &&
      sample.timeMs - last.timeMs < DOUBLE_CLICK_MS &&
      distance(sample.at, last.at) < DOUBLE_CLICK_PX;
    const clicks = again ? last.clicks + 1 : 1;
    this.lastPress = { at: sample.at, timeMs: sample.timeMs, clicks };
    const { type, button, buttons, alt } = sample;
    const turned = type === "pen" && (button === ERASER_BUTTON || (buttons & (ERASER_BUTTONS | BARREL_BUTTONS)) !== 0);
    this.actions.press(sample.at, { invert: alt || turned, clicks });
  }

  private usePen(sample: Sample): void {
    this.penLastMs = sample.timeMs;
    if (!this.penWasSeen) {
      this.penWasSeen = true;
      this.actions.penSeen();
    }
    // A hand that already lies on the glass is the palm.
    for (const contact of this.contactsOf("touch")) {
      if (contact.role === "draw") this.actions.cancel();
      contact.role = "ignored";
    }
  }

  private navigate(contact: Contact, before: Point, sample: Sample): void {
    const other = this.panning().find((one) => one !== contact);
    if (other === undefined) {
      const [dx, dy] = [sample.at.x - before.x, sample.at.y - before.y];
      const elapsed = Math.max(1, sample.timeMs - this.speed.timeMs);
      const blend = Math.min(1, elapsed / 40);
      this.speed = {
        vx: this.speed.vx * (1 - blend) + (dx / elapsed) * blend,
        vy: this.speed.vy * (1 - blend) + (dy / elapsed) * blend,
        timeMs: sample.timeMs,
      };
      this.actions.pan(dx, dy);
      return;
    }
    // Two fingers: the slide follows their center, and scales with their distance.
    other.moved = contact.moved = true;
    const was = { x: (before.x + other.at.x) / 2, y: (before.y + other.at.y) / 2 };
    const is = { x: (sample.at.x + other.at.x) / 2, y: (sample.at.y + other.at.y) / 2 };
    this.actions.pan(is.x - was.x, is.y - was.y);
    const spread = distance(before, other.at);
    if (spread > 1) this.actions.zoom(distance(sample.at, other.at) / spread, is);
  }

  private stopDrawing(contact: Contact): void {
    if (contact.role !== "draw") return;
    this.actions.cancel();
    contact.role = "pan";
  }

  private contactsOf(type: PointerKind): Contact[] {
    return [...this.contacts.values()].filter((contact) => contact.type === type);
  }

  private panning(): Contact[] {
    return [...this.contacts.values()].filter((contact) => contact.role === "pan");
  }
}
