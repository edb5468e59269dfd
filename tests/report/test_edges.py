"""Stores at the edge of what can be compared: exact copies, and each mistake told in a line before the long work."""

from dataclasses import replace

import numpy as np
import pytest

from histosynth.errors import HistosynthError

SHARES = ("precision", "recall", "coverage")


def test_a_store_against_itself_is_at_no_distance(make, real_rows, report):
    """Every measure of the report at its ideal, overall and of each label."""
    held_out = [p for p in real_rows if p.split == "held_out"]
    copies = [replace(p, source="run", split=None, patient_id=None) for p in held_out]
    found = report(make("real", real_rows), make("fake", copies))
    for row in (found["overall"], *found["labels"].values()):
        values = {name: interval["value"] for name, interval in row["fake_vs_held_out"]["measures"].items()}
        assert values["frechet_distance"] == pytest.approx(0, abs=1e-6)
        assert values["kernel_distance"] <= 0, "unbiased, so that equal sets come out below zero"
        assert [values[name] for name in SHARES] == [1, 1, 1]
        assert values["density"] >= 1, "each ball holds its own center, and k neighbors"
        real_pair = row["train_vs_held_out"]["measures"]["frechet_distance"]
        assert real_pair["value"] > 1 > values["frechet_distance"]
    colors = found["color"]["overall"]["pairs"]["fake_vs_held_out"]
    assert [colors[key] for key in ("color_distance", "hematoxylin_distance")] == pytest.approx([0, 0], abs=1e-4)
    assert found["matrices"]["fake_vs_held_out"]["diagonal_lowest"] == 2


@pytest.mark.parametrize(("synthetic", "enough"), [(3, False), (4, True)])
def test_one_more_patch_than_neighbors_is_the_least(make, real, patches, report, synthetic, enough):
    fake = make("fake", patches(synthetic, "IDHmut", source="run"))
    if enough:
        assert report(real, fake)["labels"]["IDHmut"]["fake_vs_held_out"]["n"] == 4
        return
    with pytest.raises(HistosynthError, match=r"needs 4 synthetic .*found IDHmut: 14 real, held-out.* 3 synthetic"):
        report(real, fake)


def test_a_class_that_the_model_never_draws_is_said_and_not_pooled(make, real, fake_rows, report):
    """The overall figures then leave it out on all sides: they alone would not tell."""
    found = report(real, make("fake", [p for p in fake_rows if p.label == "IDHmut"]))
    assert found["overall_labels"] == ["IDHmut"]
    assert found["labels"]["IDHwt"]["fake_vs_held_out"]["note"] == "none"
    assert any("(synthetic) of IDHwt (0)" in caution["text"] for caution in found["cautions"])


def test_a_class_of_which_there_is_no_real_tissue(make, real_rows, fake, report):
    found = report(make("real", [p for p in real_rows if p.label == "IDHmut"]), fake)
    assert found["overall_labels"] == ["IDHmut"]
    assert found["labels"]["IDHwt"]["fake_vs_train"]["n"] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers(real, fake, report, extractor, tmp_path, value):
    class Broken(type(extractor)):
        def __call__(self, images):
            features = super().__call__(images)
            features[0, 2] = value
            return features

    extractor.__class__ = Broken
    with pytest.raises(
        HistosynthError,
        match=r"mean-and-contrast outputs \(features\) for .*real hold values that are not finite .*; try --device",
    ):
        report(real, fake)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake", "real"], "nothing is left behind"


def test_pixels_that_are_no_numbers_never_reach_a_store(make, fake_rows):
    image = np.full((16, 16, 3), np.nan)
    with pytest.raises(ValueError, match=r"invalid data .*dtype"):  # a program's mistake: no verb makes such patches
        make("fake", [replace(fake_rows[0], image=image), *fake_rows[1:]])


def test_sizes_mixed_within_a_store(make, real, patches, fake_rows, report, tmp_path):
    with pytest.raises(HistosynthError, match=r"fake mixes patch sizes \[\(8, 8, 3\), \(16, 16, 3\)\]; make one"):
        report(real, make("fake", [*fake_rows, *patches(9, "IDHwt", source="run-1", px=8, seed=9)]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake", "real"]


def test_samples_given_for_real_tissue(make, fake, fake_rows, report, extractor):
    other = make("other", [replace(p, source="run-2") for p in fake_rows])
    with pytest.raises(HistosynthError, match=r"--real .*other holds 40 synthetic patches among 40; give a store that"):
        report(other, fake)
    assert extractor.seen == 0


def test_real_tissue_given_for_samples(make, real, real_rows, report, extractor):
    with pytest.raises(HistosynthError, match=r"--fake .*other holds real patches; swap --real and --fake\?"):
        report(real, make("other", real_rows))
    assert extractor.seen == 0
