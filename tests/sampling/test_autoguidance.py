"""Sampling with autoguidance: an image still depends on its seed alone, and the store records what guided it."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from histosynth.config import SampleSettings
from histosynth.errors import HistosynthError
from histosynth.sampling.generate import SamplingResult, generate
from histosynth.store.store import Store

MakeRun = Callable[..., Path]


def sample(run: Path, out: Path, **settings: object) -> SamplingResult:
    chosen = SampleSettings(**{"steps": 3, **settings})  # type: ignore[arg-type]
    return generate(run, out=out, settings=chosen, per_label=4, device="cpu", progress=False)


def images(store: Path) -> list[bytes]:
    opened = Store(store)
    return [image.tobytes() for image in opened.images(range(len(opened)))]


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    """A run whose early weights are those of another seed."""
    run = make_run()
    other = make_run("run", seed=1)
    weights = run / "weights" / "ema-5.safetensors"
    assert other == run
    shutil.move(weights, run / "weights" / "early-1.safetensors")
    return make_run()


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde", "heun"])
def test_the_same_seed_gives_the_same_bytes_whatever_the_batch(run: Path, tmp_path: Path, sampler: str) -> None:
    made = []
    for batch in (1, 5, 64):
        sample(run, tmp_path / f"b{batch}", sampler=sampler, batch=batch, autoguidance=1.5)
        made.append(images(tmp_path / f"b{batch}"))
    assert made[0] == made[1] == made[2]
    sample(run, tmp_path / "plain", sampler=sampler)
    assert made[0] != images(tmp_path / "plain")


def test_early_weights_equal_to_the_last_change_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    shutil.copy(run / "weights" / "ema-5.safetensors", run / "weights" / "early-1.safetensors")
    sample(run, tmp_path / "plain")
    sample(run, tmp_path / "guided", autoguidance=2.0)
    assert images(tmp_path / "plain") == images(tmp_path / "guided")


def test_the_store_records_what_guided_it_and_what_it_cost(run: Path, tmp_path: Path) -> None:
    assert sample(run, tmp_path / "guided", autoguidance=1.5).evaluations == 6
    made_with = json.loads((tmp_path / "guided" / "manifest.json").read_text())["made_with"]
    early = (run / "weights" / "early-1.safetensors").read_bytes()
    assert (made_with["autoguidance"], made_with["early_sha256"]) == (1.5, hashlib.sha256(early).hexdigest())
    with pytest.raises(HistosynthError, match=r"samples made with autoguidance = 1\.5, not 2\.0"):
        sample(run, tmp_path / "guided", autoguidance=2.0)


def test_without_it_a_store_records_nothing_of_it_so_that_older_ones_can_be_extended(run: Path, tmp_path: Path) -> None:
    assert sample(run, tmp_path / "plain").evaluations == 3
    made_with = json.loads((tmp_path / "plain" / "manifest.json").read_text())["made_with"]
    assert not {"autoguidance", "early_sha256"} & made_with.keys()


def test_a_run_without_early_weights_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match=r"there is no early-\*\.safetensors beside"):
        sample(make_run(), tmp_path / "out", autoguidance=1.5)
