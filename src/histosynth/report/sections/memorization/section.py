"""The section on memorization: does the model copy its training patches?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.caution import Caution
from histosynth.metrics.memorization_audit import MemorizationAudit, Pair
from histosynth.metrics.symmetries import SYMMETRIES
from histosynth.report.sections.memorization.chart import pair_images, pair_sheet
from histosynth.report.sections.memorization.measure import MemorizationResults, measure_memorization
from histosynth.report.sections.section import Section, SectionInputs
from histosynth.report.sides import Plan
from histosynth.store.png import encode_png

_PAGE_PX = 256  # larger patches are reduced to this on the page


@dataclass(frozen=True, kw_only=True)
class ShownPair:
    """A pair as the page shows it."""

    pair: Pair
    is_copy: bool
    symmetry_name: str  # by which the training patch is turned
    images: tuple[bytes, bytes, bytes]  # PNG: synthetic, training in the same orientation, difference


def memorization_section(inputs: SectionInputs) -> Section:
    """Return the section: near copies in pixels, and closeness in features, each against all training patches."""
    results = measure_memorization(inputs)
    if results is None:
        text = "The real store holds no training patches: copies of them were not searched for."
        return Section(
            key="memorization", facts={"note": text}, context={"audit": None}, cautions=[Caution("note", text)]
        )
    audit = results.audit
    finding = copies_sentence(audit)
    real, fake = (inputs.plan.sides[name].store for name in ("train", "fake"))
    charts = {}
    if audit.closest:
        charts["copies.png"] = pair_sheet(audit.closest, fake=fake.images, train=real.images, mark=fake.mark)
    return Section(
        key="memorization",
        facts=results.to_dict(),
        context={
            "audit": audit,
            "results": results,
            "finding": finding,
            "pairs": _shown_pairs(audit, inputs.plan),
            "closeness": {
                "Synthetic patches": audit.synthetic,
                "Real, patients left out": audit.left_out_patients,
                "Real, patches left out": audit.left_out_patches,
            },
        },
        sentences=[finding],
        cautions=list(_cautions(results)),
        charts=charts,
    )


def copies_sentence(audit: MemorizationAudit) -> str:
    """Return a sentence that says whether there are near copies."""
    threshold = f"{audit.threshold.value:.2f}"
    if audit.copies:
        are = "is a near copy of a training patch" if len(audit.copies) == 1 else "are near copies of training patches"
        return (
            f"{len(audit.copies):,} of the {audit.n_fake:,} synthetic patches {are} "
            f"(highest similarity {audit.copies[0].similarity:.2f}; threshold for a copy {threshold})."
        )
    if not audit.closest:
        return (
            f"None of the {audit.n_fake:,} synthetic patches could be compared with training patches: "
            "the patches of one side are all too uniform."
        )
    return (
        f"No synthetic patch is a near copy of a training patch: {audit.n_fake:,} were compared with {audit.n_train:,} "
        f"(highest similarity {audit.closest[0].similarity:.2f}; threshold for a copy {threshold})."
    )


def _cautions(results: MemorizationResults) -> Iterator[Caution]:
    audit = results.audit
    if audit.copies:
        copies = "near copy" if len(audit.copies) == 1 else "near copies"
        yield Caution("alarm", f"{len(audit.copies):,} {copies} of training patches: inspect each pair before use.")
    if audit.n_train < results.train_in_store:
        yield Caution(
            "note",
            f"Copies were searched for, in pixels and in features, among {audit.n_train:,} of "
            f"{results.train_in_store:,} training patches, drawn at random: copies of the others are not detected.",
        )
    if audit.threshold.reached:
        yield Caution(
            "note",
            f"{audit.threshold.reached:,} of {audit.threshold.n:,} held-out patches are as similar to a training patch "
            "as a copy would be: the threshold is too low for this tissue, or both splits share a patient.",
        )


def _shown_pairs(audit: MemorizationAudit, plan: Plan) -> list[ShownPair]:
    if not audit.closest:
        return []
    real, fake = (plan.sides[name].store for name in ("train", "fake"))
    images = pair_images(audit.closest, fake=fake.images, train=real.images)
    return [
        ShownPair(
            pair=pair,
            is_copy=pair.similarity >= audit.threshold.value,
            symmetry_name=SYMMETRIES[pair.symmetry],
            images=(_png(synthetic, fake.mark), _png(training, {}), _png(difference, fake.mark)),
        )
        for pair, (synthetic, training, difference) in zip(audit.closest, images, strict=True)
    ]


def _png(image: NDArray[np.uint8], texts: Mapping[str, str]) -> bytes:
    if len(image) > _PAGE_PX:
        image = np.asarray(Image.fromarray(image).resize((_PAGE_PX, _PAGE_PX), Image.Resampling.LANCZOS))
    return encode_png(image, texts)
