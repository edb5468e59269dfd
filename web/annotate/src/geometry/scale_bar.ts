/** The length of a scale bar, and lengths and areas in words. */

export interface ScaleBar {
  readonly lengthPx: number;
  readonly label: string;
}

/** Return the longest bar of 1, 2 or 5 times a power of ten that fits. */
export function scaleBar(unitsPerScreenPx: number, unit: "µm" | "px", longestPx: number): ScaleBar {
  const longest = unitsPerScreenPx * longestPx;
  const power = 10 ** Math.floor(Math.log10(longest));
  const length = ([5, 2].find((factor) => factor * power <= longest) ?? 1) * power;
  const label = unit === "µm" && length >= 1000 ? `${number(length / 1000)} mm` : `${number(length)} ${unit}`;
  return { lengthPx: length / unitsPerScreenPx, label };
}

export function areaLabel(areaUm2: number): string {
  return areaUm2 >= 100_000 ? `${(areaUm2 / 1e6).toPrecision(3)} mm²` : `${number(Math.round(areaUm2))} µm²`;
}

export function lengthLabel(lengthUm: number): string {
  return lengthUm >= 1000 ? `${(lengthUm / 1000).toFixed(2)} mm` : `${lengthUm < 10 ? lengthUm.toFixed(1) : Math.round(lengthUm)} µm`;
}

/** Write a number with thousands separators. */
export function number(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 3 });
}
