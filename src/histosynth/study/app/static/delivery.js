/**
 * Delivery of an answer: it is sent again until the server confirms that it is committed.
 *
 * Sending twice is harmless, because the server stores one answer per presentation and confirms a duplicate.
 */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 20_000;
const REPLY_TIMEOUT_MS = 15_000;

/** Wait, at most until the network is back or `retryNow` fires. */
function wait(ms, retryNow) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      retryNow.removeEventListener("retry", done);
      resolve();
    }
    window.addEventListener("online", done);
    retryNow.addEventListener("retry", done);
  });
}

async function attempt(url, fields) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), REPLY_TIMEOUT_MS);
  try {
    const response = await fetch(url, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: { Accept: "application/json" },
      signal: controller.signal,
      redirect: "error",
    });
    const reply = await response.json();
    const retryAfter = Number(response.headers.get("Retry-After")) * 1000;
    return { status: response.status, reply, retryAfter };
  } catch {
    return { status: 0, reply: {}, retryAfter: 0 }; // no network, no server, a timeout, or a reply that is not the server's
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Send until the server accepts or rejects the answer; `onWait({tries})` is called after every failed try. Returns
 * {status, reply} with a status of 200 (saved, `reply.saved` is the presentation), 409 (already answered) or another
 * 4xx (rejected, `reply.text` explains why).
 */
export async function deliver(url, fields, { onWait, retryNow }) {
  for (let tries = 1; ; tries += 1) {
    const { status, reply, retryAfter } = await attempt(url, fields);
    if (status === 200 && reply.saved === fields.presentation) return { status, reply };
    if (status >= 400 && status < 500 && status !== 408 && status !== 429) return { status, reply };
    onWait({ tries });
    const backoff = Math.min(FIRST_RETRY_MS * 2 ** (tries - 1), MAX_RETRY_MS);
    await wait(Math.max(retryAfter, backoff * (0.75 + Math.random() / 2)), retryNow);
  }
}
