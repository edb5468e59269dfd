"""The patches that may become cases: real patches of held-out patients, and samples of generators, by genotype.

Stores that differ in more than their truth are rejected: a different size or scale would tell real from synthetic.
Anything that their manifests do not state becomes a warning, which the study's manifest records.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.store.pair import check_pair, median_mpp
from histosynth.store.store import Store
from histosynth.study.design.design import REAL, Cell, derive_rng, interleave_groups

_SCALE_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A patch that may become a case."""

    cell: Cell
    store: Store
    row: int
    patch_id: str
    patient_id: str | None

    def image(self) -> NDArray[np.uint8]:
        """Return the image (H, W, 3)."""
        image: NDArray[np.uint8] = self.store.images([self.row])[0]
        return image


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The candidates of a study.

    Attributes:
        labels: the genotypes that all stores have; `[None]` if no store has any.
        generators: the names of the generators.
        orders: the candidates of each cell, in the order in which they are selected.
        warnings: facts that weaken the blinding or the conclusion.
        patch_px: side length of every picture.
        mpp: microns per pixel; None if the stores do not state it.
        real_hash: content hash of the real store.
    """

    labels: list[str | None]
    generators: list[str]
    orders: Mapping[Cell, list[Candidate]]
    warnings: list[str]
    patch_px: int
    mpp: float | None
    real_hash: str


def find_candidates(
    real: Store, fakes: Mapping[str, Store], *, seed: int, allow_training_patients: bool, normalized: bool
) -> Candidates:
    """Sort the patches of the stores into cells.

    Args:
        real: a patch store.
        fakes: sample stores by the name of their generator.
        seed: for the orders.
        allow_training_patients: select real cases from all patients.
        normalized: whether the study normalizes the colors of all pictures itself.

    Raises:
        HistosynthError: the stores do not match, or have no genotype in common, or no patient is held out.
    """
    # Check that the stores match.
    real_hash, warnings = real.content_hash(), []
    for name, fake in fakes.items():
        check_pair(real, fake)
        _check_training(name, fake, allowed=allow_training_patients)
        warnings += [*_scale(real, name, fake), *_origin(name, fake, real_hash)]
    # Real cases come from held-out patients.
    held_out = real.select(split=None if allow_training_patients else "held_out")
    if not len(held_out):
        raise HistosynthError(
            f"{real.path} holds out no patients, but real cases must come from patients that no model was trained on; "
            "make the store with --set patches.held_out=0.2, or pass --allow-training-patients and report it"
        )
    if allow_training_patients:
        warnings.append("Real cases include training patients: a model that copies its training patches would do best.")
    if not normalized:
        warnings += _stains(real, held_out, fakes)
    # Order the candidates of each cell.
    labels, left_out = _common_labels(real, held_out, fakes)
    warnings += left_out
    orders: dict[Cell, list[Candidate]] = {}
    for label in labels:
        rows = np.intersect1d(held_out, real.select(label=label))
        orders[label, REAL] = _ordered(real, rows, (label, REAL), seed=seed)
        for name, fake in fakes.items():
            orders[label, name] = _ordered(fake, fake.select(label=label), (label, name), seed=seed)
    warnings += _patients(orders)
    return Candidates(
        labels=labels,
        generators=list(fakes),
        orders=orders,
        warnings=warnings,
        patch_px=real.patch_px,
        mpp=median_mpp(real),
        real_hash=real_hash,
    )


def _check_training(name: str, fake: Store, *, allowed: bool) -> None:
    if fake.manifest.get("train_split") == "all" and not allowed:
        raise HistosynthError(
            f"{name} was trained on all patients, so no patient is held out for it; train with train.split = train, or "
            "pass --allow-training-patients and report it in the paper"
        )


def _scale(real: Store, name: str, fake: Store) -> Iterator[str]:
    real_mpp, fake_mpp = median_mpp(real), median_mpp(fake)
    if real_mpp is None or fake_mpp is None:
        yield f"It is not known whether {name} has the scale of the real patches: a store states no microns per pixel."
    elif abs(real_mpp - fake_mpp) > _SCALE_TOLERANCE * real_mpp:
        raise HistosynthError(
            f"scales differ: {real_mpp:.3g} microns per pixel in {real.path}, {fake_mpp:.3g} in {fake.path}; the size "
            "of nuclei would tell real from synthetic; make the real store at the scale of the samples"
        )


def _origin(name: str, fake: Store, real_hash: str) -> Iterator[str]:
    trained_on = fake.manifest.get("made_with", {}).get("data_hash")
    if trained_on is None:
        yield f"It is not known what {name} was trained on: its training data may include held-out patients."
    elif trained_on != real_hash:
        yield (
            f"{name} was trained on a different store than --real: its training patients may include patients held out "
            "here, and colors may differ because they were normalized differently."
        )


def _stains(real: Store, rows: NDArray[np.int64], fakes: Mapping[str, Store]) -> Iterator[str]:
    stated = real.column("stain")
    statuses = Counter(stated[row] or "not stated" for row in rows)
    if len(statuses) > 1:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
        yield f"Real patches differ in stain ({counts}): colors may tell them from synthetic ones. See --normalize."
    for name, fake in fakes.items():
        foreign = sorted({status for status in fake.column("stain") if status} - set(statuses))
        if foreign:
            raise HistosynthError(
                f"stains differ: {name} has {', '.join(foreign)} patches, {real.path} {', '.join(sorted(statuses))}; "
                "colors would tell real from synthetic; normalize both alike, or pass --normalize macenko"
            )


def _common_labels(
    real: Store, rows: NDArray[np.int64], fakes: Mapping[str, Store]
) -> tuple[list[str | None], list[str]]:
    column = real.column("label")
    sides: dict[str, set[str]] = {"held-out real patches": {column[row] for row in rows} - {None}}
    sides |= {name: set(fake.labels) for name, fake in fakes.items()}
    if not any(sides.values()):
        return [None], []
    common = set.intersection(*sides.values())
    if not common:
        by_store = "; ".join(f"{name}: {', '.join(sorted(labels)) or 'none'}" for name, labels in sides.items())
        raise HistosynthError(f"no genotype is in all stores ({by_store}); provide stores with the same labels")
    left_out = [
        f"Genotype {label} is left out: it is missing in "
        f"{' and in '.join(name for name, labels in sides.items() if label not in labels)}."
        for label in sorted(set.union(*sides.values()) - common)
    ]
    return [*sorted(common)], left_out


def _ordered(store: Store, rows: NDArray[np.int64], cell: Cell, *, seed: int) -> list[Candidate]:
    patch_ids, patients, slides = (store.column(name) for name in ("patch_id", "patient_id", "slide_id"))
    rows = np.array(sorted(rows, key=lambda row: patch_ids[row]), np.int64)  # independent of how its parts are named
    groups = [patients[row] or slides[row] or patch_ids[row] for row in rows]
    return [
        Candidate(cell=cell, store=store, row=int(row), patch_id=patch_ids[row], patient_id=patients[row])
        for row in rows[interleave_groups(groups, rng=derive_rng(seed, *cell))]
    ]


def _patients(orders: Mapping[Cell, Sequence[Candidate]]) -> Iterator[str]:
    for (label, source), candidates in orders.items():
        if source == REAL and len({c.patient_id for c in candidates}) == 1:
            yield (
                f"All real cases{f' of {label}' if label else ''} come from one patient: readers may learn to "
                "recognize the patient instead of real tissue."
            )
