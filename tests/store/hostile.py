"""Read stores that hold hostile or damaged files, in a process of their own; called by `test_hostile_stores`.

    python hostile.py DIRECTORY FIRST LAST

Each number is a seed: it makes one store, by changed bytes or by rows and manifests that another program might write,
and every reader is run on it. Printed is a line of JSON per store: the outcome (`ok`, `error`, or the exception that
should not have been raised), the seconds, and the peak memory of the process in MB.
"""

import json
import random
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from histosynth.convert.export import export
from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.normalization.mixed_colors import mixed_colors
from histosynth.normalization.normalize import normalize
from histosynth.store.pair import check_pair, median_mpp
from histosynth.store.part import SCHEMA, Patch, part_path, part_record, read_part, write_part
from histosynth.store.png import encode_png
from histosynth.store.store import Store, write_manifest

MANIFEST_KEYS = ["files", "synthetic", "train_split", "made_with", "settings", "staining", "slides", "kind", "totals"]
MANIFEST_VALUES: list[Any] = [
    None, 0, -1, 1e400, float("nan"), "", "x" * 10_000, "\ud800", [], [1], {}, {"": None}, True,
    {"part-a.parquet": "1"}, {"../../x.parquet": 1}, [{"slide_id": 3}],
]  # fmt: skip
CELLS: dict[str, list[Any]] = {
    "patch_id": ["", "a/../../b", "\x1b[2J", "x" * 5000, "="],
    "label": ["", "a/b", "..", "\u202e", "CON", "x" * 5000],
    "source": ["", "real", "unet", "../x"],
    "split": ["", "test", "held_out"],
    "stain": ["", "normalized", "skipped:", ":"],
    "slide_id": ["", "..", "s"],
    "x": [-(2**31), 2**31 - 1],
    "extent": [0, -5],
    "mpp": [float("nan"), float("inf"), -1.0, 0.0],
    "tissue": [float("nan"), 1e30],
}


def store_of(seed: int, directory: Path) -> Path:
    """Make the store of a seed."""
    rng = random.Random(seed)
    path = directory / f"store{seed}"
    path.mkdir()
    for name in ("a", "b"):
        rows = [patch(rng, name, n) for n in range(rng.randrange(1, 4))]
        write_part(part_path(path, name), rows, fingerprint="f", record={"slide_id": name})
    write_manifest(path, {"settings": {"stain": "none"}, "slides": [{"slide_id": "a"}]})
    part, manifest = part_path(path, "a"), path / "manifest.json"
    kind = rng.choice([flip_bytes, cut, change_manifest, change_manifest, change_cells, change_image, change_schema])
    kind(rng, manifest if rng.random() < 0.3 and kind in (flip_bytes, cut) else part, manifest)
    return path


def patch(rng: random.Random, slide: str, number: int) -> Patch:
    image = np.frombuffer(rng.randbytes(8 * 8 * 3), np.uint8).reshape(8, 8, 3)
    return Patch(
        patch_id=f"{slide}{number}", image=image, source="real", label=rng.choice(["wt", "codel"]), slide_id=slide,
        patient_id=slide, x=number, y=0, extent=8, mpp=0.5, tissue=1.0, split="train", stain="raw",
    )  # fmt: skip


def flip_bytes(rng: random.Random, path: Path, _: Path) -> None:
    data = bytearray(path.read_bytes())
    for _flip in range(rng.choice([1, 1, 5, 50])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def cut(rng: random.Random, path: Path, _: Path) -> None:
    data = path.read_bytes()
    start, end = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    path.write_bytes(rng.choice([data[:end], data[:start] + data[end:], data + data[start:end], b""]))


def change_manifest(rng: random.Random, _: Path, manifest: Path) -> None:
    content = json.loads(manifest.read_text())
    for key in rng.sample(MANIFEST_KEYS, rng.randrange(1, 4)):
        content[key] = rng.choice(MANIFEST_VALUES)
    text = json.dumps(content)
    if rng.random() < 0.1:
        text = text[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"
    manifest.write_text(text)


def change_cells(rng: random.Random, part: Path, _: Path) -> None:
    table = pq.read_table(part)
    rows = table.to_pylist()
    for _change in range(rng.randrange(1, 4)):
        name = rng.choice(list(CELLS))
        rows[rng.randrange(len(rows))][name] = rng.choice([*CELLS[name], None if SCHEMA.field(name).nullable else "y"])
    metadata = dict(table.schema.metadata)
    if rng.random() < 0.3:
        metadata[rng.choice(list(metadata))] = rng.choice([b"", b"\xff", b"null", b"[1]", b'{"a": NaN}', b"-1"])
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata)), part)


