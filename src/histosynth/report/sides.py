"""The three sides that a report compares (real held-out, real training, synthetic), and how many patches of each enter.

The Fréchet distance, precision and recall all depend on the number of images. Every comparison of a label therefore
takes the same number from each side: as many as the smallest side has. The patches of a side and label are put in one
random order. Every comparison takes the first n of it, and the image grids show the first few: none is picked by hand.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.store.store import Store

SideName = Literal["held_out", "train", "fake"]
SIDES: tuple[SideName, ...] = ("held_out", "train", "fake")
SIDE_TITLES: Mapping[SideName, str] = {"held_out": "real, held-out", "train": "real, training", "fake": "synthetic"}
UNLABELED = "all patches"
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Side:
    """Patches of one side, by label, each label in its random order."""

    name: SideName
    store: Store
    rows: Mapping[str, NDArray[np.int64]]  # label -> row numbers in the store

    def patients(self, label: str | None = None) -> int:
        """Return the number of patients of that label (None: of all labels); 0 where the store names none."""
        return len(patients_of(self.store, np.concatenate([r for k, r in self.rows.items() if label in (None, k)])))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sides to compare, and the number of patches of each comparison."""

    sides: Mapping[SideName, Side]
    labels: list[str]
    n: Mapping[str, int]  # label -> patches of each side that enter; 0 where fewer than two sides have enough
    min_patches: int  # with fewer there are no results
    reference: Literal["held_out", "train"] = "held_out"  # `train`: held-out patches take no part and do not limit n

    def usable(self, side: SideName, label: str) -> bool:
        """Return True if that side takes part and has enough patches of the label."""
        return side in taking_part(self.reference) and len(self.sides[side].rows[label]) >= self.min_patches

    @property
    def present(self) -> list[SideName]:
        """The sides with enough patches of at least one label."""
        return [side for side in SIDES if any(self.usable(side, label) for label in self.labels)]

    @property
    def pooled(self) -> list[str]:
        """The labels of which every present side has enough: overall results pool these, in equal shares per side."""
        return [label for label in self.labels if self.n[label] and all(self.usable(s, label) for s in self.present)]


def taking_part(reference: Literal["held_out", "train"]) -> list[SideName]:
    """Return the sides that are compared: all, or those without held-out patients."""
    return [side for side in SIDES if reference == "held_out" or side != "held_out"]


def plan(*, real: Store, fake: Store, neighbors: int, reference: Literal["held_out", "train"] = "held_out") -> Plan:
    """Sort the patches of both stores into sides and labels, and fix n.

    Raises:
        HistosynthError: no label in common, or too few patches for any result.
    """
    # Labels: those of both stores, or one group of all patches where a store has none.
    labeled = bool(real.labels) and bool(fake.labels)
    labels = sorted({*real.labels, *fake.labels}) if labeled else [UNLABELED]
    if labeled and not {*real.labels} & {*fake.labels}:
        raise HistosynthError(
            f"no label in common: {real.path} has {', '.join(real.labels)}; {fake.path} has {', '.join(fake.labels)}; "
            "evaluate against the store that the model was trained on"
        )
    if not len(real.select(split="train")) and not len(real.select(split="held_out")):
        raise HistosynthError(
            f"no patch of {real.path} is in the split train or held_out; make the store with `histosynth patches`"
        )

    # Sides, and the n of each label: that of the smallest side with enough patches.
    sides: dict[SideName, Side] = {}
    for name in SIDES:
        store = fake if name == "fake" else real
        sides[name] = side_of(store, name, labels=labels)
    min_patches = neighbors + 1
    n = {}
    for label in labels:
        enough = [count for name in taking_part(reference) if (count := len(sides[name].rows[label])) >= min_patches]
        n[label] = min(enough) if len(enough) > 1 else 0

    if not any(n[k] and len(sides["fake"].rows[k]) >= min_patches for k in labels):
        counts = "; ".join(
            f"{k}: " + ", ".join(f"{len(s.rows[k])} {SIDE_TITLES[s.name]}" for s in sides.values()) for k in labels
        )
        raise HistosynthError(
            f"too few patches: a result needs {min_patches} synthetic and {min_patches} real patches of a label "
            f"(evaluate.neighbors + 1); the stores hold {counts}; sample more with --per-label"
        )
    return Plan(sides=sides, labels=labels, n=n, min_patches=min_patches, reference=reference)


def side_of(store: Store, name: SideName, *, labels: Sequence[str]) -> Side:
    """Return the patches of that side in a store, in the order of comparison; `[UNLABELED]` takes all of them."""
    split = None if name == "fake" else name
    rows = {k: store.select(split=split, label=k if list(labels) != [UNLABELED] else None) for k in labels}
    return Side(name=name, store=store, rows={k: _shuffled(r, f"{name}/{k}") for k, r in rows.items()})


def patients_of(store: Store, rows: NDArray[np.int64]) -> set[str]:
    """Return the patients that these rows name."""
    patients = store.column("patient_id")
    return {patients[row] for row in rows if patients[row] is not None}


def _shuffled(rows: NDArray[np.int64], key: str) -> NDArray[np.int64]:
    return np.random.default_rng([SEED, zlib.crc32(key.encode())]).permutation(rows)
