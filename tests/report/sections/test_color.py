"""Color in the report: results are those of the metric functions, and drift is reported only if present."""

import re
from dataclasses import replace

import numpy as np
import pytest

from histosynth.config import EvaluateSettings
from histosynth.metrics.color import ColorStatistics, color_distance, common_stains, concentrations
from histosynth.report.activations import Activations
from histosynth.report.sections.color.chart import axes_of
from histosynth.report.sections.color.measure import measure_colors
from histosynth.report.sections.color.section import color_section, drift_sentences, format_shift
from histosynth.report.sections.section import SectionInputs
from histosynth.report.sides import plan
from histosynth.stain.optical_density import to_density, to_rgb
from histosynth.store.part import Patch

PAIRS = ["fake_vs_held_out", "fake_vs_train", "train_vs_held_out"]


def tinted(rows: list[Patch], gain: tuple[float, float, float]) -> list[Patch]:
    """Increase the absorption of each channel by this share."""
    return [replace(p, image=to_rgb(to_density(p.image) * (1 + np.float32(gain)))) for p in rows]


def planned(real, fake):
    return plan(real=real, fake=fake, neighbors=3)


@pytest.fixture
def colors(real, fake):
    return measure_colors(planned(real, fake), batch=7)


def test_results_are_those_of_the_patches_that_enter(real, fake, colors):
    """Small stores: every pixel is measured, of the number of patches of the smallest side."""
    assert colors.pixel_step == 1
    chosen = planned(real, fake)
    pixels = {
        name: np.concatenate([side.store.images(side.rows[k][: chosen.n[k]]) for k in chosen.labels])
        for name, side in chosen.sides.items()
    }
    pair = colors.overall.pairs["fake_vs_held_out"]
    fake_statistics, held_out = (ColorStatistics.of(pixels[name]) for name in ("fake", "held_out"))
    assert pair.color_distance == pytest.approx(color_distance(fake_statistics, held_out))
    assert pair.mean_shift == pytest.approx(fake_statistics.density.mean - held_out.density.mean)
    assert colors.stains == common_stains(np.concatenate([pixels["held_out"], pixels["train"]]))[0]
    side = colors.overall.sides["fake"]
    assert (side.patches, side.pixels) == (24, fake_statistics.density.n)
    amounts = concentrations(pixels["fake"], stains=colors.stains)
    assert side.hematoxylin[3] == pytest.approx(np.median(amounts[:, 0]), abs=1e-6)
    assert side.eosin[-1] == pytest.approx(np.quantile(amounts[:, 1], 0.99), abs=1e-6)
    assert side.rgb == tuple(to_rgb(np.float32(side.density)))


def test_a_subsample_of_pixels_gives_the_same_result(real, fake, colors, monkeypatch):
    monkeypatch.setattr("histosynth.report.sections.color.measure.PIXELS_PER_SIDE", 2_000)
    few = measure_colors(planned(real, fake), batch=100)
    assert few.pixel_step == 5, "a step of 4 would visit the same columns of 16 px in each row"
    assert few.overall.sides["train"].pixels < colors.overall.sides["train"].pixels / 4
    for key, pair in few.overall.pairs.items():
        assert pair.color_distance == pytest.approx(colors.overall.pairs[key].color_distance, abs=0.03)


def test_the_batch_size_changes_nothing(real, fake, colors):
    assert measure_colors(planned(real, fake), batch=64) == colors


def test_the_progress_bar_counts_every_patch_once(real, fake):
    counts = []
    measure_colors(planned(real, fake), batch=5, advance=counts.append)
    assert sum(counts) == 3 * 24
    plan = planned(real, fake)
    inputs = SectionInputs(
        plan=plan,
        activations=Activations(plan=plan, outputs={}),
        extract=pytest.fail,
        settings=EvaluateSettings(batch=5),
        progress=False,
    )
    assert color_section(inputs).context["colors"] == measure_colors(plan, batch=5)


def test_copies_have_zero_distance(make, real_rows):
    copies = [replace(p, source="run", split=None, patient_id=None) for p in real_rows if p.split == "held_out"]
    colors = measure_colors(planned(make("real", real_rows), make("fake", copies)), batch=64)
    for row in (colors.overall, *colors.labels.values()):
        pair = row.pairs["fake_vs_held_out"]
        assert (pair.color_distance, *pair.mean_shift) == pytest.approx((0, 0, 0, 0), abs=1e-6)
        assert (pair.hematoxylin_distance, pair.eosin_distance) == pytest.approx((0, 0), abs=1e-6)
    assert drift_sentences(colors) == []


