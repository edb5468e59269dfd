"""500 damaged or hostile tables: each is read, or ends in an error of one line; every reader is tried on each."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from histosynth.cohort.labels import read_labels
from histosynth.cohort.mpp_table import read_mpp_table
from histosynth.cohort.split_table import read_split_table
from histosynth.convert.tiles import list_labeled_tiles
from limits import attempt, bounded

TABLES = 500
ROWS = 'file,slide_id,patient_id,label,split,mpp\n"a.png",S1,P1,wt,train,0.5\nb.png,S2,P2,"co, del",test,0.25\n'
PIECES = [
    '"', ",", ";", "\t", "\r", "\n", "\r\n", "\0", "#", "'=1", "\ufeff", "\x1b[2J", "\u2028", "\ud7ff", "a\u0308",
    "\U0010ffff", "..", "/", "../../x", "C:\\x", "\\\\host\\x", "http://[", "https://h/../x?y", "memory://x", "nan",
    "1e400", "-1", "NA", "x" * 10**6, ",".join("x" * 2000), "\n" * 5000, "label,label", "S1", "P1", "é.ome.tif",
]  # fmt: skip


def table_of(rng: random.Random) -> bytes:
    """Return a table with random insertions, cuts and bytes, in a random encoding."""
    text = ROWS
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        start = rng.randrange(len(text) + 1)
        end = start + rng.choice([0, 0, 1, 10])
        text = text[:start] + rng.choice(PIECES) + text[end:]
    encoding = rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
    data = bytearray(text.encode(encoding, errors="replace"))
    for _ in range(rng.choice([0, 0, 1, 5])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)


def test_hostile_tables_end_in_success_or_an_error(tmp_path: Path) -> None:
    folder, path = tmp_path / "tiles", tmp_path / "table.csv"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    slides = {"S1": "P1", "S2": "P2"}

    def labels() -> None:
        table = read_labels(path)
        for slide in slides:
            table.assign(slide)
        table.describe([*slides, "TCGA-DB-5270-01Z-00-DX1", "\x1b"])

    def split() -> None:
        table = read_split_table(path)
        table.describe(slides)
        table.assign(slides, all_slides=slides)

    readers: list[Callable[[], object]] = [
        labels, split, lambda: read_mpp_table(path), lambda: list_labeled_tiles(folder, path),
    ]  # fmt: skip
    outcomes = Counter[str]()
    for seed in range(TABLES):
        path.write_bytes(table_of(random.Random(seed)))
        for number, read in enumerate(readers):
            with bounded(f"table {seed}, reader {number}"):
                outcomes["error" if attempt(read) else "ok"] += 1
    assert min(outcomes.values()) > TABLES / 2, "a test of both outcomes"
