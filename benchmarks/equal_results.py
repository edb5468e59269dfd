"""Do two checkouts compute the same? For changes that may alter names and words, but no result.

Both run the same commands on the same phantom cohort with equal seeds: patches, normalize, train (64 images), sample,
translate, evaluate, compare, study create and study analyze. The rows and pixels of every store, the weights, every
number of the JSON reports in order (keys and texts may differ), and the cases and reading orders of the study are
compared.

    python benchmarks/equal_results.py BEFORE AFTER [--work DIR]

Needs two clones, and an environment in which either runs. About five minutes on one core; `--quick` leaves out
translate, compare and the study, about a minute.
"""

import argparse
import io
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import load_file

SETTINGS = [
    "patches.region_px=64", "patches.region_mpp=0.5", "patches.patch_px=16", "patches.cap=40", "model.channels=16",
    "model.channel_mult=[1,2]", "model.blocks=1", "model.stem=2", "model.heads=2", "model.attention_px=[4]",
    "train.images=64", "train.batch=8", "sample.steps=4",
]  # fmt: skip
DRAW = """
from pathlib import Path; import sys
from histosynth.slides.phantom import draw_cohort
draw_cohort(Path(sys.argv[1]), patients_per_genotype=3, size_px=1024, workers=1, progress=False)
"""
PROVENANCE = {"made_with", "provenance", "versions", "machine", "created", "manifest", "weights", "seconds"}
"""Parts of a report that name the code or the moment."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--work", type=Path, help="where results go; kept, and finished steps are not run again")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        for name, checkout in (("before", given.before), ("after", given.after)):
            run_all(checkout.resolve(), work.resolve(), work.resolve() / name, quick=given.quick)
        differences = list(compare(work / "before", work / "after"))
    for line in differences:
        print(line)
    print(json.dumps({"name": "equal_results", "differences": len(differences)}))
    sys.exit(bool(differences))


def run_all(checkout: Path, work: Path, out: Path, *, quick: bool) -> None:
    """Run every command of one checkout in `out`; the cohort and the readings are shared."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        "XDG_CACHE_HOME": str(out / "cache"),
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    cohort = work / "cohort"

    def python(*words: object) -> None:
        subprocess.run([sys.executable, *map(str, words)], cwd=out, env=environment, check=True)

    def verb(result: str, *words: object) -> None:
        """Run a command whose result is the directory `result`, unless it is there."""
        if not (out / result).exists():
            print(f"{out.name}: histosynth", *words, flush=True)
            python("-m", "histosynth", *words, *([] if words[0] == "compare" else ["--quiet"]))

    if not cohort.exists():
        python("-c", DRAW, cohort)
    chosen = [word for setting in SETTINGS for word in ("--set", setting)]
    tables = ["--outlines", cohort / "outlines", "--labels", cohort / "labels.csv"]
    verb("store", "patches", cohort / "slides", *tables, "--out", "store", "--workers", 1, *chosen)
    verb("run", "train", "store", "--out", "run", "--device", "cpu", *chosen)
    verb("samples", "sample", "run", "--out", "samples", "--per-label", 12, "--device", "cpu")
    verb("report", "evaluate", "--real", "store", "--fake", "samples", "--out", "report", "--device", "cpu")
    if quick:
        return
    device = ["--device", "cpu"]
    raw = [*chosen, "--set", "patches.stain=none"]
    verb("raw", "patches", cohort / "slides", *tables, "--out", "raw", "--workers", 1, *raw)
    verb("normalized", "normalize", "raw", "--out", "normalized", "--stain", "reinhard")
    verb("other", "sample", "run", "--out", "other", "--per-label", 12, "--set", "sample.sampler=ddim", *device)
    verb("other_report", "evaluate", "--real", "store", "--fake", "other", "--out", "other_report", *device)
    verb("translated", "translate", "run", "store", "--to", "IDHwt", "--per-label", 4, "--out", "translated", *device)
    verb("comparison", "compare", "report", "other_report", "--out", "comparison")
    stores = ["--real", "store", "--fake", "samples"]
    verb("study", "study", "create", *stores, "--cases", 12, "--readers", 2, "--seed", 5, "--out", "study")
    write_readings(work / "readings.csv")
    verb("reading", "study", "analyze", work / "readings.csv", "--out", "reading", "--margin", 0.1)


