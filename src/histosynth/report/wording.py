"""What a report says in sentences: measured facts, each with its n, and every reason to read them with care."""

from collections.abc import Iterator, Sequence
from itertools import chain

from histosynth.caution import Caution
from histosynth.metrics.extractors import FeatureExtractor
from histosynth.metrics.uncertainty import Interval
from histosynth.report.comparison import DISTANCES, Comparison, Results
from histosynth.report.sections.section import Section
from histosynth.report.sides import SIDE_TITLES, UNLABELED, Plan, patients_of
from histosynth.store.pair import median_mpp
from histosynth.store.store import Store


def format_distance(value: float) -> str:
    """A distance with a sensible number of digits: 112.9, 8.31."""
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def format_result(interval: Interval, measure: str) -> str:
    """A measure as tables show it."""
    return format_value(interval.value, measure)


def format_interval(found: Interval, measure: str) -> str:
    """Its interval as tables show it."""
    return f"{format_value(found.low, measure)} to {format_value(found.high, measure)}"


def format_value(value: float, measure: str) -> str:
    """A value of that measure with a sensible number of digits."""
    if measure == "kernel_distance":
        return f"{value:.3g}" if abs(value) < 1 else format_distance(value)
    return format_distance(value) if measure in DISTANCES else f"{value:.2f}"


def format_with_interval(interval: Interval) -> str:
    """A distance with its interval: 76.4 (95% interval 70.1 to 82.9)."""
    value, low, high = map(format_distance, (interval.value, interval.low, interval.high))
    return f"{value} ({interval.level:.0%} interval {low} to {high})"


def verdict(results: Results, sections: Sequence[Section], *, extractor: FeatureExtractor) -> list[str]:
    """The findings over all labels, in the order of their weight."""
    held_out, train = results.overall["fake_vs_held_out"], results.overall["fake_vs_train"]
    floor = results.overall["train_vs_held_out"]
    main, against = (held_out, "held-out") if held_out.n else (train, "training")
    basis = f"Measured with {extractor.title} features; " + (
        "comparable to an FID of as many images that were brought to 299 px in the same way."
        if extractor.name == "inception"
        else "not comparable to an FID of Inception features."
    )
    alarming = [section for section in sections if any(caution.level == "alarm" for caution in section.cautions)]
    first_of_all = [sentence for section in alarming for sentence in section.sentences]
    found = [sentence for section in sections if section not in alarming for sentence in section.sentences]
    if not main.n:
        said = ["No label has enough patches on every side for an overall figure; see the labels one by one."]
        return [*first_of_all, *said, *found, basis]
    first = (
        f"Synthetic patches lie at a Fréchet distance of {format_with_interval(main.measures['frechet_distance'])} "
        f"from real patches of {against} patients (n = {main.n:,} on each side)"
    )
    if floor.n:
        apart = floor.measures["frechet_distance"].value
        first += f"; real patches of training and of held-out patients lie {format_distance(apart)} apart"
    said = [f"{first}.", _shares(main, floor, against)]
    if main is held_out and train.n:
        learned = train.measures["frechet_distance"].value
        said.append(f"From real patches of training patients the distance is {format_distance(learned)}.")
    matrix = results.matrices.get(f"fake_vs_{'held_out' if main is held_out else 'train'}")
    if matrix and matrix.rows:
        control = results.matrices.get("train_vs_held_out")
        real = (
            f"; for real training patches in their place, {control.diagonal_lowest} of {control.rows}"
            if control
            else ""
        )
        said.append(
            f"For {matrix.diagonal_lowest} of {matrix.rows} labels, the synthetic patches lie nearest to the real ones "
            f"of the same label (n = {matrix.n:,} on each side){real}."
        )
    return [*first_of_all, *said, *found, basis]


