"""What a step sees: the documented draws, wherever the patches are."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from histosynth.config import Settings, load_settings
from histosynth.store.store import Store
from histosynth.training.data.dataset import PatchDataset, from_bytes, to_tensor
from histosynth.training.data.resident_patches import ResidentPatches
from histosynth.training.data.stain_jitter import density_changes, jitter
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.gan_task import GanTask
from histosynth.training.launch import launch
from histosynth.training.task import Task

MakeStore = Callable[..., Path]
SEEN = 40


@pytest.fixture
def data(make_store: MakeStore) -> PatchDataset:
    return PatchDataset(Store(make_store()))


def generator_of(position: int) -> torch.Generator:
    """Return the generator of an image, seeded by `train.seed` = 3 and its position."""
    seed = np.random.SeedSequence((3, position)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed))


def expected_image(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn an image and jitter its stain with s = 0.1, as its generator draws after the variables of the task."""
    number = int(torch.randint(8, (), generator=generator))
    x = torch.rot90(x, k=number % 4, dims=(1, 2))
    x = x.flip(2) if number >= 4 else x
    factors, shifts = (torch.rand(2, 2, generator=generator) * 0.2 - 0.1)[:, None]
    return jitter(x[None], density_changes(factors=1 + factors, shifts=shifts))[0]


def seen_by(task: Task) -> tuple[torch.Tensor, ...]:
    return task.inputs.on_device(task.inputs.take(SEEN))


def test_a_denoiser_sees_label_time_noise_symmetry_and_stain(data: PatchDataset, tiny_settings: Settings) -> None:
    overrides = ["train.stain_jitter=0.1", "train.label_drop=0.5", "diffusion.process=edm"]
    settings = load_settings(tiny_settings, overrides=overrides)
    x, label, t, noise = seen_by(DiffusionTask(data, settings=settings, accelerator=launch("cpu")))
    images, labels = data.batch(SEEN, 8, seed=3)
    for row in range(8):
        generator = generator_of(SEEN + row)
        dropped = bool(torch.rand(1, generator=generator) < 0.5)
        assert label[row] == (2 if dropped else labels[row])
        assert t[row].item() == pytest.approx(math.exp(-1.2 + 1.2 * torch.randn(1, generator=generator).item()))
        assert torch.equal(noise[row], torch.randn(3, 8, 8, generator=generator))
        torch.testing.assert_close(x[row], expected_image(images[row], generator), rtol=0, atol=1e-5)


def test_a_gan_sees_latents_mix_symmetry_and_stain(data: PatchDataset) -> None:
    overrides = ["model.kind=progan", "gan.latent=8", "gan.width=8", "train.batch=8", "train.seed=3"]
    settings = load_settings(None, overrides=[*overrides, "train.stain_jitter=0.1", "train.images=500000"])
    with pytest.warns(UserWarning, match="training ends after"):
        task = GanTask(data, settings=settings, accelerator=launch("cpu"))
    x, _, z, mix = seen_by(task)
    images, _ = data.batch(SEEN, 8, seed=3)
    for row in range(8):
        generator = generator_of(SEEN + row)
        assert torch.equal(z[row], torch.randn(2, 8, generator=generator))
        assert mix[row] == torch.rand(1, generator=generator)
        torch.testing.assert_close(x[row], expected_image(images[row], generator), rtol=0, atol=1e-5)


def test_resident_patches_are_turned_like_others(data: PatchDataset, tiny_settings: Settings) -> None:
    settings = load_settings(tiny_settings, overrides=["train.batch=96"])
    draws = DiffusionTask(data, settings=settings, accelerator=launch("cpu")).inputs.take(SEEN)
    assert set(draws.symmetry.tolist()) == set(range(8))
    resident = ResidentPatches(data, device=torch.device("cpu"))
    assert torch.equal(resident.turned(draws.indices, draws.symmetry), draws.pixels)
    plain = resident.turned(draws.indices, torch.zeros(96, dtype=torch.int64))
    assert torch.equal(from_bytes(plain), to_tensor(data.pixels(draws.indices.numpy())))
