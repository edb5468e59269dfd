"""A tiny store and tiny settings, so that a run takes a second."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from histosynth.config import Settings, load_settings
from histosynth.patches.store import Patch, part_path, write_manifest, write_part

TINY = [
    "model.channels=8", "model.channel_mult=[1,2]", "model.blocks=1", "model.attention_px=[4]", "model.heads=2",
    "train.images=96", "train.batch=8", "train.warmup=16", "train.checkpoint_every=32", "train.samples_every=96",
    "train.lr=1e-3", "train.seed=3", "sample.steps=2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny networks lose by threads, most of all beside other processes."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny_settings() -> Settings:
    return load_settings(None, overrides=TINY)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Make a store of 8-px patches: label `dark` or `light` by patient; patient P3 and P4 are held out."""

    def make(name: str = "store", *, seed: int = 0, labels: tuple[str | None, ...] = ("dark", "light")) -> Path:
        directory, rng = tmp_path / name, np.random.default_rng(seed)
        directory.mkdir()
        for n in range(5):
            label = labels[n % len(labels)]
            base = 60 if label == "dark" else 190
            images = (base + rng.integers(-30, 30, (6, 8, 8, 3))).astype(np.uint8)
            rows = [
                Patch(
                    patch_id=f"S{n}_{i}", slide_id=f"S{n}", patient_id=f"P{n}", image=image, source="real", label=label,
                    mpp=1.0, split="held_out" if n >= 3 else "train", x=0, y=0, extent=8, tissue=1.0,
                )
                for i, image in enumerate(images)
            ]  # fmt: skip
            write_part(part_path(directory, f"S{n}"), rows, fingerprint="test")
        write_manifest(directory, {"synthetic": False})
        return directory

    return make


class Launcher:
    """Starts `histosynth` as processes, with the variables that `torchrun` gives them but without its agent."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    @staticmethod
    def free_port() -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return int(free.getsockname()[1])

    def start(self, words: Sequence[object], *, processes: int = 1) -> list["subprocess.Popen[str]"]:
        """Start them and return; output is collected."""
        command = [sys.executable, "-m", "histosynth", *map(str, words)]
        shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.free_port())}
        started = []
        for rank in map(str, range(processes)):
            own = {**shared, "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": str(processes)}
            environment = {**os.environ, "OMP_NUM_THREADS": "1", **(own if processes > 1 else {})}
            pipe = subprocess.PIPE
            started.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
        self.started += started
        return started

    def finish(self, started: Sequence["subprocess.Popen[str]"]) -> list[tuple[int, str, str]]:
        """Exit code, output and errors of each."""
        told = [one.communicate(timeout=240) for one in started]
        return [(one.returncode, *texts) for one, texts in zip(started, told, strict=True)]

    def run(self, words: Sequence[object], *, processes: int = 1) -> str:
        """Run them to the end; the output of the first."""
        ended = self.finish(self.start(words, processes=processes))
        assert all(code == 0 for code, _, _ in ended), ended
        return ended[0][1]


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    made = Launcher()
    yield made
    for one in made.started:
        if one.poll() is None:
            one.kill()
            one.communicate()


@pytest.fixture
def training(make_store: Callable[..., Path], tiny_settings: Settings, tmp_path: Path) -> Callable[..., list[object]]:
    """The words that train a run of that name, with some settings changed."""
    store = make_store()

    def words(name: str, *overrides: str) -> list[object]:
        config = tmp_path / f"{name}.toml"
        config.write_text(load_settings(tiny_settings, overrides=overrides).to_toml())
        return ["train", store, "--out", tmp_path / name, "--config", config, "--device", "cpu", "--quiet"]

    return words
