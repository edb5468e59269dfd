/** Single keys, wherever the focus is; never while text is typed, nor together with Ctrl, Alt or Meta. */
const VIEW = {
  "+": "in", "=": "in", "-": "out", "−": "out", "0": "whole",
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
};

/** Call `act(key)` for keys that it knows (it says so by returning true), else move the view. */
export function listen(viewer, act, { enabled = () => true } = {}) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    const at = event.target;
    if (at.closest("textarea, select, [contenteditable]")) return;
    if (event.key === "Enter") {
      // On a link, a button or a summary, Enter is theirs; held down, it answers one case, not all.
      if (at.closest("a, button, summary")) return;
      event.preventDefault();
      if (!event.repeat) act("Enter");
      return;
    }
    if (event.key.startsWith("Arrow") && at.closest("input[type=radio]")) return;
    if (!event.key.startsWith("Arrow") && !enabled()) return;
    if (act(event.key.toLowerCase())) event.preventDefault();
    else if (event.key in VIEW) {
      viewer.act(VIEW[event.key]);
      event.preventDefault();
    }
  });
}
