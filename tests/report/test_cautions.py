"""Stores that can be compared, with cautions, and the sentences of the verdict."""

from dataclasses import replace

import pytest

from histosynth.metrics.inception_score import InceptionScore
from histosynth.report.wording import format_score


def value(cell, measure):
    return cell["measures"][measure]["value"]


def texts(content, level):
    return " | ".join(c["text"] for c in content["cautions"] if c["level"] == level)


def test_no_held_out_patients(make, real_rows, fake, report, tmp_path):
    content = report(make("real", [p for p in real_rows if p.split == "train"]), fake)
    assert content["overall"]["fake_vs_held_out"]["note"] == "none"
    assert content["overall"]["train_vs_held_out"]["measures"] == {}
    assert content["overall"]["fake_vs_train"]["n"] == 40
    assert "holds out no patient" in texts(content, "alarm")
    assert "real patches of training patients is " in content["verdict"][0]
    assert "; n = 40 per side)." in content["verdict"][0]
    assert "training to<br>held-out" not in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_a_label_with_too_few(make, real_rows, patches, fake, report, tmp_path):
    rows = [p for p in real_rows if (p.label, p.split) != ("IDHwt", "held_out")]
    content = report(make("real", [*rows, *patches(2, "IDHwt", split="held_out")]), fake)
    row = content["labels"]["IDHwt"]
    assert row["fake_vs_held_out"] == {
        "n": 0, "available": (20, 2), "measures": {}, "frechet_infinity": None, "frechet_infinity_interval": None,
        "rank_deficient": False,
        "note": "too few (n=2)",
    }  # fmt: skip
    assert row["fake_vs_train"]["n"] == 20
    assert content["overall_labels"] == ["IDHmut"]
    assert "Fewer than 4 patches (real, held-out) of IDHwt (2)" in texts(content, "note")
    assert "too few (n=2)" in (tmp_path / "report" / "report.html").read_text("utf-8")
    assert content["matrices"]["fake_vs_held_out"]["frechet_distance"][0][1] is None


def test_labels_on_one_side_only(make, real, patches, fake_rows, report):
    content = report(
        real, make("fake", [*[p for p in fake_rows if p.label == "IDHwt"], *patches(5, None, source="run-1")])
    )
    assert content["labels"]["IDHmut"]["fake_vs_held_out"]["note"] == "none"
    assert value(content["labels"]["IDHmut"]["train_vs_held_out"], "frechet_distance") > 0
    assert content["overall_labels"] == ["IDHwt"]
    assert "(synthetic) of IDHmut (0)" in texts(content, "note")
    assert "5 of 25 synthetic patches carry no label" in texts(content, "note")


def test_samples_without_labels(make, real, fake_rows, report):
    content = report(real, make("fake", [replace(p, label=None) for p in fake_rows]))
    assert list(content["labels"]) == ["all patches"]
    assert content["overall"]["fake_vs_held_out"]["n"] == 24
    assert content["matrices"] == {}
    assert "The synthetic patches carry no label" in texts(content, "note")


def test_conditions_that_invalidate_results_raise_alarms(make, real_rows, fake_rows, report):
    leaked = [replace(p, patient_id="P1") if i in (0, 60) else p for i, p in enumerate(real_rows)]
    rows = [replace(p, mpp=0.5) for p in fake_rows]
    rows[0] = replace(rows[0], source="run-2")
    content = report(make("real", leaked), make("fake", rows, train_split="all", made_with={"data_hash": "another"}))
    alarms = texts(content, "alarm")
    assert "trained on all patients" in alarms
    assert "trained on another store than real" in alarms
    assert "both in training and held out: 1 (P1)" in alarms
    assert "1 microns per pixel in the real patches, 0.5" in alarms
    assert "mixes 2 sources: run-1, run-2" in alarms


def test_a_valid_evaluation_raises_no_alarm(make, real, fake_rows, report):
    fake = make("fake", fake_rows, train_split="train", made_with={"data_hash": real.content_hash()})
    assert texts(report(real, fake), "alarm") == ""


def test_few_images_for_many_features(make, real, patches, fake_rows, report):
    content = report(
        real, make("fake", [*patches(5, "IDHmut", source="r"), *[p for p in fake_rows if p.label == "IDHwt"]])
    )
    assert content["labels"]["IDHmut"]["fake_vs_train"]["rank_deficient"]
    assert not content["labels"]["IDHwt"]["fake_vs_train"]["rank_deficient"]
    assert "At n = 5 there are no more images than features (6)" in texts(content, "note")


def test_a_single_held_out_patient(make, real_rows, fake, report):
    rows = [replace(p, patient_id="P9") if p.split == "held_out" else p for p in real_rows]
    notes = texts(report(make("real", rows), fake), "note")
    assert "Only one patient is held out (P9)" in notes
    assert "Intervals were resampled by image, because there is only 1 patient: too narrow." in notes


@pytest.mark.parametrize("patients", [3, 6])
def test_few_patients_are_a_caution_for_intervals_and_the_kernel_distance(
    make, real_rows, fake, report, tmp_path, patients
):
    rows = [replace(p, patient_id=f"{p.split}-{i % patients}") for i, p in enumerate(real_rows)]
    content = report(make("real", rows), fake)
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    for sentence in (
        "Intervals were resampled by image, because there are only 3 patients: too narrow.",
        "The kernel distance includes pairs of patches of one patient and is too large.",
    ):
        assert (sentence in texts(content, "note")) == (sentence in page) == (patients == 3)
    few = "resampled by image, because there are only 3 patients: too narrow" if patients == 3 else None
    for comparison in content["overall"].values():
        assert {name: interval["note"] for name, interval in comparison["measures"].items()} == dict.fromkeys(
            comparison["measures"], few
        )


def test_only_inception_features_are_called_comparable_with_an_fid(real, fake, report, extractor):
    assert report(real, fake)["verdict"][-1].endswith("features; not comparable with an FID of Inception features.")
    extractor.name = "inception"
    content = report(real, fake, out="other")
    assert "; comparable with an FID of the same number of images" in content["verdict"][-1]
    assert content["settings"]["extractor"] == content["extractor"]["name"] == "inception", "and not `auto`"


def test_patches_with_raw_colors_beside_normalized_ones_are_a_caution(make, real_rows, fake, report):
    mixed = [replace(p, stain=("normalized", "skipped:foreign-color")[i % 2]) for i, p in enumerate(real_rows)]
    content = report(make("real", mixed), fake)
    assert "% of the patches of real kept their raw colors (40 normalized, 39 skipped:foreign-color)" in texts(
        content, "note"
    )


@pytest.mark.parametrize(("splits", "shown"), [(1, "12.34"), (3, "12.34 ± 0.05")])
def test_an_inception_score_of_one_split_has_no_deviation(splits, shown):
    assert format_score(InceptionScore(mean=12.341, deviation=0.05 * (splits > 1), splits=splits)) == shown
