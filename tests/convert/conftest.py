"""Tiles to pack, stores to export, and the command line in this process."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histosynth.cli import main
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import write_manifest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["histosynth", *map(str, arguments), "--quiet"])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0), *capsys.readouterr()
        return 0, *capsys.readouterr()

    return call


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Return a folder of two classes with five tiles of 16 px each; tile n is noise of seed n."""
    for number in range(10):
        path = tmp_path / "tiles" / ("TUM", "STR")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "tiles"


def image(seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def make_store(path: Path, labels: list[str | None], *, source: str = "real", side: int = 8) -> Path:
    """Write a store of one patch per label, in two parts; the ids contain dots, like GDC names."""
    path.mkdir(parents=True)
    patches = [
        Patch(
            patch_id=f"S{n}.svs_{n}_0",
            image=image(n, side),
            source=source,
            label=label,
            **(
                {"slide_id": f"S{n}", "patient_id": f"P{n}", "x": n, "y": 0, "extent": 8, "mpp": 0.5}
                | {"split": ("train", "held_out")[n % 2]}
                if source == "real"
                else {}
            ),
        )
        for n, label in enumerate(labels)
    ]
    half = len(patches) // 2
    write_part(part_path(path, "a"), patches[:half], fingerprint="a")
    write_part(part_path(path, "b"), patches[half:], fingerprint="b")
    write_manifest(path, {} if source == "real" else {"synthetic": True})
    return path


@pytest.fixture(scope="session")
def make() -> Callable[..., Path]:
    """Return the function that writes a store of given labels."""
    return make_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store", ["wt", "codel_1", "wt", "codel_2", None, "wt"])
