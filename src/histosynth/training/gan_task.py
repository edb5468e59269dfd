"""Training of a progressive GAN: two networks, two optimizers, images of growing size.

Both networks use the batch of a step: the discriminator learns from real and fake images of the same labels, then the
generator learns from the scores of that discriminator for other fakes. Both gradients are means over the batch, summed
over microbatches and processes. These contain complete groups of the minibatch standard deviation, so that their number
and size do not change what is learned.

Samples come from an averaged generator (`gan.ema_halflife`). Adam's moments are reset at every level.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils.memory import should_reduce_batch_size
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.gan.build import build_discriminator, build_generator
from histosynth.gan.diversity import DiversityMonitor, pair_distances
from histosynth.gan.growth import Growth, full_size_at, growth_at, real_images_at
from histosynth.gan.layers import STDDEV_GROUP, upsample
from histosynth.gan.losses import discriminator_loss, generator_loss
from histosynth.gan.progan import seeded_latents
from histosynth.training.cpu_copy import cpu_copy
from histosynth.training.data.dataset import PatchDataset, to_bytes
from histosynth.training.ema import EMA
from histosynth.training.launch import sum_over_processes
from histosynth.training.preview import generate_preview
from histosynth.training.step_inputs import Variables
from histosynth.training.task import Task
from histosynth.training.updates import Update

_COLLAPSED = 0.25  # share of the distances between real images of the label; good runs stayed above 0.36


class Images(NamedTuple):
    """Images with their random variables, one row per image."""

    x: Tensor
    label: Tensor
    z: Tensor
    """(B, 2, latent): latents of the fakes for the discriminator, and of those for the generator."""
    mix: Tensor


class GanTask(Task):
    """A progressive GAN in training.

    Args:
        data: the patches.
        settings: sections `gan` and `train`.
        accelerator: the processes.

    Raises:
        HistosynthError: patches of a size that it cannot grow to; a batch or microbatch that is not a multiple of the
            group size; fp16.
    """

    lr_setting = "gan.lr"

    def __init__(self, data: PatchDataset, *, settings: Settings, accelerator: Accelerator) -> None:
        super().__init__(data, settings=settings, accelerator=accelerator)
        # Check the accelerator and the sizes of the batch.
        _check_supported(accelerator)
        gan, train = settings.gan, settings.train
        self.microbatch = min(train.microbatch or self.share, self.share)
        for name, images in (("train.batch", self.share), ("train.microbatch", self.microbatch)):
            if images % STDDEV_GROUP:
                raise HistosynthError(
                    f"{name}: {images} images per process; a progan compares images in groups of {STDDEV_GROUP}, so "
                    f"choose a multiple of {STDDEV_GROUP} per process"
                )
        # Networks, optimizers, the average.
        torch.manual_seed(train.seed)
        shape = {"image_px": data.image_px, "labels": len(data.labels)}
        self.generator, self.discriminator = build_generator(gan, **shape), build_discriminator(gan, **shape)
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.model = nn.ModuleDict(self.networks)
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self.optimizers = {
            name: torch.optim.Adam(
                network.parameters(), lr=gan.lr, betas=(0.0, 0.99), fused=self.device.type in ("cpu", "cuda")
            )
            for name, network in self.networks.items()
        }
        self.emas = [EMA(self.generator, halflife=gan.ema_halflife)]
        self.diversity, self.seen = DiversityMonitor(labels=len(data.labels)), 0
        self._read = dict[str, float]()
        if self.images < full_size_at(gan, image_px=data.image_px):
            warnings.warn(
                f"training ends after {self.images} images at {self.growth(self.images).px} px, and samples are "
                f"enlarged to {data.image_px} px; full size is reached after "
                f"{full_size_at(gan, image_px=data.image_px)} images (gan.stable_images, gan.fade_images)",
                stacklevel=2,
            )

    def growth(self, seen: int) -> Growth:
        """Return the growth after `seen` images."""
        return growth_at(seen, self.settings.gan, image_px=self.data.image_px)

    def learning_rate(self, seen: int) -> float:
        """Return the learning rate after `seen` images."""
        return self.settings.gan.lr * self.lr_factor(seen)

    def draw_variables(self, label: Tensor, generators: Sequence[torch.Generator]) -> Variables:
        """See `Task.draw_variables`: label, latents and mix."""
        z = self.inputs.normal(2, self.settings.gan.latent, generators=generators)
        mix = torch.cat([torch.rand(1, generator=generator) for generator in generators])
        return label, z, mix

    def step(self, seen: int) -> None:
        """See `Task.step`."""
        # A new level: reset Adam's moments.
        batch, growth = self.settings.train.batch, self.growth(seen)
        if growth.level != self.growth(max(seen - batch, 0)).level:
            for optimizer in self.optimizers.values():
                optimizer.state.clear()
        # Update the discriminator, the generator, and its average.
        images = Images(*self.inputs.on_device(self.inputs.take(seen)))
        x = real_images_at(images.x, growth).contiguous(memory_format=torch.channels_last)
        images = images._replace(x=x)
        self._update("discriminator", images, self._discriminator_losses, growth, seen=seen)
        self.discriminator.requires_grad_(False)
        self._update("generator", images, self._generator_losses, growth, seen=seen)
        self.discriminator.requires_grad_(True)
        self.emas[0].update(self.generator, images=seen + batch, batch=batch)
        self.seen = seen + batch

    def read(self) -> dict[str, float]:
        """See `Task.read`; `docs/how-to/progan.md` documents the logged values."""
        batch, of_labels = self.settings.train.batch, range(len(self.data.labels))
        for update, sums, norm in self.updates.read():
            # Stop if training has diverged.
            if not math.isfinite(sums["loss"]) or not math.isfinite(norm):
                message = self.divergence_message(
                    update.seen, loss=sums["loss"] / batch, gradient=norm, losses=update.losses
                )
                raise HistosynthError(f"{update.network}: {message}")
            if update.network == "generator":
                self._read |= {"loss_generator": sums["loss"] / batch, "grad_norm_generator": norm}
                continue
            # Diversity of the fakes, and the values to log.
            distances = {side: np.array([sums.pop(f"{side} {i}") for i in of_labels]) for side in ("fake", "real")}
            self._warn_on_collapse(**distances, seen=update.seen + batch)
            growth, lr = self.growth(update.seen), self.learning_rate(update.seen)
            self._read |= {name: value / batch for name, value in sums.items()} | {"grad_norm": norm, "lr": lr}
            self._read |= {"px": growth.px, "alpha": growth.alpha, "diversity": float(self.diversity.ratios.min())}
        return {**self._read, "microbatch": self.microbatch}

    def _update(
        self,
        name: str,
        images: Images,
        losses: Callable[[Images, Growth], dict[str, Tensor]],
        growth: Growth,
        *,
        seen: int,
    ) -> None:
        """Train one network on the batch."""
        # Gradients, microbatch by microbatch.
        optimizer, batch = self.optimizers[name], self.settings.train.batch
        optimizer.zero_grad(set_to_none=True)
        parts = []
        for first in range(0, self.share, self.microbatch):
            part = Images(*(each[first : first + self.microbatch] for each in images))
            try:
                with self.accelerator.autocast():
                    values = losses(part, growth)
                (values["loss"].sum() / batch).backward()  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                raise HistosynthError(
                    f"out of memory after {seen} images ({str(error)[:80]}); set train.microbatch to a multiple of "
                    f"{STDDEV_GROUP} below {self.microbatch}"
                ) from error
            parts.append({key: value.detach() for key, value in values.items()})
        # The gradient of all processes, and the values to log.
        gradients = [weight.grad for weight in self.networks[name].parameters() if weight.grad is not None]
        self._sum_gradients(gradients)
        sums = {key: torch.stack([part[key].sum() for part in parts]).sum() for key in parts[0]}
        per_image = torch.cat([part["loss"] for part in parts])
        self.updates.add(Update(seen, name, sums, torch.nn.utils.get_total_norm(gradients), per_image))
        # The step.
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(seen)
        optimizer.step()

    def _discriminator_losses(self, images: Images, growth: Growth) -> dict[str, Tensor]:
        """Return the loss of the discriminator and the other values to log, per image."""
        with torch.no_grad():
            fake = self.generator(images.z[:, 0], images.label, growth=growth)
        losses = discriminator_loss(
            lambda x: self.discriminator(x, images.label, growth=growth),
            images.x,
            fake.to(images.x.dtype),
            mix=images.mix,
            gan=self.settings.gan,
        )
        distances = {
            f"{side} {i}": each
            for side, x in (("real", images.x), ("fake", fake))
            for i, each in enumerate(pair_distances(x, images.label, labels=len(self.data.labels)))
        }
        return {**losses._asdict(), **distances}

    def _generator_losses(self, images: Images, growth: Growth) -> dict[str, Tensor]:
        """Return the loss of the generator per image."""
        fake = self.generator(images.z[:, 1], images.label, growth=growth)
        return {"loss": generator_loss(self.discriminator(fake, images.label, growth=growth), gan=self.settings.gan)}

    def _sum_gradients(self, gradients: list[Tensor]) -> None:
        """Sum gradients over the processes; all processes have the same parameters, as their growth is equal."""
        if self.accelerator.num_processes == 1:
            return
        summed = sum_over_processes(self.accelerator, torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(
            gradients, torch.split(summed, [gradient.numel() for gradient in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def _warn_on_collapse(self, *, fake: NDArray[np.float64], real: NDArray[np.float64], seen: int) -> None:
        """Warn where the diversity of the fakes of a label falls below a share of that of its reals."""
        before = self.diversity.ratios
        self.diversity.update(fake=fake, real=real, batch=self.settings.train.batch)
        for label, ratio, old in zip(self.data.labels, self.diversity.ratios, before, strict=True):
            if ratio < _COLLAPSED <= old and self.accelerator.is_main_process:
                warnings.warn(
                    f"after {seen} images, the diversity of fakes of {label} is {ratio:.2f} times that of real "
                    "patches: the generator may have collapsed; look at samples/, lower gan.lr, or start a new run",
                    stacklevel=3,
                )

    def preview(self, per_label: int = 6) -> dict[str, NDArray[np.uint8]]:
        """See `Task.preview`."""
        return generate_preview(
            self._generate, labels=self.data.labels, per_label=per_label, accelerator=self.accelerator
        )

    @torch.no_grad()
    def _generate(self, batches: Sequence[range]) -> list[NDArray[np.uint8]]:
        """Generate images from these seeds with the averaged weights, one array per batch."""
        labels, growth, generated = len(self.data.labels), self.growth(self.seen), []
        for seeds in batches:
            z = seeded_latents(seeds, size=self.settings.gan.latent).to(self.device)
            label = torch.tensor([seed % labels for seed in seeds], device=self.device)
            x = functional_call(self.generator, self.emas[0].weights, (z, label), {"growth": growth})
            generated.append(to_bytes(upsample(x, self.data.image_px // growth.px)))
        return generated

    def state(self) -> dict[str, Any]:
        """See `Task.state`."""
        return {
            "model": cpu_copy(self.model.state_dict()),
            "emas": [cpu_copy(ema.weights) for ema in self.emas],
            "optimizers": {name: cpu_copy(optimizer.state_dict()) for name, optimizer in self.optimizers.items()},
            "diversity": self.diversity.state(),
            "seen": self.seen,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """See `Task.load_state`."""
        self.model.load_state_dict(state["model"])
        self.emas[0].load(state["emas"][0])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.diversity.load(state["diversity"])
        self.seen = state["seen"]


def _check_supported(accelerator: Accelerator) -> None:
    if accelerator.scaler is not None:
        raise HistosynthError("a progan cannot be trained in fp16; set train.precision to auto, bf16 or fp32")
