/** The slide: OpenSeadragon fetches and draws the tiles; pointers and keys are handled by the page itself. */

import OpenSeadragon from "openseadragon";
import type { SlideDetails } from "../api/types";
import { slidePath } from "../api/client";
import { invert, magnification, type Transform } from "../geometry/transform";
import type { Point } from "../geometry/types";

const PAN_STEP = 0.2;
const ZOOM_STEP = 1.6;
const FLICK_MS = 250;

export class SlideViewer {
  private readonly osd: OpenSeadragon.Viewer;
  private details: SlideDetails | null = null;

  constructor(element: HTMLElement, navigator: HTMLElement, onFrame: () => void) {
    this.osd = new OpenSeadragon.Viewer({
      element,
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: true,
      navigatorId: navigator.id,
      navigatorRotate: true,
      mouseNavEnabled: false,
      animationTime: 0.3,
      springStiffness: 9,
      visibilityRatio: 0.4,
      maxZoomPixelRatio: 8,
      minZoomImageRatio: 0.7,
      immediateRender: true,
      imageLoaderLimit: 6,
      maxImageCacheCount: 600,
      smoothTileEdgesMinZoom: Infinity,
    });
    this.osd.addHandler("update-viewport", onFrame);
    this.osd.addHandler("animation", onFrame);
    this.osd.addHandler("resize", onFrame);
  }

  /** Show a slide from its beginning; resolves when the first view can be drawn. */
  open(details: SlideDetails): Promise<void> {
    this.details = details;
    const path = `${slidePath(details.id)}/tiles`;
    const source = new OpenSeadragon.TileSource({
      width: details.width_px,
      height: details.height_px,
      tileSize: details.tile_px,
      tileOverlap: details.overlap_px,
      minLevel: 0,
      maxLevel: details.max_level,
    });
    source.getTileUrl = (level, x, y) => `${path}/${level}/${x}_${y}.jpg`;
    return new Promise((resolve, reject) => {
      this.osd.addOnceHandler("open", () => resolve());
      this.osd.addOnceHandler("open-failed", (event) => reject(new Error(event.message)));
      this.osd.open({ tileSource: source });
    });
  }

  /** Resolves when all tiles of the view are drawn. */
  complete(): Promise<void> {
    const item = this.osd.world.getItemAt(0);
    if (item.getFullyLoaded()) return Promise.resolve();
    return new Promise((resolve) => item.addOnceHandler("fully-loaded-change", () => resolve()));
  }

  close(): void {
    this.details = null;
    this.osd.close();
  }

  get isOpen(): boolean {
    return this.details !== null && this.osd.world.getItemCount() > 0;
  }

  /** The map from slide pixels to pixels of the viewer as it is shown now. */
  get transform(): Transform {
    const item = this.osd.world.getItemAt(0);
    const { width_px: width, height_px: height } = this.details!;
    const at = (x: number, y: number): OpenSeadragon.Point =>
      item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
    const [origin, right, down] = [at(0, 0), at(width, 0), at(0, height)];
    return {
      a: (right.x - origin.x) / width,
      b: (right.y - origin.y) / width,
      c: (down.x - origin.x) / height,
      d: (down.y - origin.y) / height,
      e: origin.x,
      f: origin.y,
    };
  }

  /** Slide pixels per screen pixel. */
  get scale(): number {
    return magnification(invert(this.transform));
  }

  get rotation(): number {
    return ((this.osd.viewport.getRotation(true) % 360) + 360) % 360;
  }

  pan(dx: number, dy: number, immediately: boolean): void {
    this.osd.viewport.panBy(this.osd.viewport.deltaPointsFromPixels(new OpenSeadragon.Point(-dx, -dy)), immediately);
    this.osd.viewport.applyConstraints(immediately);
  }

  /** Let the slide run on at this speed, in screen pixels per millisecond. */
  flick(vx: number, vy: number): void {
    this.pan(vx * FLICK_MS, vy * FLICK_MS, false);
  }

  panStep(x: number, y: number): void {
    const { x: width, y: height } = this.osd.viewport.getContainerSize();
    this.pan(-x * PAN_STEP * width, -y * PAN_STEP * height, false);
  }

  zoom(factor: number, at: Point | null, immediately: boolean): void {
    const { viewport } = this.osd;
    const around = at === null ? viewport.getCenter() : viewport.pointFromPixel(new OpenSeadragon.Point(at.x, at.y), true);
    viewport.zoomBy(factor, around, immediately);
    viewport.applyConstraints(immediately);
  }

  zoomStep(steps: number): void {
    this.zoom(ZOOM_STEP ** steps, null, false);
  }

  /** Show one slide pixel per screen pixel. */
  fullResolution(): void {
    this.zoom(this.scale, null, false);
  }

  home(): void {
    this.osd.viewport.setRotation(0);
    this.osd.viewport.goHome(false);
  }

  rotate(degrees: number): void {
    this.osd.viewport.rotateBy(degrees);
  }

  rotateTo(degrees: number): void {
    this.osd.viewport.setRotation(degrees);
  }

  /** Move so that a box of slide pixels is in view. */
  fit(left: number, top: number, width: number, height: number): void {
    const item = this.osd.world.getItemAt(0);
    const margin = 0.4 * Math.max(width, height) + 50;
    this.osd.viewport.fitBounds(
      item.imageToViewportRectangle(left - margin, top - margin, width + 2 * margin, height + 2 * margin),
    );
  }

  /** Brightness and contrast of the tiles, 1 for none. */
  setFilter(brightness: number, contrast: number): void {
    const canvas = this.osd.drawer.canvas as HTMLElement;
    canvas.style.filter = brightness === 1 && contrast === 1 ? "" : `brightness(${brightness}) contrast(${contrast})`;
  }
}