def write_readings(path: Path) -> None:
    """Write readings of five simulated readers of 60 cases, somewhat better than guessing."""
    rng = np.random.default_rng(0)
    rows = ["reader,case,truth,source,label,said,confidence,seconds"]
    for reader in range(5):
        for case in range(60):
            truth = ("real", "synthetic")[case % 2]
            said = truth if rng.random() < 0.6 else ("synthetic", "real")[case % 2]
            source = "real" if truth == "real" else ("unet", "gan")[case // 2 % 2]
            label, confidence, seconds = "abc"[case % 3], rng.integers(1, 6), rng.integers(2, 60)
            rows.append(f"R{reader},c{case},{truth},{source},{label},{said},{confidence},{seconds}")
    path.write_text("\n".join(rows) + "\n")


def compare(before: Path, after: Path) -> Iterator[str]:
    """One line per difference."""
    for path in sorted(before.rglob("*.parquet")):
        yield from compare_parts(path, after / path.relative_to(before))
    for path in sorted(before.rglob("weights/*.safetensors")):
        yield from compare_weights(path, after / path.relative_to(before))
    for name in (
        "report/report.json",
        "other_report/report.json",
        "comparison/compare.json",
        "reading/study_report.json",
    ):
        if (before / name).exists():
            yield from compare_numbers(before / name, after / name)
    if (before / "study").exists():
        old, new = (study_cases(side / "study/study.db") for side in (before, after))
        if old != new:
            yield "study: the cases or their order differ"


def compare_parts(before: Path, after: Path) -> Iterator[str]:
    """Compare rows; images of real patches by their bytes, of synthetic ones by their pixels."""
    old, new = pq.read_table(before), pq.read_table(after)
    for name, ours, theirs in zip(old.column_names, old.columns, new.columns, strict=True):
        if name != "image" and ours != theirs:
            yield f"{before}: {name} differs"
    for ours, theirs in zip(old.to_pylist(), new.to_pylist(), strict=True):
        one, other = ours["image"]["bytes"], theirs["image"]["bytes"]
        same = one == other if ours["source"] == "real" else pixels(one) == pixels(other)  # a mark names the weights
        if not same:
            yield f"{before}: {ours['patch_id']} differs"


def pixels(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as image:
        return image.tobytes()


def compare_weights(before: Path, after: Path) -> Iterator[str]:
    old, new = load_file(before), load_file(after)
    if not all(np.array_equal(a, b) for a, b in zip(old.values(), new.values(), strict=True)):
        yield f"{before}: weights differ"


def compare_numbers(before: Path, after: Path) -> Iterator[str]:
    old, new = (list(numbers(json.loads(path.read_text()))) for path in (before, after))
    if len(old) != len(new):
        yield f"{before}: {len(old)} numbers, {len(new)} after"
    for (place, ours), (_, theirs) in zip(old, new, strict=False):
        if ours != theirs:
            yield f"{before}: {place} was {ours}, is {theirs}"


def numbers(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a report with its place, provenance left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in PROVENANCE:
                yield from numbers(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from numbers(inner, f"{place}/{index}")
    elif isinstance(value, int | float):
        yield place, value


def study_cases(path: Path) -> list[Any]:
    """Return what each reader is shown, in order, without the random names of cases and links."""
    query = """
        SELECT p.reader_id, p.position, p.part, p.is_repeat, c.label, c.truth, c.source, c.patch_id, i.png
        FROM presentation p JOIN "case" c ON c.case_id = p.case_id JOIN picture i ON i.case_id = c.case_id
        ORDER BY p.reader_id, p.part, p.position"""
    with sqlite3.connect(path) as database:
        return database.execute(query).fetchall()


if __name__ == "__main__":
    main()
