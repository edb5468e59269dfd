"""Edge cases of stores to compare: exact copies, and mistakes, each reported in one line before the long work."""

from dataclasses import replace

import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import extractors
from histosynth.rundir import exclusive_replacement

SHARES = ("precision", "recall", "coverage")


def test_a_store_has_zero_distance_to_itself(make, real_rows, report):
    """Every measure of the report has its ideal value, overall and per label."""
    held_out = [p for p in real_rows if p.split == "held_out"]
    copies = [replace(p, source="run", split=None, patient_id=None) for p in held_out]
    content = report(make("real", real_rows), make("fake", copies))
    for row in (content["overall"], *content["labels"].values()):
        values = {name: interval["value"] for name, interval in row["fake_vs_held_out"]["measures"].items()}
        assert values["frechet_distance"] == pytest.approx(0, abs=1e-6)
        assert values["kernel_distance"] <= 0, "unbiased, so equal sets have values below zero"
        assert [values[name] for name in SHARES] == [1, 1, 1]
        assert values["density"] >= 1, "each ball contains its own center and k neighbors"
        real_pair = row["train_vs_held_out"]["measures"]["frechet_distance"]
        assert real_pair["value"] > 1 > values["frechet_distance"]
    colors = content["color"]["overall"]["pairs"]["fake_vs_held_out"]
    assert [colors[key] for key in ("color_distance", "hematoxylin_distance")] == pytest.approx([0, 0], abs=1e-4)
    assert content["matrices"]["fake_vs_held_out"]["diagonal_lowest"] == 2


@pytest.mark.parametrize(("synthetic", "enough"), [(3, False), (4, True)])
def test_one_patch_more_than_neighbors_is_the_minimum(make, real, patches, report, synthetic, enough):
    fake = make("fake", patches(synthetic, "IDHmut", source="run"))
    if enough:
        assert report(real, fake)["labels"]["IDHmut"]["fake_vs_held_out"]["n"] == 4
        return
    with pytest.raises(
        HistosynthError, match=r"needs 4 synthetic .*the stores hold IDHmut: 14 real, held-out.* 3 synthetic"
    ):
        report(real, fake)


def test_a_label_that_the_model_never_generates_is_reported_and_not_pooled(make, real, fake_rows, report):
    """Overall results leave it out on all sides, so they alone would not show it."""
    content = report(real, make("fake", [p for p in fake_rows if p.label == "IDHmut"]))
    assert content["overall_labels"] == ["IDHmut"]
    assert content["labels"]["IDHwt"]["fake_vs_held_out"]["note"] == "none"
    assert any("(synthetic) of IDHwt (0)" in caution["text"] for caution in content["cautions"])


def test_a_label_without_real_patches(make, real_rows, fake, report):
    content = report(make("real", [p for p in real_rows if p.label == "IDHmut"]), fake)
    assert content["overall_labels"] == ["IDHmut"]
    assert content["labels"]["IDHwt"]["fake_vs_train"]["n"] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite(real, fake, report, extractor, tmp_path, value):
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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake", "real"], "no files are left behind"


def test_pixels_that_are_not_finite_are_not_stored(make, fake_rows):
    image = np.full((16, 16, 3), np.nan)
    with pytest.raises(
        ValueError, match=r"invalid data .*dtype"
    ):  # a mistake in a program: no command makes such patches
        make("fake", [replace(fake_rows[0], image=image), *fake_rows[1:]])


def test_mixed_patch_sizes_within_a_store(make, real, patches, fake_rows, report, tmp_path):
    with pytest.raises(HistosynthError, match="fake mixes patch sizes, 16 x 16 and 8 x 8 px; make one"):
        report(real, make("fake", [*fake_rows, *patches(9, "IDHwt", source="run-1", px=8, seed=9)]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake", "real"]


def test_a_sample_store_as_real_store(make, fake, fake_rows, report, extractor):
    other = make("other", [replace(p, source="run-2") for p in fake_rows])
    with pytest.raises(
        HistosynthError,
        match=r"--real .*other holds 40 synthetic patches among 40; pass a store made by `histosynth patches`",
    ):
        report(other, fake)
    assert extractor.seen == 0


def test_a_real_store_as_sample_store(make, real, real_rows, report, extractor):
    with pytest.raises(HistosynthError, match=r"--fake .*other holds real patches; swap --real and --fake, or pack"):
        report(real, make("other", real_rows))
    assert extractor.seen == 0


def test_swapped_stores(real, fake, report):
    with pytest.raises(HistosynthError, match=r"--fake .*real holds real patches; swap --real and --fake, or pack"):
        report(fake, real)


def test_mixed_stores(make, real, fake, real_rows, fake_rows, report):
    mixed = make("mixed", [*real_rows, *fake_rows])
    with pytest.raises(HistosynthError, match="holds 79 real patches among 119; pass a store of samples only"):
        report(real, mixed)
    with pytest.raises(HistosynthError, match="holds 40 synthetic patches among 119"):
        report(mixed, fake)


def test_sizes_differ(make, real, patches, report):
    with pytest.raises(HistosynthError, match=r"patch sizes differ: 16 px .* 8 px .*--set patches.patch_px=8"):
        report(real, make("fake", patches(9, "IDHwt", source="run", px=8)))


def test_no_label_in_common(make, real, fake_rows, report):
    with pytest.raises(HistosynthError, match=r"no label in common: .*IDHmut, IDHwt; .*astro"):
        report(real, make("fake", [replace(p, label="astro") for p in fake_rows]))


def test_no_split(make, real_rows, fake, report):
    with pytest.raises(HistosynthError, match="in the split train or held_out"):
        report(make("real", [replace(p, split=None) for p in real_rows]), fake)


def test_too_few_patches_for_any_result(make, real, patches, report):
    fake = make("fake", [*patches(3, "IDHmut", source="run"), *patches(2, "IDHwt", source="run")])
    with pytest.raises(HistosynthError, match=r"needs 4 synthetic and 4 real .*3 synthetic.*--per-label"):
        report(real, fake)


def test_training_patients_as_reference_are_not_limited_by_held_out_patches(real, fake, report, tmp_path):
    """14 and 10 patches are held out, 20 per label are synthetic; the warning comes first."""
    content = report(real, fake, reference="train")
    assert content["cautions"][0]["level"] == "alarm"
    assert content["cautions"][0]["text"].startswith("The reference is training patients, as requested")
    assert content["overall"]["fake_vs_train"]["n"] == 40
    assert content["overall"]["fake_vs_held_out"]["note"] == "not compared"
    assert content["overall"]["fake_vs_held_out"]["available"] == (40, 24)
    assert "real patches of training patients" in " ".join(content["verdict"])
    assert "held-out patients take no part" in (tmp_path / "report" / "report.html").read_text()


def test_a_report_is_written_by_one_command_at_a_time(make, patches, extractor, tmp_path, monkeypatch, run):
    monkeypatch.setitem(extractors._items, "test", lambda device: extractor)
    real = make("real", [p for s in ("train", "held_out") for p in patches(4, "IDHwt", split=s)])
    fake = make("fake", patches(5, "IDHwt", source="run"))
    words = ("evaluate", "--real", real.path, "--fake", fake.path, "--out", tmp_path / "report", "--quiet")
    with exclusive_replacement(tmp_path / "report"):
        code, _, error = run(*words, "--extractor", "test")
    assert (code, error.count("\n")) == (2, 1)
    assert "report is being written by another command" in error