def change_image(rng: random.Random, part: Path, _: Path) -> None:
    rows = pq.read_table(part).to_pylist()
    png: bytes = rows[0]["image"]["bytes"]
    bomb = encode_png(np.zeros((4096, 4096, 3), np.uint8)) if rng.random() < 0.1 else header(png, 60_000, 60_000)
    images = [None, {"bytes": None, "path": None}, *({"bytes": data, "path": "../../x"} for data in (
        b"", b"GIF89a", png[:40], png[:-20], header(png, 0, 8), header(png, 8, 2**31 - 1), header(png, 9, 9), bomb,
        png[:8] + b"\xff" * 100, png[:33] + chunk(b"iTXt", b"Key\0\0\0\0\0\xff\xfe") + png[33:],
        png[:33] + chunk(b"zTXt", b"Key\0\0" + zlib.compress(bytes(10**7))) + png[33:],
    ))]  # fmt: skip
    for row in rng.sample(range(len(rows)), rng.randrange(1, len(rows) + 1)):
        rows[row]["image"] = rng.choice(images)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), part)


def header(png: bytes, width: int, height: int) -> bytes:
    """Return the PNG with another stated size."""
    data = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + data + struct.pack(">I", zlib.crc32(data)) + png[33:]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def change_schema(rng: random.Random, part: Path, _: Path) -> None:
    table = pq.read_table(part)
    name = rng.choice(table.column_names)
    at = table.column_names.index(name)
    other = rng.choice(
        [
            pa.nulls(len(table)), pa.array([b"\xff\xfe"] * len(table)), pa.array([[1]] * len(table)),
            pa.array([1.5] * len(table)), pa.Array.from_buffers(
                pa.string(), len(table),
                [None, pa.py_buffer(np.arange(len(table) + 1, dtype=np.int32)), pa.py_buffer(b"\xff" * len(table))],
            ),
        ]
    )  # fmt: skip
    table = rng.choice([table.drop_columns([name]), table.set_column(at, name, other), table.slice(0, 0)])
    pq.write_table(table, part, row_group_size=rng.choice([1, 1000]))


def readers(seed: int, path: Path, out: Path) -> list[Callable[[], object]]:
    """Return what a user may do with a store; the seed chooses the longer ones."""

    def read() -> None:
        store = Store(path)
        store.images(range(len(store)))
        list(store.stream_images())
        _ = (store.table, store.labels, store.mark, store.content_hash(), mixed_colors(store), median_mpp(store))
        for name in SCHEMA.names[:-1]:
            store.column(name)
        check_pair(store, store)

    def part() -> None:
        for file in sorted(path.glob("part-*.parquet")):
            part_record(file)
            read_part(file)

    longer: list[Callable[[], object]] = [
        lambda: export(path, out=out / "export", format=("png", "npz", "webdataset")[seed % 9 // 3], progress=False),
        lambda: normalize(path, out=out / "normalized", method="reinhard", progress=False),
        lambda: describe(path),
    ]
    return [read, part, longer[seed % 3]]


def peak_memory_kb() -> int:
    """Return the peak memory of this program; `ru_maxrss` would include that of the process which started it."""
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


def main() -> None:
    directory, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))  # a bomb ends in a MemoryError, not in a full machine
    for seed in range(first, last):
        path, outcomes = store_of(seed, directory), []
        started = time.monotonic()
        for read in readers(seed, path, directory / f"out{seed}"):
            try:
                read()
                outcomes.append("ok")
            except HistosynthError as error:
                outcomes.append("error" if str(error).strip() else "an error without a message")
            except Exception as error:
                outcomes.append(f"{type(error).__name__}: {error}"[:200])
        seconds = round(time.monotonic() - started, 3)
        peak_mb = peak_memory_kb() // 1024
        print(json.dumps({"seed": seed, "outcomes": outcomes, "seconds": seconds, "peak_mb": peak_mb}), flush=True)


if __name__ == "__main__":
    main()
