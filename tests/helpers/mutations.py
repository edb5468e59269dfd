"""Damaged and hostile copies of a file, the same for the same seed: what faulty disks, editors and attackers make."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

from limits import bounded

VALUES = (b"null", b"-1", b"1e999", b"NaN", b"9" * 400, b'""', b"[]", b"{}", b"true", b'"\\ud800"', b"\0", b"\xff",
          b"[" * 5000, b'{"a":' * 5000, b"../../x", b"1" * 18, b"0.1", b"\n\n", b"\x1b[31m", b"\r", b"x" * 10**6,
          )  # fmt: skip
ODD = [
    None, True, 0, -1, 3, 10**400, 1e300, -0.5, float("nan"), float("inf"), "", "x", "\ud800", "\x1b[2J", "a" * 5000,
    "\u202e|<b>", "../../etc", [], [[]], ["x"], {}, {"x": 1}, "1e999", "held_out", "b" * 10**6, "\r",
]  # fmt: skip


class Mutations:
    """Copies of a file with one to eight damages each, yielded within the limits of time and memory."""

    def __init__(self, data: bytes, *, count: int) -> None:
        self.data, self.count = data, count

    def __iter__(self) -> Iterator[bytes]:
        for seed in range(self.count):
            copy = self._copy(random.Random(seed))
            with bounded(f"mutation {seed}"):
                yield copy

    def _copy(self, rng: random.Random) -> bytes:
        data = bytearray(self.data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            _damage(data, rng)
        return bytes(data)


class JsonMutations(Mutations):
    """Copies of a JSON file: most with values changed, removed, renamed or nested, a fifth with damaged bytes."""

    def _copy(self, rng: random.Random) -> bytes:
        return super()._copy(rng) if rng.random() < 0.2 else _change_values(self.data, rng)


def _damage(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    match rng.randrange(6):
        case 0:  # a bit
            if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
        case 1:  # a shorter file
            del data[at:]
        case 2:  # a missing piece
            del data[at : at + rng.randrange(1, 200)]
        case 3:  # a piece twice
            data[at:at] = data[at : at + rng.randrange(1, 200)]
        case 4:  # another value in place of one
            if values := list(re.finditer(rb'(?<=[:=,\[])\s*("[^"]*"|[-+\w.]+)', data)):
                start, end = rng.choice(values).span()
                data[start:end] = rng.choice(VALUES)
        case 5:  # something else in between
            data[at:at] = rng.choice(VALUES)


def _change_values(data: bytes, rng: random.Random) -> bytes:
    content = json.loads(data)
    for _ in range(rng.randint(1, 3)):
        if not (paths := _paths(content)):
            break
        *above, key = rng.choice(paths)
        parent = content
        for name in above:
            parent = parent[name]
        kind = rng.choice(("replace", "replace", "remove", "rename", "copy", "deep"))
        if kind == "replace":
            parent[key] = rng.choice(ODD)
        elif kind == "remove":
            del parent[key]
        elif kind == "copy" and isinstance(parent, dict):
            parent[rng.choice(list(parent))] = parent[key]
        elif kind == "rename" and isinstance(parent, dict):
            parent[str(rng.choice(ODD))[:50]] = parent.pop(key)
        elif kind == "deep":
            parent[key] = "DEEP"
    return json.dumps(content).replace('"DEEP"', "[" * 100_000 + "]" * 100_000).encode()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value below this one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [below for key, child in inner for below in ((*path, key), *_paths(child, (*path, key)))]
