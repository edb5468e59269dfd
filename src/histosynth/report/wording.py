"""The sentences of a report: findings, each with its n, and cautions, which say what limits them."""

from collections.abc import Iterator, Sequence
from itertools import chain

from histosynth.caution import Caution
from histosynth.metrics.extractors import FeatureExtractor
from histosynth.metrics.inception_score import InceptionScore
from histosynth.metrics.uncertainty import Interval
from histosynth.normalization.mixed_colors import mixed_colors
from histosynth.report.comparison import DISTANCES, Comparison, Results
from histosynth.report.sections.section import Section
from histosynth.report.sides import SIDE_TITLES, UNLABELED, Plan, patients_of
from histosynth.store.pair import median_mpp
from histosynth.store.store import Store


def format_distance(value: float) -> str:
    """Return a distance with a sensible number of digits: 112.9, 8.31."""
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def format_result(interval: Interval, measure: str) -> str:
    """Return the value of a measure for a table."""
    return format_value(interval.value, measure)


def format_interval(interval: Interval, measure: str) -> str:
    """Return the interval of a measure for a table."""
    return f"{format_value(interval.low, measure)} to {format_value(interval.high, measure)}"


def format_score(score: InceptionScore) -> str:
    """Return an Inception Score; ± its standard deviation over splits only if there are several."""
    return f"{score.mean:.2f}" + (f" ± {score.deviation:.2f}" if score.splits > 1 else "")


def format_value(value: float, measure: str) -> str:
    """Return a value of that measure with a sensible number of digits."""
    if measure == "kernel_distance":
        return f"{value:.3g}" if abs(value) < 1 else format_distance(value)
    return format_distance(value) if measure in DISTANCES else f"{value:.2f}"


def format_with_interval(interval: Interval, *, n: int) -> str:
    """Return a distance with its interval and n: 76.4 (95% interval 70.1 to 82.9; n = 200 per side)."""
    value, low, high = map(format_distance, (interval.value, interval.low, interval.high))
    return f"{value} ({interval.level:.0%} interval {low} to {high}; n = {n:,} per side)"


def verdict(results: Results, sections: Sequence[Section], *, extractor: FeatureExtractor) -> list[str]:
    """Return the findings over all labels, the most important first."""
    # Sections with an alarm come before the main results, the others after them.
    alarming = [section for section in sections if any(caution.level == "alarm" for caution in section.cautions)]
    first = [sentence for section in alarming for sentence in section.sentences]
    last = [sentence for section in sections if section not in alarming for sentence in section.sentences]
    last.append(
        f"Measured with {extractor.title} features; "
        + (
            "comparable with an FID of the same number of images, resized to 299 px in the same manner."
            if extractor.name == "inception"
            else "not comparable with an FID of Inception features."
        )
    )

    # The main result: against held-out patients, or against training patients where none is held out.
    held_out, train = results.overall["fake_vs_held_out"], results.overall["fake_vs_train"]
    floor = results.overall["train_vs_held_out"]
    main, reference = (held_out, "held-out") if held_out.n else (train, "training")
    if not main.n:
        return [*first, "No label has enough patches on every side for an overall result; see each label.", *last]
    distance = (
        f"The Fréchet distance between synthetic patches and real patches of {reference} patients is "
        f"{format_with_interval(main.measures['frechet_distance'], n=main.n)}"
    )
    if floor.n:
        real_distance = floor.measures["frechet_distance"].value
        distance += (
            f"; between real patches of training and of held-out patients it is {format_distance(real_distance)}"
        )
    middle = [f"{distance}.", _precision_and_recall(main, floor, reference)]
    if main is held_out and train.n:
        train_distance = format_distance(train.measures["frechet_distance"].value)
        middle.append(f"The Fréchet distance to real patches of training patients is {train_distance}.")

    # Whether the label steers the image.
    matrix = results.matrices.get(f"fake_vs_{'held_out' if main is held_out else 'train'}")
    if matrix and matrix.rows:
        control = results.matrices.get("train_vs_held_out")
        real = f"; for real training patches, {control.diagonal_lowest} of {control.rows}" if control else ""
        middle.append(
            f"For {matrix.diagonal_lowest} of {matrix.rows} labels, the synthetic patches lie nearest to the real "
            f"patches of the same label (n = {matrix.n:,} per side){real}."
        )
    return [*first, *middle, *last]


def _precision_and_recall(main: Comparison, floor: Comparison, reference: str) -> str:
    text = (
        f"{main.measures['precision'].value:.0%} of the synthetic patches fall within the range of the real "
        f"{reference} patches (precision), and {main.measures['recall'].value:.0%} of the real patches within the "
        "range of the synthetic ones (recall)"
    )
    if floor.n:
        text += (
            f"; for real training patches in place of synthetic ones, {floor.measures['precision'].value:.0%} "
            f"and {floor.measures['recall'].value:.0%}"
        )
    return f"{text}."


