"""Run the benchmarks with `--quick`, all or a rotating part, so that none breaks unseen.

    python benchmarks/quick.py                    # all scripts, about half an hour on two cores
    python benchmarks/quick.py --parts 6          # the sixth whose turn it is by the number of commits, as in CI
    python benchmarks/quick.py samplers stain     # these scripts

`--quick` only shows that a script runs: its numbers mean nothing. Each script must end within `--limit` seconds with
exit code 0 and one line of JSON with a name. Scripts that need real data find it at `../shared/data`, beside the
clone, and are skipped with a reason where it is absent.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data"
LIMIT_S = 600

ARGUMENTS = {
    "data/base_or_level": [DATA / "slides" / "CMU-1-Small-Region.svs"],
    "data/jpeg_damage": [DATA],
    "data/patch_quality": [DATA],
    "data/stain": ["--data", DATA / "osteosarcoma_10x"],
    "data/stain_cohorts": [DATA],
    "data/stain_light": [DATA],
    "gpu": ["--data", DATA / "osteosarcoma_10x", "--device", "cpu"],
    "metrics/copies": ["{store}"],
    "metrics/invisible_changes": ["--data", DATA / "lc25000_768"],
    "metrics/memorization": ["{store}"],
    "metrics/morphology": ["--data", DATA / "glioma_cpm15"],
    "metrics/sensitivity": ["--data", DATA],
    "model/color_shift": ["--data", DATA / "osteosarcoma_10x"],
    "model/guidance": ["--store", "{store}", "--run", "{run}"],
    "model/inversion": ["--store", "{store}", "--run", "{run}"],
    "model/noise_levels": ["--store", "{store}", "--run", "{discrete}"],
    "model/objectives": ["--data", DATA / "osteosarcoma_10x"],
    "model/osteosarcoma": ["--data", DATA / "osteosarcoma_10x"],
    "model/quality_by_compute": ["--data", DATA / "osteosarcoma_10x"],
    "model/samplers": ["--data", DATA / "osteosarcoma_10x"],
    "model/translation": ["--store", "{store}", "--run", "{run}"],
    "study/study_pixels": ["--data", DATA / "osteosarcoma_10x"],
}
"""Arguments beside `--quick`; `{store}`, `{run}` and `{discrete}` stand for toy models of phantom tissue."""


def main() -> None:
    """Run the chosen scripts one after another; exit with 1 if any fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of scripts; default: all")
    parser.add_argument("--parts", type=int, default=1, metavar="N", help="only one part of N, another for each commit")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="of each script")
    given = parser.parse_args()
    scripts = sorted(script_names())
    if unknown := [name for name in given.names if name not in {Path(script).name for script in scripts}]:
        parser.error(f"no script '{unknown[0]}' with --quick")
    if given.names:
        scripts = [script for script in scripts if Path(script).name in given.names]
    scripts = scripts[commit_count() % given.parts :: given.parts]
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        for script in scripts:
            started = time.perf_counter()
            status = run(script, Path(scratch), limit_s=given.limit)
            print(f"{script:<28} {time.perf_counter() - started:5.0f} s  {status}", flush=True)
            if status.startswith("failed"):
                failed.append(script)
    print(json.dumps({"name": "quick", "scripts": len(scripts), "failed": failed}))
    sys.exit(bool(failed))


def script_names() -> list[str]:
    """Return `folder/name` of each script that has `--quick`; `annotate` and `gpu` have no folder."""
    files = [HERE / "annotate.py", HERE / "gpu.py", *HERE.glob("*/*.py")]
    texts = {file: file.read_text("utf-8") for file in files}
    scripts = [file for file, text in texts.items() if "__main__" in text and "--quick" in text]
    return [str(file.relative_to(HERE).with_suffix("")) for file in scripts]


def commit_count() -> int:
    """Return the number of commits, 0 outside a repository."""
    done = subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return int(done.stdout or 0)


def run(script: str, scratch: Path, *, limit_s: float) -> str:
    """Run a script in a directory of its own; return `ok`, `skipped: …` or `failed: …`."""
    arguments = ARGUMENTS.get(script, [])
    if missing := [path for path in arguments if isinstance(path, Path) and not path.exists()]:
        return f"skipped: no {missing[0]}"
    toy = toy_model(scratch) if any("{" in str(word) for word in arguments) else {}
    words = [str(word).format(**toy) for word in arguments]
    directory = scratch / script
    directory.mkdir(parents=True)
    command = [sys.executable, str(HERE / f"{script}.py"), *words, "--quick"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return f"failed: not done after {limit_s:.0f} s"
    if done.returncode:
        return f"failed: exit code {done.returncode}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    lines = done.stdout.strip().splitlines() or [""]
    try:
        json.loads(lines[-1])["name"]
    except (ValueError, KeyError, TypeError):
        return f"failed: the last line is not JSON with a name: {lines[-1][:80]}"
    return "ok"


def toy_model(scratch: Path) -> dict[str, str]:
    """Return a store of phantom patches and two runs of a few steps on it, made at the first call."""
    store, trained, discrete = scratch / "store", scratch / "run", scratch / "discrete"
    if not discrete.exists():
        draw = (
            "import sys; from pathlib import Path; from histosynth.slides.phantom import draw_cohort; "
            "draw_cohort(Path(sys.argv[1]), size_px=1024, progress=False)"
        )
        cohort, environment = scratch / "cohort", os.environ | {"OMP_NUM_THREADS": "1"}
        tables = ["--outlines", cohort / "outlines", "--labels", cohort / "labels.csv"]
        small = ["--config", "demo", "--set", "train.images=64", "--quiet"]
        ddpm = ["--set", "diffusion.process=ddpm", "--set", "diffusion.sigma_data=0.5"]  # demo sets that of edm
        for words in (
            ["-c", draw, cohort],
            ["-m", "histosynth", "patches", cohort / "slides", *tables, "--out", store, *small],
            ["-m", "histosynth", "train", store, "--out", trained, *small],
            ["-m", "histosynth", "train", store, "--out", discrete, *small, *ddpm],
        ):
            command = [sys.executable, *map(str, words)]
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return {"store": str(store), "run": str(trained), "discrete": str(discrete)}


if __name__ == "__main__":
    main()
