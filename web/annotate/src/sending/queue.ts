/**
 * The strokes on their path to the disk: one queue, strictly in order, each stroke with an id of its own.
 *
 * A stroke leaves the queue when the server has saved it or has refused it. Where the server cannot be reached or cannot
 * write, the stroke stays, also in the browser's storage, and is sent again; the server knows its id and applies it once.
 */

import { ApiError } from "../api/client";
import { namesVertices, type Stroke, type StrokeReply } from "../api/types";

export interface Pending {
  readonly id: string;
  readonly slide: string;
  readonly stroke: Stroke;
  /** The position in the log that the page knew when the stroke was made. */
  readonly madeAt: number;
}

export type QueueState =
  | { readonly kind: "idle"; readonly savedAt: Date | null }
  | { readonly kind: "sending"; readonly waiting: number }
  | { readonly kind: "failing"; readonly waiting: number; readonly reason: string; readonly retryAt: number }
  | { readonly kind: "blocked"; readonly waiting: number; readonly reason: string };

export interface QueueOptions {
  readonly post: (slide: string, body: object) => Promise<StrokeReply>;
  readonly storage: { put(entry: Pending): Promise<void>; remove(id: string): Promise<void> };
  /** The position in the log of a slide that the page knows. */
  readonly known: (slide: string) => number;
  readonly saved: (entry: Pending, reply: StrokeReply) => void;
  /** The server refused the stroke: it is not applied and not sent again. */
  readonly refused: (entry: Pending, error: ApiError) => void;
  /** The file on disk was changed by another program: nothing is sent until `resume`. */
  readonly conflict: (entry: Pending, error: ApiError) => void;
  readonly changed: () => void;
}

const RETRY_MS = [1000, 2000, 4000, 8000, 15_000] as const;
/** A stroke that can never be saved. With any other answer it stays here, and is sent again. */
const REFUSED = new Set([400, 409, 413, 422]);

export class SendQueue {
  private entries: Pending[] = [];
  private running = false;
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private current: QueueState = { kind: "idle", savedAt: null };
  private savedAt: Date | null = null;

  constructor(private readonly options: QueueOptions) {}

  get state(): QueueState {
    return this.current;
  }

  get pending(): readonly Pending[] {
    return this.entries;
  }

  add(entry: Pending): void {
    this.entries.push(entry);
    // Storage is a second copy: where the browser denies it, the stroke is still in the queue.
    void this.options.storage.put(entry).catch(() => undefined);
    this.start();
  }

  /** Put strokes that an earlier page left in storage before the others. */
  recover(entries: readonly Pending[]): void {
    const known = new Set(this.entries.map((entry) => entry.id));
    this.entries.unshift(...entries.filter((entry) => !known.has(entry.id)));
    this.start();
  }

  /** Send at once, also after a conflict is settled. */
  resume(): void {
    clearTimeout(this.timer);
    if (this.current.kind === "blocked" || this.current.kind === "failing") this.running = false;
    this.start();
  }

  private start(): void {
    if (this.running || this.entries.length === 0) {
      this.publish(this.running ? this.current : { kind: "idle", savedAt: this.savedAt });
      return;
    }
    this.running = true;
    void this.send();
  }

  private async send(): Promise<void> {
    for (let entry = this.entries[0]; entry !== undefined; entry = this.entries[0]) {
      this.publish({ kind: "sending", waiting: this.entries.length });
      const base = namesVertices(entry.stroke) ? entry.madeAt : this.options.known(entry.slide);
      let reply: StrokeReply;
      try {
        reply = await this.options.post(entry.slide, { base, id: entry.id, ...entry.stroke });
      } catch (error) {
        const known = error instanceof ApiError ? error : new ApiError(0, "failed", String(error));
        if (!this.fail(entry, known)) return;
        continue;
      }
      this.failures = 0;
      this.savedAt = new Date();
      this.drop(entry);
      this.options.saved(entry, reply);
    }
    this.running = false;
    this.publish({ kind: "idle", savedAt: this.savedAt });
  }

  /** Return whether the next stroke may be sent now. */
  private fail(entry: Pending, error: ApiError): boolean {
    const waiting = this.entries.length;
    if (error.code === "conflict") {
      this.publish({ kind: "blocked", waiting, reason: error.message });
      this.options.conflict(entry, error);
      return false;
    }
    if (REFUSED.has(error.status)) {
      this.drop(entry);
      this.options.refused(entry, error);
      return true;
    }
    const delay = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)]!;
    this.publish({ kind: "failing", waiting, reason: error.message, retryAt: Date.now() + delay });
    this.timer = setTimeout(() => void this.send(), delay);
    return false;
  }

  private drop(entry: Pending): void {
    this.entries = this.entries.filter((other) => other.id !== entry.id);
    void this.options.storage.remove(entry.id).catch(() => undefined);
  }

  private publish(state: QueueState): void {
    this.current = state;
    this.options.changed();
  }
}

/** Return a random UUID (version 4); `crypto.randomUUID` exists only on https and 127.0.0.1. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
