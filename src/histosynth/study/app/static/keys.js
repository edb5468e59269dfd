/** Single-key shortcuts, wherever the focus is; not while text is typed, nor with Ctrl, Alt or Meta. */
const VIEW = {
  "+": "in", "=": "in", "-": "out", "−": "out", "0": "whole",
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
};

/** Call `act(key)`, which returns whether it handles the key; otherwise zoom or move the view. */
export function listen(viewer, act, { enabled = () => true } = {}) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    const target = event.target;
    if (target.closest("textarea, select, [contenteditable]")) return;
    if (event.key === "Enter") {
      // Links, buttons and summaries handle Enter themselves. A held key answers one case, not several.
      if (target.closest("a, button, summary")) return;
      event.preventDefault();
      if (!event.repeat) act("Enter");
      return;
    }
    if (event.key.startsWith("Arrow") && target.closest("input[type=radio]")) return;
    if (!event.key.startsWith("Arrow") && !enabled()) return;
    if (act(event.key.toLowerCase())) event.preventDefault();
    else if (event.key in VIEW) {
      viewer.act(VIEW[event.key]);
      event.preventDefault();
    }
  });
}
