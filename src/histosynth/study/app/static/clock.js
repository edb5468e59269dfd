/** Return a function that gives how long the page has been visible, in ms, starting at `start`. */
export function clock(start) {
  let sum = start;
  let since = document.hidden ? null : performance.now();
  document.addEventListener("visibilitychange", () => {
    const now = performance.now();
    if (since !== null) sum += now - since;
    since = document.hidden ? null : now;
  });
  return () => Math.round(sum + (since === null ? 0 : performance.now() - since));
}
