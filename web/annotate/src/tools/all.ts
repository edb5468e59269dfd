/** All tools but panning, which is none. */

import type { Point } from "../geometry/types";
import { BoundaryTool } from "./boundary";
import { BrushTool } from "./brush";
import { PolygonTool } from "./polygon";
import { RectangleTool } from "./rectangle";
import { SelectTool } from "./select";
import type { Tool, ToolContext, ToolName } from "./tool";
import { VertexTool } from "./vertices";

export function makeTools(
  context: ToolContext,
  rectangle: (a: Point, b: Point) => readonly Point[],
): Record<Exclude<ToolName, "pan">, Tool> {
  return {
    select: new SelectTool(context),
    brush: new BrushTool(context, false),
    eraser: new BrushTool(context, true),
    polygon: new PolygonTool(context),
    rectangle: new RectangleTool(context, rectangle),
    boundary: new BoundaryTool(context),
    vertices: new VertexTool(context),
  };
}
