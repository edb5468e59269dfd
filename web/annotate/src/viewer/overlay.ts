/**
 * The overlay: outlines, the draft, strokes that are not saved yet, and the preview of patches, on one canvas.
 *
 * It is painted with every frame of the slide. Outlines are decimated for the present scale and view, and these paths
 * are kept until either has changed much: a pan or a zoom step paints paths that are there.
 */

import type { Stroke } from "../api/types";
import { decimate } from "../geometry/decimate";
import { magnification, visibleBox, type Transform } from "../geometry/transform";
import { encloses, overlaps, QUARTERS, type Box, type Point } from "../geometry/types";
import type { Outline } from "../outlines";
import type { Draft } from "../tools/tool";

export interface Squares {
  readonly extent: number;
  readonly accepted: Int32Array;
  readonly rejected: Int32Array;
}

export interface Scene {
  readonly outlines: readonly Outline[];
  readonly selected: Outline | null;
  readonly showVertices: boolean;
  readonly pending: readonly Stroke[];
  readonly draft: Draft | null;
  /** Where the tip of the brush is, if it is to be shown. */
  readonly tip: { readonly at: Point; readonly radius: number } | null;
  readonly cross: boolean;
  readonly squares: Squares | null;
  readonly colorOf: (className: string | null) => string;
  readonly draftColor: string;
  readonly opacity: number;
  readonly visible: boolean;
}

interface CachedPath {
  readonly path: Path2D;
  readonly clip: Box;
  readonly scale: number;
}

const LINE_PX = 2;
const TOLERANCE_PX = 0.6;
const SCALE_CHANGE = 1.5;
const MAX_HANDLES = 4000;
const ACCEPTED = "#00a651";
const REJECTED = "#f2a900";

