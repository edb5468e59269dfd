"""Nuclei in the report: phantoms of another genotype differ as designed, and the report says what is not measured."""

import re
from dataclasses import replace

import numpy as np
import pytest

from histosynth.metrics.morphology import MORPHOLOGY_FEATURES, Difference, compare_morphology, measure_store
from histosynth.report.sections.morphology import measure, section
from histosynth.report.sections.morphology.measure import (
    NucleiResults,
    NucleiRow,
    SideCount,
    clear_differences,
)
from histosynth.report.sections.morphology.section import difference_sentences
from histosynth.slides.phantom.drawing import draw_phantom
from histosynth.stain import StainFit
from histosynth.stain.two_stains import TARGET
from histosynth.store.part import Patch

PAIRS = ["fake_vs_held_out", "fake_vs_train", "train_vs_held_out"]
PX = 40


@pytest.fixture(scope="module")
def tumors():
    """Genotype -> patches (N, 40, 40, 3) at 1 um per pixel from the center of a phantom tumor."""
    patches = {}
    for genotype in ("IDHmut-codel", "IDHwt"):
        image = draw_phantom(genotype, width_px=576, height_px=576, mpp=1.0, rng=np.random.default_rng(3)).image
        middle = image[128:448, 128:448]
        patches[genotype] = middle.reshape(8, PX, 8, PX, 3).swapaxes(1, 2).reshape(-1, PX, PX, 3)
    return patches


def rows(images, *, source="real", split=None, label="tumor", mpp=1.0):
    return [
        Patch(patch_id=f"{source}-{split}-{label}-{i}", image=image, source=source, split=split, label=label, mpp=mpp,
              patient_id=None if split is None else f"{split}-{i % 2}")
        for i, image in enumerate(images)
    ]  # fmt: skip


def stores(make, real, fake, **options):
    """Make a real store with alternating training and held-out patches of `real`, and a sample store."""
    return (
        make("real", [*rows(real[::2], split="train", **options), *rows(real[1::2], split="held_out", **options)]),
        make("fake", rows(fake, source="run", **options), train_split="train"),
    )


@pytest.mark.parametrize(("real", "fake"), [("IDHmut-codel", "IDHwt"), ("IDHwt", "IDHmut-codel")])
def test_another_genotype_differs_in_crowding(make, report, tumors, tmp_path, monkeypatch, real, fake):
    monkeypatch.setattr(section, "MAX_NAMED", len(MORPHOLOGY_FEATURES))
    content = report(*stores(make, tumors[real], tumors[fake]), sections=("morphology",))
    overall = content["morphology"]["overall"]["pairs"]
    density, nearest = (overall["fake_vs_held_out"][k] for k in ("density_per_mm2", "nearest_um"))
    crowded = fake == "IDHwt"
    assert (density["medians"][0] > density["medians"][1]) == crowded
    assert (nearest["medians"][0] < nearest["medians"][1]) == crowded
    assert density["distance_sd"] > 3 * overall["train_vs_held_out"]["density_per_mm2"]["distance_sd"]
    (sentence,) = [sentence for sentence in content["verdict"] if sentence.startswith("Nuclei")]
    medians = [f"{median:,.0f}" for median in density["medians"]]
    assert (
        f"{'more crowded' if crowded else 'sparser'} (median {medians[0]} instead of {medians[1]} per mm²)" in sentence
    )
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert sentence in page
    assert re.search(rf"<td>{medians[1]}</td><td>{medians[0]}</td>", page)
    assert (tmp_path / "report" / "figures" / "morphology.png").stat().st_size > 10_000


def test_results_are_those_of_the_metric_and_the_same_genotype_is_not_reported(make, report, tumors, monkeypatch):
    monkeypatch.setattr(measure, "MAX_PATCHES", 32)
    real, fake = stores(make, tumors["IDHwt"], tumors["IDHwt"][::2])  # its patches are the training patches
    content = report(real, fake, sections=("morphology",))
    assert not [sentence for sentence in content["verdict"] if sentence.startswith("Nuclei")]
    facts = content["morphology"]
    fit = StainFit(**facts["stains"])
    sides = [measure_store(real, real.select(split=split), fit=fit) for split in ("train", "held_out")]
    expected = compare_morphology(*sides)
    for feature, difference in facts["overall"]["pairs"]["train_vs_held_out"].items():
        assert difference["distance"] == pytest.approx(expected[feature].distance), feature
        assert facts["overall"]["pairs"]["fake_vs_train"][feature]["distance"] == pytest.approx(0, abs=1e-6)


def test_the_keys_are_stable(make, report, tumors):
    facts = report(*stores(make, tumors["IDHwt"], tumors["IDHwt"]), sections=("morphology",))["morphology"]
    assert list(facts) == ["mpp", "max_patches", "min_nuclei", "stains", "overall", "labels"]
    assert list(facts["labels"]) == ["tumor"]
    assert list(facts["overall"]["sides"]["fake"]) == ["patches", "nuclei", "assumed_mpp"]
    assert list(facts["overall"]["pairs"]) == PAIRS
    assert list(facts["overall"]["pairs"]["fake_vs_train"]) == list(MORPHOLOGY_FEATURES)
    assert list(facts["overall"]["pairs"]["fake_vs_train"]["halo"]) == ["distance", "distance_sd", "medians", "n"]


