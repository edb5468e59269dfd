"""What is trained, as the loop sees it: a step, what must be kept to resume, what a look at it shows.

Image i of the endless sequence has a generator of its own, seeded by (`train.seed`, i): for its noise, its time, how
it is turned and stained, whether its label is dropped. A step takes images `seen` to `seen + batch`; each process takes
its share of them and goes through it in microbatches. So neither changes what is learned, but for rounding:

    gradient = (1 / batch) Σ_processes Σ_microbatches ∇ Σ_images loss.

Dropout alone draws for a microbatch: with it, runs of other processes or microbatches differ as those of other seeds.
"""

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from numpy.typing import NDArray
from torch import Tensor, nn

from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.patches.dataset import PatchDataset, random_symmetry
from histosynth.patches.stain_jitter import random_stain
from histosynth.training.ema import EMA
from histosynth.training.launch import total
from histosynth.training.sharding import load_optimizer, load_weights, whole

_NAMED = 16  # patches that an error names
_SMALLEST_SCALE = 2.0**-10  # of fp16: a loss that small and still too large has diverged


class Images(NamedTuple):
    """Images with all that is drawn for them, one row an image."""

    x: Tensor
    label: Tensor
    t: Tensor
    noise: Tensor


class Task:
    """A model in training.

    Args:
        data: the patches.
        model: with fresh weights; what can be compiled of it is its `network`.
        settings: section `train`.
        accelerator: the processes.

    Attributes:
        microbatch: images a forward pass; falls where memory runs out.

    Raises:
        HistosynthError: the batch cannot be shared among the processes.
    """

    def __init__(self, data: PatchDataset, model: nn.Module, *, settings: Settings, accelerator: Accelerator) -> None:
        self.data, self.settings, self.accelerator, self.device = data, settings, accelerator, accelerator.device
        train, processes = settings.train, accelerator.num_processes
        if train.batch % processes:
            raise HistosynthError(
                f"train.batch = {train.batch} images cannot be shared evenly among {processes} processes; "
                "launch another number of them"
            )
        self.share = train.batch // processes
        self.microbatch = min(train.microbatch or self.share, self.share)
        sharded = accelerator.distributed_type == DistributedType.FSDP  # which takes the one layout only
        layout = torch.contiguous_format if sharded else torch.channels_last
        self.model = model.to(self.device).to(memory_format=layout)
        optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=train.lr,
            weight_decay=train.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.module, self.optimizer = accelerator.prepare(_Forward(self.model, self), optimizer)
        self.emas = [EMA(self.model, halflife=halflife) for halflife in train.ema_halflife]
        self._unproven = 0 if accelerator.distributed_type == DistributedType.NO else 2
        if train.compile:
            self._compile()

    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Times of noise as training draws them, (count,) on the CPU."""
        raise NotImplementedError

    def shown_label(self, label: Tensor, *, generators: Sequence[torch.Generator]) -> Tensor:
        """The label that the model is shown of each image."""
        return label

    def losses(self, images: Images) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of each image (B,), and what else to log of each, (B,) each."""
        raise NotImplementedError

    def preview(self, per_label: int = 6) -> dict[str, NDArray[np.uint8]]:
        """Images of each label from the averaged weights, always of the same seeds: label -> (N, S, S, 3).

        Nothing where there is nothing to see. All processes must call it, and get the same.
        """
        raise NotImplementedError

    def step(self, seen: int) -> dict[str, float]:
        """One step on the next batch, after `seen` images. Returns what to log: loss, learning rate, gradient norm.

        Raises:
            HistosynthError: loss or gradient is no longer a finite number, or one image is too large for memory.
        """
        train = self.settings.train
        images = self._draw(seen)
        self.model.train()
        if self._unproven:  # before gradients are exchanged, as none may be missing there; again with Adam's moments
            self._rehearse(seen, images)
            self._unproven -= 1
        losses, more = self._accumulate(seen, images)
        sums = total(self.accelerator, torch.stack([losses.sum(), *(value.sum() for value in more.values())]))
        loss, *others = (sums / train.batch).tolist()
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), train.clip).item()
        logged = {"loss": loss, **dict(zip(more, others, strict=True)), "grad_norm": norm}
        logged |= {"lr": self.learning_rate(seen), "microbatch": self.microbatch}
        if not math.isfinite(loss) or not (math.isfinite(norm) or self._scaling()):
            raise HistosynthError(self._diverged(seen, logged, losses))
        for group in self.optimizer.param_groups:
            group["lr"] = logged["lr"]
        self.optimizer.step()
        for ema in self.emas:
            ema.update(self.model, images=seen + train.batch, batch=train.batch)
        return logged

    def _draw(self, seen: int) -> Images:
        """This process's share of the batch, on the CPU."""
        train, start = self.settings.train, seen + self.accelerator.process_index * self.share
        x, label = self.data.batch(start, self.share, seed=train.seed, stride=train.batch)
        generators = [
            torch.Generator().manual_seed(image_seed(train.seed, position))
            for position in range(start, start + self.share)
        ]
        label = self.shown_label(label, generators=generators)
        t = torch.cat([self.draw_times(1, generator=generator) for generator in generators])
        noise = torch.stack([torch.randn(x.shape[1:], generator=generator) for generator in generators])
        if train.flips:
            x = random_symmetry(x, generators=generators)
        if train.stain_jitter:
            x = random_stain(x.to(self.device), strength=train.stain_jitter, generators=generators)
        return Images(x, label, t, noise)

    def _accumulate(self, seen: int, images: Images) -> tuple[Tensor, dict[str, Tensor]]:
        """Gradients of the batch. Halves the microbatch and begins anew where memory runs out."""
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            count = -(-self.share // self.microbatch)
            try:
                found = [self._pass(seen, images, number, last=number == count - 1) for number in range(count)]
                return torch.cat([losses for losses, _ in found]), {
                    name: torch.cat([more[name] for _, more in found]) for name in found[0][1]
                }
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                if self.accelerator.distributed_type != DistributedType.NO:  # the others wait for these gradients
                    raise HistosynthError(
                        f"memory ran out after {seen} images ({str(error)[:80]}); set train.microbatch below "
                        f"{self.microbatch}"
                    ) from error
            self._halve()

    def _pass(self, seen: int, images: Images, number: int, *, last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Forward and backward through a microbatch; processes exchange gradients after the last."""
        first, train = number * self.microbatch, self.settings.train
        x, label, t, noise = (part[first : first + self.microbatch].to(self.device) for part in images)
        position = seen + self.accelerator.process_index * self.share + first
        torch.manual_seed(image_seed(train.seed, position))  # for dropout
        with nullcontext() if last else self.accelerator.no_sync(self.module):
            losses, more = self.module(x.contiguous(memory_format=torch.channels_last), label, t, noise)
            self.accelerator.backward(losses.sum() * (self.accelerator.num_processes / train.batch))
        return losses.detach(), more

    def _rehearse(self, seen: int, images: Images) -> None:
        """Find the microbatch that fits the memory of every process."""
        while True:
            lacking = torch.zeros(1, device=self.device)
            try:
                self._pass(seen, images, 0, last=False)
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                lacking += 1
            self.optimizer.zero_grad(set_to_none=True)
            if not total(self.accelerator, lacking).item():
                return
            self._halve()

    def _halve(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        clear_device_cache(garbage_collection=True)
        if self.microbatch == 1:
            raise HistosynthError(
                "memory ran out on a single image; set model.checkpoint=true, or take a smaller model or a larger GPU"
            )
        self.microbatch //= 2
        warnings.warn(
            f"memory ran out: {self.microbatch} images a forward pass from here on (train.microbatch); the batch stays "
            f"{self.settings.train.batch}",
            stacklevel=2,
        )

    def _compile(self) -> None:
        """Compile the network, or say why not and leave it."""
        network: nn.Module = self.model.network  # type: ignore[assignment]
        try:
            network.compile()
            self._pass(0, self._draw(0), 0, last=False)
        except Exception as error:  # of a compiler, a driver, a missing header: all alike
            if isinstance(error, RuntimeError) and should_reduce_batch_size(error):
                return
            network._compiled_call_impl = None
            reason = " ".join(str(error).split())[:120]
            warnings.warn(f"train.compile: cannot compile here ({reason}); training goes on without", stacklevel=2)
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def _scaling(self) -> bool:
        """Whether fp16's loss scale still has to find its place: a step whose gradient overflows is left out then."""
        scaler = self.accelerator.scaler
        return scaler is not None and scaler.get_scale() > _SMALLEST_SCALE

    def _diverged(self, seen: int, logged: dict[str, float], losses: Tensor) -> str:
        """Where it happened: the step, and the patches whose loss is no number, or all of the batch."""
        train = self.settings.train
        fine = self.accelerator.gather(losses.isfinite()).tolist()
        ids = self.data.ids(seen, train.batch, seed=train.seed)
        bad = [name for name, finite in zip(ids, fine, strict=True) if not finite] or ids
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
            rate *= (1 + math.cos(math.pi * min(seen / self.images, 1.0))) / 2
        return rate

    @property
    def images(self) -> int:
        """Images to train on in all, by `train.images` and `train.epochs`, in whole batches."""
        train = self.settings.train
        wanted = min(train.images, math.ceil(train.epochs * len(self.data))) if train.epochs else train.images
        return -(-wanted // train.batch) * train.batch

    def state(self) -> dict[str, Any]:
        """What resuming needs, whole and on the CPU. All processes must call it."""
        scaler = self.accelerator.scaler
        return {
            "model": whole(self.model.state_dict()),
            "emas": [whole(ema.weights) for ema in self.emas],
            "optimizer": whole(self.optimizer.state_dict()),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        load_weights(self.model.state_dict(), state["model"])
        for ema, weights in zip(self.emas, state["emas"], strict=True):
            load_weights(ema.weights, weights)
        load_optimizer(getattr(self.optimizer, "optimizer", self.optimizer), state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])


class _Forward(nn.Module):
    """What Accelerate wraps: its forward pass is the loss, so that all that training computes goes through it."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self.of = model, task.losses

    def forward(self, x: Tensor, label: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task.losses`."""
        return self.of(Images(x, label, t, noise))


def image_seed(seed: int, position: int) -> int:
    """Seed of all that is drawn for the image at a position of the endless sequence."""
    return int(np.random.SeedSequence((seed, position)).generate_state(1, np.uint64)[0])
