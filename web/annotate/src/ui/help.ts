/** The help dialog, made from the table of shortcuts. */

import { keysOf, SHORTCUTS, type Shortcut } from "../input/keys";
import { byId, create } from "./dom";

export function fillHelp(): void {
  const groups = new Map<string, Shortcut[]>();
  const seen = new Set<string>();
  for (const shortcut of SHORTCUTS) {
    if (seen.has(shortcut.what)) continue; // the classes share a line
    seen.add(shortcut.what);
    groups.set(shortcut.group, [...(groups.get(shortcut.group) ?? []), shortcut]);
  }
  for (const [group, shortcuts] of groups) {
    const list = create("dl");
    for (const { action, what } of shortcuts) {
      const keys = action.startsWith("class:") ? ["1", "…", "9"] : keysOf(action);
      const term = create("dt", {}, keys.flatMap((key) => [create("kbd", { text: key }), new Text(" ")]));
      list.append(term, create("dd", { text: what }));
    }
    byId("help-content").append(create("section", {}, [create("h3", { text: group }), list]));
  }
}
