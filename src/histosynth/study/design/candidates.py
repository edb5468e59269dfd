"""The patches that may become cases: real ones of held-out patients, and samples of generators, by genotype.

Stores that differ in more than their truth are refused: another size or scale would tell real from synthetic. What
cannot be known from their manifests is said as a warning, and kept in the study's manifest.
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

_SAME_SCALE = 0.02


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A patch that may become a case."""

    cell: Cell
    store: Store
    row: int
    patch_id: str
    patient_id: str | None

    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        image: NDArray[np.uint8] = self.store.images([self.row])[0]
        return image


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What a study can choose from.

    Attributes:
        labels: the genotypes that all stores have; `[None]` where no store has any.
        generators: their names.
        orders: the candidates of each cell, in the order in which they are taken.
        warnings: what weakens the blinding or the claim, in words.
        patch_px: side of every picture.
        mpp: microns per pixel, None if the stores do not say.
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
        seed: of the orders.
        allow_training_patients: take real cases from all patients.
        normalized: whether the study normalizes the colors of all pictures itself.

    Raises:
        HistosynthError: stores that are no pair, or no genotype in common, or no held-out patient.
    """
    real_hash, warnings = real.content_hash(), []
    for name, fake in fakes.items():
        check_pair(real, fake)
        _check_training(name, fake, allowed=allow_training_patients)
        warnings += [*_scale(real, name, fake), *_origin(name, fake, real_hash)]
    held_out = real.select(split=None if allow_training_patients else "held_out")
    if not len(held_out):
        raise HistosynthError(
            f"{real.path} holds out no patient, and real cases must be of patients that no model was trained on; make "
            "the store with --set patches.held_out=0.2, or pass --allow-training-patients and say so in the paper"
        )
    if allow_training_patients:
        warnings.append(
            "Real cases are taken from training patients, too: a model that copies its training patches would win."
        )
    if not normalized:
        warnings += _stains(real, held_out, fakes)
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
            f"{name} was trained on all patients, so none of them is held out for it; train with train.split = train, "
            "or pass --allow-training-patients and say so in the paper"
        )


def _scale(real: Store, name: str, fake: Store) -> Iterator[str]:
    here, there = median_mpp(real), median_mpp(fake)
    if here is None or there is None:
        yield f"Whether {name} has the scale of the real patches is not known: a store states no microns per pixel."
    elif abs(here - there) > _SAME_SCALE * here:
        raise HistosynthError(
            f"scales differ: {here:.3g} microns per pixel in {real.path}, {there:.3g} in {fake.path}; the size of "
            "nuclei would tell real from synthetic. Make the real store at the scale of the samples"
        )


def _origin(name: str, fake: Store, real_hash: str) -> Iterator[str]:
    trained_on = fake.manifest.get("made_with", {}).get("data_hash")
    if trained_on is None:
        yield f"What {name} was trained on is not known: held-out patients may have been among it."
    elif trained_on != real_hash:
        yield (
            f"{name} was trained on another store than --real: patients held out here may have been among its "
            "training patients, and colors may differ by how they were normalized."
        )


def _stains(real: Store, rows: NDArray[np.int64], fakes: Mapping[str, Store]) -> Iterator[str]:
    stated = real.column("stain")
    found = Counter(stated[row] or "not stated" for row in rows)
    if len(found) > 1:
        told = ", ".join(f"{count} {status}" for status, count in sorted(found.items()))
        yield f"Real patches differ in stain ({told}): colors may tell them from synthetic ones. See --normalize."
    for name, fake in fakes.items():
        foreign = sorted({status for status in fake.column("stain") if status} - set(found))
        if foreign:
            raise HistosynthError(
                f"stains differ: {name} has {', '.join(foreign)} patches, {real.path} {', '.join(sorted(found))}; "
                "colors would tell real from synthetic. Bring both to the same, or pass --normalize macenko"
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
        told = "; ".join(f"{name}: {', '.join(sorted(labels)) or 'none'}" for name, labels in sides.items())
        raise HistosynthError(f"no genotype that all have ({told}); give stores of the same labels")
    left_out = [
        f"Genotype {label} is left out: missing in "
        f"{' and in '.join(name for name, labels in sides.items() if label not in labels)}."
        for label in sorted(set.union(*sides.values()) - common)
    ]
    return [*sorted(common)], left_out


def _ordered(store: Store, rows: NDArray[np.int64], cell: Cell, *, seed: int) -> list[Candidate]:
    patch_ids, patients, slides = (store.column(name) for name in ("patch_id", "patient_id", "slide_id"))
    rows = np.array(sorted(rows, key=lambda row: patch_ids[row]), np.int64)  # whatever its parts are called
    groups = [patients[row] or slides[row] or patch_ids[row] for row in rows]
    return [
        Candidate(cell=cell, store=store, row=int(row), patch_id=patch_ids[row], patient_id=patients[row])
        for row in rows[interleave_groups(groups, rng=derive_rng(seed, *cell))]
    ]


def _patients(orders: Mapping[Cell, Sequence[Candidate]]) -> Iterator[str]:
    for (label, source), candidates in orders.items():
        if source == REAL and len({c.patient_id for c in candidates}) == 1:
            yield (
                f"All real cases{f' of {label}' if label else ''} are of one patient: readers may learn the patient "
                "instead of the difference."
            )
