"""What a report says in sentences: measured facts, each with its n, and every reason to read them with care."""

from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np

from histosynth.metrics.extractors import FeatureExtractor
from histosynth.patches.store import Store
from histosynth.report.comparison import Comparison, Figures
from histosynth.report.sides import SIDE_TITLES, UNLABELED, Plan, patients_of


@dataclass(frozen=True)
class Caution:
    """`alarm`: the figures do not mean what they seem to. `note`: they mean it within limits."""

    level: Literal["alarm", "note"]
    text: str


def number(value: float) -> str:
    """A distance with three or four figures: 112.9, 8.31."""
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def verdict(figures: Figures, *, extractor: FeatureExtractor) -> list[str]:
    """The findings over all labels, in the order of their weight."""
    held_out, train = figures.overall["fake_vs_held_out"], figures.overall["fake_vs_train"]
    floor = figures.overall["train_vs_held_out"]
    main, against = (held_out, "held-out") if held_out.n else (train, "training")
    if main.frechet_distance is None:
        return ["No label has enough patches on every side for an overall figure; see the labels one by one."]
    said = [
        f"Synthetic patches lie at a Fréchet distance of {number(main.frechet_distance)} from real patches of {against} "
        f"patients (n = {main.n:,} on each side)"
    ]
    if floor.frechet_distance is not None:
        said[0] += f"; real patches of training and held-out patients lie {number(floor.frechet_distance)} apart"
    said[0] += "."
    said.append(_shares(main, floor if main is held_out else None, against))
    if main is held_out and train.frechet_distance is not None:
        said.append(f"From the training patients, the synthetic patches lie {number(train.frechet_distance)} away.")
    matrix = figures.matrices.get("fake_vs_held_out") or figures.matrices.get("fake_vs_train")
    if matrix and matrix.rows:
        said.append(
            f"For {matrix.diagonal_lowest} of {matrix.rows} labels, the nearest real label is the label asked for "
            f"(n = {matrix.n:,} on each side)."
        )
    said.append(f"Measured with {extractor.title} features; not comparable to an FID of Inception features.")
    return said


def _shares(main: Comparison, floor: Comparison | None, against: str) -> str:
    text = (
        f"{main.precision:.0%} of the synthetic patches fall within the range of the real {against} ones (precision), and "
        f"{main.recall:.0%} of the real ones within the range of the synthetic (recall)"
    )
    if floor and floor.n:
        text += f"; for real training patches in their place, {floor.precision:.0%} and {floor.recall:.0%}"
    return text + "."


def cautions(plan: Plan, figures: Figures, *, real_hash: str, dimension: int) -> list[Caution]:
    """Everything that limits the figures, the gravest first."""
    real, fake = plan.sides["train"].store, plan.sides["fake"].store
    found = [*_training(real, fake, real_hash), *_patients(plan, real), *_scale(real, fake), *_counts(plan, real, fake)]
    every = chain(figures.overall.values(), *(c.values() for c in figures.labels.values()))
    deficient = sorted({c.n for c in every if c.rank_deficient})
    if deficient:
        smallest = f"{deficient[0]:,}" if len(deficient) == 1 else f"{deficient[0]:,} to {deficient[-1]:,}"
        found.append(Caution("note", f"Figures at n = {smallest} have no more images than the {dimension:,} features: their covariances are rank-deficient and the distances biased upward. Compare them only at equal n."))  # fmt: skip
    return sorted(found, key=lambda caution: caution.level)


def _training(real: Store, fake: Store, real_hash: str) -> list[Caution]:
    found = []
    if fake.manifest.get("train_split") == "all":
        found.append(Caution("alarm", "The model was trained on all patients, the held-out ones included: no figure here says how it does on patients it has not seen."))  # fmt: skip
    trained_on = fake.manifest.get("made_with", {}).get("data_hash")
    if trained_on is not None and trained_on != real_hash:
        found.append(Caution("alarm", f"The model was trained on another store than {real.path.name}: patients that are held out here may have been its training patients."))  # fmt: skip
    sources = sorted(set(fake.column("source")))
    if len(sources) > 1:
        found.append(Caution("alarm", f"The synthetic store mixes {len(sources)} sources: {', '.join(sources)}."))
    return found


def _patients(plan: Plan, real: Store) -> list[Caution]:
    found = []
    train = patients_of(real, real.select(split="train"))
    held_out = patients_of(real, real.select(split="held_out"))
    if both := sorted(train & held_out):
        found.append(Caution("alarm", f"{len(both)} patients are both in training and held out ({', '.join(both[:5])}{', …' if len(both) > 5 else ''}): the held-out figures are no test."))  # fmt: skip
    if not len(real.select(split="held_out")):
        found.append(Caution("alarm", "The store holds out no patient: all figures are against training patients, and reward a model that memorizes them."))  # fmt: skip
    elif len(held_out) == 1:
        found.append(Caution("note", f"One patient is held out ({held_out.pop()}): distances to it also hold what is peculiar to this patient."))  # fmt: skip
    for name, side in plan.sides.items():
        few = [f"{k} ({len(side.rows[k])})" for k in plan.labels if not plan.usable(name, k)]
        if few and len(plan.present) > 1 and name in plan.present:
            found.append(Caution("note", f"Fewer than {plan.least} patches ({SIDE_TITLES[name]}) of {', '.join(few)}: no figures for them, and they are left out of the overall ones."))  # fmt: skip
    return found


def _scale(real: Store, fake: Store) -> list[Caution]:
    here, there = median_mpp(real), median_mpp(fake)
    if here and there and abs(here - there) > 0.02 * here:
        return [Caution("alarm", f"Scales differ: {here:.3g} microns per pixel in the real patches, {there:.3g} in the synthetic ones.")]  # fmt: skip
    return []


def _counts(plan: Plan, real: Store, fake: Store) -> list[Caution]:
    found = []
    if plan.labels == [UNLABELED]:
        which = " and ".join(name for name, store in (("real", real), ("synthetic", fake)) if not store.labels)
        found.append(Caution("note", f"The {which} patches carry no label: there are overall figures only."))
    else:
        for title, store in (("real", real), ("synthetic", fake)):
            if bare := store.column("label").count(None):
                found.append(Caution("note", f"{bare:,} of {len(store):,} {title} patches carry no label and are left out."))  # fmt: skip
    if other := sum(split not in ("train", "held_out") for split in real.column("split")):
        found.append(Caution("note", f"{other:,} of {len(real):,} real patches are in no split and are left out."))
    return found


def median_mpp(store: Store) -> float | None:
    """Microns per pixel of the patches; None where the store states none."""
    stated = [mpp for mpp in store.column("mpp") if mpp is not None]
    return float(np.median(stated)) if stated else None
