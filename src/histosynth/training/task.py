"""The interface between a model in training and the loop: a step, the state to resume from, a preview.

A step takes the images `seen` to `seen + batch` of an endless sequence, each with its own random variables
(`step_inputs`); each process takes its share of them, in microbatches. Therefore neither of the two changes what is
learned, except for rounding:

    gradient = (1 / batch) Σ_processes Σ_microbatches ∇ Σ_images loss.

A step does not wait for the device. Its values, and whether they are finite, stay there until `read` is called: to log,
and before anything is saved or shown.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.ema import EMA
from histosynth.training.step_inputs import StepInputs, Variables
from histosynth.training.updates import Updates

_NAMED = 16  # largest number of patches that an error names
_CONSTANT = 0.4  # share of training at the full learning rate if `train.lr_decay` is `linear`


class Task(ABC):
    """A model in training.

    Args:
        data: the patches.
        settings: mainly the section `train`.
        accelerator: the processes.

    Attributes:
        model: everything that is trained.
        emas: averaged weights, one per half-life; previews use the first.
        share: images per step on each process.
        inputs: what each step sees.

    Raises:
        HistosynthError: the batch cannot be divided evenly among the processes.
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
                f"train.batch = {batch} images cannot be divided evenly among {processes} processes; "
                "launch another number of processes"
            )
        self.share = batch // processes
        self.inputs = StepInputs(
            data,
            settings.train,
            device=self.device,
            first=self.rank * self.share,
            share=self.share,
            draw_variables=self.draw_variables,
        )
        self.updates = Updates(accelerator)

    @abstractmethod
    def draw_variables(self, label: Tensor, generators: Sequence[torch.Generator]) -> Variables:
        """Draw what a step sees beside the images, from labels (B,) on the CPU and one generator per image."""

    @abstractmethod
    def step(self, seen: int) -> None:
        """Train on the next batch, after `seen` images.

        Raises:
            HistosynthError: one image is too large for memory, or a patch cannot be read.
        """

    @abstractmethod
    def read(self) -> dict[str, float]:
        """Wait for the steps since the last call; return the values of the last one, which include `loss` and `lr`.

        All processes must call it after the same step, before weights are saved or used.

        Raises:
            HistosynthError: loss or gradient of one of the steps is not a finite number.
        """

    @abstractmethod
    def preview(self, per_label: int = 6) -> dict[str, NDArray[np.uint8]]:
        """Generate images of each label from the averaged weights, always with the same seeds: label -> (N, S, S, 3).

        Empty for a model that generates no images. All processes must call it, and get the same result.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the state to resume from, after `read`: full tensors on the CPU, `emas` as weights."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from a `state`."""

    @property
    def images(self) -> int:
        """Total number of images to train on, by `train.images` and `train.epochs`, in whole batches."""
        train = self.settings.train
        images = min(train.images, math.ceil(train.epochs * len(self.data))) if train.epochs else train.images
        return -(-images // train.batch) * train.batch

    @property
    def flop_per_image(self) -> float | None:
        """Floating-point operations to train on one image; None if they change during training."""
        return None

    @property
    def snapshot_at(self) -> int:
        """Number of images after which the averaged weights are saved as early weights; 0: never."""
        return 0

    def lr_factor(self, seen: int) -> float:
        """Return the factor of `train.lr_decay` after `seen` images."""
        return remaining_rate(self.settings.train.lr_decay, done=min(seen / self.images, 1.0))

    def share_start(self, seen: int) -> int:
        """Return the position of the first image of this process."""
        return seen + self.rank * self.share

    def divergence_message(self, seen: int, *, loss: float, gradient: float, losses: Tensor) -> str:
        """Return the message of a diverged step, with the patches whose loss is not finite, else all of the batch.

        Args:
            seen: images before the step.
            loss: the mean loss.
            gradient: the norm of the gradient.
            losses: the loss of each image of this process.
        """
        train = self.settings.train
        finite = self.accelerator.gather(losses.isfinite()).tolist()
        ids = self.data.ids(seen, train.batch, seed=train.seed)
        bad = [name for name, is_finite in zip(ids, finite, strict=True) if not is_finite] or ids
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        return (
            f"training diverged after {seen} images: the loss is {loss} and the norm of its gradient {gradient}, on "
            f"{len(bad)} of {train.batch} patches of the batch: {', '.join(bad[:_NAMED])}{more}; check these patches, "
            f"lower {self.lr_setting}, or set train.precision=fp32"
        )


def remaining_rate(decay: Literal["none", "cosine", "linear"], *, done: float) -> float:
    """Return the factor of the learning rate after the share `done` of the training; see `train.lr_decay`."""
    match decay:
        case "none":
            return 1.0
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "linear":
            return min((1 - done) / (1 - _CONSTANT), 1.0)
