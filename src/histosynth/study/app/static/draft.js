/** The one thing kept on this computer: the answer to the present case while it is not saved yet. */
const NAME = "histosynth-study-unsent";

/** What was chosen for this presentation before, or {}. */
export function recall(presentation) {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME)) ?? {};
    return kept.presentation === presentation ? kept : {};
  } catch {
    return {};
  }
}

export function keep(fields) {
  try {
    localStorage.setItem(NAME, JSON.stringify(fields));
  } catch {
    // private windows may refuse; the answer then lives in the page alone
  }
}

export function forget() {
  try {
    localStorage.removeItem(NAME);
  } catch {
    // nothing was kept, then
  }
}
