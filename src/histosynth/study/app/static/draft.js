/** The answer to the current case until it is saved: the only thing stored on this computer besides the cookie. */
const NAME = "histosynth-study-unsent";

/** Return what was chosen for this presentation before, or {}. */
export function recall(presentation) {
  try {
    const draft = JSON.parse(localStorage.getItem(NAME)) ?? {};
    return draft.presentation === presentation ? draft : {};
  } catch {
    return {};
  }
}

export function keep(fields) {
  try {
    localStorage.setItem(NAME, JSON.stringify(fields));
  } catch {
    // private windows may not allow it; then only the page holds the answer
  }
}

export function forget() {
  try {
    localStorage.removeItem(NAME);
  } catch {
    // then nothing was stored
  }
}
