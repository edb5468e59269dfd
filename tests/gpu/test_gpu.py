"""Training, sampling, edits, features and stain on a GPU against the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from histosynth.config import SampleSettings
from histosynth.diffusion import unet
from histosynth.diffusion.norm_act import norm_act
from histosynth.metrics.extractors import build_extractor
from histosynth.sampling.edit import EditOptions, inpaint, interpolate, translate
from histosynth.sampling.generate import generate
from histosynth.sampling.sources import Selection
from histosynth.stain.batched import estimate_batch, normalize_batch
from histosynth.stain.macenko import Macenko
from histosynth.store.store import Store
from histosynth.training.device import pick_device
from histosynth.training.log import read_stats

Train = Callable[..., Path]
DENOISERS = {
    "edm": (),
    "flow": ("diffusion.process=flow",),
    "ddpm": ("diffusion.process=ddpm", "diffusion.variance=learned"),
    "mixture and muon": ("diffusion.mixture=4", "train.optimizer=muon", "model.stem=2"),
    "microbatches": ("train.microbatch=4", "train.stain_jitter=0.1", "model.checkpoint=true", "train.compile=false"),
}
SAMPLERS = ("dpmpp_2m", "dpmpp_2m_sde", "ddpm", "ddim", "heun")


def losses(run: Path) -> list[float]:
    """Return the logged losses, one per step."""
    return [line["loss"] for line in read_stats(run)]


def pixels(path: Path) -> Any:
    store = Store(path)
    order = np.argsort(store.column("patch_id"))
    return store.images(range(len(store)))[order].astype(int)


def error(result: Tensor, reference: Tensor) -> float:
    """Relative error in double precision."""
    a, b = result.detach().cpu().double(), reference.detach().cpu().double()
    return float((a - b).norm() / b.norm())


def test_a_gpu_is_the_default(gpu: str) -> None:
    assert pick_device(None).type == "cuda"


# Training


@pytest.mark.parametrize("name", DENOISERS)
def test_training_in_fp32_follows_that_on_the_cpu(train_on: Train, device: str, name: str) -> None:
    here, there = (losses(train_on(kind, *DENOISERS[name], device=kind)) for kind in ("cpu", device))
    assert len(here) == 6
    np.testing.assert_allclose(there, here, rtol=2e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_training_in_half_precision_stays_near_fp32(train_on: Train, device: str, precision: str) -> None:
    if precision == "fp16" and device == "cpu":
        pytest.skip("fp16 needs a GPU")
    half, full = (losses(train_on(kind, device=device, precision=kind)) for kind in (precision, "fp32"))
    np.testing.assert_allclose(half, full, rtol=0.05)


def test_compiled_training_follows_eager_training(train_on: Train, gpu: str) -> None:
    compiled = losses(train_on("compiled", "train.compile=true", device=gpu))
    np.testing.assert_allclose(compiled, losses(train_on("eager", device=gpu)), rtol=5e-3)


@pytest.mark.parametrize("loss", ["wgan_gp", "r1"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gan_trains_through_a_fade(train_on: Train, tmp_path: Path, device: str, loss: str, precision: str) -> None:
    run = train_on("gan", "model.kind=progan", f"gan.loss={loss}", device=device, precision=precision)
    assert np.isfinite(losses(run)).all()
    generate(run, out=tmp_path / "samples", settings=SampleSettings(), per_label=2, device=device, progress=False)
    assert pixels(tmp_path / "samples").std() > 0


def test_a_classifier_trains(train_on: Train, device: str) -> None:
    here, there = (losses(train_on(kind, "train.task=classifier", device=kind)) for kind in ("cpu", device))
    np.testing.assert_allclose(there, here, rtol=2e-3)


def test_a_resumed_run_follows_an_uninterrupted_one(train_on: Train, device: str) -> None:
    train_on("parts", "train.images=24", device=device)
    parts = losses(train_on("parts", device=device))
    np.testing.assert_allclose(parts, losses(train_on("whole", device=device)), rtol=1e-4)


def test_training_halves_the_microbatch_when_memory_runs_out(train_on: Train, gpu: str) -> None:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(gpu).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**30) / total)
    try:
        with pytest.warns(UserWarning, match="out of memory"):
            run = train_on("run", "train.batch=4096", "train.images=8192", "model.channels=64", device=gpu)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.isfinite(losses(run)).all()


def test_a_fused_kernel_computes_the_attention(train_on: Train, gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.backends.cuda import SDPAParams, can_use_efficient_attention, can_use_flash_attention

    fused, attend = [], unet.attend

    def spy(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parameters = SDPAParams(q, k, v, None, 0.0, False, False)
        fused.append(can_use_flash_attention(parameters) or can_use_efficient_attention(parameters))
        return attend(q, k, v)

    monkeypatch.setattr(unet, "attend", spy)
    train_on("run", device=gpu, precision="bf16")
    assert fused
    assert all(fused)


def test_norm_act_agrees_with_double_precision(device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for dtype, limit in ((torch.float32, 1e-4), (torch.bfloat16, 2e-2)):
        x = torch.randn(4, 96, 16, 16, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
        a, b = (offset + torch.randn(4, 96, generator=generator) / 4 for offset in (1, 0))
        dy = torch.randn(4, 96, 16, 16, generator=generator)
        exact = [each.double().requires_grad_() for each in (x, a, b)]
        y = F.silu(F.group_norm(exact[0], 32) * exact[1][..., None, None] + exact[2][..., None, None])
        expected = [y, *torch.autograd.grad(y, exact, dy.double())]
        inputs = [each.to(device).requires_grad_() for each in (x, a, b)]
        with torch.autocast(device.partition(":")[0], dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            z = norm_act(*inputs, groups=32)
        assert z.is_contiguous(memory_format=torch.channels_last)
        results = [z, *torch.autograd.grad(z, inputs, dy.to(device, z.dtype))]
        assert max(error(*pair) for pair in zip(results, expected, strict=True)) < limit


# Sampling and edits


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_image_depends_on_its_seed_alone(train_on: Train, tmp_path: Path, device: str, sampler: str) -> None:
    run = train_on("run", device="cpu")
    settings = SampleSettings(sampler=sampler, steps=4)

    def sample(name: str, where: str, **options: Any) -> Any:
        generate(run, out=tmp_path / name, settings=settings, device=where, progress=False, **options)
        return pixels(tmp_path / name)

    count = 4 if device == "cpu" else 40  # more than go together
    many, again = (sample(name, device, per_label=count) for name in ("many", "again"))
    np.testing.assert_array_equal(again, many)
    few = sample("few", device, per_label=2, seed=3)
    names = Store(tmp_path / "few").column("patch_id")
    rows = [sorted(Store(tmp_path / "many").column("patch_id")).index(name) for name in sorted(names)]
    np.testing.assert_array_equal(few, many[rows])
    assert abs(sample("cpu", "cpu", per_label=count) - many).max() <= 2


def test_edits_agree_with_the_cpu(train_on: Train, store: Path, tmp_path: Path, device: str) -> None:
    run = train_on("run", device="cpu")
    names = [str(name) for name in Store(store).column("patch_id")[:2]]
    selection = Selection(paths=[store], patches=names, split=None)
    results: dict[str, list[Any]] = {}
    for where in ("cpu", device):
        options = EditOptions(steps=4, device=where, progress=False)
        out = tmp_path / where.replace(":", "")
        translate(run, selection, out=out / "translated", options=options)
        interpolate(run, selection, out=out / "between", frames=3, options=options)
        inpaint(run, selection, out=out / "filled", repeats=2, options=options)
        results[where] = [pixels(out / name) for name in ("translated", "between", "filled")]
    for here, there in zip(results["cpu"], results[device], strict=True):
        assert abs(here - there).max() <= 2


# Features and stain


def test_features_agree_with_the_cpu(store: Path, device: str) -> None:
    images = Store(store).images(range(8))
    here, there = (build_extractor("efficientnet-lite0", device=where)(images) for where in ("cpu", device))
    assert error(torch.from_numpy(there), torch.from_numpy(here)) < 1e-3


def test_stain_normalization_agrees_with_the_cpu(store: Path, device: str) -> None:
    images = Store(store).images(range(8))
    fits = estimate_batch(images, normalizer=Macenko(), device=device)
    assert all(not isinstance(fit, str) for fit in fits)
    here, there = (
        normalize_batch(images, normalizer=Macenko(), fits=fits, device=where).astype(int) for where in ("cpu", device)
    )
    assert abs(here - there).max() <= 1
