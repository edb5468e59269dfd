"""What a step sees: patches, labels and random numbers, a function of the seed and the position alone.

Image i of the endless sequence has its own random generator, seeded by (`train.seed`, i), from which the task draws its
variables (times, noise, latents), then its symmetry and its stain jitter. Numbers are drawn on the CPU, so that a GPU
sees the same ones, by a thread that is one step ahead; for a GPU, they are in pinned memory, which it copies without a
wait. It also keeps the patches themselves, if they are small enough, and then only their numbers are sent.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histosynth.config import TrainSettings
from histosynth.store.threads import available_cores, map_in_threads
from histosynth.training.data.ahead import Ahead
from histosynth.training.data.dataset import PatchDataset, from_bytes
from histosynth.training.data.resident_patches import resident_patches
from histosynth.training.data.stain_jitter import density_changes, draw_stain_changes, jitter
from histosynth.training.data.symmetries import COUNT, turn_into

_MAX_THREADS = 4  # that draw noise for a GPU; beside a CPU, which has no core to spare, it is one
Variables = tuple[Tensor, ...]


class Draws(NamedTuple):
    """What a process sees in a step, on the CPU: one row per image in every tensor."""

    pixels: Tensor
    """(B, S, S, 3) bytes, turned; (B, 0) if the device keeps the patches."""
    indices: Tensor
    """(B,) indices into the rows of the data set."""
    symmetry: Tensor
    """(B,) numbers of symmetries."""
    stain: Tensor
    """(B, 4, 3), see `density_changes`; (B, 0) without jitter."""
    variables: Variables
    """Label and variables of the task."""


class StepInputs:
    """The inputs of every step.

    Args:
        data: the patches.
        train: seed, batch and augmentation.
        device: the device of the training.
        first: position of the first image of this process in a batch.
        share: images per step on this process.
        draw_variables: draws the variables of the task, which begin with the label, from labels (B,) on the CPU and one
            generator per image.
    """

    def __init__(
        self,
        data: PatchDataset,
        train: TrainSettings,
        *,
        device: torch.device,
        first: int,
        share: int,
        draw_variables: Callable[[Tensor, Sequence[torch.Generator]], Variables],
    ) -> None:
        self._data, self._train, self._device = data, train, device
        self._first, self._share, self._draw_variables = first, share, draw_variables
        self._on_gpu = device.type == "cuda"
        self._resident = resident_patches(data, device=device)
        self._ahead = Ahead(self._draw, stride=train.batch)

    def take(self, seen: int) -> Draws:
        """Return what the step after `seen` images sees, and start to draw for the step after it."""
        return self._ahead.take(seen)

    def on_device(self, draws: Draws, first: int = 0, last: int | None = None) -> tuple[Tensor, ...]:
        """Return the rows `first` to `last` on the device: images (B, 3, S, S) in [-1, 1], and the variables."""
        pixels, indices, symmetry, stain = (self._send(part[first:last]) for part in draws[:4])
        if self._resident is not None:
            pixels = self._resident.turned(indices, symmetry)
        x = from_bytes(pixels)
        if self._train.stain_jitter:
            x = jitter(x, stain)
        return x, *(self._send(part[first:last]) for part in draws.variables)

    def normal(self, *shape: int, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw standard normal numbers by one generator per image: (B, *shape)."""
        out = empty(len(generators), *shape, pinned=self._on_gpu)
        threads = min(_MAX_THREADS, available_cores()) if self._on_gpu else 1

        def fill(start: int) -> None:
            for row, generator in zip(out[start::threads], generators[start::threads], strict=True):
                row.normal_(generator=generator)

        list(map_in_threads(fill, range(threads), threads=threads))
        return out

    def _send(self, part: Tensor) -> Tensor:
        return part.to(self._device, non_blocking=self._on_gpu)

    def _draw(self, seen: int) -> Draws:
        """Draw in the order in which a generator is used: variables, symmetry, stain."""
        train, start = self._train, seen + self._first
        indices = self._data.order(start, self._share, seed=train.seed)
        seeds = (image_seed(train.seed, position) for position in range(start, start + self._share))
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        variables = self._draw_variables(torch.from_numpy(self._data.label_at(indices)), generators)
        turns = [int(torch.randint(COUNT, (), generator=g)) if train.flips else 0 for g in generators]
        stain = torch.empty(self._share, 0)
        if train.stain_jitter:
            factors, shifts = draw_stain_changes(train.stain_jitter, generators=generators)
            stain = density_changes(factors=factors, shifts=shifts)
        pixels = self._pixels(indices, turns)
        draws = Draws(pixels, torch.from_numpy(indices), torch.tensor(turns), stain, variables)
        return pinned(draws) if self._on_gpu else draws

    def _pixels(self, indices: NDArray[np.int64], turns: Sequence[int]) -> Tensor:
        """Read and turn the patches, unless the device has them."""
        if self._resident is not None:
            return torch.empty(len(indices), 0)
        side = self._data.image_px
        pixels = empty(len(indices), side, side, 3, dtype=torch.uint8, pinned=self._on_gpu)
        turn_into(pixels.numpy(), self._data.pixels(indices), turns)
        return pixels


def image_seed(seed: int, position: int) -> int:
    """Return the seed of all random variables of the image at a position of the endless sequence."""
    return int(np.random.SeedSequence((seed, position)).generate_state(1, np.uint64)[0])


def empty(*shape: int, dtype: torch.dtype = torch.float32, pinned: bool) -> Tensor:
    """Return memory on the CPU. Torch reuses pinned memory only after the copies from it, so a step may drop it."""
    return torch.empty(shape, dtype=dtype, pin_memory=pinned)


def pinned(draws: Draws) -> Draws:
    """Return the draws in pinned memory, of which a copy is made where they are not."""
    return Draws(
        pin(draws.pixels), pin(draws.indices), pin(draws.symmetry), pin(draws.stain), tuple(map(pin, draws.variables))
    )


def pin(x: Tensor) -> Tensor:
    """Return a tensor in pinned memory: itself, or a copy."""
    return x.pin_memory() if x.numel() else x
