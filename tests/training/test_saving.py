"""Checkpoints survive truncation, flipped bits and full disks, and are written in the background of training."""

import errno
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from histosynth.config import Settings, load_settings
from histosynth.errors import HistosynthError
from histosynth.training import saving
from histosynth.training.checkpoint import find_weights, load_state, newest_state, save_state
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.loop import train
from histosynth.training.writer import BackgroundWriter

MakeStore = Callable[..., Path]


@pytest.fixture
def states(tmp_path: Path) -> Path:
    for images in (8, 16, 24):
        save_state(
            tmp_path / "state", {"images": images, "seconds": 1.0, "w": torch.randn(200, 20)}, images=images, keep=2
        )
    return tmp_path / "state"


def test_the_newest_states_are_kept(states: Path) -> None:
    assert sorted(p.name for p in states.iterdir()) == ["state-000000000016.pt", "state-000000000024.pt"]
    assert newest_state(states) == states / "state-000000000024.pt"


def test_a_truncated_state_is_skipped_with_its_name(states: Path) -> None:
    newest, rng = states / "state-000000000024.pt", np.random.default_rng(0)
    intact = newest.read_bytes()
    for length in [0, 1, len(intact) - 1, *rng.integers(2, len(intact) - 1, 17).tolist()]:
        newest.write_bytes(intact[:length])
        with pytest.warns(
            UserWarning, match=r"state-000000000024.pt cannot be read .* resuming from the state before it"
        ):
            previous = newest_state(states)
        assert previous is not None
        assert load_state(previous)["images"] == 16


def test_a_flipped_bit_is_detected(states: Path) -> None:
    newest, rng = states / "state-000000000024.pt", np.random.default_rng(1)
    intact = newest.read_bytes()
    start = intact.index(load_state(newest)["w"].numpy().tobytes())
    for offset in start + rng.integers(0, 200 * 20 * 4, 10):
        flipped = bytearray(intact)
        flipped[offset] ^= 1 << int(rng.integers(8))
        newest.write_bytes(flipped)
        with pytest.warns(UserWarning, match=r"state-000000000024.pt cannot be read"):
            assert newest_state(states) == states / "state-000000000016.pt"


def test_without_states_there_is_no_newest_state(tmp_path: Path) -> None:
    assert newest_state(tmp_path) is None


