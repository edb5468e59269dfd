/** One case: two questions, one answer, which is saved before the next case shows. */
import { clock } from "./clock.js";
import { deliver } from "./delivery.js";
import { forget, keep, recall } from "./draft.js";
import { listen } from "./keys.js";
import { Viewer } from "./viewer.js";

const form = document.getElementById("answer");
const state = document.getElementById("state");
const shortcuts = document.getElementById("keys");
const presentation = form.elements.presentation.value;
const wake = new EventTarget();
let sending = false;
let seen = false;

const viewer = new Viewer(document.querySelector(".viewer"));
const before = recall(presentation);
let visible = () => before.visible_ms ?? 0;
viewer.shown.then(() => {
  seen = true;
  visible = clock(visible());
});
let changes = before.changes ?? 0;
const last = { said: "", confidence: "" };
for (const name of Object.keys(last)) {
  form.elements[name].value ||= before[name] ?? ""; // what was chosen before this script was here stands
  last[name] = form.elements[name].value;
}
if (before.comment) {
  form.elements.comment.value ||= before.comment;
  form.querySelector("details").open = true;
}

/** The fields as they would be sent now. */
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

/** Say what is going on; `extra` are elements to show below. */
function say(text, { trouble = false } = {}, ...extra) {
  const paragraph = document.createElement("p");
  paragraph.textContent = text;
  state.replaceChildren(...(text ? [paragraph] : []), ...extra);
  state.classList.toggle("trouble", trouble);
  if (trouble) state.scrollIntoView({ block: "nearest" });
}

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "secondary";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

form.addEventListener("change", (event) => {
  const { name, value } = event.target;
  if (name in last) {
    if (last[name] && last[name] !== value) changes += 1;
    last[name] = value;
    event.target.closest("fieldset").classList.remove("missing");
    if (!form.querySelector(".missing")) say("");
  }
  remember();
});
form.elements.comment.addEventListener("input", remember);
document.addEventListener("visibilitychange", remember);
window.addEventListener("pagehide", remember);

/** Name what is missing, and put the focus there. */
function complete() {
  const missing = ["said", "confidence"].filter((name) => !last[name]);
  for (const name of ["said", "confidence"]) {
    form.elements[name][0].closest("fieldset").classList.toggle("missing", missing.includes(name));
  }
  if (!missing.length) return true;
  const asked = { said: "Real or synthetic? Please choose one.", confidence: "How confident are you? Please choose 1 to 5." };
  say(missing.map((name) => asked[name]).join(" "));
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
  if (sending || !complete()) return;
  if (!seen) {
    say("The patch has not loaded yet: trying again.", { trouble: true });
    viewer.shown.then(() => say(""));
    return;
  }
  const sent = fields();
  remember();
  lock(true);
  say("Saving …");
  const { status, told } = await deliver("/answer", sent, {
    wake,
    onWait({ tries }) {
      const again = button("Try now", () => wake.dispatchEvent(new Event("wake")));
      if (tries === 1 || !state.querySelector("button")) {
        say("Not saved yet: trying again. Your answer is kept; please leave this page open.", { trouble: true }, again);
      }
    },
  });
  if (status === 200) {
    forget();
    location.replace(told.next);
  } else if (status === 409) {
    forget();
    say(told.text, { trouble: true }, button("Go to the present case", () => location.replace("/")));
    state.querySelector("button").focus();
  } else if (status === 401) {
    lock(false);
    remember();
    say(told.text, { trouble: true });
  } else {
    lock(false);
    remember();
    const again = button("Load the page again", () => location.reload());
    say(told.text ?? "The answer was refused.", { trouble: true }, again);
  }
});

window.addEventListener("beforeunload", (event) => {
  if (sending && state.classList.contains("trouble")) event.preventDefault();
});

/** Another tab, or the back button, may have left this case behind: show the present one, and say so. */
async function present() {
  if (document.hidden || sending) return;
  try {
    const reply = await fetch("/now", { headers: { Accept: "application/json" } });
    if (!reply.ok) return;
    const now = await reply.json();
    if (now.presentation === presentation || sending) return;
    forget();
    lock(true);
    const on = button("Go to the present case", () => location.replace("/"));
    say("This case was answered in another window. That answer stays.", { trouble: true }, on);
    on.focus();
  } catch {
    // no network: the answer itself will tell
  }
}
document.addEventListener("visibilitychange", present);
window.addEventListener("focus", present);
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
