/** One case: two questions and one answer, which is saved before the next case is shown. */
import { clock } from "./clock.js";
import { deliver } from "./delivery.js";
import { forget, keep, recall } from "./draft.js";
import { listen } from "./keys.js";
import { Viewer } from "./viewer.js";

const form = document.getElementById("answer");
const state = document.getElementById("state");
const shortcuts = document.getElementById("keys");
const presentation = form.elements.presentation.value;
const retryNow = new EventTarget();
let sending = false;
let patchShown = false;

const viewer = new Viewer(document.querySelector(".viewer"));
const draft = recall(presentation);
let visible = () => draft.visible_ms ?? 0;
viewer.shown.then(() => {
  patchShown = true;
  visible = clock(visible());
});
let changes = draft.changes ?? 0;
const last = { said: "", confidence: "" };
for (const name of Object.keys(last)) {
  form.elements[name].value ||= draft[name] ?? ""; // keep what was chosen before this script had loaded
  last[name] = form.elements[name].value;
}
if (draft.comment) {
  form.elements.comment.value ||= draft.comment;
  form.querySelector("details").open = true;
}

/** Return the fields as they would be sent now. */
function fields() {
  form.elements.changes.value = changes;
  form.elements.visible_ms.value = visible();
  return Object.fromEntries(new FormData(form));
}

function remember() {
  if (sending) return;
  const { csrf, ...answer } = fields();
  keep({ ...answer, changes, visible_ms: visible() });
}

/** Show the status of the answer; `extra` are elements to show below the text. */
function showStatus(text, { problem = false } = {}, ...extra) {
  const paragraph = document.createElement("p");
  paragraph.textContent = text;
  state.replaceChildren(...(text ? [paragraph] : []), ...extra);
  state.classList.toggle("problem", problem);
  if (problem) state.scrollIntoView({ block: "nearest" });
}

function button(text, onClick) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "secondary";
  element.textContent = text;
  element.addEventListener("click", onClick);
  return element;
}

form.addEventListener("change", (event) => {
  const { name, value } = event.target;
  if (name in last) {
    if (last[name] && last[name] !== value) changes += 1;
    last[name] = value;
    event.target.closest("fieldset").classList.remove("missing");
    if (!form.querySelector(".missing")) showStatus("");
  }
  remember();
});
form.elements.comment.addEventListener("input", remember);
document.addEventListener("visibilitychange", remember);
window.addEventListener("pagehide", remember);

/** Return whether both questions are answered; else name what is missing and focus it. */
function isComplete() {
  const missing = ["said", "confidence"].filter((name) => !last[name]);
  for (const name of ["said", "confidence"]) {
    form.elements[name][0].closest("fieldset").classList.toggle("missing", missing.includes(name));
  }
  if (!missing.length) return true;
  const requests = { said: "Real or synthetic? Please choose one.", confidence: "How confident are you? Please choose 1 to 5." };
  showStatus(missing.map((name) => requests[name]).join(" "));
  form.elements[missing[0]][0].focus();
  return false;
}

function lock(on) {
  sending = on;
  for (const part of form.querySelectorAll("fieldset, textarea, .next")) part.disabled = on;
}

form.noValidate = true;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (sending || !isComplete()) return;
  if (!patchShown) {
    showStatus("The patch has not loaded yet. Trying again …", { problem: true });
    viewer.shown.then(() => showStatus(""));
    return;
  }
  const answer = fields();
  remember();
  lock(true);
  showStatus("Saving …");
  const { status, reply } = await deliver("/answer", answer, {
    retryNow,
    onWait({ tries }) {
      const again = button("Try now", () => retryNow.dispatchEvent(new Event("retry")));
      if (tries === 1 || !state.querySelector("button")) {
        showStatus("Not saved yet. Trying again … Your answer is kept; please leave this page open.", { problem: true }, again);
      }
    },
  });
  if (status === 200) {
    forget();
    location.replace(reply.next);
  } else if (status === 409) {
    forget();
    showStatus(reply.text, { problem: true }, button("Go to the current case", () => location.replace("/")));
    state.querySelector("button").focus();
  } else if (status === 401) {
    lock(false);
    remember();
    showStatus(reply.text, { problem: true });
  } else {
    lock(false);
    remember();
    const again = button("Reload the page", () => location.reload());
    showStatus(reply.text ?? "The answer was not accepted.", { problem: true }, again);
  }
});

window.addEventListener("beforeunload", (event) => {
  if (sending && state.classList.contains("problem")) event.preventDefault();
});

/** If this case was answered in another tab or before the back button, say so and offer the current case. */
async function checkCurrent() {
  if (document.hidden || sending) return;
  try {
    const reply = await fetch("/now", { headers: { Accept: "application/json" } });
    if (!reply.ok) return;
    const now = await reply.json();
    if (now.presentation === presentation || sending) return;
    forget();
    lock(true);
    const next = button("Go to the current case", () => location.replace("/"));
    showStatus("This case was answered in another window. That answer is final.", { problem: true }, next);
    next.focus();
  } catch {
    // no network: sending the answer will show it
  }
}
document.addEventListener("visibilitychange", checkCurrent);
window.addEventListener("focus", checkCurrent);
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

shortcuts.checked = sessionStorage.getItem("histosynth-study-keys") !== "off";
shortcuts.addEventListener("change", () => {
  sessionStorage.setItem("histosynth-study-keys", shortcuts.checked ? "on" : "off");
});

function choose(name, value) {
  const field = [...form.elements[name]].find((input) => input.value === value);
  if (!field || field.matches(":disabled")) return;
  field.checked = true;
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

listen(viewer, (key) => {
  if (key === "Enter") form.requestSubmit();
  else if (key === "r") choose("said", "real");
  else if (key === "s") choose("said", "synthetic");
  else if ("12345".includes(key)) choose("confidence", key);
  else return false;
  return true;
}, { enabled: () => shortcuts.checked });
