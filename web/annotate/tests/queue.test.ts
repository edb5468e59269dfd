import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../src/api/client";
import type { StrokeReply } from "../src/api/types";
import { newId, SendQueue, type Pending } from "../src/sending/queue";

const REPLY: StrokeReply = {
  n: 1, can_undo: true, can_redo: false, done: false, conflict: null, changed: [], removed: [], reset: false,
};

function stroke(): Pending {
  return { id: newId(), slide: "a", stroke: { kind: "undo" }, madeAt: 0 };
}

/** A queue whose server answers each post as told: with a reply, or with an error. */
function queueWith(answers: (StrokeReply | Error)[]) {
  const posted: string[] = [];
  const stored = new Map<string, Pending>();
  const events: string[] = [];
  const queue = new SendQueue({
    post: (_, body) => {
      posted.push((body as Pending).id);
      const answer = answers.shift() ?? REPLY;
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
    storage: {
      put: (entry) => Promise.resolve(void stored.set(entry.id, entry)),
      remove: (id) => Promise.resolve(void stored.delete(id)),
    },
    known: () => 0,
    saved: () => events.push("saved"),
    refused: (_, error) => events.push(`refused ${error.status}`),
    conflict: () => events.push("conflict"),
    changed: () => undefined,
  });
  return { queue, posted, stored, events };
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe("the sending queue", () => {
  it("sends strokes in order, one at a time", async () => {
    const { queue, posted, stored, events } = queueWith([]);
    const strokes = [stroke(), stroke(), stroke()];
    for (const each of strokes) queue.add(each);
    await vi.advanceTimersByTimeAsync(0);
    expect(posted).toEqual(strokes.map(({ id }) => id));
    expect(events).toEqual(["saved", "saved", "saved"]);
    expect(stored.size).toBe(0);
  });

  it.each([
    ["the server does not answer", new ApiError(0, "network", "")],
    ["the disk is full", new ApiError(507, "disk_full", "")],
    ["the server fails", new ApiError(500, "failed", "")],
    ["the link is no longer valid", new ApiError(401, "signed_out", "")],
    ["the server only shows now", new ApiError(403, "read_only", "")],
    ["the slide is away", new ApiError(404, "unreadable", "")],
    ["something unexpected happens", new TypeError("oops")],
  ])("keeps a stroke and sends it again when %s", async (_, error) => {
    const { queue, posted, stored, events } = queueWith([error, error, REPLY]);
    const one = stroke();
    queue.add(one);
    queue.add(stroke());
    await vi.advanceTimersByTimeAsync(500);
    expect(queue.state.kind).toBe("failing");
    expect(queue.pending).toHaveLength(2);
    expect(stored.size).toBe(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(posted.slice(0, 3)).toEqual([one.id, one.id, one.id]);
    expect(events).toEqual(["saved", "saved"]);
    expect(queue.state.kind).toBe("idle");
  });

  it("reports a stroke that can never be saved, and goes on with the next", async () => {
    const { queue, stored, events } = queueWith([new ApiError(422, "bad_stroke", ""), REPLY]);
    queue.add(stroke());
    queue.add(stroke());
    await vi.advanceTimersByTimeAsync(0);
    expect(events).toEqual(["refused 422", "saved"]);
    expect(stored.size).toBe(0);
  });

  it("waits for the decision after a conflict", async () => {
    const { queue, posted, events } = queueWith([new ApiError(409, "conflict", ""), REPLY]);
    queue.add(stroke());
    await vi.advanceTimersByTimeAsync(60_000);
    expect(events).toEqual(["conflict"]);
    expect(posted).toHaveLength(1);
    queue.resume();
    await vi.advanceTimersByTimeAsync(0);
    expect(events).toEqual(["conflict", "saved"]);
  });

  it("sends what an earlier page left before anything new", async () => {
    const { queue, posted } = queueWith([new ApiError(0, "network", "")]);
    const [left, late] = [stroke(), stroke()];
    queue.add(late);
    queue.recover([left]);
    await vi.advanceTimersByTimeAsync(5000);
    expect(posted.slice(-2)).toEqual([left.id, late.id]);
  });
});