def test_drift_is_reported_with_its_numbers(make, real, fake_rows, report, tmp_path):
    content = report(real, make("tinted", tinted(fake_rows, (0.1, 0.5, 0.6)), train_split="train"))
    pair, floor = (content["color"]["overall"]["pairs"][key] for key in ("fake_vs_held_out", "train_vs_held_out"))
    assert pair["color_distance"] > 2 * floor["color_distance"]
    (sentence,) = [sentence for sentence in content["verdict"] if "drift" in sentence]
    assert f"is {pair['color_distance']:.2f} to held-out patients" in sentence
    assert f"and {floor['color_distance']:.2f} between training and held-out patients" in sentence
    assert all(value > 0 for value in pair["mean_shift"])
    assert f"{format_shift(pair['mean_shift'][2])} in blue; positive is darker" in sentence
    assert sentence in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_drift_of_one_label_is_reported_if_the_overall_result_hides_it(make, patches, fake_rows):
    """One label drifts. The other does not, and its floor is high, which hides the drift in the overall result."""
    narrow = [*patches(30, "IDHmut", split="train", seed=1), *patches(30, "IDHmut", split="held_out", seed=1)]
    wide = patches(30, "IDHwt", split="held_out", seed=2)
    real = make("real", [*narrow, *wide, *tinted([replace(p, split="train") for p in wide], (0.8, 0.8, 0.8))])
    copies_of_narrow = [replace(p, source="run", split=None, patient_id=None) for p in narrow[:30]]
    copies_of_wide = [replace(p, source="run", split=None, patient_id=None) for p in wide]
    fake = make("fake", [*tinted(copies_of_narrow, (0.3, 0.3, 0.3)), *copies_of_wide])
    (sentence,) = drift_sentences(measure_colors(planned(real, fake), batch=64))
    assert "synthetic patches of IDHmut drift" in sentence


def test_real_colors_do_not_drift(real, fake, report):
    assert not any("drift" in sentence for sentence in report(real, fake)["verdict"])


def test_without_held_out_patients_training_is_the_reference(make, real_rows, fake, report, tmp_path):
    content = report(make("real", [p for p in real_rows if p.split == "train"]), fake)["color"]["overall"]
    assert list(content["sides"]) == ["train", "fake"]
    assert [content["pairs"][key] is None for key in PAIRS] == [True, False, True]
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "distances are from synthetic to training patients. Hematoxylin" in page
    assert "<th>to held-out</th>" not in page


def test_glass_has_no_color_results(make, real, fake_rows, report, tmp_path):
    glass = [replace(p, image=np.full_like(p.image, 245)) if p.label == "IDHwt" else p for p in fake_rows]
    content = report(real, make("glass", glass))["color"]
    assert "fake" not in content["labels"]["IDHwt"]["sides"]
    assert content["labels"]["IDHwt"]["pairs"]["fake_vs_train"] is None
    assert content["overall"]["sides"]["fake"]["tissue"] < 0.7
    assert re.search(r"<th>IDHwt</th>\s*<td class=\"none\">none</td>", (tmp_path / "report/report.html").read_text())


def test_the_keys_are_stable(real, fake, report):
    content = report(real, fake)["color"]
    assert list(content) == ["pixel_step", "quantiles", "stains", "stains_fitted", "overall", "labels"]
    for row in (content["overall"], *content["labels"].values()):
        assert list(row["sides"]) == ["held_out", "train", "fake"]
        assert list(row["pairs"]) == PAIRS
    assert list(content["overall"]["pairs"]["fake_vs_train"]) == [
        "color_distance", "mean_shift", "hematoxylin_distance", "eosin_distance", "stain_distance",
    ]  # fmt: skip


def test_every_band_lies_on_its_axis(colors):
    axes = axes_of(colors)
    for row in colors.rows.values():
        for side in row.sides.values():
            for stain in ("hematoxylin", "eosin"):
                positions = [axes[stain].at(value) for value in getattr(side, stain)]
                assert positions == sorted(positions)
                assert 0 <= positions[0] <= positions[-1] <= 100 + 1e-9
    assert all(axis.low <= tick <= axis.high for axis in axes.values() for tick in axis.ticks)


@pytest.mark.parametrize(("value", "text"), [(0.123, "+0.12"), (-0.03, "−0.03"), (-0.001, "0.00"), (0.0, "0.00")])
def test_signs(value, text):
    assert format_shift(value) == text
