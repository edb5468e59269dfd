"""The source patches of an edit: rows of patch stores, or image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histosynth.errors import HistosynthError, did_you_mean
from histosynth.slides.image import ImageReader
from histosynth.slides.types import Box
from histosynth.store.part import Patch
from histosynth.store.store import Store
from histosynth.training.origin import Origin

_SCALE_TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which patches to edit.

    Attributes:
        paths: patch stores, and image files of one patch each.
        patches: ids of patches in the stores; if empty, patches of each label are chosen at random.
        split: split of randomly chosen patches; None for any.
        per_label: randomly chosen patches per label (all of a label that has fewer).
        seed: seed of the random choice.
        label: the label of the image files; None if it is not known.
    """

    paths: Sequence[Path]
    patches: Sequence[str] = ()
    split: str | None = "held_out"
    per_label: int = 8
    seed: int = 0
    label: str | None = None


def read_sources(selection: Selection, *, origin: Origin) -> list[Patch]:
    """Read the selected patches, in the order of the store, or in the order in which they are named.

    Raises:
        HistosynthError: a named patch does not exist, no patch matches, or one differs from the model in size or scale.
    """
    if selection.label is not None:
        origin.label_index(selection.label)
    patches = [_read_image(path, selection) for path in selection.paths if path.is_file()]
    stores = [Store(path) for path in selection.paths if not path.is_file()]
    if selection.patches:
        patches += _named_patches(stores, selection.patches)
    else:
        patches += [patch for store in stores for patch in _random_patches(store, selection, origin)]
    for patch in patches:
        _check_size_and_scale(patch, origin)
    return patches


def _read_image(path: Path, selection: Selection) -> Patch:
    with ImageReader(path) as reader:
        image = reader.read(Box(x=0, y=0, width=reader.width_px, height=reader.height_px))
        return Patch(patch_id=path.stem, image=image, source="image", label=selection.label, mpp=reader.mpp)


def _named_patches(stores: Sequence[Store], names: Sequence[str]) -> list[Patch]:
    rows = {name: (store, row) for store in stores for row, name in enumerate(store.column("patch_id"))}
    for name in names:
        if name not in rows:
            if not stores:
                raise HistosynthError(f"patch '{name}' is named, but no store is given; add the store to the command")
            where = ", ".join(str(store.path) for store in stores)
            raise HistosynthError(f"no patch '{name}' in {where}{did_you_mean(name, rows)}")
    return [store.patch(row) for store, row in (rows[name] for name in names)]


def _random_patches(store: Store, selection: Selection, origin: Origin) -> list[Patch]:
    rng = np.random.default_rng(selection.seed)
    rows: list[int] = []
    for label in origin.labels:
        candidates = store.select(split=selection.split, label=label)
        rows += sorted(rng.permutation(candidates)[: selection.per_label].tolist())
    if not rows:
        split = f" of split '{selection.split}'" if selection.split else ""
        raise HistosynthError(
            f"{store.path} has no patch{split} with a label of the model ({', '.join(origin.labels)}); "
            "choose another --split, or name patches with --patch"
        )
    return [store.patch(row) for row in rows]


def _check_size_and_scale(patch: Patch, origin: Origin) -> None:
    height, width = patch.image.shape[:2]
    if height != origin.image_px or width != origin.image_px:
        raise HistosynthError(
            f"patch '{patch.patch_id}' is {width} x {height} px, but the model generates {origin.image_px} x "
            f"{origin.image_px} px; extract it with the settings of the model's store"
        )
    if patch.mpp and origin.mpp and abs(patch.mpp / origin.mpp - 1) > _SCALE_TOLERANCE:
        raise HistosynthError(
            f"patch '{patch.patch_id}' has {patch.mpp:.3g} um/px, but the model generates {origin.mpp:.3g} um/px; "
            "extract it with the settings of the model's store"
        )
