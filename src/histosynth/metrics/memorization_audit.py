"""Memorization audit: all evidence on whether a model copies its training patients, as one record."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.metrics.copies import (
    Copy,
    LoadImages,
    Threshold,
    calibrate_threshold,
    compute_textures,
    find_copies,
    match_patches,
)
from histosynth.metrics.memorization import Closeness, measure_closeness, measure_controls
from histosynth.metrics.symmetries import SYMMETRIES

N_CLOSEST = 12
"""Number of closest pairs that are listed, copies or not."""


@dataclass(frozen=True, kw_only=True)
class Patches:
    """One side. Features may be those of a subset, except for training patches, any of which may be copied."""

    ids: Sequence[str]
    images: LoadImages
    features: NDArray[np.float32]  # (n, D)
    patients: Sequence[str | None] = ()  # of each row of the features; needed for training patches


@dataclass(frozen=True, kw_only=True)
class Pair(Copy):
    """A synthetic patch, and the training patch most similar to it."""

    fake_id: str
    train_id: str


@dataclass(frozen=True, kw_only=True)
class MemorizationAudit:
    """Result of an audit. Features: `synthetic` and two real controls, `left_out_…`. Pixels: the other fields."""

    n_train: int
    n_held_out: int
    n_fake: int
    synthetic: Closeness
    left_out_patients: Closeness
    left_out_patches: Closeness
    plain_train: int  # too uniform to compare
    plain_fake: int
    threshold: Threshold
    copies: tuple[Pair, ...]  # all of them, the most similar first
    closest: tuple[Pair, ...]  # the first twelve of all pairs, copies or not

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with the name of the symmetry of each pair."""
        values = asdict(self)
        for pair in (*values["copies"], *values["closest"]):
            pair["symmetry_name"] = SYMMETRIES[pair["symmetry"]]
        return {**values, "copies": list(values["copies"]), "closest": list(values["closest"])}


def audit_memorization(
    *, train: Patches, held_out: Patches, fake: Patches, seed: int = 0, progress: bool = False
) -> MemorizationAudit:
    """Compare synthetic with training patches in features and in pixels.

    Without held-out patches, C_T is not measured (the notes say so), and the threshold is its lower bound.

    Args:
        train: the patches that the model was trained on, with their patients.
        held_out: patches of patients that are not in its training set.
        fake: its samples.
        seed: determines the cells of C_T and the patches that the controls remove.
        progress: show a bar with patches per second on standard error.

    Raises:
        HistosynthError: there are no training or no synthetic patches.
    """
    for side, name, remedy in (
        (train, "training", "pass the store that the model was trained on"),
        (fake, "synthetic", "generate some with `histosynth sample`"),
    ):
        if not len(side.ids):
            raise HistosynthError(f"there are no {name} patches, so copies cannot be searched for; {remedy}")
    # Compare pixels.
    total = len(train.ids) + 2 * len(fake.ids) + len(held_out.ids)
    with tqdm(total=total, desc="copies", unit="patch", disable=not progress) as bar:
        sides = {name: compute_textures(side.images, len(side.ids), progress=bar)
                for name, side in (("train", train), ("held_out", held_out), ("fake", fake))}  # fmt: skip
        threshold = calibrate_threshold(sides["held_out"], sides["train"])
        matches = match_patches(sides["fake"], sides["train"], progress=bar)
    pairs = [
        Pair(**asdict(copy), fake_id=fake.ids[copy.fake_row], train_id=train.ids[copy.train_row])
        for copy in find_copies(matches, threshold=-1)
    ]
    # Compare features.
    by_patient, by_patch = measure_controls(
        held_out.features, train.features, patients=train.patients, n=len(fake.features), seed=seed
    )
    return MemorizationAudit(
        n_train=len(train.ids),
        n_held_out=len(held_out.ids),
        n_fake=len(fake.ids),
        synthetic=measure_closeness(fake.features, held_out.features, train.features, seed=seed),
        left_out_patients=by_patient,
        left_out_patches=by_patch,
        plain_train=int(np.count_nonzero(~sides["train"].can_be_copied)),
        plain_fake=int(np.count_nonzero(~sides["fake"].can_be_compared)),
        threshold=threshold,
        copies=tuple(pair for pair in pairs if pair.similarity >= threshold.value),
        closest=tuple(pairs[:N_CLOSEST]),
    )
