"""500 stores that are damaged or hostile: each is read, or ends in an error of one line, in bounded time and memory."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from histosynth.errors import HistosynthError
from histosynth.store.part import SCHEMA, Patch, part_path, read_part, write_part
from histosynth.store.png import MAX_SIDE_PX, decode_png, encode_png
from histosynth.store.store import Store, write_manifest

STORES, MAX_SECONDS, MAX_MB = 500, 30, 2000


@pytest.mark.slow
def test_hostile_stores_end_in_success_or_an_error(tmp_path: Path) -> None:
    script = Path(__file__).with_name("hostile.py")
    command = [sys.executable, "-W", "ignore", str(script), str(tmp_path), "0", str(STORES)]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    lines = [json.loads(line) for line in completed.stdout.splitlines()]
    assert len(lines) == STORES, f"the process ended after store {len(lines)}: {completed.stderr[-2000:]}"
    counts = Counter(outcome for line in lines for outcome in line["outcomes"])
    assert set(counts) == {"ok", "error"}, [line for line in lines if set(line["outcomes"]) - {"ok", "error"}][:5]
    assert min(counts.values()) > STORES / 4, "a test of both outcomes"
    assert max(line["seconds"] for line in lines) < MAX_SECONDS
    assert max(line["peak_mb"] for line in lines) < MAX_MB


def test_an_image_of_another_size_is_not_decoded(tmp_path: Path) -> None:
    """A file of a few kilobytes states 20,000 x 20,000 px; the first patch of the store has 8 x 8."""
    side, small = 20_000, encode_png(np.zeros((8, 8, 3), np.uint8))
    bomb = _bomb(side)
    assert len(bomb) < 3_000_000
    with pytest.raises(ValueError, match=f"{side} x {side} px, while a patch has at most {MAX_SIDE_PX} px"):
        decode_png(bomb)
    (tmp_path / "store").mkdir()
    path = part_path(tmp_path / "store", "a")
    write_part(path, [Patch(patch_id=str(n), image=np.zeros((8, 8, 3), np.uint8), source="real") for n in range(2)],
               fingerprint="f")  # fmt: skip
    write_manifest(tmp_path / "store", {})
    rows = pq.read_table(path).to_pylist()
    for cells, message in (([small, bomb], "mixes patch sizes, 8 x 8 and 20000"), ([bomb, bomb], "at most 4096 px")):
        for row, data in zip(rows, cells, strict=True):
            row["image"]["bytes"] = data
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
        with pytest.raises(HistosynthError, match=message):
            Store(tmp_path / "store").images([0, 1])
        with pytest.raises(HistosynthError, match="at most 4096 px"):
            read_part(path)


def _bomb(side: int) -> bytes:
    """Return a valid PNG of one color, compressed to a thousandth of its pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
