"""Edits of real patches by a trained denoiser: translation, interpolation, inpainting.

- translate: the patch is inverted to noise under its own label and regenerated under another (`diffusion.inversion`):
  what would this patch look like as IDHwt? The result is deterministic.
- interpolate: a sequence from one patch to another, through the noise between theirs (`diffusion.interpolation`).
- inpaint: the pixels of a mask are generated so that they fit the rest (`diffusion.inpainting`).

A patch without a label, or with a label unknown to the model, is inverted under the null label.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histosynth.diffusion import inpainting
from histosynth.diffusion.guidance import guided_denoiser
from histosynth.diffusion.interpolation import mix_denoisers, slerp
from histosynth.diffusion.inversion import invert, regenerate
from histosynth.diffusion.noise import SeededNoise
from histosynth.diffusion.samplers import Denoise
from histosynth.diffusion.thresholding import no_clipping
from histosynth.errors import HistosynthError
from histosynth.rundir import locks_output
from histosynth.sampling.batch_size import BatchSize, gpu_memory, pick_batch_size
from histosynth.sampling.edited_store import Edit, EditResult, write_edit_sheet, write_edits
from histosynth.sampling.fixed_batch import FixedBatch
from histosynth.sampling.made_with import BATCH, kept_batch
from histosynth.sampling.mask import central_square
from histosynth.sampling.precision import TYPES, Precision, pick_precision
from histosynth.sampling.sources import Selection, read_sources
from histosynth.store.part import Patch
from histosynth.training.checkpoint import find_weights, load_denoiser
from histosynth.training.data.dataset import to_tensor
from histosynth.training.device import pick_device
from histosynth.training.network_cost import evaluation_on_meta
from histosynth.training.origin import Origin

UNKNOWN = "no label"


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """Options that all edits share.

    Attributes:
        steps: steps from noise to image.
        guidance: classifier-free guidance from noise to image; 1 for none.
        batch: images at a time, see `sample.batch`; None: that of the run's settings.
        precision: see `sample.precision`; None: that of the run's settings.
        device: name of the device (None: the best available).
        progress: show a progress bar.
    """

    steps: int = 40
    guidance: float = 1.0
    batch: int | None = None
    precision: Precision | None = None
    device: str | None = None
    progress: bool = True


@locks_output
def translate(
    source: Path,
    selection: Selection,
    *,
    out: Path,
    to: Sequence[str] = (),
    depth: float = 1.0,
    options: EditOptions = EditOptions(),
) -> EditResult:
    """Generate patches as they would look with other labels.

    Args:
        source: a run (its newest weights), or a weights file.
        selection: the patches.
        out: the store.
        to: the target labels; if empty, all labels but the patch's own.
        depth: how far to go toward noise, as a share of the full range; less keeps more of the patch.
        options: options that all edits share.

    Raises:
        HistosynthError: see `read_sources` and `write_edits`; an unknown label; more steps than the process has.
    """
    # Model, sources, and one edit per source and target label.
    model = _Editor.load(source, options, out=out)
    patches = read_sources(selection, origin=model.origin)
    for name in to:  # rejects an unknown label before any work
        model.origin.label_index(name)
    edits = [
        Edit(
            patch_id=f"{model.origin.run}_{patch.patch_id}_to_{_safe(label)}",
            sources=(patch,), label=label, sheet_row=f"{patch.label or UNKNOWN}: as {label}",
        )
        for patch in patches for label in to or [name for name in model.origin.labels if name != patch.label]
    ]  # fmt: skip

    # Invert under the source label, regenerate under the target label.
    def generate(batch: Sequence[Edit]) -> Tensor:
        latent = model.invert([edit.sources[0] for edit in batch], depth=depth)
        denoise = model.denoise([edit.label for edit in batch], guidance=options.guidance)
        return regenerate(denoise, model.schedule, latent=latent, steps=options.steps, depth=depth)

    return model.write(
        out, edits, generate=generate, kind="translate", sources=_by_label(patches), settings={"depth": depth}
    )


@locks_output
def interpolate(
    source: Path, selection: Selection, *, out: Path, frames: int = 7, options: EditOptions = EditOptions()
) -> EditResult:
    """Generate `frames` patches from one patch to another, both ends included, as the model reconstructs them.

    Raises:
        HistosynthError: see `translate`; the selection is not two patches.
    """
    # Model and the two ends.
    model = _Editor.load(source, options, out=out)
    patches = read_sources(selection, origin=model.origin)
    if len(patches) != 2:
        raise HistosynthError(
            f"interpolation needs two patches, but {len(patches)} are selected; name two with --patch"
        )
    a, b = patches
    # The frames; between two labels, a frame has no label.
    between = a.label if a.label == b.label else None
    group = f"{a.label or UNKNOWN} to {b.label or UNKNOWN}"
    edits = [
        Edit(
            patch_id=f"{model.origin.run}_{a.patch_id}_{b.patch_id}_{i:02d}",
            sources=(a, b), label={0: a.label, frames - 1: b.label}.get(i, between),
            sheet_row=f"{group}: between", weight=i / (frames - 1),
        )
        for i in range(frames)
    ]  # fmt: skip

    # Regenerate from mixed latents with a mixed denoiser.
    def generate(batch: Sequence[Edit]) -> Tensor:
        weight = torch.tensor([edit.weight for edit in batch], dtype=torch.float64)
        first, second = ([edit.sources[k] for edit in batch] for k in (0, 1))
        latent = slerp(model.invert(first), model.invert(second), weight=weight)
        denoisers = [model.denoise([p.label for p in ends], guidance=options.guidance) for ends in (first, second)]
        denoise = mix_denoisers(*denoisers, weight=weight.to(latent))
        return regenerate(denoise, model.schedule, latent=latent, steps=options.steps)

    return model.write(out, edits, generate=generate, kind="interpolate", sources={group: patches}, settings={})


@locks_output
def inpaint(
    source: Path,
    selection: Selection,
    *,
    out: Path,
    hole: NDArray[np.bool_] | float = 0.5,
    to: str | None = None,
    variants: int = 1,
    seed: int = 0,
    repeats: int = 10,
    options: EditOptions = EditOptions(),
) -> EditResult:
    """Generate the masked part of each patch.

    Args:
        source: a run (its newest weights), or a weights file.
        selection: the patches.
        out: the store.
        hole: (S, S), true where to inpaint; or the side of a central square, as a share of the patch side.
        to: the label of the inpainted part (None: the patch's own).
        variants: results per patch.
        seed: seed of the first variant; an image depends on its seed, the patch and the hole alone.
        repeats: how often each step is repeated, see `diffusion.inpainting`.
        options: options that all edits share.

    Raises:
        HistosynthError: see `translate`; a mask of another size, or an empty one.
    """
    model = _Editor.load(source, options, out=out)
    # The mask: everything outside it is kept.
    side = model.origin.image_px
    mask = central_square(side, share=hole) if isinstance(hole, float) else hole
    if mask.shape != (side, side):
        raise HistosynthError(
            f"the mask is {mask.shape[1]} x {mask.shape[0]} px, but the patches are {side} x {side} px; pass a mask of "
            "that size"
        )
    if not mask.any():
        raise HistosynthError("the mask is empty; paint the area to be inpainted white")
    # The edits: variants differ in their seed.
    patches = read_sources(selection, origin=model.origin)
    if to is not None:
        model.origin.label_index(to)
    edits = [
        Edit(
            patch_id=f"{model.origin.run}_{patch.patch_id}_filled_{seed + i}",
            sources=(patch,), label=to or patch.label, sheet_row=f"{patch.label or UNKNOWN}: seed {seed + i}",
            seed=seed + i,
        )
        for patch in patches for i in range(variants)
    ]  # fmt: skip
    known = torch.from_numpy(~mask).to(model.device)

    def generate(batch: Sequence[Edit]) -> Tensor:
        noise = SeededNoise([edit.seed for edit in batch], image_px=side, device=model.device)
        denoise = model.denoise([edit.label for edit in batch], guidance=options.guidance)
        image = model.images([edit.sources[0] for edit in batch])
        return inpainting.inpaint(
            denoise, model.schedule, image=image, known=known, steps=options.steps, draw=noise.draw, repeats=repeats
        )

    settings = {"repeats": repeats, "mask_sha256": sha256(np.packbits(mask).tobytes()).hexdigest()}
    return model.write(out, edits, generate=generate, kind="inpaint", sources=_by_label(patches), settings=settings)


class _Editor:
    """A trained denoiser on its device, with the provenance of its weights and the options of the edit."""

    def __init__(
        self,
        denoiser: FixedBatch,
        origin: Origin,
        *,
        weights: Path,
        options: EditOptions,
        device: torch.device,
        batch: BatchSize,
        precision: str,
    ) -> None:
        self.denoiser, self.origin, self.weights, self.options, self.device = denoiser, origin, weights, options, device
        self.schedule, self.batch, self.precision = denoiser.schedule, batch, precision

    @classmethod
    def load(cls, source: Path, options: EditOptions, *, out: Path) -> "_Editor":
        weights = find_weights(source)
        denoiser, origin = load_denoiser(weights)
        device, settings = pick_device(options.device), origin.settings.sample
        precision = pick_precision(options.precision or settings.precision, device)
        try:
            denoiser.schedule.times(options.steps)
        except ValueError as error:
            raise HistosynthError(f"--steps: {error}") from error
        batch = pick_batch_size(
            evaluation_on_meta(denoiser, image_px=origin.image_px),
            gpu_memory=gpu_memory(device),
            batch=settings.batch if options.batch is None else options.batch,
            kept=kept_batch(out),
        )
        denoiser = denoiser.to(device).to(memory_format=torch.channels_last)
        fixed = FixedBatch(denoiser, group=batch.evaluation, dtype=TYPES[precision])
        return cls(fixed, origin, weights=weights, options=options, device=device, batch=batch, precision=precision)

    def label_index(self, label: str | None) -> int:
        """Return the index of a label, or the index of the null label if the model does not know it."""
        return self.origin.labels.index(label) if label in self.origin.labels else self.denoiser.null_label

    def denoise(self, labels: Sequence[str | None], *, guidance: float = 1.0) -> Denoise:
        """Return the denoiser under these labels, without clipping, which the inversion could not undo."""
        indices = torch.tensor([self.label_index(label) for label in labels], device=self.device)
        return guided_denoiser(self.denoiser, indices, guidance=guidance, clip=no_clipping)

    def images(self, patches: Sequence[Patch]) -> Tensor:
        return to_tensor(np.stack([patch.image for patch in patches])).to(self.device)

    def invert(self, patches: Sequence[Patch], *, depth: float = 1.0) -> Tensor:
        """Return the latents of the patches; a patch that occurs several times is inverted once."""
        unique = {patch.patch_id: patch for patch in patches}
        order = [list(unique).index(patch.patch_id) for patch in patches]
        denoise = self.denoise([patch.label for patch in unique.values()])
        image = self.images(list(unique.values()))
        return invert(denoise, self.schedule, image=image, steps=self.options.steps, depth=depth)[order]

    def write(
        self,
        out: Path,
        edits: Sequence[Edit],
        *,
        generate: Callable[[Sequence[Edit]], Tensor],
        kind: str,
        sources: dict[str, list[Patch]],
        settings: dict[str, object],
    ) -> EditResult:
        made_with = {
            "steps": self.options.steps,
            "guidance": self.options.guidance,
            "device": self.device.type,
            "precision": self.precision,
            BATCH: self.batch.evaluation,
            **settings,
        }
        generated = write_edits(
            out, edits, generate=generate, kind=kind, origin=self.origin, weights=self.weights, made_with=made_with,
            batch=self.batch.call, progress=self.options.progress,
        )  # fmt: skip
        sheet = write_edit_sheet(out, edits, sources=sources)
        return EditResult(store=out, sheet=sheet, images=len(edits), generated=generated)


def _by_label(patches: Sequence[Patch]) -> dict[str, list[Patch]]:
    labels = dict.fromkeys(patch.label or UNKNOWN for patch in patches)
    return {label: [patch for patch in patches if (patch.label or UNKNOWN) == label] for label in labels}


def _safe(label: str) -> str:
    """Return a label as part of a file name."""
    return re.sub(r"[^\w.-]", "-", label)
