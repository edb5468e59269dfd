/** Select: a press selects the smallest outline there. */

import type { Draft, Press, Tool, ToolContext } from "./tool";

export class SelectTool implements Tool {
  constructor(private readonly context: ToolContext) {}

  down({ at }: Press): void {
    this.context.select(this.context.outlines.at(at)?.id ?? null);
  }

  move(): void {
    // Dragging does nothing: an outline is never moved by accident.
  }

  up(): void {
    // The press has already selected.
  }

  cancel(): boolean {
    if (this.context.selected === null) return false;
    this.context.select(null);
    return true;
  }

  remove(): boolean {
    const { selected } = this.context;
    if (selected === null) return false;
    this.context.select(null);
    this.context.send({ kind: "delete", outline: selected.id });
    return true;
  }

  draft(): Draft | null {
    return null;
  }
}
