"""One step of each task on a fake GPU: devices, types, memory formats, waits, and bytes kept for the backward pass."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from histosynth.config import Settings, load_settings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.norm_act import _NormAct
from histosynth.diffusion.unet import resize
from histosynth.gan.layers import upsample
from histosynth.training import launch
from histosynth.training.classifier_task import ClassifierTask
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.gan_task import GanTask
from histosynth.training.stopping import StopCondition

UNET = [
    "model.channels=32", "model.channel_mult=[1,2]", "model.blocks=1", "model.attention_px=[16]", "model.heads=2",
    "train.batch=8", "train.images=1000", "sample.steps=4",
]  # fmt: skip
GAN = [
    "model.kind=progan", "gan.latent=32", "gan.width=32", "gan.stable_images=8", "gan.fade_images=100",
    "train.batch=8", "train.images=1000", "train.microbatch=4",
]  # fmt: skip


class FakeData:
    """Patches of one color."""

    labels, image_px, pixel_source = ("a", "b", "c"), 32, "memory"

    def __len__(self) -> int:
        return 1000

    def ids(self, start: int, size: int, *, seed: int) -> list[str]:
        return [str(start + i) for i in range(size)]

    def order(self, start: int, size: int, *, seed: int) -> np.ndarray:
        return np.arange(start, start + size) % 1000

    def label_at(self, index: np.ndarray) -> np.ndarray:
        return index % 3

    def pixels(self, index: np.ndarray) -> np.ndarray:
        return np.zeros((len(index), self.image_px, self.image_px, 3), np.uint8)


def take_steps(fake: Any, waits: Any, task_type: Any, settings: Settings, *, precision: str) -> None:
    """Take two steps, of which the second waits for nothing, read, show a preview, and resume."""
    task = task_type(FakeData(), settings=settings, accelerator=fake.accelerator(precision))
    assert {p.device.type for p in task.model.parameters()} == {"cuda"}
    fake.receives_gradients(task.model)
    task.step(0)
    waits.counts.clear()
    task.step(settings.train.batch)
    assert waits.counts == {}
    task.read()
    assert {line.split(":")[0] for line, _ in waits.counts} == {"training/updates.py"}
    for images in task.preview(2).values():
        assert images.shape == (2, 32, 32, 3)
    state = task.state()
    tensors = [each for each in torch.utils._pytree.tree_leaves(state) if isinstance(each, Tensor)]
    assert {each.device.type for each in tensors} == {"cpu"}
    task.load_state(state)
    task.step(2 * settings.train.batch)


@pytest.mark.parametrize(
    ("precision", "overrides"),
    [
        ("bf16", ["diffusion.process=edm"]),
        ("fp16", ["diffusion.process=flow"]),
        ("bf16", ["diffusion.process=ddpm", "diffusion.variance=learned", "sample.sampler=ddpm"]),
        ("fp16", ["train.microbatch=4", "train.stain_jitter=0.1", "model.dropout=0.1", "model.checkpoint=true"]),
    ],
    ids=["edm", "flow", "ddpm", "options"],
)
def test_denoiser_takes_a_step(fake_cuda: Any, waits: Any, overrides: list[str], precision: str) -> None:
    settings = load_settings(None, overrides=[*UNET, *overrides])
    with waits:
        take_steps(fake_cuda, waits, DiffusionTask, settings, precision=precision)


def test_work_per_image_is_counted_beside_a_model_on_the_gpu(fake_cuda: Any, waits: Any) -> None:
    settings = load_settings(None, overrides=UNET)
    with waits:
        task = DiffusionTask(FakeData(), settings=settings, accelerator=fake_cuda.accelerator("bf16"))  # type: ignore[arg-type]
        before = next(task.model.parameters()).device
        assert task.flop_per_image > 1e6
        assert next(task.model.parameters()).device == before


@pytest.mark.parametrize("overrides", [[], ["train.stain_jitter=0.1", "train.microbatch=4"]], ids=["plain", "options"])
def test_patches_that_fit_into_the_memory_of_the_gpu_stay_there(
    fake_cuda: Any, waits: Any, overrides: list[str]
) -> None:
    settings, size = load_settings(None, overrides=[*UNET, *overrides]), 1000 * 3 * 32 * 32
    for free, resident in ((4 * size - 1, False), (4 * size, True)):
        fake_cuda.free_bytes = free
        with waits:
            task = DiffusionTask(FakeData(), settings=settings, accelerator=fake_cuda.accelerator("bf16"))  # type: ignore[arg-type]
            fake_cuda.receives_gradients(task.model)
            task.step(0)
            waits.counts.clear()
            task.step(settings.train.batch)
            assert waits.counts == {}
        assert task.inputs.take(0).pixels.numel() == (0 if resident else 8 * 3 * 32 * 32)


@pytest.mark.parametrize(("process", "precision"), [("edm", "bf16"), ("ddpm", "fp16")])
def test_classifier_takes_a_step(fake_cuda: Any, waits: Any, process: str, precision: str) -> None:
    settings = load_settings(None, overrides=[*UNET, "train.task=classifier", f"diffusion.process={process}"])
    with waits:
        take_steps(fake_cuda, waits, ClassifierTask, settings, precision=precision)


@pytest.mark.parametrize(("loss", "precision"), [("wgan_gp", "bf16"), ("r1", "bf16"), ("r1", "fp32")])
def test_gan_takes_a_step_in_the_fade(fake_cuda: Any, waits: Any, loss: str, precision: str) -> None:
    settings = load_settings(None, overrides=[*GAN, f"gan.loss={loss}"])
    with waits:
        take_steps(fake_cuda, waits, GanTask, settings, precision=precision)


def test_asking_whether_to_stop_does_not_wait_for_the_gpu(
    fake_cuda: Any, waits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums: list[tuple[str, str]] = []

    def all_reduce(tensor: Tensor, *, group: str) -> None:
        sums.append((tensor.device.type, group))

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(launch, "_waiting_group", "gloo")
    several: Any = SimpleNamespace(
        num_processes=2, is_main_process=True, device=torch.device("cuda"), reduce=lambda values, reduction: values
    )
    with waits, StopCondition(several, hours=1, seconds=0) as stop:
        stop.should_stop()  # its answer is one of a tensor without values
    assert waits.total == 0
    assert sums == [("cpu", "gloo")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_resizing_keeps_its_type_and_format_under_autocast(fake_cuda: Any, dtype: torch.dtype) -> None:
    x = torch.rand(2, 8, 16, 16, device="cuda", dtype=dtype).to(memory_format=torch.channels_last)
    with torch.autocast("cuda", dtype=dtype):
        for resized in (upsample(x), resize(x, 2.0), resize(x, 0.5)):
            assert resized.dtype == dtype
            assert resized.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("side", [8, 64])
def test_gradient_of_norm_act_has_the_types_and_formats_of_its_inputs(
    fake_cuda: Any, waits: Any, dtype: torch.dtype, side: int
) -> None:
    x = torch.rand(2, 64, side, side, device="cuda", dtype=dtype).to(memory_format=torch.channels_last)
    scale, a, b = (torch.rand(2, 64, device="cuda") for _ in range(3))
    saved = SimpleNamespace(saved_tensors=(x, scale, a, b), groups=32, silu=True)
    with waits, torch.autocast("cuda", dtype=torch.bfloat16):
        dx, da, db, *_ = _NormAct.backward(saved, x)
    assert dx is not None
    assert dx.dtype == dtype
    assert dx.is_contiguous(memory_format=torch.channels_last)
    for gradient in (da, db):
        assert gradient is not None
        assert (gradient.dtype, gradient.shape) == (torch.float32, (2, 64))
    assert waits.total == 0


@pytest.mark.parametrize(("preset", "px", "limit_mib"), [("paper", 128, 500), ("small", 64, 4.2)])
def test_bytes_kept_for_the_backward_pass(fake_cuda: Any, waits: Any, preset: str, px: int, limit_mib: float) -> None:
    """One bf16 tensor per norm and per convolution: the memory that decides about the batch.

    The matrices of attention are left out: on a GPU, a fused kernel takes the place of the one that keeps them.
    """
    settings = load_settings(preset, overrides=["diffusion.mixture=0", "diffusion.whitening=0.5"])
    with waits:
        denoiser = build_denoiser(settings.model, settings.diffusion, image_px=px, labels=3).to("cuda")
    denoiser.to(memory_format=torch.channels_last)
    weights = {each.untyped_storage()._cdata for each in denoiser.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        attention = tensor.ndim == 4 and tensor.shape[2] == tensor.shape[3] and tensor.shape[1] == settings.model.heads
        if storage._cdata not in weights and tensor.shape[:1] == (images,) and not attention:
            kept[storage._cdata] = tensor.numel() * tensor.element_size()
        return tensor

    images = 2
    network: Any = denoiser.network
    inputs = network.input.in_channels // settings.model.stem**2
    x, t = torch.rand(images, inputs, px, px, device="cuda"), torch.rand(images, device="cuda")
    label = torch.zeros(images, dtype=torch.int64, device="cuda")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cuda", torch.bfloat16):
        output = network(x, t, label)
    assert output.is_contiguous(memory_format=torch.channels_last) or output.is_contiguous()
    per_image_mib = sum(kept.values()) / images / 2**20
    print(f"{preset}: {per_image_mib:.1f} MiB per image")
    assert per_image_mib < limit_mib
