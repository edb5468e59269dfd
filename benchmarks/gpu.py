"""All that needs a GPU, in one call of nine minutes: is it right, how fast is it, and what do minutes make of tissue?

    python benchmarks/gpu.py --data DIR --out DIR [--seconds 530] [--device cuda:0] [--quick]

DIR has the osteosarcoma tiles described in `model/osteosarcoma.py`. Each stage is a process with a limit of its own;
one that fails or is late costs its own figures only.

1. Side by side: patches are extracted (CPU); the tests of `tests/gpu` compare the device with the CPU; networks of
   equal size, ours and diffusers' `UNet2DModel`, and the tissue model are timed in training, eager and compiled, and
   in evaluations (`model/gpu_speed.py`). They measure in turn, so only compilation overlaps.
2. The tissue model (`model/gpu_tissue.toml`) trains until the seconds are over but those that 3 needs.
3. 200 patches per class, and the evidence against the held-out case.

`--out` receives at most eight files: `result.json`, written again after each stage, `log.txt`, `stats.jsonl`,
`loss.png`, `contact_sheet.png`, `report.html`, `report.json`. `--device cpu --quick` takes two minutes and only shows
that all of it runs. The last line is JSON: `ratio` is our training speed divided by that of diffusers at 64 px, both
eager; `low` and `high` are the ratios at 64 and 128 px.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "benchmarks" / "model"
TISSUE = MODEL / "gpu_tissue.toml"
FIRST_SHARE = 0.3
"""Share of the seconds until which the stages side by side must end."""
EVIDENCE_S, START_S, COMPILE_S = 75, 15, 35
"""Seconds kept for sampling and the report, to start training, and to compile (once more for the last preview)."""
GRACE_S = 8
COPIES_FOUND = 3  # exit code of `evaluate`
NETWORKS = {
    "tissue 64": ["tissue", "64", "--batch", "128", "--evaluations", "32", "256"],
    "histosynth 64": ["histosynth", "64", "--batch", "128"],
    "diffusers 64": ["diffusers", "64", "--batch", "128", "--modes", "eager", "contiguous", "compiled"],
    "histosynth 128": ["histosynth", "128", "--batch", "64", "--modes", "eager"],
    "diffusers 128": ["diffusers", "128", "--batch", "64", "--modes", "eager", "contiguous"],
}
FEW = ["--precision", "fp32", "--repeats", "1"]
QUICK_NETWORKS = {
    "histosynth 64": ["histosynth", "64", "--batch", "1", "--modes", "eager", "--evaluations", "2", *FEW],
    "diffusers 64": ["diffusers", "64", "--batch", "1", "--modes", "eager", *FEW],
}
QUICK = (
    "train.batch=4", "train.warmup=8", "train.compile=false", "model.channels=16", "model.head_channels=16",
    "model.blocks=1", "sample.steps=2",
)  # fmt: skip


class Stage(NamedTuple):
    """A process that was started."""

    name: str
    process: "subprocess.Popen[bytes]"
    started: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--work", type=Path, help="for stores, runs and caches; default: OUT-work")
    parser.add_argument("--seconds", type=float, default=530)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--quick", action="store_true", help="shows that it runs, nothing else")
    options = parser.parse_args()
    options.work = options.work or options.out.with_name(f"{options.out.name}-work")
    for directory in (options.out, options.work):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    gpu = Conductor(options)
    gpu.check_and_time()
    gpu.train()
    gpu.gather_evidence()
    summary = gpu.summary()
    print(json.dumps(summary))
    sys.exit(bool(options.quick and summary["failed"]))  # on a GPU, a stage that fails costs only its own figures


class Conductor:
    """Starts stages, ends those that are late, and collects their figures."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out, self.work = options, options.out.resolve(), options.work.resolve()
        self.began = time.perf_counter()
        self.log = (self.out / "log.txt").open("w")
        self.result: dict[str, Any] = {"device": options.device, "stages": {}, "speed": {}}
        self.settings = ["--config", str(TISSUE), *self._sets(*(QUICK if options.quick else ()))]

    # Stages

    def check_and_time(self) -> None:
        """Extract patches, run the tests, and time the networks, side by side."""
        data, device = self.options.data.resolve(), self.options.device
        few = self._sets("patches.cap=6", "patches.stride=1.0") if self.options.quick else []
        words = [
            str(data / "images"),
            "--labels",
            str(data / "labels.csv"),
            "--mpp",
            "1.0",
            "--out",
            self._path("store"),
        ]
        stages = [self.start("patches", *self._verb("patches", *words, *self.settings, *few))]
        tests = ["-q", "-p", "no:cacheprovider", "-W", "default", str(ROOT / "tests" / "gpu")]
        if self.options.quick:
            tests += ["-k", "norm_act or stain or (cpu and edm) or (seed and ddpm) or (gan and fp32-r1)"]
        stages.append(self.start("tests", sys.executable, "-m", "pytest", *tests, HISTOSYNTH_TEST_DEVICE=device))
        for name, words in (QUICK_NETWORKS if self.options.quick else NETWORKS).items():
            common = ["--device", device, "--out", self._path(f"{name}.json"), "--lock", self._path("lock")]
            stages.append(self.start(f"speed {name}", sys.executable, str(MODEL / "gpu_speed.py"), *words, *common))
        until = self.options.seconds * (1 if self.options.quick else FIRST_SHARE)
        for stage in stages:
            self.finish(stage, seconds=until - self.elapsed)

    def train(self) -> None:
        """Train the tissue model for the seconds that are left."""
        compiled = self.rate("tissue 64", "compiled")
        rate = compiled or self.rate("tissue 64", "eager") or 800.0
        seconds = self.left - EVIDENCE_S - START_S - (COMPILE_S if compiled else 0)
        images = 16 if self.options.quick else max(int(0.92 * seconds * rate), 128)
        sets = self._sets(f"train.images={images}", f"train.hours={max(seconds, 60) / 3600}")
        if not compiled:
            sets += self._sets("train.compile=false")
        words = ["train", self._path("store"), "--out", self._path("run"), "--device", self.options.device, "--quiet"]
        self.finish(self.start("train", *self._verb(*words, *self.settings, *sets)), seconds=seconds + 20)
        self._keep("run/stats.jsonl", "run/figures/loss.png")

    def gather_evidence(self) -> None:
        """Sample and evaluate; the image measures first, in case that time is short."""
        count, device = "4" if self.options.quick else "200", ["--device", self.options.device, "--quiet"]
        words = ["sample", self._path("run"), "--out", self._path("samples"), "--per-label", count, *device]
        self.finish(self.start("sample", *self._verb(*words)), seconds=self.left - 25)
        self._keep("samples/contact_sheet.png")
        for sections in ("[]", '["color", "morphology", "memorization", "label_check"]'):
            if self.left < 12:
                return
            words = [
                "evaluate",
                "--real",
                self._path("store"),
                "--fake",
                self._path("samples"),
                *self.settings,
                *device,
            ]
            words += ["--out", self._path("report"), *self._sets(f"evaluate.sections={sections}")]
            self.finish(self.start(f"evaluate {sections}", *self._verb(*words)), seconds=self.left - 4)
            self._keep("report/report.html", "report/report.json")

    def summary(self) -> dict[str, Any]:
        """Return the line of results."""
        ratios = {}
        for px in ("64", "128"):
            ours = self.rate(f"histosynth {px}", "eager")
            theirs = max(self.rate(f"diffusers {px}", mode) for mode in ("eager", "contiguous"))
            if ours and theirs:
                ratios[px] = round(ours / theirs, 3)
        return {
            "name": "gpu",
            "ratio": ratios.get("64"),
            "low": min(ratios.values(), default=None),
            "high": max(ratios.values(), default=None),
            "unit": f"training images per second, bf16, eager, over diffusers' UNet2DModel on {self.options.device}",
            "failed": [name for name, stage in self.result["stages"].items() if stage["ended"] != "well"],
        }

    # Processes and figures

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.options.seconds - self.elapsed

    def rate(self, name: str, mode: str) -> float:
        """Return the images per second of a network, 0 if it was not measured."""
        return float(self.result["speed"].get(name, {}).get(mode, {}).get("images_per_s", 0.0))

    def start(self, name: str, *words: str, **variables: str) -> Stage:
        """Start a process, with these environment variables."""
        print(f"[{self.elapsed:4.0f} s] {name}", file=sys.stderr, flush=True)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
            "TORCHINDUCTOR_CACHE_DIR": self._path("inductor"), "XDG_CACHE_HOME": self._path("cache"),
            "OMP_NUM_THREADS": "1", **variables,
        }  # fmt: skip
        process = subprocess.Popen(
            words, stdout=self.log, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, start_new_session=True
        )
        return Stage(name, process, time.perf_counter())

    def finish(self, stage: Stage, *, seconds: float) -> None:
        """Wait for a stage that long, then end it; note how it ended, and collect what it measured."""
        try:
            code = stage.process.wait(max(seconds, 1))
            ended = "well" if code in (0, COPIES_FOUND) else f"with exit code {code}"
        except subprocess.TimeoutExpired:
            ended = "late"
            os.killpg(stage.process.pid, signal.SIGTERM)
            try:
                stage.process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(stage.process.pid, signal.SIGKILL)
        self.result["stages"][stage.name] = {"ended": ended, "seconds": round(time.perf_counter() - stage.started, 1)}
        for path in self.work.glob("* [0-9]*.json"):
            self.result["speed"][path.stem] = json.loads(path.read_text() or "{}")
        report = self.out / "report.json"
        if report.exists():
            overall = json.loads(report.read_text())["overall"]
            self.result["frechet"] = {
                side: cell["measures"]["frechet_distance"]["value"] for side, cell in overall.items() if cell
            }
        (self.out / "result.json").write_text(json.dumps(self.result, indent=1))

    def _keep(self, *paths: str) -> None:
        for path in paths:
            if (self.work / path).exists():
                shutil.copy(self.work / path, self.out)

    def _path(self, name: str) -> str:
        return str(self.work / name)

    @staticmethod
    def _verb(*words: str) -> Sequence[str]:
        return (sys.executable, "-m", "histosynth", *words)

    @staticmethod
    def _sets(*settings: str) -> list[str]:
        return [word for setting in settings for word in ("--set", setting)]


if __name__ == "__main__":
    main()
