/** How long the page has been visible, in ms, beginning at `before`. */
export function clock(before) {
  let sum = before;
  let since = document.hidden ? null : performance.now();
  document.addEventListener("visibilitychange", () => {
    const now = performance.now();
    if (since !== null) sum += now - since;
    since = document.hidden ? null : now;
  });
  return () => Math.round(sum + (since === null ? 0 : performance.now() - since));
}
