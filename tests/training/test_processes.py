"""Several processes, with gloo on the CPU: they train and sample like one process, and resume each other's runs."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from histosynth.store.store import Store
from histosynth.training.log import read_stats

Training = Callable[..., list[object]]
TOLERANCE = 2e-6  # for weights of about 0.1 after 12 steps; 1.0e-6 was measured
# No convolution before a norm with one channel per group: its bias has no effect, so its gradient consists of rounding
# errors, along which Adam takes full steps. The same holds for the bias of the attention keys, excluded below.
WIDER = ["model.channels=24", "train.precision=fp32"]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(max((path / "weights").glob("ema-*.safetensors")))


def largest_difference(a: Path, b: Path, *, without: str = "nothing") -> float:
    one, other = weights(a), weights(b)
    return max((one[name] - other[name]).abs().max().item() for name in one if without not in name)


@pytest.mark.slow
def test_two_processes_train_and_sample_like_one(training: Training, launcher: Any, tmp_path: Path) -> None:
    """Twelve steps of eight images: four per process, or eight in one pass, or microbatches of at most three."""
    output = launcher.run(training("two", *WIDER), processes=2)
    assert "on 2 processes" in output
    launcher.run(training("one", *WIDER))
    launcher.run(training("accumulated", *WIDER, "train.microbatch=3"))
    assert largest_difference(tmp_path / "two", tmp_path / "one", without="qkv.bias") < TOLERANCE
    assert largest_difference(tmp_path / "accumulated", tmp_path / "one", without="qkv.bias") < TOLERANCE
    logged = {name: [line["loss"] for line in read_stats(tmp_path / name)] for name in ("one", "two")}
    assert logged["two"] == pytest.approx(logged["one"], rel=1e-5)

    sample = ["sample", tmp_path / "one", "--per-label", 300, "--device", "cpu", "--quiet", "--json", "--out"]
    alone = json.loads(launcher.run([*sample, tmp_path / "by one"]))
    together = json.loads(launcher.run([*sample, tmp_path / "by two"], processes=2))
    assert (together["generated"], together["images"], together["labels"]) == (600, 600, ["dark", "light"])
    assert alone["generated"] == 600
    parts = {path.name: path.read_bytes() for path in (tmp_path / "by one").iterdir()}
    assert parts == {path.name: path.read_bytes() for path in (tmp_path / "by two").iterdir()}
    assert len([name for name in parts if name.startswith("part-")]) == 3
    assert len(Store(tmp_path / "by two")) == 600


@pytest.mark.slow
def test_two_learn_the_small_recipe_as_one_does(training: Training, launcher: Any, tmp_path: Path) -> None:
    recipe = ["diffusion.process=edm", "diffusion.mixture=4", "train.optimizer=muon", "train.lr_decay=linear"]
    for processes in (1, 2):
        launcher.run(training(f"by {processes}", *WIDER, *recipe), processes=processes)
    one, two = (tmp_path / f"by {processes}" / "weights" for processes in (1, 2))
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
    for path in one.iterdir():
        weights = load_file(path), load_file(two / path.name)
        for name, value in weights[0].items():
            if "qkv.bias" not in name:
                torch.testing.assert_close(weights[1][name], value, atol=TOLERANCE, rtol=0, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_resumes_to_the_bit(training: Training, launcher: Any, tmp_path: Path, processes: int) -> None:
    """Seven and thirteen steps equal twenty, with accumulation, dropout and prefetching; the kill comes in training."""
    twenty = ["train.images=160", "train.checkpoint_every=56", "train.microbatch=3", "model.dropout=0.1"]
    twenty += ["train.cache=off", "train.workers=3"]
    launcher.run(training("uninterrupted", *twenty), processes=processes)
    started = launcher.start(training("killed", *twenty, "train.images=1000000"), processes=processes)
    states = tmp_path / "killed" / "state"
    until = time.monotonic() + 120
    while not list(states.glob("state-*.pt")):
        assert time.monotonic() < until
        assert all(one.is_alive() for one in started), launcher.finish(started)
        time.sleep(0.005)
    for one in started:
        one.kill()
    assert {code for code, _, _ in launcher.finish(started)} == {-signal.SIGKILL}
    for later in sorted(states.glob("state-*.pt"))[1:]:  # as if the kill had come immediately
        later.unlink()
    assert [path.name for path in states.glob("state-*.pt")] == ["state-000000000056.pt"]
    launcher.run(training("killed", *twenty), processes=processes)
    assert largest_difference(tmp_path / "killed", tmp_path / "uninterrupted") == 0


@pytest.mark.slow
def test_a_run_moves_from_two_processes_to_one_and_back(training: Training, launcher: Any, tmp_path: Path) -> None:
    for images, processes in ((32, 2), (64, 1), (96, 2)):
        launcher.run(training("moved", *WIDER, f"train.images={images}"), processes=processes)
    launcher.run(training("uninterrupted", *WIDER))
    stats = read_stats(tmp_path / "moved")
    assert [line["images"] for line in stats] == list(range(8, 97, 8))
    assert largest_difference(tmp_path / "moved", tmp_path / "uninterrupted", without="qkv.bias") < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_saves_the_state_and_a_rerun_resumes(
    training: Training, launcher: Any, tmp_path: Path, processes: int
) -> None:
    """Only one of the processes gets the signal, as usual; all stop after the same step, with the documented code."""
    path = tmp_path / "run"
    started = launcher.start(training("run", "train.images=100000"), processes=processes)
    until = time.monotonic() + 120
    while len(read_stats(path)) < 3:
        assert time.monotonic() < until
        assert all(one.is_alive() for one in started), launcher.finish(started)
        time.sleep(0.01)
    started[-1].terminate()
    ended = launcher.finish(started)
    assert [code for code, _, _ in ended] == [143] * processes, ended
    manifest = json.loads((path / "manifest.json").read_text())
    newest = max((path / "state").glob("state-*.pt"))
    assert manifest["status"] == "stopped"
    assert int(newest.stem.removeprefix("state-")) == manifest["images"]
    assert f"stopped by SIGTERM after {manifest['images']} images, saved in" in ended[0][2]
    result = json.loads(
        launcher.run([*training("run", f"train.images={manifest['images'] + 8}"), "--json"], processes=processes)
    )
    assert (result["resumed_at"], result["images"]) == (manifest["images"], manifest["images"] + 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "options", "processes"),
    [
        ("torch.distributed.run", ["--nproc-per-node=2", "--master-port={port}"], 2),
        (
            "accelerate.commands.launch",
            ["--cpu", "--num_processes=1", "--mixed_precision=no"],
            1,
        ),  # several processes need MPI there
    ],
)
def test_the_documented_launchers(
    training: Training, launcher: Any, module: str, options: Sequence[str], processes: int
) -> None:
    launcher_options = [option.format(port=launcher.free_port()) for option in options]
    words = [*launcher_options, "-m", "histosynth", *training("run", "train.images=32"), "--json"]
    command = [sys.executable, "-m", module, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["processes"] == processes


@pytest.mark.slow
def test_training_on_a_remote_store_gives_the_same_weights(
    training: Training, launcher: Any, tmp_path: Path, serve: Callable[..., tuple[str, Any]]
) -> None:
    """By the command line with two processes: read in place and decoded in each step, and decoded once."""
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
    address, _ = serve(serves_heads=True)
    launcher.run(training("here"), processes=2)
    for name, cache in (("in place", "off"), ("kept", str(tmp_path / "pixels"))):
        verb, _, *options = training(name, f"train.cache={cache}")
        launcher.run([verb, f"{address}/store", *options], processes=2)
        assert largest_difference(tmp_path / name, tmp_path / "here") == 0


def test_a_mistake_is_reported_once(training: Training, launcher: Any) -> None:
    started = launcher.start(training("run", "train.batch=9"), processes=2)
    ended = launcher.finish(started)
    assert [code for code, _, _ in ended] == [2, 2]
    assert "train.batch = 9 images cannot be divided evenly among 2 processes" in ended[0][2]

    assert ended[1][2] == ""