export class Overlay {
  private readonly paths = new WeakMap<Outline, CachedPath>();
  private readonly pen: CanvasRenderingContext2D;
  private size = { width: 0, height: 0, ratio: 1 };

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.pen = canvas.getContext("2d")!;
  }

  paint(scene: Scene, transform: Transform): void {
    const { pen } = this;
    this.fitToElement();
    const { width, height, ratio } = this.size;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const { a, b, c, d, e, f } = transform;
    pen.setTransform(a * ratio, b * ratio, c * ratio, d * ratio, e * ratio, f * ratio);
    const scale = 1 / magnification(transform);
    const view = visibleBox(transform, width, height);
    pen.lineJoin = pen.lineCap = "round";
    if (scene.visible) {
      for (const outline of scene.outlines) {
        if (overlaps(outline.box, view)) this.paintOutline(outline, scene, view, scale);
      }
      for (const stroke of scene.pending) this.paintPending(stroke, scene, scale);
    }
    if (scene.squares !== null) this.paintSquares(scene.squares, view, scale);
    if (scene.draft !== null) this.paintDraft(scene.draft, scene.draftColor, scale);
    if (scene.showVertices && scene.selected !== null) this.paintVertices(scene.selected, view, scale);
    if (scene.tip !== null) this.paintTip(scene.tip.at, scene.tip.radius, scale);
    if (scene.cross) this.paintCross();
  }

  private fitToElement(): void {
    const [width, height, ratio] = [this.canvas.clientWidth, this.canvas.clientHeight, devicePixelRatio];
    if (width === this.size.width && height === this.size.height && ratio === this.size.ratio) return;
    this.size = { width, height, ratio };
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
  }

  private paintOutline(outline: Outline, scene: Scene, view: Box, scale: number): void {
    const { pen } = this;
    const path = this.pathOf(outline, view, scale);
    const color = scene.colorOf(outline.className);
    pen.fillStyle = color;
    pen.globalAlpha = scene.opacity;
    pen.fill(path, "evenodd");
    pen.globalAlpha = 1;
    pen.strokeStyle = "#fff";
    pen.lineWidth = (outline === scene.selected ? LINE_PX + 4 : LINE_PX + 1.5) * scale;
    pen.stroke(path);
    pen.strokeStyle = color;
    pen.lineWidth = (outline === scene.selected ? LINE_PX + 1 : LINE_PX) * scale;
    pen.stroke(path);
  }

  /** Return the decimated path of an outline, made anew if the view has left its box or the scale has changed much. */
  private pathOf(outline: Outline, view: Box, scale: number): Path2D {
    const known = this.paths.get(outline);
    if (known !== undefined) {
      const change = scale / known.scale;
      const inside = encloses(known.clip, view) || encloses(known.clip, outline.box);
      if (inside && change < SCALE_CHANGE && change > 1 / SCALE_CHANGE) return known.path;
    }
    const [width, height] = [view.right - view.left, view.bottom - view.top];
    const clip = { left: view.left - width, top: view.top - height, right: view.right + width, bottom: view.bottom + height };
    const path = new Path2D();
    for (const ring of outline.rings) {
      const kept = decimate(ring, TOLERANCE_PX * scale, clip);
      path.moveTo(kept[0]!, kept[1]!);
      for (let index = 2; index < kept.length; index += 2) path.lineTo(kept[index]!, kept[index + 1]!);
      path.closePath();
    }
    this.paths.set(outline, { path, clip, scale });
    return path;
  }

  /** Paint a stroke that is on its path to the disk as it was drawn. */
  private paintPending(stroke: Stroke, scene: Scene, scale: number): void {
    if (stroke.kind === "brush") {
      const points = stroke.points.map(([x, y]) => ({ x, y }));
      this.paintDraft({ kind: "brush", points, radius: stroke.radius_px, add: stroke.add }, scene.colorOf(stroke.class), scale);
    } else if (stroke.kind === "area") {
      const points = stroke.points.map(([x, y]) => ({ x, y }));
      this.paintDraft({ kind: "path", points, closed: true, add: stroke.add }, scene.colorOf(stroke.class), scale);
    }
  }

  private paintDraft(draft: Draft, color: string, scale: number): void {
    const { pen } = this;
    pen.save();
    pen.strokeStyle = pen.fillStyle = color;
    if (draft.kind === "vertex") {
      const [before, after] = draft.neighbors;
      pen.lineWidth = LINE_PX * scale;
      pen.stroke(pathThrough([before!, draft.at, after!], false));
      this.paintHandle(draft.at, 6, scale);
    } else {
      if (!draft.add) {
        pen.globalCompositeOperation = "destination-out";
        pen.strokeStyle = pen.fillStyle = "#000";
      }
      if (draft.kind === "brush") {
        pen.globalAlpha = draft.add ? 0.5 : 1;
        pen.lineWidth = 2 * draft.radius;
        // A line of one point is not painted.
        const [first] = draft.points;
        pen.stroke(pathThrough(draft.points.length > 1 ? draft.points : [first!, { x: first!.x + 1e-3, y: first!.y }], false));
      } else {
        const path = pathThrough(draft.points, draft.closed);
        if (draft.closed) {
          pen.globalAlpha = draft.add ? 0.35 : 1;
          pen.fill(path);
        }
        pen.globalCompositeOperation = "source-over";
        pen.globalAlpha = 1;
        pen.strokeStyle = draft.add ? color : "#fff";
        pen.lineWidth = LINE_PX * scale;
        if (!draft.add) pen.setLineDash([6 * scale, 5 * scale]);
        pen.stroke(path);
      }
    }
    pen.restore();
  }

  private paintVertices(outline: Outline, view: Box, scale: number): void {
    let painted = 0;
    for (const ring of outline.rings) {
      for (let index = 0; index < ring.length && painted < MAX_HANDLES; index += 2) {
        const at = { x: ring[index]! / QUARTERS, y: ring[index + 1]! / QUARTERS };
        if (at.x < view.left || at.x > view.right || at.y < view.top || at.y > view.bottom) continue;
        this.paintHandle(at, 3.5, scale);
        painted++;
      }
    }
  }

  private paintHandle(at: Point, radiusPx: number, scale: number): void {
    const { pen } = this;
    pen.beginPath();
    pen.arc(at.x, at.y, radiusPx * scale, 0, 2 * Math.PI);
    pen.fillStyle = "#fff";
    pen.fill();
    pen.strokeStyle = "#111";
    pen.lineWidth = 1.5 * scale;
    pen.stroke();
  }

  private paintSquares({ extent, accepted, rejected }: Squares, view: Box, scale: number): void {
    const { pen } = this;
    for (const [corners, color, filled] of [[rejected, REJECTED, false], [accepted, ACCEPTED, true]] as const) {
      const path = new Path2D();
      for (let index = 0; index < corners.length; index += 2) {
        const [x, y] = [corners[index]! / QUARTERS, corners[index + 1]! / QUARTERS];
        const square = { left: x, top: y, right: x + extent, bottom: y + extent };
        if (overlaps(square, view)) path.rect(x, y, extent, extent);
      }
      pen.strokeStyle = pen.fillStyle = color;
      if (filled) {
        pen.globalAlpha = 0.22;
        pen.fill(path);
      }
      pen.globalAlpha = 1;
      pen.lineWidth = (filled ? 1.5 : 1) * scale;
      pen.stroke(path);
    }
  }

  private paintTip(at: Point, radius: number, scale: number): void {
    const { pen } = this;
    const circle = new Path2D();
    circle.arc(at.x, at.y, radius, 0, 2 * Math.PI);
    pen.lineWidth = 3 * scale;
    pen.strokeStyle = "#fff";
    pen.stroke(circle);
    pen.lineWidth = 1.2 * scale;
    pen.strokeStyle = "#111";
    pen.stroke(circle);
  }

  /** Mark the center of the view, where a press by the keyboard goes. */
  private paintCross(): void {
    const { pen } = this;
    const { width, height, ratio } = this.size;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const [x, y] = [width / 2, height / 2];
    for (const [color, line] of [["#fff", 3], ["#111", 1]] as const) {
      pen.strokeStyle = color;
      pen.lineWidth = line;
      pen.beginPath();
      pen.moveTo(x - 9, y);
      pen.lineTo(x + 9, y);
      pen.moveTo(x, y - 9);
      pen.lineTo(x, y + 9);
      pen.stroke();
    }
  }
}

function pathThrough(points: readonly Point[], closed: boolean): Path2D {
  const path = new Path2D();
  for (const { x, y } of points) path.lineTo(x, y);
  if (closed) path.closePath();
  return path;
}
