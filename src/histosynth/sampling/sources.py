"""The patches that an edit begins with: rows of patch stores, or image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histosynth.errors import HistosynthError, did_you_mean
from histosynth.slides.image import ImageReader
from histosynth.slides.types import Box
from histosynth.store.part import Patch
from histosynth.store.store import Store
from histosynth.training.checkpoint import Origin

_SCALE_TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which patches to take.

    Attributes:
        paths: patch stores, and image files of one patch each.
        patches: ids to take from the stores; none: some of each label, drawn at random.
        split: where none are named, only those of this split; None: any.
        per_label: where none are named, so many of each label (all where it has fewer).
        seed: of that draw.
        label: the label of the image files; None: not known.
    """

    paths: Sequence[Path]
    patches: Sequence[str] = ()
    split: str | None = "held_out"
    per_label: int = 8
    seed: int = 0
    label: str | None = None


def read_sources(selection: Selection, *, origin: Origin) -> list[Patch]:
    """The patches selected, those of a store in its order, or in the order in which they were named.

    Raises:
        HistosynthError: no such patch, none at all, or one that is not of the model's size and scale.
    """
    if selection.label is not None:
        origin.label_index(selection.label)
    found = [_read_image(path, selection) for path in selection.paths if path.is_file()]
    stores = [Store(path) for path in selection.paths if not path.is_file()]
    if selection.patches:
        found += _named(stores, selection.patches)
    else:
        found += [patch for store in stores for patch in _drawn(store, selection, origin)]
    for patch in found:
        _check(patch, origin)
    return found


def _read_image(path: Path, selection: Selection) -> Patch:
    with ImageReader(path) as reader:
        image = reader.read(Box(x=0, y=0, width=reader.width_px, height=reader.height_px))
        return Patch(patch_id=path.stem, image=image, source="image", label=selection.label, mpp=reader.mpp)


def _named(stores: Sequence[Store], wanted: Sequence[str]) -> list[Patch]:
    places = {name: (store, row) for store in stores for row, name in enumerate(store.column("patch_id"))}
    for name in wanted:
        if name not in places:
            where = ", ".join(str(store.path) for store in stores) or "no store, as none was given"
            raise HistosynthError(f"no patch '{name}' in {where}{did_you_mean(name, places)}")
    return [store.patch(row) for store, row in (places[name] for name in wanted)]


def _drawn(store: Store, selection: Selection, origin: Origin) -> list[Patch]:
    rng = np.random.default_rng(selection.seed)
    rows: list[int] = []
    for label in origin.labels:
        there = store.select(split=selection.split, label=label)
        rows += sorted(rng.permutation(there)[: selection.per_label].tolist())
    if not rows:
        split = f" of split '{selection.split}'" if selection.split else ""
        raise HistosynthError(
            f"{store.path} has no patch{split} under a label of the model ({', '.join(origin.labels)}); "
            "choose another --split, or name patches with --patch"
        )
    return [store.patch(row) for row in rows]


def _check(patch: Patch, origin: Origin) -> None:
    height, width = patch.image.shape[:2]
    if height != origin.image_px or width != origin.image_px:
        raise HistosynthError(
            f"patch '{patch.patch_id}' is {width} x {height} px; this model draws {origin.image_px} x "
            f"{origin.image_px}: cut it with the settings of the model's store"
        )
    if patch.mpp and origin.mpp and abs(patch.mpp / origin.mpp - 1) > _SCALE_TOLERANCE:
        raise HistosynthError(
            f"patch '{patch.patch_id}' has {patch.mpp:.3g} um/px; this model draws at {origin.mpp:.3g}: "
            "cut it with the settings of the model's store"
        )
