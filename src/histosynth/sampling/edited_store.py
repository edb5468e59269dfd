"""A store of edited patches: like a sample store, and it says which real patch each was made from.

An edit is synthetic, yet not independent of its patient: it keeps his layout, and an inpainted one his pixels. So it
has the split of its source, and an edit of a held-out patient's patch stays out of training; patient and slide stand in
the manifest. Parts hold a block of edits each, and the same command again makes only the parts that are missing.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.rundir import versions
from histosynth.sampling.made_with import prepare_store, sha256_of
from histosynth.store.contact_sheet import save_contact_sheet
from histosynth.store.part import Patch, part_fingerprint, part_path, write_part
from histosynth.store.png import synthetic_mark
from histosynth.store.store import Store, write_manifest
from histosynth.training.checkpoint import Origin
from histosynth.training.data.dataset import to_bytes

NOTE = (
    "Each patch was made from the real patches named under its `from`, keeps their layout (an inpainted one also their "
    "pixels), and has their split: edits of held-out patients must not enter training."
)
SHEET_NOTE = "beside the real patches from which they were made"
"""Appended to the description of a contact sheet that shows both."""
_BLOCK = 64  # edits a part
_SHOWN = 12  # columns of the contact sheet


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One patch to make.

    Attributes:
        patch_id: its name.
        sources: the patches that it is made from, one or two.
        label: what it will be labeled; None where it lies between two.
        row: the row of the contact sheet that it stands in.
        weight: how far it is from the first source to the second.
        seed: of its noise, where it needs any.
    """

    patch_id: str
    sources: tuple[Patch, ...]
    label: str | None
    row: str
    weight: float = 0.0
    seed: int = 0

    @property
    def split(self) -> str | None:
        """That of its sources; held out where either is."""
        splits = [source.split for source in self.sources]
        return "held_out" if "held_out" in splits else splits[0]


@dataclass(frozen=True, kw_only=True)
class EditResult:
    """What a call made.

    Attributes:
        store: the store.
        sheet: its contact sheet, sources above what became of them.
        images: patches in it.
        made: patches made by this call.
    """

    store: Path
    sheet: Path
    images: int
    made: int


def write_edits(
    out: Path,
    edits: Sequence[Edit],
    *,
    draw: Callable[[Sequence[Edit]], Tensor],
    kind: str,
    origin: Origin,
    weights: Path,
    made_with: Mapping[str, object],
    batch: int,
    progress: bool,
) -> int:
    """Make the edits that are missing, then the manifest; returns how many were made.

    Args:
        out: the store.
        edits: all that it shall hold.
        draw: makes the images of some edits, (B, 3, S, S) in [-1, 1].
        kind: `translate`, `interpolate` or `inpaint`.
        origin: of the weights.
        weights: their file.
        made_with: what else decides the images.
        batch: edits at a time.
        progress: show a progress bar.

    Raises:
        HistosynthError: two edits of one name; a directory that holds something else, or other edits.
    """
    names = [edit.patch_id for edit in edits]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise HistosynthError(f"two results would be called '{twice[0]}'; name every source and label once")
    made_with = {"edit": kind, **made_with, "run": origin.run, "weights_sha256": sha256_of(weights)}
    made_with["edits"] = _digest(edits)
    prepare_store(out, made_with)
    made = 0
    with tqdm(total=len(edits), unit="img", desc=kind, disable=not progress) as bar:
        for start in range(0, len(edits), _BLOCK):
            path, block = part_path(out, f"{origin.run}-{kind}-{start:07d}"), edits[start : start + _BLOCK]
            if part_fingerprint(path) != str(made_with):
                patches = []
                for i in range(0, len(block), batch):
                    some = block[i : i + batch]
                    with torch.inference_mode():
                        images = to_bytes(draw(some))
                    patches += [
                        _patch(edit, image, origin, made_with) for edit, image in zip(some, images, strict=True)
                    ]
                    bar.update(len(some))
                write_part(path, patches, fingerprint=str(made_with))
                made += len(block)
            else:
                bar.update(len(block))
    sources = {source.patch_id: source for edit in edits for source in edit.sources}
    facts = {"synthetic": True, "edit": kind, "note": NOTE, "source": origin.run, "weights": str(weights)}
    facts |= {"made_with": made_with, "sources": {name: _facts(patch) for name, patch in sources.items()}}
    facts["edits"] = {
        edit.patch_id: {"from": [s.patch_id for s in edit.sources], "weight": edit.weight, "seed": edit.seed}
        for edit in edits
    }
    write_manifest(out, {**facts, "versions": versions()})
    return made


def write_edit_sheet(store: Path, edits: Sequence[Edit], *, before: Mapping[str, Sequence[Patch]]) -> Path:
    """Write the contact sheet: the sources of each group, then the rows of edits whose name begins with the group's."""
    opened = Store(store)
    at = {name: row for row, name in enumerate(opened.column("patch_id"))}
    rows: dict[str, NDArray[np.uint8]] = {}
    for group, patches in before.items():
        rows[f"{group}: real"] = np.stack([patch.image for patch in patches[:_SHOWN]])
        for title in dict.fromkeys(edit.row for edit in edits if edit.row.startswith(f"{group}: ")):
            names = [edit.patch_id for edit in edits if edit.row == title][:_SHOWN]
            rows[f"{title} (synthetic)"] = opened.images([at[name] for name in names])
    path, mark = store / "contact_sheet.png", synthetic_mark(", ".join(opened.generators), note=SHEET_NOTE)
    save_contact_sheet(path, rows, texts=mark, columns=max(map(len, rows.values())))
    return path


def _patch(edit: Edit, image: NDArray[np.uint8], origin: Origin, made_with: Mapping[str, object]) -> Patch:
    texts = synthetic_mark(origin.run, software="histosynth") | {"Edit": str(made_with["edit"])}
    texts |= {
        "From": ", ".join(source.patch_id for source in edit.sources),
        "Weights": str(made_with["weights_sha256"]),
    }
    return Patch(
        patch_id=edit.patch_id, image=image, source=origin.run, label=edit.label, mpp=origin.mpp, split=edit.split,
        texts=texts | ({"Label": edit.label} if edit.label else {}),
    )  # fmt: skip


def _facts(patch: Patch) -> dict[str, object]:
    names = ("source", "label", "slide_id", "patient_id", "split", "x", "y", "extent")
    return {name: getattr(patch, name) for name in names}


def _digest(edits: Sequence[Edit]) -> str:
    digest = hashlib.sha256()
    for edit in edits:
        digest.update(repr((edit.patch_id, edit.label, edit.split, edit.weight, edit.seed)).encode())
        for source in edit.sources:
            digest.update(repr((source.patch_id, source.label)).encode() + source.image.tobytes())
    return digest.hexdigest()
