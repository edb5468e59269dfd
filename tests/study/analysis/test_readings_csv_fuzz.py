"""Damaged CSVs of readings: 500 seeded mutations end in readings or in one line that says what is wrong."""

from pathlib import Path

import numpy as np

from histosynth.study.analysis.analysis import analysis
from histosynth.study.analysis.declared import Declared
from histosynth.study.analysis.readings_csv import read_csv, write_csv
from histosynth.study.analysis.schema import as_json
from limits import attempt, bounded

MUTATIONS = 500
HOSTILE = [
    b"\0", b"\xff\xfe", b"\r", b'"', b"'", b",", b"\n\n", b"1e999", b"-1", b"nan", b"9" * 400, b"real", b"=1+1",
    "\u202e\ufeff".encode(), b"\x1b[31m", b"x" * 10**6,
]  # fmt: skip


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content with one to four damages: bytes inserted, changed, cut or repeated, lines exchanged."""
    for _ in range(rng.integers(1, 5)):
        start, end = sorted(rng.integers(0, len(content) + 1, 2).tolist())
        lines = content.split(b"\n")
        a, b = rng.integers(0, len(lines), 2).tolist()
        lines[a], lines[b] = lines[b], lines[a]
        damaged = [
            content[:start] + HOSTILE[rng.integers(len(HOSTILE))] + content[start:],
            content[:start] + rng.bytes(3) + content[start + 3 :],
            content[:start] + content[end:],
            content[:end] + content[start:],
            content[:start],
            b"\n".join(lines),
        ]
        content = damaged[rng.integers(len(damaged))]
    return content


def test_damaged_csvs_end_in_readings_or_in_one_line(tmp_path: Path, make_readings) -> None:
    path, rng = tmp_path / "r.csv", np.random.default_rng(0)
    write_csv(path, make_readings(2, 24, generators=("a", "b")).readings)
    content, accepted, messages = path.read_bytes(), [], []
    for number in range(MUTATIONS):
        path.write_bytes(damage(content, rng))
        with bounded(f"mutation {number}"):
            if message := attempt(lambda: accepted.append(read_csv(path))):
                messages.append(message)
    assert len(accepted) > 10  # the damages are not all fatal
    assert len(messages) > 250
    assert all(message.isprintable() and len(message) < 600 for message in messages)
    declared = Declared(margin=0.1, area_margin=0.14, alpha=0.05)
    for readings in [readings for readings in accepted if readings.readings][:4]:
        as_json(analysis(readings, declared=declared, progress=False))
