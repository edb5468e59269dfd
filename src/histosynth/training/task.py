"""What is trained, as the loop sees it: a step, what must be kept to resume, what a look at it shows.

Image i of the endless sequence has a generator of its own, seeded by (`train.seed`, i), for all that is drawn for it:
its noise, and how it is turned and stained. A step takes images `seen` to `seen + batch`; each process takes its share
of them and goes through it in microbatches. So neither changes what is learned, but for rounding:

    gradient = (1 / batch) Σ_processes Σ_microbatches ∇ Σ_images loss.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.training.data.dataset import PatchDataset, random_symmetry
from histosynth.training.data.stain_jitter import random_stain
from histosynth.training.ema import EMA

_NAMED = 16  # patches that an error names
PREVIEW_BATCH = 64
"""Images of a preview that are made at once."""


class Task(ABC):
    """Something in training.

    Args:
        data: the patches.
        settings: section `train` above all.
        accelerator: the processes.

    Attributes:
        model: all that is trained.
        emas: averaged weights, one for each half-life; of the first, previews are made.
        share: images of a step on each process.

    Raises:
        HistosynthError: the batch cannot be shared among the processes.
    """

    model: nn.Module
    emas: list[EMA]
    lr_setting = "train.lr"

    def __init__(self, data: PatchDataset, *, settings: Settings, accelerator: Accelerator) -> None:
        self.data, self.settings, self.accelerator, self.device = data, settings, accelerator, accelerator.device
        self.rank: int = accelerator.process_index
        batch, processes = settings.train.batch, int(accelerator.num_processes)
        if batch % processes:
            raise HistosynthError(
                f"train.batch = {batch} images cannot be shared evenly among {processes} processes; "
                "launch another number of them"
            )
        self.share = batch // processes

    @abstractmethod
    def step(self, seen: int) -> dict[str, float]:
        """One step on the next batch, after `seen` images. Returns what to log: `loss` and `lr` among it.

        Raises:
            HistosynthError: loss or gradient is no longer a finite number, or one image is too large for memory.
        """

    @abstractmethod
    def preview(self, per_label: int = 6) -> dict[str, NDArray[np.uint8]]:
        """Images of each label from the averaged weights, always of the same seeds: label -> (N, S, S, 3).

        Nothing where there is nothing to see. All processes must call it, and get the same.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What resuming needs, whole and on the CPU, `emas` in it as weights. All processes must call it."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""

    @property
    def images(self) -> int:
        """Images to train on in all, by `train.images` and `train.epochs`, in whole batches."""
        train = self.settings.train
        wanted = min(train.images, math.ceil(train.epochs * len(self.data))) if train.epochs else train.images
        return -(-wanted // train.batch) * train.batch

    def lr_factor(self, seen: int) -> float:
        """What `train.lr_decay` leaves of the learning rate after `seen` images: all, or half a cosine down to zero."""
        if self.settings.train.lr_decay == "none":
            return 1.0
        return (1 + math.cos(math.pi * min(seen / self.images, 1.0))) / 2

    def share_start(self, seen: int) -> int:
        """Position of the first image of this process."""
        return seen + self.rank * self.share

    def load_share(self, seen: int) -> tuple[Tensor, Tensor, list[torch.Generator]]:
        """This process's share of the batch on the CPU: images, labels, and a generator each."""
        train, start = self.settings.train, self.share_start(seen)
        x, label = self.data.batch(start, self.share, seed=train.seed, stride=train.batch)
        positions = range(start, start + self.share)
        return x, label, [torch.Generator().manual_seed(image_seed(train.seed, position)) for position in positions]

    def augment(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Images as training shows them: turned, and stained otherwise."""
        train = self.settings.train
        if train.flips:
            x = random_symmetry(x, generators=generators)
        if train.stain_jitter:
            x = random_stain(x.to(self.device), strength=train.stain_jitter, generators=generators)
        return x

    def divergence_message(self, seen: int, *, loss: float, gradient: float, losses: Tensor) -> str:
        """Where it happened: the step, and the patches whose loss is no number, or all of the batch.

        Args:
            seen: images before the step.
            loss: the mean.
            gradient: its norm.
            losses: of each image of this process.
        """
        train = self.settings.train
        fine = self.accelerator.gather(losses.isfinite()).tolist()
        ids = self.data.ids(seen, train.batch, seed=train.seed)
        bad = [name for name, finite in zip(ids, fine, strict=True) if not finite] or ids
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        return (
            f"the loss is {loss} and its gradient {gradient} after {seen} images, on "
            f"{len(bad)} of {train.batch} patches of the batch: {', '.join(bad[:_NAMED])}{more}; look at them, lower "
            f"{self.lr_setting}, or set train.precision=fp32"
        )


def image_seed(seed: int, position: int) -> int:
    """Seed of all that is drawn for the image at a position of the endless sequence."""
    return int(np.random.SeedSequence((seed, position)).generate_state(1, np.uint64)[0])
