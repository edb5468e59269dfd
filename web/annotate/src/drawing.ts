/** The open slide: its outlines as the server knows them, the strokes under way, and the selection. */

import type { Client } from "./api/client";
import type { OutlinesReply, Position, Session, SlideDetails, Stroke, StrokeReply } from "./api/types";
import { OutlineSet, type Outline } from "./outlines";

const NOTHING: Position = { n: 0, can_undo: false, can_redo: false, done: false, conflict: null };

export class Drawing {
  readonly outlines = new OutlineSet();
  details: SlideDetails | null = null;
  position: Position = NOTHING;
  private selectedId: string | null = null;

  constructor(
    private readonly client: Client,
    private readonly session: Session,
    private readonly changed: () => void,
  ) {}

  get slide(): string | null {
    return this.details?.id ?? null;
  }

  get selected(): Outline | null {
    return this.outlines.get(this.selectedId);
  }

  select(id: string | null): void {
    this.selectedId = id;
    this.changed();
  }

  /** Fetch the outlines of a slide, and make it the open one. */
  async open(id: string): Promise<void> {
    const details = await this.client.slide(id);
    const reply = await this.fetch(id);
    this.details = details;
    this.selectedId = null;
    this.replace(reply);
  }

  /** Ask whether another tab or program has changed something. */
  async refresh(since: number): Promise<void> {
    const { slide } = this;
    if (slide === null || this.session.read_only) return;
    const reply = await this.client.outlines(slide, { since });
    if ("outlines" in reply && this.slide === slide) this.replace(reply);
  }

  replace(reply: OutlinesReply): void {
    this.outlines.replace(reply.outlines);
    this.position = reply;
    this.changed();
  }

  /** Take over what a stroke changed. */
  apply(slide: string, reply: StrokeReply): void {
    if (slide !== this.slide) return;
    if (reply.reset) this.outlines.replace(reply.changed);
    else this.outlines.update(reply.changed, reply.removed);
    this.position = reply;
    this.changed();
  }

  /** A server that only shows has the outlines of each annotator; their ids begin with the name. */
  private async fetch(id: string): Promise<OutlinesReply> {
    if (!this.session.read_only) return (await this.client.outlines(id)) as OutlinesReply;
    const outlines = [];
    for (const annotator of this.session.annotators) {
      const reply = (await this.client.outlines(id, { annotator })) as OutlinesReply;
      outlines.push(
        ...reply.outlines.map((each) => ({
          ...each,
          id: `${annotator}/${each.id}`,
          comment: each.comment === "" ? annotator : `${annotator}: ${each.comment}`,
        })),
      );
    }
    return { ...NOTHING, outlines };
  }
}

/** Return whether a stroke changes the outline of that id. */
export function concerns(stroke: Stroke, outline: Outline): boolean {
  if ("outline" in stroke) return stroke.outline === outline.id;
  return stroke.kind !== "done";
}
