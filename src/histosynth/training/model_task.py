"""Training of one network: the part that a denoiser and a classifier share.

If memory runs out, the microbatch is halved; processes exchange gradients after the last microbatch. Only dropout draws
random numbers per microbatch: with dropout, other numbers of processes or microbatches act like other seeds.
"""

import math
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor, nn

from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.training.cpu_copy import cpu_copy
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.ema import EMA
from histosynth.training.launch import sum_over_processes
from histosynth.training.muon import build_optimizer
from histosynth.training.step_inputs import Draws, Variables, image_seed
from histosynth.training.task import Task
from histosynth.training.updates import Update

_WORTH_COMPILING = 500_000  # images: some minutes of a GPU at a thousand images per second
_SMALLEST_SCALE = 2.0**-10  # of the fp16 loss; a gradient that overflows below this scale has diverged


class Images(NamedTuple):
    """Images with their random variables, one row per image."""

    x: Tensor
    label: Tensor
    t: Tensor
    noise: Tensor


class ModelTask(Task):
    """A network in training.

    Args:
        data: the patches.
        model: the model with initial weights; its `network` can be compiled.
        settings: section `train`.
        accelerator: the processes.

    Attributes:
        microbatch: images per forward pass; halved if memory runs out.

    Raises:
        HistosynthError: the batch cannot be divided evenly among the processes.
    """

    def __init__(self, data: PatchDataset, model: nn.Module, *, settings: Settings, accelerator: Accelerator) -> None:
        super().__init__(data, settings=settings, accelerator=accelerator)
        train = settings.train
        self.microbatch = min(train.microbatch or self.share, self.share)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        optimizer = build_optimizer(self.model, train, fused=self.device.type in ("cpu", "cuda"))
        self.module, self.optimizer = accelerator.prepare(_Forward(self.model, self), optimizer)
        self.emas = [EMA(self.model, halflife=halflife) for halflife in train.ema_halflife]
        self._read = dict[str, float]()
        self._trial_steps = 0 if accelerator.distributed_type == DistributedType.NO else 2
        if train.compile is True or (train.compile == "auto" and self._compiles_by_itself()):
            self._compile()

    @abstractmethod
    def draw_times(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Draw times (count,) from the training distribution, on the CPU."""

    def training_label(self, label: Tensor, *, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the labels to train with, on the CPU."""
        return label

    @abstractmethod
    def losses(self, images: Images) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss per image (B,), and further values to log, (B,) each."""

    def draw_variables(self, label: Tensor, generators: Sequence[torch.Generator]) -> Variables:
        """See `Task.draw_variables`: label, time and noise."""
        label = self.training_label(label, generators=generators)
        t = torch.cat([self.draw_times(1, generator=generator) for generator in generators])
        return label, t, self.inputs.normal(3, self.data.image_px, self.data.image_px, generators=generators)

    def step(self, seen: int) -> None:
        """See `Task.step`."""
        # The draws, and a microbatch that fits the memory. It must be known before gradients are exchanged, where none
        # may be missing, and is tested again once Adam's moments exist.
        train = self.settings.train
        draws = self.inputs.take(seen)
        self.model.train()
        if self._trial_steps:
            self._fit_microbatch(seen, draws)
            self._trial_steps -= 1
        # Gradients, and the values to log.
        losses, more = self._accumulate(seen, draws)
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), train.clip)
        sums = {"loss": losses.sum(), **{name: value.sum() for name, value in more.items()}}
        self.updates.add(Update(seen, "", sums, norm, losses))
        # Step and averages.
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(seen)
        self.optimizer.step()
        for ema in self.emas:
            ema.update(self.model, images=seen + train.batch, batch=train.batch)

    def read(self) -> dict[str, float]:
        """See `Task.read`; the gradient norm is logged, too."""
        for update, sums, norm in self.updates.read():
            means = {name: value / self.settings.train.batch for name, value in sums.items()}
            loss = means["loss"]
            if not math.isfinite(loss) or not (math.isfinite(norm) or self._loss_scale_settling()):
                raise HistosynthError(
                    self.divergence_message(update.seen, loss=loss, gradient=norm, losses=update.losses)
                )
            self._read = {**means, "grad_norm": norm, "lr": self.learning_rate(update.seen)}
        return {**self._read, "microbatch": self.microbatch}

    def _accumulate(self, seen: int, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the gradients of the batch; if memory runs out, halve the microbatch and start again."""
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            count = -(-self.share // self.microbatch)
            try:
                passes = [
                    self._forward_backward(seen, draws, number, last=number == count - 1) for number in range(count)
                ]
                return torch.cat([losses for losses, _ in passes]), {
                    name: torch.cat([more[name] for _, more in passes]) for name in passes[0][1]
                }
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                if self.accelerator.distributed_type != DistributedType.NO:  # other processes wait for the gradients
                    raise HistosynthError(
                        f"out of memory after {seen} images ({str(error)[:80]}); set train.microbatch below "
                        f"{self.microbatch}"
                    ) from error
            self._halve_microbatch()

    def _forward_backward(
        self, seen: int, draws: Draws, number: int, *, last: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run forward and backward on a microbatch; processes exchange gradients after the last one."""
        first, train = number * self.microbatch, self.settings.train
        x, label, t, noise = self.inputs.on_device(draws, first, first + self.microbatch)
        torch.manual_seed(image_seed(train.seed, self.share_start(seen) + first))  # for dropout
        with nullcontext() if last else self.accelerator.no_sync(self.module):
            losses, more = self.module(x.contiguous(memory_format=torch.channels_last), label, t, noise)
            self.accelerator.backward(losses.sum() * (self.accelerator.num_processes / train.batch))
        return losses.detach(), more

    def _fit_microbatch(self, seen: int, draws: Draws) -> None:
        """Halve the microbatch until it fits into the memory of every process."""
        while True:
            failures = torch.zeros(1, device=self.device)
            try:
                self._forward_backward(seen, draws, 0, last=False)
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                failures += 1
            self.optimizer.zero_grad(set_to_none=True)
            if not sum_over_processes(self.accelerator, failures).item():
                return
            self._halve_microbatch()

    def _halve_microbatch(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        clear_device_cache(garbage_collection=True)
        if self.microbatch == 1:
            raise HistosynthError(
                "out of memory on a single image; set model.checkpoint=true, or use a smaller model or a larger GPU"
            )
        self.microbatch //= 2
        warnings.warn(
            f"out of memory: from now on {self.microbatch} images per forward pass (train.microbatch); the batch "
            f"remains {self.settings.train.batch}",
            stacklevel=2,
        )

    def _compiles_by_itself(self) -> bool:
        """Return whether compilation is likely to save more time than it takes, and may choose its own algorithms."""
        on_gpu = self.device.type == "cuda" and not torch.are_deterministic_algorithms_enabled()
        return on_gpu and self.images >= _WORTH_COMPILING

    def _compile(self) -> None:
        """Compile the network; if that fails, warn and continue without."""
        network: nn.Module = self.model.network  # type: ignore[assignment]
        try:
            network.compile(fullgraph=True)
            self._forward_backward(0, self.inputs.take(0), 0, last=False)
        except Exception as error:  # compilers, drivers and missing headers raise errors of any type
            if isinstance(error, RuntimeError) and should_reduce_batch_size(error):
                return
            network._compiled_call_impl = None
            reason = " ".join(str(error).split())[:120]
            warnings.warn(f"train.compile failed ({reason}); training continues without compilation", stacklevel=2)
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def uncompiled(self) -> AbstractContextManager[object]:
        """Run the network as it is written: compiled, it would be compiled again for every other size of a batch."""
        compiled = getattr(self.model.network, "_compiled_call_impl", None) is not None
        return torch.compiler.set_stance("force_eager") if compiled else nullcontext()

    def _loss_scale_settling(self) -> bool:
        """Return whether the fp16 loss scale may still be lowered, as by every overflow, whose step is skipped."""
        scaler = self.accelerator.scaler
        return scaler is not None and scaler.get_scale() >= _SMALLEST_SCALE

    def learning_rate(self, seen: int) -> float:
        """Return the learning rate after `seen` images: linear warm-up, then constant or half a cosine to zero."""
        train = self.settings.train
        return train.lr * min((seen + train.batch) / max(train.warmup, 1), 1.0) * self.lr_factor(seen)

    def state(self) -> dict[str, Any]:
        """See `Task.state`."""
        scaler = self.accelerator.scaler
        return {
            "model": cpu_copy(self.model.state_dict()),
            "emas": [cpu_copy(ema.weights) for ema in self.emas],
            "optimizer": cpu_copy(self.optimizer.state_dict()),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """See `Task.load_state`."""
        self.model.load_state_dict(state["model"])
        for ema, weights in zip(self.emas, state["emas"], strict=True):
            ema.load(weights)
        getattr(self.optimizer, "optimizer", self.optimizer).load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])


class _Forward(nn.Module):
    """The module that Accelerate wraps; its forward pass computes the losses, so all training passes through it."""

    def __init__(self, model: nn.Module, task: ModelTask) -> None:
        super().__init__()
        self.model, self._losses = model, task.losses

    def forward(self, x: Tensor, label: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `ModelTask.losses`."""
        return self._losses(Images(x, label, t, noise))
