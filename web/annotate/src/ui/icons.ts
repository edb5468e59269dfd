/** Icons, drawn here: 24 x 24, lines only. */

const PATHS = {
  select: "M5 3l5 16 2.5-6.5L19 10z",
  pan: "M12 3v18M3 12h18M12 3l-3 3m3-3l3 3M12 21l-3-3m3 3l3-3M3 12l3-3m-3 3l3 3M21 12l-3-3m3 3l-3 3",
  polygon: "M5 9l8-5 7 7-4 8-9-1z",
  brush: "M20 4c-5 1-9 5-11 9l2 2c4-2 8-6 9-11zM8 14c-3 0-3 4-5 5 3 1 7 0 7-3z",
  eraser: "M9 19l-5-5 9-9 6 6-8 8zM9 9l6 6M9 19h11",
  rectangle: "M4 6h16v12H4z",
  boundary: "M4 17c1-9 5-12 8-12M20 17c-1-9-3-9-4-10M12 5c0 4 5 0 4 2M4 17h16",
  vertices: "M6 18L12 6l7 10M4 16h4v4H4zM10 4h4v4h-4zM17 14h4v4h-4z",
  undo: "M9 7L4 12l5 5M4 12h10c4 0 6 2 6 6",
  redo: "M15 7l5 5-5 5M20 12H10c-4 0-6 2-6 6",
  preview: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  visible: "M2 12c3-5 6-7 10-7s7 2 10 7c-3 5-6 7-10 7s-7-2-10-7zM12 9a3 3 0 100 6 3 3 0 000-6z",
  help: "M9 9c0-4 6-4 6 0 0 2-3 2-3 5M12 18v.5",
  slides: "M4 5h16M4 12h16M4 19h16",
} as const;

export type IconName = keyof typeof PATHS;

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
