"""The section on memorization: does the model copy its training patches?

Pixels are compared for all training patches, not only for those that enter the other figures, for a copy may be of any.
The search takes as long as there are pairs, so above `MAX_PAIRS` fewer synthetic patches are looked at (their share of
copies is the same), and above `MAX_TRAIN` fewer training patches, which is told as a caution.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.caution import Caution
from histosynth.metrics.copies import SYMMETRIES
from histosynth.metrics.memorization_audit import MemorizationAudit, Pair, Patches, audit_memorization
from histosynth.report.activations import Activations
from histosynth.report.sections.memorization.chart import pair_images, pair_sheet
from histosynth.report.sections.section import Section, SectionInputs
from histosynth.report.sides import SEED, SideName
from histosynth.store.png import encode_png

MAX_PAIRS = 300_000_000
"""Synthetic (or held-out) times training patches: half a minute of one core."""
MAX_TRAIN = 100_000
"""Training patches: 0.5 GB of memory, and two minutes of one core for reading them."""
_PAGE_PX = 256  # larger patches are shown smaller on the page

Rows = NDArray[np.int64]
Features = tuple[NDArray[np.float32], Sequence[str | None]]  # (n, D), and the patient of each


@dataclass(frozen=True, kw_only=True)
class ShownPair:
    """A pair as the page shows it."""

    pair: Pair
    is_copy: bool
    symmetry_name: str
    images: tuple[bytes, bytes, bytes]  # PNG: synthetic, training turned to agree, difference


def memorization_section(inputs: SectionInputs) -> Section:
    """Copies among all synthetic patches; closeness in features of the patches of the main figures."""
    activations, plan = inputs.activations, inputs.plan
    real, fake = plan.sides["train"].store, plan.sides["fake"].store
    seen_all = fake.manifest.get("train_split") == "all"  # then held-out patches are training patches, too
    train, held_out = real.select(split="train"), real.select(split="held_out")
    if seen_all:
        train, held_out = np.sort(np.concatenate([train, held_out])), held_out[:0]
    if not len(train):
        text = "The real store holds no training patches: whether the model copies them was not looked into."
        return Section(
            key="memorization", facts={"note": text}, context={"audit": None}, cautions=[Caution("note", text)]
        )
    stores = {"train": train, "held_out": held_out, "fake": np.arange(len(fake))}
    rows = _within_limits(stores)
    features = _features(activations, seen_all=seen_all)
    found = audit_memorization(
        train=_patches(activations, "train", rows["train"], features["train"]),
        held_out=_patches(activations, "held_out", rows["held_out"], features["held_out"]),
        fake=_patches(activations, "fake", rows["fake"], features["fake"]),
        seed=SEED,
        progress=inputs.progress,
    )
    found = _in_stores(found, rows)
    in_stores = {f"{name}_in_store": len(all_rows) for name, all_rows in stores.items()}
    said = verdict(found)
    pictures = {}
    if found.closest:
        sheet = pair_sheet(found.closest, fake=fake.images, train=real.images, mark=fake.mark)
        pictures["copies.png"] = sheet
    return Section(
        key="memorization",
        facts={**found.to_dict(), **in_stores},
        context={
            "audit": found,
            "said": said,
            "in_store": in_stores,
            "pairs": _shown(found, activations),
            "shares": _shares(found),
        },
        sentences=[said],
        cautions=list(_cautions(found, in_stores)),
        charts=pictures,
    )


def _within_limits(stores: dict[str, Rows]) -> dict[str, Rows]:
    """The rows that are compared, drawn at random where there are too many."""
    rng = np.random.default_rng(SEED)
    most_train = min(len(stores["train"]), MAX_TRAIN)
    most = {"train": MAX_TRAIN, "held_out": MAX_PAIRS // most_train, "fake": MAX_PAIRS // most_train}
    return {
        name: np.sort(rng.permutation(rows)[: most[name]]) if len(rows) > most[name] else rows
        for name, rows in stores.items()
    }


def _features(activations: Activations, *, seen_all: bool) -> dict[SideName, Features]:
    """Features of the patches of the main figures, and their patients; `train` is all that the model was trained on."""
    plan = activations.plan
    found: dict[SideName, Features] = {}
    for name in ("fake", "train", "held_out"):
        labels = [label for label in plan.labels if plan.n[label] and plan.usable(name, label)]
        if labels:  # of synthetic patches there always are, as the plan sees to it
            found[name] = activations.of(name, labels).values, activations.patients(name, labels)
        else:
            found[name] = found["fake"][0][:0], []
    if seen_all:
        (one, patients), (two, others) = found["train"], found["held_out"]
        found["train"], found["held_out"] = (np.concatenate([one, two]), [*patients, *others]), (two[:0], [])
    return found


def _patches(
    activations: Activations,
    name: SideName,
    rows: Rows,
    features: Features,
) -> Patches:
    store = activations.plan.sides[name].store
    ids = store.column("patch_id")
    return Patches(
        ids=[ids[row] for row in rows],
        images=lambda some: store.images(rows[some]),
        features=features[0],
        patients=features[1],
    )


def _in_stores(found: MemorizationAudit, rows: dict[str, Rows]) -> MemorizationAudit:
    """The same, with the rows of pairs as they are numbered in the stores."""

    def placed(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
        return tuple(
            replace(p, fake_row=int(rows["fake"][p.fake_row]), train_row=int(rows["train"][p.train_row])) for p in pairs
        )

    return replace(found, copies=placed(found.copies), closest=placed(found.closest))


def verdict(found: MemorizationAudit) -> str:
    """Whether there are near copies, in a sentence."""
    if found.copies:
        are = "is a near copy" if len(found.copies) == 1 else "are near copies"
        return (
            f"{len(found.copies):,} of the {found.n_fake:,} synthetic patches {are} of training patches: the closest "
            f"reaches a similarity of {found.copies[0].similarity:.2f}, and {found.threshold.value:.2f} makes a copy."
        )
    if not found.closest:
        return (
            f"None of the {found.n_fake:,} synthetic patches could be compared with training patches: they are plain."
        )
    return (
        f"No synthetic patch is a near copy of a training patch: of {found.n_fake:,} compared with {found.n_train:,}, "
        f"the closest reaches a similarity of {found.closest[0].similarity:.2f}, and {found.threshold.value:.2f} would "
        "count as a copy."
    )


def _cautions(found: MemorizationAudit, in_store: dict[str, int]) -> Iterator[Caution]:
    if found.copies:
        copies = "near copy" if len(found.copies) == 1 else "near copies"
        yield Caution("alarm", f"{len(found.copies):,} {copies} of training patches: look at each pair before use.")
    if found.n_train < in_store["train_in_store"]:
        yield Caution(
            "note",
            f"Copies were looked for among {found.n_train:,} of {in_store['train_in_store']:,} training patches, drawn "
            "at random: copies of the others are not seen.",
        )
    if found.threshold.reached:
        yield Caution(
            "note",
            f"{found.threshold.reached:,} of {found.threshold.n:,} held-out patches are as like a training patch as a "
            "copy is: the threshold is too low for this tissue, or both splits share a patient.",
        )


def _shown(found: MemorizationAudit, activations: Activations) -> list[ShownPair]:
    if not found.closest:
        return []
    sides = activations.plan.sides
    mark = sides["fake"].store.mark
    images = pair_images(found.closest, fake=sides["fake"].store.images, train=sides["train"].store.images)
    return [
        ShownPair(
            pair=pair,
            is_copy=pair.similarity >= found.threshold.value,
            symmetry_name=SYMMETRIES[pair.symmetry],
            images=(_png(made, mark), _png(taken, {}), _png(difference, mark)),
        )
        for pair, (made, taken, difference) in zip(found.closest, images, strict=True)
    ]


def _png(image: NDArray[np.uint8], texts: Mapping[str, str]) -> bytes:
    if len(image) > _PAGE_PX:
        image = np.asarray(Image.fromarray(image).resize((_PAGE_PX, _PAGE_PX), Image.Resampling.LANCZOS))
    return encode_png(image, texts)


def _shares(found: MemorizationAudit) -> dict[str, Any]:
    """The rows of the table: the synthetic patches and both controls."""
    return {
        "Synthetic patches": found.synthetic,
        "Real, of patients left out": found.left_out_patients,
        "Real, patches left out": found.left_out_patches,
    }