def test_when_the_disk_fills_up_the_old_checkpoint_is_kept_and_training_continues(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run, save_state = make_store(), tmp_path / "run", saving.save_state
    full = {64}

    def no_grid(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def save(directory: Path, state: dict[str, object], *, images: int, keep: int) -> None:
        if images in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        save_state(directory, state, images=images, keep=keep)

    monkeypatch.setattr(saving, "save_state", save)
    monkeypatch.setattr("histosynth.training.loop.save_contact_sheet", no_grid)
    settings = load_settings(tiny_settings, overrides=["train.keep_states=3"])
    with pytest.warns(UserWarning, match="could not be written") as warnings:
        train(store, out=run, settings=settings, device="cpu", progress=False)
    texts = {str(one.message) for one in warnings if not issubclass(one.category, DeprecationWarning)}
    assert {text.partition(" could not be written (No space left on device)")[0] for text in texts} == {
        "the checkpoint after 64 images", "a sample grid"
    }  # fmt: skip
    assert [int(p.stem[6:]) for p in sorted((run / "state").iterdir())] == [32, 96]
    longer = load_settings(settings, overrides=["train.images=112"])
    full.add(112)
    with (
        pytest.warns(UserWarning, match="a sample grid could not be written"),
        pytest.raises(HistosynthError, match=r"the checkpoint after 112 images could not be written .* rerun the"),
    ):
        train(store, out=run, settings=longer, device="cpu", progress=False)
    assert newest_state(run / "state") == run / "state" / "state-000000000096.pt"
    full.clear()
    monkeypatch.undo()
    torch.set_num_threads(1)
    result = train(store, out=run, settings=longer, device="cpu", progress=False)
    assert (result.resumed_at, result.images) == (96, 112)


_ON_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path

from histosynth.config import load_settings
from histosynth.errors import HistosynthError
from histosynth.training.loop import train

store, disk, config = map(Path, sys.argv[1:])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)


def resume(images):
    settings = load_settings(config, overrides=[f"train.images={images}"])
    return train(store, out=disk / "run", settings=settings, device="cpu", progress=False)


def states():
    return sorted(path.name for path in (disk / "run" / "state").iterdir())


resume(32)
print(states())
with open(disk / "filler", "wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(1 << 12))
    except OSError as error:
        print(error.strerror)
    for free in (0, 40_960):  # no space at all, then enough for the log but not for a checkpoint
        filler.truncate(filler.tell() // 4096 * 4096 - free)
        try:
            resume(64)
        except (HistosynthError, OSError) as error:
            print(error)
        print(states())
(disk / "filler").unlink()
print(resume(64).resumed_at, states())
"""


def test_a_full_file_system_keeps_the_old_checkpoint(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    """A file system of 8 MB in memory: full to the last byte between two calls, nearly full, then free again."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    disk, config = tmp_path / "disk", tmp_path / "config.toml"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=8m tmpfs {disk}"
    if not shutil.which("unshare") or subprocess.run([*alone, "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this machine does not allow a process to mount its own file system (unshare --user --mount)")
    config.write_text(tiny_settings.to_toml())
    words = [*alone, sys.executable, "-W", "ignore", "-c", _ON_A_SMALL_DISK, *map(str, (make_store(), disk, config))]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    first, full, no_start, kept, no_checkpoint, still_kept, after = ended.stdout.splitlines()
    assert first == kept == still_kept == "['state-000000000032.pt']"
    assert full == "No space left on device"
    assert "No space left on device" in no_start
    assert "could not be written (No space left on device)" in no_checkpoint
    assert "fix this and rerun the command" in no_checkpoint
    assert after == "32 ['state-000000000032.pt', 'state-000000000064.pt']"


def test_training_continues_while_a_checkpoint_is_written(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing of the first checkpoint waits for a later step; it contains the state at its start."""
    store, save_state, later = make_store(), saving.save_state, threading.Event()
    seen: list[int] = []
    steps = DiffusionTask.step

    def step(self: DiffusionTask, at: int) -> None:
        seen.append(at)
        if at == 48:
            later.set()
        steps(self, at)

    def save(directory: Path, state: dict[str, object], *, images: int, keep: int) -> None:
        assert later.wait(60), "training did not continue"
        save_state(directory, state, images=images, keep=5)

    for name in ("slow", "plain"):
        if name == "slow":
            monkeypatch.setattr(saving, "save_state", save)
            monkeypatch.setattr(DiffusionTask, "step", step)
        train(store, out=tmp_path / name, settings=tiny_settings, device="cpu", progress=False)
        monkeypatch.undo()
        torch.set_num_threads(1)
    assert seen == list(range(0, 96, 8))
    short = load_settings(tiny_settings, overrides=["train.images=32"])
    train(store, out=tmp_path / "short", settings=short, device="cpu", progress=False)
    saved = load_state(tmp_path / "slow" / "state" / "state-000000000032.pt")
    expected = load_state(tmp_path / "short" / "state" / "state-000000000032.pt")
    assert all(torch.equal(saved["model"][name], value) for name, value in expected["model"].items())
    assert all(torch.equal(saved["emas"][0][name], value) for name, value in expected["emas"][0].items())


def test_an_error_of_the_writer_is_raised_later() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    writer = BackgroundWriter()
    writer.submit(fail, what="nothing")
    with pytest.raises(ZeroDivisionError):
        writer.submit(lambda: None, what="nothing")


def test_each_half_life_has_its_own_weights(make_store: MakeStore, tiny_settings: Settings, tmp_path: Path) -> None:
    store, run = make_store(), tmp_path / "run"
    several = load_settings(tiny_settings, overrides=["train.ema_halflife=[40, 5]"])
    train(store, out=run, settings=several, device="cpu", progress=False)
    assert sorted(p.name for p in (run / "weights").glob("ema*")) == [
        "ema-0000000096.safetensors", "ema5-0000000096.safetensors"
    ]  # fmt: skip
    assert find_weights(run) == run / "weights" / "ema-0000000096.safetensors"
    for halflife, name in ((40, "ema-0000000096.safetensors"), (5, "ema5-0000000096.safetensors")):
        alone = load_settings(tiny_settings, overrides=[f"train.ema_halflife={halflife}"])
        train(store, out=tmp_path / str(halflife), settings=alone, device="cpu", progress=False)
        expected, saved = load_file(find_weights(tmp_path / str(halflife))), load_file(run / "weights" / name)
        assert all(torch.equal(saved[key], value) for key, value in expected.items())
