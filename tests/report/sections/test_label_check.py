"""Label check: a planted truth is recovered; if nothing can be measured, the report gives the reason."""

import json
from dataclasses import replace

import numpy as np
import pytest

from histosynth.config import EvaluateSettings
from histosynth.report.sections.label_check.measure import TESTS, check_labels
from histosynth.report.sections.label_check.section import cautions, label_check_section, recognition_sentence
from histosynth.report.sections.section import SectionInputs


@pytest.fixture
def inputs(activations):
    def build(real, fake):
        measured = activations(real, fake)
        settings = EvaluateSettings(cache="off")
        return SectionInputs(
            plan=measured.plan, activations=measured, extract=pytest.fail, settings=settings, progress=False
        )

    return build


def test_right_labels_are_recognized(real, fake, activations):
    check = check_labels(activations(real, fake))
    assert list(check.accuracy) == list(TESTS)
    assert (check.n, check.chance, check.labels) == (24, 0.5, ["IDHmut", "IDHwt"])
    assert check.accuracy["real_on_held_out"].balanced.value > 0.9
    assert check.accuracy["real_on_synthetic"].balanced.low > 0.8
    assert check.accuracy["synthetic_on_held_out"].balanced.value > 0.9
    assert np.trace(check.confusion) >= 22
    assert np.sum(check.confusion, axis=1).tolist() == [14, 10]


def test_swapped_labels_are_recognized_as_each_other(make, real, fake_rows, activations):
    swap = {"IDHmut": "IDHwt", "IDHwt": "IDHmut"}
    check = check_labels(activations(real, make("f", [replace(p, label=swap[p.label]) for p in fake_rows])))
    assert check.accuracy["real_on_synthetic"].balanced.high < 0.2
    assert check.accuracy["synthetic_on_held_out"].balanced.high < 0.2, "a classifier learns the labels swapped"
    assert check.accuracy["real_on_held_out"].balanced.value > 0.9
    assert np.trace(check.confusion[::-1]) >= 22, "rows are labels, columns are predictions"


def test_random_labels_are_recognized_by_chance_and_teach_less(make, real, fake_rows, activations):
    mixed = [replace(p, label=("IDHmut", "IDHwt")[i % 2]) for i, p in enumerate(fake_rows)]
    check = check_labels(activations(real, make("f", mixed)))
    low, high = (getattr(check.accuracy["real_on_synthetic"].balanced, end) for end in ("low", "high"))
    assert low < 0.5 < high < 0.85
    accuracy = {key: result.balanced.value for key, result in check.accuracy.items()}
    assert accuracy["synthetic_on_held_out"] < accuracy["real_on_held_out"]


def test_confusion_agrees_with_the_accuracy(make, real, fake_rows, activations):
    mixed = [replace(p, label=("IDHmut", "IDHwt")[i % 3 > 0]) for i, p in enumerate(fake_rows)]
    check = check_labels(activations(real, make("f", mixed)))
    counts = np.array(check.confusion)
    shares = check.accuracy["real_on_synthetic"].by_label
    np.testing.assert_allclose(counts.diagonal() / counts.sum(axis=1), [shares[k] for k in check.labels])


def test_the_keys_are_stable_whether_measured_or_not(make, real, real_rows, fake, inputs):
    bare = make("bare", [p for p in real_rows if p.split == "train"])
    for store in (real, bare):
        facts = label_check_section(inputs(store, fake)).facts
        assert list(facts) == ["labels", "n", "accuracy", "confusion", "note", "caveat", "chance"]
    measured = json.loads(json.dumps(label_check_section(inputs(real, fake)).facts))
    assert set(measured["accuracy"]) == set(TESTS)
    for result in measured["accuracy"].values():
        assert set(result) == {"by_label", "balanced", "images"}
        assert set(result["balanced"]) == {"value", "low", "high", "level", "note"}


def test_the_sentence_states_the_results(real, fake, inputs, activations):
    check = check_labels(activations(real, fake))
    section = label_check_section(inputs(real, fake))
    assert section.sentences == [recognition_sentence(check)]
    assert f"of {check.accuracy['real_on_synthetic'].balanced.value:.0%} (95% interval" in section.sentences[0]
    assert section.sentences[0].endswith("chance is 50%.")
    assert not section.cautions


def test_a_ceiling_at_chance_raises_a_caution(make, patches, fake, activations):
    """Real labels without meaning: the same tissue for both."""
    rng = np.random.default_rng(0)
    rows = [
        replace(p, label=str(rng.choice(["IDHmut", "IDHwt"])), patient_id=f"{split}{i % 12}")
        for split in ("train", "held_out")
        for i, p in enumerate(patches(60, "IDHwt", split=split, seed=7))
    ]
    check = check_labels(activations(make("blind", rows), fake))
    assert ["better than chance" in caution.text for caution in cautions(check)] == [True]


# Nothing can be measured


def test_with_one_label_there_is_no_section(make, patches, inputs):
    real = make("r", [*patches(9, "IDHwt", split="train"), *patches(9, "IDHwt", split="held_out")])
    assert label_check_section(inputs(real, make("f", patches(9, "IDHwt", source="run")))) is None


def no_held_out(rows):
    return [p for p in rows if p.split == "train"]


def no_train(rows):
    return [p for p in rows if p.split == "held_out"]


def label_not_held_out(rows):
    return [p for p in rows if p.split == "train"] + [p for p in rows if p.split == "held_out"][:8]


def one_patient_per_label(rows):
    """Return rows with enough patients for cross-validation, but a label with a single one."""
    return [replace(p, patient_id="lone" if p.label == "IDHwt" else f"{p.split}{i % 8}") for i, p in enumerate(rows)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (no_held_out, "no patient is held out"),
        (no_train, "no real training patches"),
        (label_not_held_out, "are needed; there are fewer than 4 patches (real, held-out) of IDHwt (0)"),
    ],
)  # fmt: skip
def test_the_page_gives_the_reason_if_nothing_was_measured(make, real_rows, fake, report, tmp_path, change, why):
    content = report(make("changed", change(real_rows)), fake, sections=("label_check",))
    facts = content["label_check"]
    assert why in facts["note"]
    assert (facts["accuracy"], facts["chance"]) == ({}, None)
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert f"could not be measured: {facts['note']}" in page
    assert not (tmp_path / "report" / "figures" / "label_check.png").exists()


def test_a_label_of_one_training_patient_is_measured_with_a_caveat(make, real_rows, fake, report, tmp_path):
    """Only cross-validation of the penalty needs several training patients per label. Held-out rows are unchanged."""
    rows = [*one_patient_per_label([p for p in real_rows if p.split == "train"]), *no_train(real_rows)]
    facts = report(make("changed", rows), fake, sections=("label_check",))["label_check"]
    assert facts["note"] is None
    assert set(facts["accuracy"]) == set(TESTS)
    assert facts["caveat"].endswith("fewer than 3 training patients have IDHwt")
    assert facts["caveat"] in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_the_page_and_the_files(real, fake, report, tmp_path):
    report(real, fake, sections=("label_check", "feature_map"))
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "Can a classifier learn from synthetic patches?" in page
    assert "<h2>Feature map</h2>" in page
    names = {p.name for p in (tmp_path / "report" / "figures").iterdir()}
    for chart in ("label_check", "feature_map", "distances", "labels"):
        assert {f"{chart}.png", f"{chart}.svg"} <= names
