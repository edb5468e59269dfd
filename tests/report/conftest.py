"""Small stores of two labels, and an extractor that needs no trained network."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from histosynth.cli import main
from histosynth.config import EvaluateSettings
from histosynth.metrics.features import Features
from histosynth.report.activations import Activations
from histosynth.report.build import evaluate
from histosynth.report.sides import plan
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest


class MeanAndContrast:
    """Six features: mean and standard deviation of each channel."""

    name, title, dimension = "mean-and-contrast", "Mean-and-contrast", 6
    weights_sha256, preprocessing = "none", "none"

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.seen += len(images)
        x = images.astype(np.float64)
        return np.concatenate([x.mean((1, 2)), x.std((1, 2))], axis=1).astype(np.float32)


COLORS = {"IDHmut": (200, 120, 170), "IDHwt": (120, 60, 140), None: (160, 160, 160)}


def draw(label: str | None, rng: np.random.Generator, *, px: int = 16) -> NDArray[np.uint8]:
    """Noise around the color of the label, with a random brightness per patch."""
    color = np.array(COLORS[label]) + rng.normal(0, 12)
    return (color + rng.normal(0, rng.uniform(5, 25), (px, px, 3))).clip(0, 255).astype(np.uint8)


def patches(
    count: int, label: str | None, *, source: str = "real", split: str | None = None, patient: str | None = None,
    seed: int = 0, px: int = 16, mpp: float | None = 1.0,
) -> list[Patch]:  # fmt: skip
    rng = np.random.default_rng([seed, count, len(label or "")])
    return [
        Patch(
            patch_id=f"{source}-{split}-{label}-{seed}-{i}", image=draw(label, rng, px=px), source=source, label=label,
            split=split, patient_id=patient or (f"{split}-{label}-{i % 3}" if source == "real" else None), mpp=mpp,
        )
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Store]:
    """`make(name, patches, **manifest)`: write patches as a store."""

    def write(name: str, rows: list[Patch], **manifest: object) -> Store:
        directory = tmp_path / name
        directory.mkdir()
        write_part(part_path(directory, "one"), rows, fingerprint="test")
        write_manifest(directory, manifest)
        return Store(directory)

    return write


@pytest.fixture(name="patches")
def patches_fixture() -> Callable[..., list[Patch]]:
    return patches


@pytest.fixture
def real_rows(patches: Callable[..., list[Patch]]) -> list[Patch]:
    return [
        *patches(30, "IDHmut", split="train", seed=1),
        *patches(25, "IDHwt", split="train", seed=2),
        *patches(14, "IDHmut", split="held_out", seed=3),
        *patches(10, "IDHwt", split="held_out", seed=4),
    ]


@pytest.fixture
def fake_rows(patches: Callable[..., list[Patch]]) -> list[Patch]:
    return [*patches(20, "IDHmut", source="run-1", seed=5), *patches(20, "IDHwt", source="run-1", seed=6)]


@pytest.fixture
def real(make: Callable[..., Store], real_rows: list[Patch]) -> Store:
    return make("real", real_rows, settings={"patch_px": 16})


@pytest.fixture
def fake(make: Callable[..., Store], fake_rows: list[Patch]) -> Store:
    return make("fake", fake_rows, synthetic=True, train_split="train", made_with={"run": "run-1"})


@pytest.fixture
def extractor() -> MeanAndContrast:
    return MeanAndContrast()


@pytest.fixture
def report(tmp_path: Path, extractor: MeanAndContrast) -> Callable[..., dict[str, Any]]:
    """`report(real, fake)`: the content of report.json, written to `tmp_path / "report"`."""

    def build(real: Store, fake: Store, *, out: str = "report", **settings: int) -> dict[str, Any]:
        chosen = EvaluateSettings(**{"grid": 4, "cache": "off", **settings})
        return evaluate(real=real, fake=fake, out=tmp_path / out, settings=chosen, extractor=extractor, progress=False)

    return build


@pytest.fixture
def activations(extractor: MeanAndContrast) -> Callable[[Store, Store], Activations]:
    """`activations(real, fake)`: the features from which a report on these stores is measured."""

    def build(real: Store, fake: Store) -> Activations:
        chosen = plan(real=real, fake=fake, neighbors=3)
        outputs = {
            name: {
                k: {"features": Features.of(extractor(side.store.images(side.rows[k][: chosen.n[k]])))}
                for k in chosen.labels
                if chosen.usable(name, k)
            }
            for name, side in chosen.sides.items()
        }
        return Activations(plan=chosen, outputs=outputs)

    return build


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """`run(command, *arguments)`: exit code, standard output and standard error of the command."""

    def run_command(*words: object) -> tuple[Any, str, str]:
        monkeypatch.setattr("sys.argv", ["histosynth", *map(str, words)])
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run_command


class SourceCollector(HTMLParser):
    """Collects everything that a page would load or link to."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str | None] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]


@pytest.fixture
def sources() -> SourceCollector:
    return SourceCollector()
