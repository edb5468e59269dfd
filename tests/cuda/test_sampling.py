"""Samples and edits on a fake GPU: devices, types, and no wait for the GPU in an evaluation, whatever guides it.

The whole commands run, from a weights file to a store; `Waits` answers reads with ones, so the images are gray.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from histosynth.config import SampleSettings, Settings, load_settings
from histosynth.diffusion.build import build_classifier, build_denoiser, build_schedule
from histosynth.diffusion.noise import SeededNoise
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.metrics.extractors.efficientnet_lite0 import EfficientNetLite0
from histosynth.sampling import edit, generate, generative_model
from histosynth.sampling.edit import EditOptions
from histosynth.sampling.fixed_batch import FixedBatch
from histosynth.sampling.sources import Selection
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import write_manifest
from histosynth.training.checkpoint import load_classifier, load_denoiser, save_weights
from histosynth.training.origin import Origin

PX = 8


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_cuda: Any) -> Callable[..., Path]:
    """Make runs of a denoiser, with early weights, or of a classifier; loading them gives real tensors."""
    for module in (generative_model, edit):
        monkeypatch.setattr(module, "load_denoiser", fake_cuda.with_values(load_denoiser))
    monkeypatch.setattr(generative_model, "load_classifier", fake_cuda.with_values(load_classifier))
    monkeypatch.setattr(generate, "launch", lambda *_: fake_cuda.accelerator("fp32"))
    for module in (generate, edit):
        monkeypatch.setattr(module, "gpu_memory", lambda _: 80 << 30)

    def make(name: str = "run", *overrides: str) -> Path:
        model = ["channels=32", "channel_mult=[1]", "blocks=1", "attention_px=[8]", "heads=2"]
        settings = load_settings(None, overrides=[*(f"model.{each}" for each in model), *overrides])
        fake_cuda.with_values(save)(tmp_path / name, settings)
        return tmp_path / name

    return make


def save(run: Path, settings: Settings) -> None:
    if settings.train.task == "classifier":
        schedule = build_schedule(settings.diffusion)
        model: nn.Module = build_classifier(settings.model, schedule, image_px=PX, labels=3)
    else:
        model = build_denoiser(settings.model, settings.diffusion, image_px=PX, labels=3)
    origin = Origin(
        settings=settings, labels=["a", "b", "c"], image_px=PX, mpp=1.0, run="run", images=5, data_hash="abc"
    )
    for name in ("ema-5", "early-1"):
        save_weights(run / "weights" / f"{name}.safetensors", model.state_dict(), origin)


def sample(run: Path, out: Path, **settings: Any) -> None:
    chosen = SampleSettings(**{"batch": 4, **settings})
    generate.generate(run, out=out, settings=chosen, per_label=1, device="cuda", progress=False)


def assert_waits_only_per_call(waits: Any, call: Callable[[int], None]) -> None:
    """Make two calls that differ in their number of steps alone, and compare the waits.

    Copies of noise, which is drawn on the CPU, are left out: one per draw.
    """
    counts = []
    for steps in (2, 4):
        waits.counts.clear()
        with waits:
            call(steps)
        counts.append({each: n for each, n in waits.counts.items() if not each[0].startswith("diffusion/noise.py")})
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("sampler", "process", "precision"),
    [
        ("ddpm", "ddpm", "bf16"),
        ("ddim", "ddpm", "fp32"),
        ("dpmpp_2m", "flow", "fp16"),
        ("dpmpp_2m_sde", "edm", "fp16"),
        ("heun", "edm", "bf16"),
    ],
)
def test_samplers(runs: Any, waits: Any, tmp_path: Path, sampler: str, process: str, precision: str) -> None:
    learned = ["diffusion.variance=learned"] if sampler == "ddpm" and process == "ddpm" else []
    run, eta = runs("run", f"diffusion.process={process}", *learned), 0.5 if sampler == "ddim" else 0.0
    assert_waits_only_per_call(
        waits,
        lambda steps: sample(run, tmp_path / f"{steps}", sampler=sampler, steps=steps, eta=eta, precision=precision),
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"guidance": 2.0, "clip": "dynamic"},
        {"guidance": 0.0},
        {"autoguidance": 1.5},
        {"guidance": 2.0, "autoguidance": 1.5, "guidance_low": 0.1, "guidance_high": 5.0},
        {"classifier": "classifier", "guidance_high": 5.0},
        {"classifier": "classifier", "precision": "fp16"},
    ],
    ids=["guidance", "unconditional", "autoguidance", "limits", "classifier", "classifier in fp16"],
)
def test_guidance(runs: Any, waits: Any, tmp_path: Path, settings: dict[str, Any]) -> None:
    run = runs("run", "diffusion.process=edm")
    if "classifier" in settings:
        classifier = runs("classifier", "diffusion.process=edm", "train.task=classifier")
        settings = {**settings, "classifier": str(classifier)}
    assert_waits_only_per_call(
        waits, lambda steps: sample(run, tmp_path / f"{steps}", steps=steps, **{"precision": "bf16", **settings})
    )


def test_mixture_of_an_analytic_start(runs: Any, waits: Any, tmp_path: Path) -> None:
    run = runs("run", "diffusion.process=edm", "diffusion.mixture=2")
    assert_waits_only_per_call(waits, lambda steps: sample(run, tmp_path / f"{steps}", steps=steps, precision="bf16"))


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    """Two real patches of different labels."""
    (tmp_path / "store").mkdir()
    patches = [
        Patch(patch_id=f"S{i}", image=np.full((PX, PX, 3), 40 * i, np.uint8), source="real", label=label)
        for i, label in enumerate("ab")
    ]
    write_part(part_path(tmp_path / "store", "S"), patches, fingerprint="x")
    write_manifest(tmp_path / "store", {})
    return Selection(paths=[tmp_path / "store"], patches=["S0", "S1"])


@pytest.mark.parametrize(
    ("kind", "precision", "few"),
    [("translate", "bf16", {}), ("interpolate", "fp16", {"frames": 3}), ("inpaint", "bf16", {"repeats": 2})],
)
def test_edits(
    runs: Any, selection: Selection, waits: Any, tmp_path: Path, kind: str, precision: Any, few: dict[str, int]
) -> None:
    run = runs("run", "diffusion.process=edm")

    def call(steps: int) -> None:
        options = EditOptions(steps=steps, guidance=2.0, batch=4, precision=precision, device="cuda", progress=False)
        getattr(edit, kind)(run, selection, out=tmp_path / f"{steps}", options=options, **few)

    assert_waits_only_per_call(waits, call)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features(fake_cuda: Any, waits: Any, dtype: torch.dtype) -> None:
    extractor = fake_cuda.with_values(EfficientNetLite0)("cpu")
    extractor.device = torch.device("cuda")
    extractor._network.to("cuda")
    with waits, torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
        assert extractor(np.zeros((2, 16, 16, 3), np.uint8)).shape == (2, 1280)
    assert waits.total == 2  # images to the GPU, features from it


def test_planted_noise_on_the_cpu_is_found(runs: Any, waits: Any, tmp_path: Path, monkeypatch: Any) -> None:
    draw = SeededNoise.draw
    monkeypatch.setattr(SeededNoise, "draw", lambda self: draw(self).to("cpu"))
    with waits, pytest.raises(RuntimeError, match="device"):
        sample(runs("run", "diffusion.process=edm"), tmp_path / "out", steps=2)


def test_planted_mixture_of_types_is_found(runs: Any, waits: Any, tmp_path: Path, monkeypatch: Any) -> None:
    evaluate = FixedBatch.evaluate

    def in_half(self: FixedBatch, x: Tensor, t: Tensor, label: Tensor) -> Any:
        self.network.half()
        return evaluate(self, x, t, label)

    monkeypatch.setattr(FixedBatch, "evaluate", in_half)
    with waits, pytest.raises(RuntimeError, match=r"type"):
        sample(runs("run", "diffusion.process=edm"), tmp_path / "out", steps=2)


def test_planted_wait_in_the_loop_is_found(runs: Any, waits: Any, tmp_path: Path, monkeypatch: Any) -> None:
    advance = TimeGrid.advance

    def reading(self: TimeGrid, x: Tensor, clean: Tensor, i: int, *, eta: float = 0.0) -> Tensor:
        assert x.mean().item() < 2
        return advance(self, x, clean, i, eta=eta)

    monkeypatch.setattr(TimeGrid, "advance", reading)
    run = runs("run", "diffusion.process=edm")
    with pytest.raises(AssertionError, match=r"=="):
        assert_waits_only_per_call(waits, lambda steps: sample(run, tmp_path / f"{steps}", steps=steps))
