"""A tiny store and tiny settings, for runs of about one second."""

import multiprocessing
import socket
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from histosynth.config import Settings, load_settings
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import write_manifest

TINY = [
    "model.channels=8", "model.channel_mult=[1,2]", "model.blocks=1", "model.attention_px=[4]", "model.heads=2",
    "train.images=96", "train.batch=8", "train.warmup=16", "train.checkpoint_every=32", "train.samples_every=96",
    "train.lr=1e-3", "train.seed=3", "sample.steps=2", "diffusion.process=ddpm",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Use one thread: tiny networks are slower with several, above all beside other processes."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny_settings() -> Settings:
    return load_settings(None, overrides=TINY)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Make a store of 8-px patches, labeled `dark` or `light` by patient; patients P3 and P4 are held out."""

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


@pytest.fixture
def same_weights() -> Callable[[Path, Path], bool]:
    """Return a function: whether two runs have equal averaged weights, in one file each."""

    def same(a: Path, b: Path) -> bool:
        (first,), (second,) = ((run / "weights").glob("ema-*.safetensors") for run in (a, b))
        one, other = load_file(first), load_file(second)
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    return same


_CODE = """
import os, sys
os.environ.update({environment!r})
for number, path in ((1, {out!r}), (2, {err!r})):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
"""
_COMMAND = """
sys.argv = {argv!r}
from histosynth.cli import main
sys.exit(main())
"""


class Launcher:
    """Starts `histosynth` as several processes, with the environment of `torchrun` but without its agent.

    They are forked from a server that has imported everything once, because importing takes seconds.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.started = directory, list[BaseProcess]()
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["histosynth.cli", "histosynth.cli.train", "histosynth.training.loop", "histosynth.sampling.generate"]
        )

    @staticmethod
    def free_port() -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return int(free.getsockname()[1])

    def start(self, words: Sequence[object], *, processes: int = 1) -> list[BaseProcess]:
        """Start a command without waiting for it."""
        return self.start_code(_COMMAND.format(argv=["histosynth", *map(str, words)]), processes=processes)

    def start_code(self, what: str, *, processes: int) -> list[BaseProcess]:
        """Start Python code without waiting for it."""
        shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.free_port())}
        first = len(self.started)
        for rank in map(str, range(processes)):
            own = {**shared, "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": str(processes)}
            out, err = self._files(len(self.started))
            code = _CODE.format(
                environment={"OMP_NUM_THREADS": "1", **(own if processes > 1 else {})},
                out=str(out),
                err=str(err),
            )
            process = self.context.Process(target=exec, args=(code + what, {}))
            process.start()
            self.started.append(process)
        return self.started[first:]

    def finish(self, started: Sequence[BaseProcess]) -> list[tuple[int | None, str, str]]:
        """Wait for the processes; return exit code, output and errors of each."""
        for process in started:
            process.join(240)
        files = [self._files(self.started.index(process)) for process in started]
        return [(p.exitcode, out.read_text(), err.read_text()) for p, (out, err) in zip(started, files, strict=True)]

    def run(self, words: Sequence[object], *, processes: int = 1) -> str:
        """Run a command to its end; return the output of the first process."""
        ended = self.finish(self.start(words, processes=processes))
        assert all(code == 0 for code, _, _ in ended), ended
        return ended[0][1]

    def _files(self, number: int) -> tuple[Path, Path]:
        return self.directory / f"{number}.out", self.directory / f"{number}.err"


@pytest.fixture
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path_factory.mktemp("output"))
    yield launcher
    for process in launcher.started:
        process.kill()
        process.join()


@pytest.fixture
def training(make_store: Callable[..., Path], tiny_settings: Settings, tmp_path: Path) -> Callable[..., list[object]]:
    """Return a function: the arguments that train a run of a name, with some settings changed."""

    store = make_store()

    def words(name: str, *overrides: str) -> list[object]:
        config = tmp_path / f"{name}.toml"
        config.write_text(load_settings(tiny_settings, overrides=overrides).to_toml())
        return ["train", store, "--out", tmp_path / name, "--config", config, "--device", "cpu", "--quiet"]

    return words
