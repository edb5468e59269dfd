"""Growth of a GAN in training: resuming to the bit across levels, Adam's moments, previews, short runs."""

import json
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from histosynth.config import Settings, load_settings
from histosynth.training.gan_task import GanTask
from histosynth.training.log import read_stats
from histosynth.training.loop import train

MakeStore = Callable[..., Path]
SameWeights = Callable[[Path, Path], bool]
MakeTask = Callable[..., GanTask]


def test_a_run_resumes_to_the_bit_before_in_and_after_a_growth_step(
    same_weights: SameWeights, make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    store, steps, uninterrupted = make_store(), tmp_path / "steps", tmp_path / "uninterrupted"
    train(store, out=uninterrupted, settings=tiny_settings, device="cpu", progress=False)
    for images in (8, 24, 32, 48, 72, 96):
        settings = load_settings(tiny_settings, overrides=[f"train.images={images}"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "training ends after")
            result = train(store, out=steps, settings=settings, device="cpu", progress=False)
    assert result.resumed_at == 72
    assert same_weights(steps, uninterrupted)
    keys = ("loss", "loss_generator", "score_real", "diversity", "px", "alpha")
    logged = [[[line[key] for key in keys] for line in read_stats(run)] for run in (steps, uninterrupted)]
    assert logged[0] == logged[1]


@pytest.mark.slow
def test_a_run_killed_across_a_growth_step_resumes_to_the_same_weights(
    same_weights: SameWeights, make_store: MakeStore, tiny_settings: Settings, launcher: Any, tmp_path: Path
) -> None:
    """The kill comes during training; the run resumes from a state at 4 px and grows to 8 px."""
    store = make_store()

    def words(name: str, *overrides: str) -> list[object]:
        config = tmp_path / f"{name}.toml"
        config.write_text(load_settings(tiny_settings, overrides=["train.checkpoint_every=16", *overrides]).to_toml())
        return ["train", store, "--out", tmp_path / name, "--config", config, "--device", "cpu", "--quiet"]

    launcher.run(words("uninterrupted"))
    started = launcher.start(words("killed", "train.images=1000000", "train.keep_states=100"))
    states, until = tmp_path / "killed" / "state", time.monotonic() + 120
    while not list(states.glob("state-*.pt")):
        assert time.monotonic() < until
        assert started[0].is_alive(), launcher.finish(started)
        time.sleep(0.005)
    started[0].kill()
    assert {code for code, _, _ in launcher.finish(started)} == {-signal.SIGKILL}
    for later in sorted(states.glob("state-*.pt"))[1:]:  # as if the kill had come immediately
        later.unlink()
    assert [path.name for path in states.glob("state-*.pt")] == ["state-000000000016.pt"]
    result = json.loads(launcher.run([*words("killed"), "--json"]))
    assert (result["resumed_at"], result["images"]) == (16, 96)
    assert same_weights(tmp_path / "killed", tmp_path / "uninterrupted")


def test_adams_moments_are_reset_at_each_level(make_task: MakeTask) -> None:
    task, steps = make_task(), []
    for n in range(7):
        task.step(8 * n)
        for optimizer in task.optimizers.values():
            steps.append({int(moments["step"]) for moments in optimizer.state.values()})
    assert steps == [
        {1},
        {1},
        {2},
        {2},
        {3},
        {3},
        {1},
        {1},
        {2},
        {2},
        {3},
        {3},
        {4, 3},
        {4, 3},
    ]  # old color layers keep their moments


def test_previews_before_and_after_the_start_of_a_level_agree(make_task: MakeTask) -> None:
    """At alpha = 0, fakes and reals at 8 px are those at 4 px enlarged."""
    task = make_task()
    for n in range(3):
        task.step(8 * n)
    assert (task.growth(23).px, task.growth(24).px, task.growth(24).alpha) == (4, 8, 0.0)
    after = task.preview(3)
    task.seen = 23
    before = task.preview(3)
    assert all((after[name] == images).all() for name, images in before.items())


def test_a_run_too_short_for_full_growth_gives_a_warning(make_task: MakeTask) -> None:
    message = "ends after 40 images at 8 px, and samples are enlarged to 8 px; full size is reached after 48 images"
    with pytest.warns(UserWarning, match=message):
        make_task("train.images=40")
