"""Real patches edited by a trained model: another genotype, between two patches, or part of a patch drawn anew.

- translate: up to the noise under the patch's own label, down under another (`diffusion.inversion`): what would this
  look like as IDHwt? No chance is in it.
- interpolate: from one patch to another through the noise between theirs (`diffusion.interpolation`).
- inpaint: the pixels of a mask drawn anew so that they fit the rest (`diffusion.inpainting`).

A patch without a label, or of one that the model does not know, is read under the null label.
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
from histosynth.sampling.edited_store import Edit, EditResult, write_edit_sheet, write_edits
from histosynth.sampling.fixed_batch import FixedBatch
from histosynth.sampling.sources import Selection, read_sources
from histosynth.slides.image import ImageReader
from histosynth.slides.types import Box
from histosynth.store.part import Patch
from histosynth.training.checkpoint import Origin, find_weights, load_denoiser
from histosynth.training.data.dataset import to_tensor
from histosynth.training.device import pick_device

UNKNOWN = "no label"


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """How a model is run.

    Attributes:
        steps: steps from noise to image.
        guidance: classifier-free guidance on the way down; 1 for none.
        batch: images at a time; it changes the speed, never an image.
        device: name of the device (None: the best there is).
        progress: show a progress bar.
    """

    steps: int = 40
    guidance: float = 1.0
    batch: int = 16
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
    """Draw patches as they would look under other labels.

    Args:
        source: a run (its newest weights), or a weights file.
        selection: the patches.
        out: the store.
        to: the labels; none given: for each patch all but its own.
        depth: the share of the way to noise; less keeps more of the patch.
        how: how the model is run.

    Raises:
        HistosynthError: see `read_sources` and `write_edits`; an unknown label; steps that the process does not have.
    """
    model = _Editor.load(source, options)
    patches = read_sources(selection, origin=model.origin)
    for name in to:
        model.origin.label_index(name)
    edits = [
        Edit(
            patch_id=f"{model.origin.run}_{patch.patch_id}_to_{_safe(label)}",
            sources=(patch,), label=label, row=f"{patch.label or UNKNOWN}: as {label}",
        )
        for patch in patches for label in to or [name for name in model.origin.labels if name != patch.label]
    ]  # fmt: skip

    def draw(some: Sequence[Edit]) -> Tensor:
        latent = model.inverted([edit.sources[0] for edit in some], depth=depth)
        down = model.denoise([edit.label for edit in some], guidance=options.guidance)
        return regenerate(down, model.schedule, latent=latent, steps=options.steps, depth=depth)

    return model.write(out, edits, draw=draw, kind="translate", before=_by_label(patches), extra={"depth": depth})


@locks_output
def interpolate(
    source: Path, selection: Selection, *, out: Path, frames: int = 7, options: EditOptions = EditOptions()
) -> EditResult:
    """Draw `frames` patches from the first to the second of two, ends included (as the model gives them back).

    Raises:
        HistosynthError: see `translate`; not two patches.
    """
    model = _Editor.load(source, options)
    patches = read_sources(selection, origin=model.origin)
    if len(patches) != 2:
        raise HistosynthError(f"interpolation goes from one patch to another, not among {len(patches)}; name two")
    a, b = patches
    between = a.label if a.label == b.label else None
    group = f"{a.label or UNKNOWN} to {b.label or UNKNOWN}"
    edits = [
        Edit(
            patch_id=f"{model.origin.run}_{a.patch_id}_{b.patch_id}_{i:02d}",
            sources=(a, b), label={0: a.label, frames - 1: b.label}.get(i, between),
            row=f"{group}: between", weight=i / (frames - 1),
        )
        for i in range(frames)
    ]  # fmt: skip

    def draw(some: Sequence[Edit]) -> Tensor:
        weight = torch.tensor([edit.weight for edit in some], dtype=torch.float64)
        first, second = ([edit.sources[k] for edit in some] for k in (0, 1))
        latent = slerp(model.inverted(first), model.inverted(second), weight=weight)
        down = [model.denoise([p.label for p in ends], guidance=options.guidance) for ends in (first, second)]
        denoise = mix_denoisers(*down, weight=weight.to(latent))
        return regenerate(denoise, model.schedule, latent=latent, steps=options.steps)

    return model.write(out, edits, draw=draw, kind="interpolate", before={group: patches}, extra={})


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
    """Draw part of patches anew.

    Args:
        source: a run (its newest weights), or a weights file.
        selection: the patches.
        out: the store.
        hole: (S, S), true where to draw; or the side of a square in the middle as a share of the patch's.
        to: the label to draw under (None: the patch's own).
        variants: fillings of each patch.
        seed: of the first filling; the image depends on it, the patch and the hole alone.
        repeats: how often each step is taken, see `diffusion.inpainting`.
        how: how the model is run.

    Raises:
        HistosynthError: see `translate`; a hole of another size, or none.
    """
    model = _Editor.load(source, options)
    side = model.origin.image_px
    mask = central_square(side, share=hole) if isinstance(hole, float) else hole
    if mask.shape != (side, side):
        raise HistosynthError(f"the mask is {mask.shape[1]} x {mask.shape[0]} px, the patches {side} x {side}")
    if not mask.any():
        raise HistosynthError("the mask leaves nothing to draw; paint what is to be drawn anew white")
    patches = read_sources(selection, origin=model.origin)
    if to is not None:
        model.origin.label_index(to)
    edits = [
        Edit(
            patch_id=f"{model.origin.run}_{patch.patch_id}_filled_{seed + i}",
            sources=(patch,), label=to or patch.label, row=f"{patch.label or UNKNOWN}: filling {seed + i}",
            seed=seed + i,
        )
        for patch in patches for i in range(variants)
    ]  # fmt: skip
    known = torch.from_numpy(~mask).to(model.device)

    def draw(some: Sequence[Edit]) -> Tensor:
        noise = SeededNoise([edit.seed for edit in some], image_px=side, device=model.device)
        denoise = model.denoise([edit.label for edit in some], guidance=options.guidance)
        image = model.images([edit.sources[0] for edit in some])
        return inpainting.inpaint(
            denoise, model.schedule, image=image, known=known, steps=options.steps, draw=noise.draw, repeats=repeats
        )

    extra = {"repeats": repeats, "mask_sha256": sha256(np.packbits(mask).tobytes()).hexdigest()}
    return model.write(out, edits, draw=draw, kind="inpaint", before=_by_label(patches), extra=extra)


def central_square(side_px: int, *, share: float) -> NDArray[np.bool_]:
    """A mask of that side, true in a square in the middle whose side is `share` of it."""
    mask = np.zeros((side_px, side_px), dtype=bool)
    size = round(share * side_px)
    start = (side_px - size) // 2
    mask[start : start + size, start : start + size] = True
    return mask


def read_mask(path: Path) -> NDArray[np.bool_]:
    """The mask of an image file: true where it is more white than black."""
    with ImageReader(path) as reader:
        image = reader.read(Box(x=0, y=0, width=reader.width_px, height=reader.height_px))
    return np.asarray(image.mean(axis=2) > 127.5)


class _Editor:
    """A trained denoiser on its device, and what its weights say of themselves."""

    def __init__(
        self, denoiser: FixedBatch, origin: Origin, *, weights: Path, options: EditOptions, device: torch.device
    ) -> None:
        self.denoiser, self.origin, self.weights, self.options, self.device = denoiser, origin, weights, options, device
        self.schedule = denoiser.schedule

    @classmethod
    def load(cls, source: Path, options: EditOptions) -> "_Editor":
        weights = find_weights(source)
        denoiser, origin = load_denoiser(weights)
        device = pick_device(options.device)
        try:
            denoiser.schedule.times(options.steps)
        except ValueError as error:
            raise HistosynthError(f"--steps: {error}") from error
        denoiser = FixedBatch(denoiser.to(device).to(memory_format=torch.channels_last), device=device)
        return cls(denoiser, origin, weights=weights, options=options, device=device)

    def number(self, label: str | None) -> int:
        """The number of a label; the null label's where it is none of the model's."""
        return self.origin.labels.index(label) if label in self.origin.labels else self.denoiser.null_label

    def denoise(self, labels: Sequence[str | None], *, guidance: float = 1.0) -> Denoise:
        """The denoiser under these labels. Nothing is clipped: the way back could not undo it."""
        numbers = torch.tensor([self.number(label) for label in labels], device=self.device)
        return guided_denoiser(self.denoiser, numbers, guidance=guidance, clip=no_clipping)

    def images(self, patches: Sequence[Patch]) -> Tensor:
        return to_tensor(np.stack([patch.image for patch in patches])).to(self.device)

    def inverted(self, patches: Sequence[Patch], *, depth: float = 1.0) -> Tensor:
        """Their latents; a patch that comes several times is inverted once."""
        unique = {patch.patch_id: patch for patch in patches}
        order = [list(unique).index(patch.patch_id) for patch in patches]
        up = self.denoise([patch.label for patch in unique.values()])
        image = self.images(list(unique.values()))
        return invert(up, self.schedule, image=image, steps=self.options.steps, depth=depth)[order]

    def write(
        self,
        out: Path,
        edits: Sequence[Edit],
        *,
        draw: Callable[[Sequence[Edit]], Tensor],
        kind: str,
        before: dict[str, list[Patch]],
        extra: dict[str, object],
    ) -> EditResult:
        made_with = {
            "steps": self.options.steps,
            "guidance": self.options.guidance,
            "device": self.device.type,
            **extra,
        }
        made = write_edits(
            out, edits, draw=draw, kind=kind, origin=self.origin, weights=self.weights, made_with=made_with,
            batch=self.options.batch, progress=self.options.progress,
        )  # fmt: skip
        return EditResult(store=out, sheet=write_edit_sheet(out, edits, before=before), images=len(edits), made=made)


def _by_label(patches: Sequence[Patch]) -> dict[str, list[Patch]]:
    labels = dict.fromkeys(patch.label or UNKNOWN for patch in patches)
    return {label: [patch for patch in patches if (patch.label or UNKNOWN) == label] for label in labels}


def _safe(label: str) -> str:
    """A label as part of a file's name."""
    return re.sub(r"[^\w.-]", "-", label)