def cautions(
    plan: Plan, results: Results, sections: Sequence[Section], *, real_hash: str, dimension: int
) -> list[Caution]:
    """Return everything that limits the results, the most serious first."""
    real, fake = plan.sides["train"].store, plan.sides["fake"].store
    alarms = [*_reference(plan), *_training(real, fake, real_hash), *_patients(real), *_scale(real, fake)]
    notes = [*_limits(plan, results, dimension), *_left_out(plan, real, fake)]
    of_report = [*(Caution("alarm", text) for text in alarms), *(Caution("note", text) for text in notes)]
    of_sections = [caution for section in sections for caution in section.cautions]
    return sorted([*of_report, *of_sections], key=lambda caution: caution.level != "alarm")


def _reference(plan: Plan) -> Iterator[str]:
    if plan.reference == "train":
        yield (
            "The reference is training patients, as requested by evaluate.reference: results reward a model that "
            "memorizes them, and none shows how it performs on unseen patients."
        )


def _training(real: Store, fake: Store, real_hash: str) -> Iterator[str]:
    if fake.manifest.get("train_split") == "all":
        yield (
            "The model was trained on all patients, including the held-out ones: "
            "no result here shows how it performs on unseen patients."
        )
    trained_on = fake.manifest.get("made_with", {}).get("data_hash")
    if trained_on is not None and trained_on != real_hash:
        yield (
            f"The model was trained on another store than {real.path.name}: "
            "patients who are held out here may have been among its training patients."
        )
    sources = sorted(set(fake.column("source")))
    if len(sources) > 1:
        yield f"The synthetic store mixes {len(sources)} sources: {', '.join(sources)}."


def _patients(real: Store) -> Iterator[str]:
    held_out = real.select(split="held_out")
    if not len(held_out):
        yield (
            "The store holds out no patient: all results are against training patients, "
            "and they reward a model that memorizes them."
        )
    in_both = sorted(patients_of(real, real.select(split="train")) & patients_of(real, held_out))
    if in_both:
        names = ", ".join(in_both[:5]) + (", …" if len(in_both) > 5 else "")
        yield (
            f"Patients both in training and held out: {len(in_both)} ({names}). "
            "The results against held-out patients are not a valid test."
        )


def _scale(real: Store, fake: Store) -> Iterator[str]:
    real_mpp, fake_mpp = median_mpp(real), median_mpp(fake)
    if real_mpp and fake_mpp and abs(real_mpp - fake_mpp) > 0.02 * real_mpp:
        yield (
            f"Scales differ: {real_mpp:.3g} microns per pixel in the real patches, "
            f"{fake_mpp:.3g} in the synthetic ones."
        )


def _limits(plan: Plan, results: Results, dimension: int) -> Iterator[str]:
    # Patients.
    held_out = plan.sides["held_out"]
    patients = sorted(patients_of(held_out.store, held_out.store.select(split="held_out")))
    if len(patients) == 1:
        yield (
            f"Only one patient is held out ({patients[0]}): "
            "distances to this patient include what is specific to this patient."
        )
    main = results.overall["fake_vs_held_out" if len(patients) else "fake_vs_train"]
    if note := next((interval.note for interval in main.measures.values() if interval.note), None):
        kernel = "kernel_distance" in main.measures
        yield (
            f"Intervals were {note}. They do not account for differences between patients."
            + " The kernel distance includes pairs of patches of one patient and is too large." * kernel
        )

    # Images.
    comparisons = chain(results.overall.values(), *(row.values() for row in results.labels.values()))
    deficient = sorted({comparison.n for comparison in comparisons if comparison.rank_deficient})
    if deficient:
        span = f"{deficient[0]:,}" if len(deficient) == 1 else f"{deficient[0]:,} to {deficient[-1]:,}"
        yield (
            f"At n = {span} there are no more images than features ({dimension:,}): the covariances are rank-deficient "
            "and the distances biased upward. Compare them only at equal n."
        )


def _left_out(plan: Plan, real: Store, fake: Store) -> Iterator[str]:
    # Patches that kept raw colors beside normalized ones.
    for store in (real, fake):
        if caution := mixed_colors(store):
            yield caution

    # Labels with too few patches.
    for name in plan.present:
        few = [f"{k} ({len(plan.sides[name].rows[k])})" for k in plan.labels if not plan.usable(name, k)]
        if few:
            yield (
                f"Fewer than {plan.min_patches} patches ({SIDE_TITLES[name]}) of {', '.join(few)}: "
                "no results against them, and the overall results leave these labels out."
            )

    # Patches without a label or a split.
    stores = (("real", real), ("synthetic", fake))
    if plan.labels == [UNLABELED]:
        which = " and ".join(title for title, store in stores if not store.labels)
        yield f"The {which} patches carry no label: there are only overall results."
    else:
        for title, store in stores:
            if unlabeled := store.column("label").count(None):
                yield f"{unlabeled:,} of {len(store):,} {title} patches carry no label and are left out."
    if other := sum(split not in ("train", "held_out") for split in real.column("split")):
        yield f"{other:,} of {len(real):,} real patches are in neither split and are left out."
