/** The live preview: the patches that the outlines would give now, asked for after each stroke while it is shown. */

import { ApiError, type Client } from "./api/client";
import type { PreviewReply, Session } from "./api/types";
import { decodeIntegers } from "./geometry/rings";
import { byId } from "./ui/dom";
import { showPatches } from "./ui/panel";
import type { Squares } from "./viewer/overlay";

const DELAY_MS = 300;
/** Candidates that say nothing to the eye: they lie outside of what was drawn. */
const NOT_SHOWN = new Set(["outside_tumor", "outside_slide", "too_close"]);

export class PatchPreview {
  squares: Squares | null = null;
  private isShown = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asked = new AbortController();

  constructor(
    private readonly client: Client,
    private readonly session: Session,
    private readonly slide: () => string | null,
    private readonly changed: () => void,
    private readonly notify: (text: string) => void,
  ) {}

  toggle(): void {
    this.isShown = !this.isShown;
    byId("preview").setAttribute("aria-pressed", String(this.isShown));
    this.refresh();
  }

  /** Ask again, soon: the outlines or the slide have changed. */
  refresh(): void {
    clearTimeout(this.timer);
    this.asked.abort();
    if (this.isShown) this.timer = setTimeout(() => void this.load(), DELAY_MS);
    else this.show(null);
  }

  private async load(): Promise<void> {
    const slide = this.slide();
    if (slide === null) return;
    this.asked = new AbortController();
    try {
      const reply = await this.client.preview(slide, this.session.annotators[0] ?? "", this.asked.signal);
      if (slide === this.slide() && this.isShown) this.show(reply);
    } catch (error) {
      if (error instanceof ApiError) this.notify(error.message);
    }
  }

  private show(reply: PreviewReply | null): void {
    this.squares = reply === null ? null : squaresOf(reply);
    showPatches(reply, this.session.preview);
    this.changed();
  }
}

function squaresOf(reply: PreviewReply): Squares {
  const rejected = Object.entries(reply.rejected)
    .filter(([reason]) => !NOT_SHOWN.has(reason))
    .flatMap(([, corners]) => [...decodeIntegers(corners)]);
  return {
    extent: reply.extent_px,
    accepted: decodeIntegers(reply.accepted),
    rejected: Int32Array.from(rejected),
  };
}
