"""Near copies among all synthetic patches, and the closeness in features of those of the main results.

Both are measured against all training patches, not only against those of the main results, since any of them may have
been copied. The time of the search in pixels grows with the number of pairs. Above `MAX_PAIRS`, fewer synthetic patches
are compared, which leaves their share of copies the same; above `MAX_TRAIN`, fewer training patches, in pixels and in
features, which raises a caution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.memorization_audit import MemorizationAudit, Pair, Patches, audit_memorization
from histosynth.report.activations import Activations
from histosynth.report.sections.section import SectionInputs
from histosynth.report.sides import SEED, SideName

MAX_PAIRS = 300_000_000
"""Synthetic (or held-out) times training patches: a minute on one core."""
MAX_TRAIN = 100_000
"""Training patches: 0.5 GB of memory for their textures, and two minutes on one core to read them."""

Rows = NDArray[np.int64]
Features = tuple[NDArray[np.float32], Sequence[str | None]]  # (n, D), and the patient of each row
_NONE: Features = np.empty((0, 0), np.float32), ()


@dataclass(frozen=True, kw_only=True)
class MemorizationResults:
    """The audit, with the rows of its pairs numbered as in the stores."""

    audit: MemorizationAudit
    train_in_store: int  # training patches that the store holds; the audit may have compared fewer
    held_out_in_store: int
    fake_in_store: int

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain values, for `report.json`."""
        return {
            **self.audit.to_dict(),
            "train_in_store": self.train_in_store,
            "held_out_in_store": self.held_out_in_store,
            "fake_in_store": self.fake_in_store,
        }


def measure_memorization(inputs: SectionInputs) -> MemorizationResults | None:
    """Audit the synthetic store against the training patches of the real store; None if there are none."""
    activations = inputs.activations
    real, fake = (activations.plan.sides[name].store for name in ("train", "fake"))
    trained_on_all = fake.manifest.get("train_split") == "all"

    # A model that was trained on all patients may have copied held-out patches too: they count as training patches.
    train, held_out = real.select(split="train"), real.select(split="held_out")
    if trained_on_all:
        train, held_out = np.sort(np.concatenate([train, held_out])), held_out[:0]
    if not len(train):
        return None

    # Pixels of as many patches as the limits allow; features of these training patches and of the main results.
    in_store = {"train": train, "held_out": held_out, "fake": np.arange(len(fake))}
    rows = _within_limits(in_store)
    audit = audit_memorization(
        train=_patches(activations, "train", rows["train"], _train_features(inputs, rows["train"])),
        held_out=_patches(
            activations, "held_out", rows["held_out"], _NONE if trained_on_all else _features(activations, "held_out")
        ),
        fake=_patches(activations, "fake", rows["fake"], _features(activations, "fake")),
        seed=SEED,
        progress=inputs.progress,
    )
    return MemorizationResults(
        audit=_with_store_rows(audit, rows),
        train_in_store=len(train),
        held_out_in_store=len(held_out),
        fake_in_store=len(fake),
    )


def _within_limits(in_store: dict[str, Rows]) -> dict[str, Rows]:
    """Return the rows to compare, drawn at random where there are too many."""
    rng = np.random.default_rng(SEED)
    max_queries = MAX_PAIRS // min(len(in_store["train"]), MAX_TRAIN)
    limits = {"train": MAX_TRAIN, "held_out": max_queries, "fake": max_queries}
    return {
        name: np.sort(rng.permutation(rows)[: limits[name]]) if len(rows) > limits[name] else rows
        for name, rows in in_store.items()
    }


def _features(activations: Activations, name: SideName) -> Features:
    """Return features and patients of the patches of the main results."""
    plan = activations.plan
    labels = [label for label in plan.labels if plan.n[label] and plan.usable(name, label)]
    if not labels:  # never so for synthetic patches, as the plan ensures
        return _NONE
    return activations.of(name, labels).values, activations.patients(name, labels)


def _train_features(inputs: SectionInputs, rows: Rows) -> Features:
    """Return features and patients of these rows of the real store; the main results already hold some features."""
    plan, activations = inputs.plan, inputs.activations
    store = plan.sides["train"].store
    known = [
        (activations.rows(name, label), activations.of(name, [label]).values)
        for name in ("train", "held_out")
        for label in plan.labels
        if plan.n[label] and plan.usable(name, label)
    ]
    missing = np.setdiff1d(rows, np.concatenate([at for at, _ in known]))
    if len(missing):
        known.append((missing, inputs.extract(store, missing).values))
    at, values = (np.concatenate(parts) for parts in zip(*known, strict=True))
    order = np.argsort(at)
    patients = store.column("patient_id")
    return values[order[np.searchsorted(at, rows, sorter=order)]], [patients[row] for row in rows]


def _patches(activations: Activations, name: SideName, rows: Rows, features: Features) -> Patches:
    store = activations.plan.sides[name].store
    ids = store.column("patch_id")
    return Patches(
        ids=[ids[row] for row in rows],
        images=lambda indices: store.images(rows[indices]),
        features=features[0],
        patients=features[1],
    )


def _with_store_rows(audit: MemorizationAudit, rows: dict[str, Rows]) -> MemorizationAudit:
    """Return the audit with the rows of its pairs numbered as in the stores."""

    def renumber(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
        return tuple(
            replace(p, fake_row=int(rows["fake"][p.fake_row]), train_row=int(rows["train"][p.train_row])) for p in pairs
        )

    return replace(audit, copies=renumber(audit.copies), closest=renumber(audit.closest))