def _shares(main: Comparison, floor: Comparison, against: str) -> str:
    text = (
        f"{main.measures['precision'].value:.0%} of the synthetic patches fall within the range of the real {against} "
        f"ones (precision), and {main.measures['recall'].value:.0%} of the real ones within the range of the synthetic "
        "(recall)"
    )
    if floor.n:
        text += (
            f"; with real training patches in the place of the synthetic, {floor.measures['precision'].value:.0%} "
            f"and {floor.measures['recall'].value:.0%}"
        )
    return f"{text}."


def cautions(
    plan: Plan, results: Results, sections: Sequence[Section], *, real_hash: str, dimension: int
) -> list[Caution]:
    """Everything that limits the results, the gravest first."""
    real, fake = plan.sides["train"].store, plan.sides["fake"].store
    alarms = [*_training(real, fake, real_hash), *_patients(real), *_scale(real, fake)]
    notes = [*_limits(plan, results, dimension), *_left_out(plan, real, fake)]
    own = [*(Caution("alarm", text) for text in alarms), *(Caution("note", text) for text in notes)]
    found = [caution for section in sections for caution in section.cautions]
    return sorted([*own, *found], key=lambda caution: caution.level != "alarm")


def _training(real: Store, fake: Store, real_hash: str) -> Iterator[str]:
    if fake.manifest.get("train_split") == "all":
        yield (
            "The model was trained on all patients, the held-out ones included: "
            "no figure here tells how it does on patients it has not seen."
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
    both = sorted(patients_of(real, real.select(split="train")) & patients_of(real, held_out))
    if both:
        names = ", ".join(both[:5]) + (", …" if len(both) > 5 else "")
        yield f"Patients both in training and held out: {len(both)} ({names}). The held-out results are no test."


def _scale(real: Store, fake: Store) -> Iterator[str]:
    here, there = median_mpp(real), median_mpp(fake)
    if here and there and abs(here - there) > 0.02 * here:
        yield f"Scales differ: {here:.3g} microns per pixel in the real patches, {there:.3g} in the synthetic ones."


def _limits(plan: Plan, results: Results, dimension: int) -> Iterator[str]:
    held_out = plan.sides["held_out"]
    patients = sorted(patients_of(held_out.store, held_out.store.select(split="held_out")))
    if len(patients) == 1:
        yield f"One patient is held out ({patients[0]}): distances to it also hold what is peculiar to this patient."
    main = results.overall["fake_vs_held_out" if len(patients) else "fake_vs_train"]
    if note := next((found.note for found in main.measures.values() if found.note), None):
        yield f"Intervals were {note}. They say nothing of other patients."
    every = chain(results.overall.values(), *(row.values() for row in results.labels.values()))
    deficient = sorted({comparison.n for comparison in every if comparison.rank_deficient})
    if deficient:
        span = f"{deficient[0]:,}" if len(deficient) == 1 else f"{deficient[0]:,} to {deficient[-1]:,}"
        yield (
            f"At n = {span} there are no more images than features ({dimension:,}): the covariances are rank-deficient "
            "and the distances biased upward. Compare them only at equal n."
        )


def _left_out(plan: Plan, real: Store, fake: Store) -> Iterator[str]:
    for name in plan.present:
        few = [f"{k} ({len(plan.sides[name].rows[k])})" for k in plan.labels if not plan.usable(name, k)]
        if few:
            yield (
                f"Fewer than {plan.min_patches} patches ({SIDE_TITLES[name]}) of {', '.join(few)}: "
                "no results against them, and these labels are left out of the overall ones."
            )
    both = (("real", real), ("synthetic", fake))
    if plan.labels == [UNLABELED]:
        which = " and ".join(title for title, store in both if not store.labels)
        yield f"The {which} patches carry no label: there are overall results only."
    else:
        for title, store in both:
            if bare := store.column("label").count(None):
                yield f"{bare:,} of {len(store):,} {title} patches carry no label and are left out."
    if other := sum(split not in ("train", "held_out") for split in real.column("split")):
        yield f"{other:,} of {len(real):,} real patches are in no split and are left out."
