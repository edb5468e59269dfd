import { expect, it } from "vitest";
import { actionOf, SHORTCUTS } from "../src/input/keys";

const plain = { ctrlKey: false, metaKey: false, shiftKey: false, altKey: false };

it("gives no key to two actions", () => {
  const keys = SHORTCUTS.flatMap((shortcut) => shortcut.keys);
  expect(new Set(keys).size).toBe(keys.length);
});

it("knows the keys that annotators expect", () => {
  expect(actionOf({ ...plain, key: "b" })).toBe("tool:brush");
  expect(actionOf({ ...plain, key: "z", ctrlKey: true })).toBe("undo");
  expect(actionOf({ ...plain, key: "Z", ctrlKey: true, shiftKey: true })).toBe("redo");
  expect(actionOf({ ...plain, key: "z", metaKey: true })).toBe("undo");
  expect(actionOf({ ...plain, key: "?", shiftKey: true })).toBe("help");
  expect(actionOf({ ...plain, key: "z" })).toBeNull();
  expect(actionOf({ ...plain, key: "ArrowLeft", altKey: true })).toBeNull();
});
