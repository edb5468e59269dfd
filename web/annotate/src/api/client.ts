/** Requests to the server. Every failure is an `ApiError` with a sentence for the reader and a code. */

import type {
  HistoryEntry,
  OutlinesReply,
  PreviewReply,
  Session,
  SlideDetails,
  SlideSummary,
  StrokeReply,
} from "./types";

export class ApiError extends Error {
  /** `status` 0: no answer from the server. */
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const TIMEOUT_MS = 30_000;

export class Client {
  session(): Promise<Session> {
    return this.request("/api/session");
  }

  async slides(): Promise<readonly SlideSummary[]> {
    return (await this.request<{ slides: readonly SlideSummary[] }>("/api/slides")).slides;
  }

  slide(id: string): Promise<SlideDetails> {
    return this.request(slidePath(id));
  }

  outlines(id: string, options: { annotator?: string; since?: number } = {}): Promise<OutlinesReply | { n: number }> {
    const query = new URLSearchParams();
    if (options.annotator !== undefined) query.set("annotator", options.annotator);
    if (options.since !== undefined) query.set("since", String(options.since));
    const asked = query.toString();
    return this.request(`${slidePath(id)}/outlines${asked === "" ? "" : `?${asked}`}`);
  }

  stroke(id: string, body: object): Promise<StrokeReply> {
    return this.request(`${slidePath(id)}/strokes`, body);
  }

  resolveConflict(id: string, choice: "take" | "keep"): Promise<OutlinesReply> {
    return this.request(`${slidePath(id)}/conflict`, { choice });
  }

  async history(id: string): Promise<readonly HistoryEntry[]> {
    return (await this.request<{ entries: readonly HistoryEntry[] }>(`${slidePath(id)}/history`)).entries;
  }

  /** `annotator`: whose outlines, on a server that only shows. */
  preview(id: string, annotator: string, signal: AbortSignal): Promise<PreviewReply> {
    const query = new URLSearchParams({ annotator });
    return this.request(`${slidePath(id)}/preview?${query.toString()}`, undefined, signal);
  }

  /** GET, or POST where there is a body. */
  private async request<T>(path: string, body?: object, signal?: AbortSignal): Promise<T> {
    const init: RequestInit = { credentials: "same-origin", signal: signal ?? AbortSignal.timeout(TIMEOUT_MS) };
    if (body !== undefined) {
      init.method = "POST";
      init.headers = { "Content-Type": "application/json", "X-Histosynth": "1" };
      init.body = JSON.stringify(body);
    }
    let response: Response;
    try {
      response = await fetch(path, init);
    } catch (error) {
      if (signal?.aborted === true) throw error;
      throw new ApiError(0, "network", "the server does not answer");
    }
    const text = await response.text().catch(() => null);
    if (text === null) throw new ApiError(0, "network", "the connection broke off");
    const reply = parse(text);
    if (response.ok && reply !== null) return reply as T;
    const { error, code } = (reply ?? {}) as { error?: string; code?: string };
    throw new ApiError(response.status, code ?? "", error ?? `the server answered ${String(response.status)}`);
  }
}

export function slidePath(id: string): string {
  return `/api/slides/${encodeURIComponent(id)}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
