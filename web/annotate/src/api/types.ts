/** What the server and the page exchange, as JSON. Coordinates are pixels of level 0. */

export type Pair = readonly [x: number, y: number];

export interface OutlineClass {
  readonly name: string;
  readonly color: string;
}

export interface Session {
  readonly version: string;
  readonly annotator: string;
  readonly read_only: boolean;
  /** Whose outlines a server that only shows has. */
  readonly annotators: readonly string[];
  readonly classes: readonly OutlineClass[];
  readonly preview: {
    readonly region_um: number;
    readonly patch_px: number;
    readonly cap: number;
    readonly min_tumor: number;
    readonly min_tissue: number;
    readonly tumor_classes: readonly string[];
    readonly exclude_classes: readonly string[];
  };
}

export type SlideState = "new" | "in progress" | "done" | "unreadable";

export interface SlideSummary {
  readonly id: string;
  readonly width_px: number | null;
  readonly height_px: number | null;
  readonly mpp: number | null;
  readonly state: SlideState;
  readonly reason: string | null;
  readonly outlines: number;
  readonly others: readonly { readonly annotator: string; readonly state: SlideState; readonly outlines: number }[];
  readonly active: readonly string[];
}

export interface SlideDetails {
  readonly id: string;
  readonly width_px: number;
  readonly height_px: number;
  readonly mpp: number | null;
  readonly tile_px: number;
  readonly overlap_px: number;
  readonly max_level: number;
}

export interface WireOutline {
  readonly id: string;
  readonly class: string;
  readonly comment: string;
  readonly area_um2: number | null;
  /** Base64 of little-endian int32 pairs in quarter pixels; the first ring is the exterior. */
  readonly rings: readonly string[];
}

export interface Position {
  /** Number of strokes. */
  readonly n: number;
  readonly can_undo: boolean;
  readonly can_redo: boolean;
  readonly done: boolean;
  /** What is to be decided, where another program changed the GeoJSON. */
  readonly conflict: string | null;
}

export interface OutlinesReply extends Position {
  readonly outlines: readonly WireOutline[];
}

export interface StrokeReply extends Position {
  readonly changed: readonly WireOutline[];
  readonly removed: readonly string[];
  readonly reset: boolean;
}

export interface HistoryEntry {
  readonly n: number;
  readonly at: string;
  readonly kind: string;
  readonly class: string | null;
  readonly erases: boolean;
  readonly to: number | null;
  /** Whether the drawing shown contains it. */
  readonly shown: boolean;
}

export interface PreviewReply {
  readonly n: number;
  readonly extent_px: number;
  readonly accepted: string;
  readonly rejected: Readonly<Record<string, string>>;
  readonly counts: Readonly<Record<string, number>>;
  readonly message: string | null;
}

/** An entry of the stroke log, as the page makes it. */
export type Stroke =
  | {
      readonly kind: "brush";
      readonly class: string | null;
      readonly radius_px: number;
      readonly points: readonly Pair[];
      readonly add: boolean;
    }
  | {
      readonly kind: "area";
      readonly class: string | null;
      readonly points: readonly Pair[];
      readonly add: boolean;
      readonly shape: "polygon" | "rectangle";
    }
  | { readonly kind: "boundary"; readonly outline: string; readonly points: readonly Pair[] }
  | {
      readonly kind: "vertex" | "vertex_insert";
      readonly outline: string;
      readonly ring: number;
      readonly index: number;
      readonly to: Pair;
    }
  | { readonly kind: "vertex_remove"; readonly outline: string; readonly ring: number; readonly index: number }
  | { readonly kind: "class"; readonly outline: string; readonly class: string }
  | { readonly kind: "comment"; readonly outline: string; readonly text: string }
  | { readonly kind: "delete"; readonly outline: string }
  | { readonly kind: "restore"; readonly to: number }
  | { readonly kind: "undo" }
  | { readonly kind: "redo" }
  | { readonly kind: "done"; readonly done: boolean };

/** Return whether a stroke names vertices by number, which holds only for the rings that the page showed. */
export function namesVertices(stroke: Stroke): boolean {
  return stroke.kind === "vertex" || stroke.kind === "vertex_insert" || stroke.kind === "vertex_remove";
}
