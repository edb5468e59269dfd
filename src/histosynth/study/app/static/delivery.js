/**
 * An answer on its way: sent again until the server says that it is committed.
 *
 * Sending twice is harmless, because the server stores one answer a presentation and confirms the same one again.
 */
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 20_000;
const PATIENCE_MS = 15_000; // for one reply

/** Wait; ends early when the network is back or `wake` is called. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signal.removeEventListener("wake", done);
      resolve();
    }
    window.addEventListener("online", done);
    signal.addEventListener("wake", done);
  });
}

async function attempt(url, fields) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  try {
    const reply = await fetch(url, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: { Accept: "application/json" },
      signal: patience.signal,
      redirect: "error",
    });
    const told = await reply.json();
    const later = Number(reply.headers.get("Retry-After")) * 1000;
    return { status: reply.status, told, later };
  } catch {
    return { status: 0, told: {}, later: 0 }; // no network, no server, no answer in time, or something in between spoke
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Send until it is decided; `onWait({tries})` is told of every failure. Gives {status, told} with a status of 200
 * (saved, `told.saved` names the presentation), 409 (answered before) or another 4xx (refused, `told.text` says why).
 */
export async function deliver(url, fields, { onWait, wake }) {
  for (let tries = 1; ; tries += 1) {
    const { status, told, later } = await attempt(url, fields);
    if (status === 200 && told.saved === fields.presentation) return { status, told };
    if (status >= 400 && status < 500 && status !== 408 && status !== 429) return { status, told };
    onWait({ tries });
    const wait = Math.min(FIRST_WAIT_MS * 2 ** (tries - 1), LONGEST_WAIT_MS);
    await pause(Math.max(later, wait * (0.75 + Math.random() / 2)), wake);
  }
}