def test_small_patches_without_nuclei_have_no_result(real, fake, report, tmp_path):
    """Noise of 16 px has no nuclei."""
    facts = report(real, fake, sections=("morphology",))["morphology"]
    assert facts["overall"]["pairs"] == dict.fromkeys(PAIRS)
    assert facts["overall"]["sides"]["fake"]["patches"] == 24
    assert "Fewer than 100 whole nuclei on a side: no result." in (tmp_path / "report/report.html").read_text("utf-8")
    assert not (tmp_path / "report" / "figures" / "morphology.png").exists()


def test_without_held_out_patients_training_is_the_reference(make, report, tumors, tmp_path):
    real = make("real", rows(tumors["IDHwt"], split="train"))
    content = report(real, make("fake", rows(tumors["IDHmut-codel"], source="run")), sections=("morphology",))
    pairs = content["morphology"]["overall"]["pairs"]
    assert [pairs[key] is None for key in PAIRS] == [True, False, True]
    assert "<th>training</th><th>synthetic</th>" in (tmp_path / "report" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("real_mpp", "fake_mpp", "level", "words"),
    [
        (None, None, "note", "No patch states microns per pixel"),
        (1.0, None, "alarm", "state no microns per pixel (synthetic)"),
        (4.0, 4.0, "note", "At 4 microns per pixel many nuclei are missed"),
        (1.0, 1.0, None, ""),
    ],
)
def test_scales_that_limit_the_results_raise_cautions(make, report, patches, real_mpp, fake_mpp, level, words):
    real = [*patches(8, "IDHwt", split="train", mpp=real_mpp), *patches(8, "IDHwt", split="held_out", mpp=real_mpp)]
    fake = make("fake", patches(8, "IDHwt", source="run", mpp=fake_mpp))
    cautions = report(make("real", real), fake, sections=("morphology",))["cautions"]
    about = [c for c in cautions if "nuclei" in c["text"]]
    assert [c["level"] for c in about] == ([level] if level else [])
    assert all(words in c["text"] for c in about)


def difference(sd: float, medians=(31.0, 45.0), distance=14.0) -> Difference:
    return Difference(distance=distance, distance_sd=sd, medians=medians, n=(900, 900))


def row(patches: int, **sds: tuple[float, float]) -> NucleiRow:
    """Return a row from each feature's distance to held-out patients and its floor."""
    synthetic, floor = ({name: difference(pair[i]) for name, pair in sds.items()} for i in (0, 1))
    count = SideCount(patches=patches, nuclei=900, assumed_mpp=0)
    return NucleiRow(
        sides=dict.fromkeys(("held_out", "train", "fake"), count),
        pairs={"fake_vs_held_out": synthetic, "fake_vs_train": None, "train_vs_held_out": floor},
    )


def test_only_differences_clearly_above_the_floor_are_reported():
    features = {"halo": (0.5, 0.2), "area_um2": (0.6, 0.1), "solidity": (0.3, 0.2), "eccentricity": (0.15, 0.0)}
    assert clear_differences(row(400, **features)) == ["area_um2", "halo"], "the clearest first; nothing below 0.2 SD"
    assert clear_differences(row(12, **features)) == ["area_um2"], "twelve patches may differ by 0.58 by chance"


def test_the_sentence_describes_the_difference():
    def sentences(**sds: tuple[float, float]) -> list[str]:
        content = row(400, **sds)
        return difference_sentences(
            NucleiResults(mpp=1.0, max_patches=1, min_nuclei=1, stains=TARGET, overall=content, labels={})
        )

    assert sentences(area_um2=(0.1, 0.2)) == []
    (sentence,) = sentences(area_um2=(0.6, 0.1))
    assert "they are smaller (median 31.0 instead of 45.0 um²)" in sentence
    assert sentence.endswith("is 0.60 standard deviations; between real training and held-out patients it is 0.10.")
    (four,) = sentences(area_um2=(0.6, 0.1), halo=(0.5, 0.1), solidity=(0.9, 0.1), nearest_um=(0.4, 0.1))
    assert re.search(
        r"they are more irregular.*, smaller .* and in fainter halos .*, and differ in 1 more feature", four
    )


def test_a_difference_in_spread_alone_is_not_called_smaller():
    overall = row(400, area_um2=(0.6, 0.1))
    spread = {"area_um2": difference(0.6, medians=(44.0, 45.0))}
    overall = replace(overall, pairs={**overall.pairs, "fake_vs_held_out": spread})
    (sentence,) = difference_sentences(
        NucleiResults(mpp=1.0, max_patches=1, min_nuclei=1, stains=TARGET, overall=overall, labels={})
    )
    assert "of different spread in area" in sentence


def test_fewer_large_patches_are_measured(make, report, tumors, monkeypatch):
    monkeypatch.setattr(measure, "MAX_MM2", 5.1 * 0.040**2)
    facts = report(*stores(make, tumors["IDHwt"], tumors["IDHwt"]), sections=("morphology",))["morphology"]
    assert facts["max_patches"] == facts["overall"]["sides"]["train"]["patches"] == 5
