"""The memorization audit: all that is known of whether a model copies its training patients, as one record."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.metrics.copies import (
    SYMMETRIES,
    Copy,
    LoadImages,
    Threshold,
    calibrate_threshold,
    compute_textures,
    find_copies,
    match_patches,
)
from histosynth.metrics.memorization import Closeness, measure_closeness, measure_controls

N_CLOSEST = 12
"""Pairs that are named though they may be no copies."""


@dataclass(frozen=True, kw_only=True)
class Patches:
    """One side. Pixels are compared for all patches; features may be those of some of them."""

    ids: Sequence[str]
    images: LoadImages
    features: NDArray[np.float32]  # (n, D)
    patients: Sequence[str | None] = ()  # of each row of the features; of training patches


@dataclass(frozen=True, kw_only=True)
class Pair(Copy):
    """A synthetic patch, and the training patch that it is most like."""

    fake_id: str
    train_id: str


@dataclass(frozen=True, kw_only=True)
class MemorizationAudit:
    """What was found. Features: `synthetic`, beside two controls that are real. Pixels: the rest."""

    n_train: int
    n_held_out: int
    n_fake: int
    synthetic: Closeness
    left_out_patients: Closeness
    left_out_patches: Closeness
    plain_train: int  # too uniform to be compared
    plain_fake: int
    threshold: Threshold
    copies: tuple[Pair, ...]  # all, the most similar first
    closest: tuple[Pair, ...]  # the first twelve of all pairs, copies or not

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, with the symmetry of a pair in words too."""
        found = asdict(self)
        for pair in (*found["copies"], *found["closest"]):
            pair["train_is"] = SYMMETRIES[pair["symmetry"]]
        return {**found, "copies": list(found["copies"]), "closest": list(found["closest"])}


def audit_memorization(
    *, train: Patches, held_out: Patches, fake: Patches, seed: int = 0, progress: bool = False
) -> MemorizationAudit:
    """Compare synthetic with training patches in features and in pixels.

    Held-out patches may be none: then C_T is not measured (the notes say so) and the threshold is the lower bound.

    Args:
        train: the patches that the model was trained on, with their patients.
        held_out: those of patients that it has not seen.
        fake: its samples.
        seed: decides the cells of C_T and what the controls take out.
        progress: show a bar with patches a second on standard error.

    Raises:
        HistosynthError: no training or no synthetic patches.
    """
    for side, name, remedy in (
        (train, "training", "give the store that the model was trained on"),
        (fake, "synthetic", "sample some with `histosynth sample`"),
    ):
        if not len(side.ids):
            raise HistosynthError(f"no {name} patches, so copies cannot be looked for; {remedy}")
    total = len(train.ids) + 2 * len(fake.ids) + len(held_out.ids)
    with tqdm(total=total, desc="copies", unit="patch", disable=not progress) as bar:
        seen = {name: compute_textures(side.images, len(side.ids), progress=bar)
                for name, side in (("train", train), ("held_out", held_out), ("fake", fake))}  # fmt: skip
        threshold = calibrate_threshold(seen["held_out"], seen["train"])
        matches = match_patches(seen["fake"], seen["train"], progress=bar)
    pairs = [
        Pair(**asdict(copy), fake_id=fake.ids[copy.fake_row], train_id=train.ids[copy.train_row])
        for copy in find_copies(matches, threshold=-1)
    ]
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
        plain_train=int(np.count_nonzero(~seen["train"].can_be_copied)),
        plain_fake=int(np.count_nonzero(~seen["fake"].can_be_compared)),
        threshold=threshold,
        copies=tuple(pair for pair in pairs if pair.similarity >= threshold.value),
        closest=tuple(pairs[:N_CLOSEST]),
    )
