"""What is trained, as the loop sees it: a step, what must be kept to resume, what a look at it shows."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.patches.dataset import PatchDataset, random_symmetry
from histosynth.patches.stain_jitter import random_stain
from histosynth.training.device import autocast
from histosynth.training.ema import EMA

_NAMED = 16  # patches that an error names


class Task:
    """A model in training. Everything random in a step is drawn from the seed and the step's place in the sequence.

    Args:
        data: the patches.
        model: with fresh weights.
        settings: section `train`.
        device: where to compute.
    """

    def __init__(self, data: PatchDataset, model: nn.Module, *, settings: Settings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, settings, device
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.ema = EMA(self.model, halflife=settings.train.ema_halflife)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=settings.train.lr,
            weight_decay=settings.train.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )

    def losses(self, x: Tensor, label: Tensor, *, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Loss of each image (B,) of a batch `x` (B, 3, S, S) in [-1, 1] with its `label` (B,); what else to log."""
        raise NotImplementedError

    def preview(self) -> dict[str, NDArray[np.uint8]]:
        """A few images a label, to see how far it is: label -> (N, S, S, 3). Nothing where there is nothing to see."""
        raise NotImplementedError

    def step(self, seen: int) -> dict[str, float]:
        """One step on the next batch, after `seen` images. Returns what to log: loss, learning rate, gradient norm.

        Raises:
            HistosynthError: loss or gradient is no longer a finite number.
        """
        train = self.settings.train
        seed = int(np.random.SeedSequence((train.seed, seen)).generate_state(1, np.uint64)[0])
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # for dropout
        x, label = self.data.batch(seen, train.batch, seed=train.seed, stride=train.batch)
        if train.flips:
            x = random_symmetry(x, generator=generator)
        if train.stain_jitter:
            x = random_stain(x.to(self.device), strength=train.stain_jitter, generator=generator)
        x = x.to(self.device, memory_format=torch.channels_last)
        self.model.train()
        with autocast(self.device, train.precision):
            losses, more = self.losses(x, label, generator=generator)
        loss = losses.mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), train.clip)
        logged = {"loss": loss.item(), **more, "grad_norm": norm.item(), "lr": self.learning_rate(seen)}
        if not math.isfinite(logged["loss"] + logged["grad_norm"]):
            raise HistosynthError(self._diverged(seen, logged, losses))
        for group in self.optimizer.param_groups:
            group["lr"] = logged["lr"]
        self.optimizer.step()
        self.ema.update(self.model, images=seen + train.batch, batch=train.batch)
        return logged

    def _diverged(self, seen: int, logged: dict[str, float], losses: Tensor) -> str:
        """Where it happened: the step, and the patches whose loss is no number, or all of the batch."""
        train = self.settings.train
        ids = self.data.ids(seen, train.batch, seed=train.seed)
        bad = [name for name, fine in zip(ids, losses.isfinite().tolist(), strict=True) if not fine] or ids
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        return (
            f"the loss is {logged['loss']} and its gradient {logged['grad_norm']} after {seen} images, on "
            f"{len(bad)} of {train.batch} patches of the batch: {', '.join(bad[:_NAMED])}{more}; look at them, lower "
            "train.lr, or set train.precision=fp32"
        )

    def learning_rate(self, seen: int) -> float:
        """The learning rate after `seen` images: linear warm-up, then constant or half a cosine down to zero."""
        train = self.settings.train
        rate = train.lr * min((seen + train.batch) / max(train.warmup, 1), 1.0)
        if train.lr_decay == "cosine":
            rate *= (1 + math.cos(math.pi * min(seen / train.images, 1.0))) / 2
        return rate

    def state(self) -> dict[str, Any]:
        """What resuming needs."""
        return {"model": self.model.state_dict(), "ema": self.ema.weights, "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.model.load_state_dict(state["model"])
        for name, value in state["ema"].items():
            self.ema.weights[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights."""
        return self.ema.weights
