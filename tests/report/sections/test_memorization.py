"""Copies in the report: planted ones are detected, reported first, and end the command with exit code 3."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from histosynth import cli
from histosynth.cli.evaluate import COPIES_FOUND
from histosynth.metrics.symmetries import apply_symmetry
from histosynth.report import build
from histosynth.report.sections.memorization import measure
from histosynth.report.sides import plan
from histosynth.store.part import Patch

PX = 32


def textured(count: int, seed: int, *, source="real", split=None, label="IDHwt") -> list[Patch]:
    """Blurred noise: no two alike, none uniform."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(count, PX, PX, 3)), (0, 2, 2, 0))
    images = (150 + 400 * noise).clip(0, 255).astype(np.uint8)
    return [
        Patch(patch_id=f"{source}-{seed}-{i}", image=image, source=source, split=split, label=label, mpp=1.0,
              patient_id=None if split is None else f"{split}-{i % 4}")
        for i, image in enumerate(images)
    ]  # fmt: skip


TRAIN, HELD_OUT, SYNTHETIC = (
    textured(60, 1, split="train"),
    textured(40, 2, split="held_out"),
    textured(30, 3, source="run"),
)


def planted() -> list[Patch]:
    """Return samples of which the fourth is training patch 9, mirrored and with noise."""
    image = apply_symmetry(TRAIN[9].image[None], 4)[0] + np.random.default_rng(0).normal(0, 3, (PX, PX, 3))
    copy = replace(SYNTHETIC[3], image=image.clip(0, 255).astype(np.uint8))
    return [*SYNTHETIC[:3], copy, *SYNTHETIC[4:]]


@pytest.fixture
def audited(make, report):
    """`audited(fake)`: the report with this section alone."""

    def build(fake, real=(*TRAIN, *HELD_OUT), **manifest):
        stores = make("real", [*real]), make("fake", fake, **manifest)
        return report(*stores, sections=("memorization",))

    return build


def test_a_planted_copy_is_reported_first(audited, tmp_path):
    content = audited(planted())
    (pair,) = content["memorization"]["copies"]
    assert (pair["fake_id"], pair["train_id"]) == ("run-3-3", "real-1-9")
    assert (pair["fake_row"], pair["train_row"], pair["symmetry_name"]) == (3, 9, "mirrored")
    assert content["memorization"]["closest"][0] == pair
    assert content["cautions"][0]["level"] == "alarm"
    assert content["cautions"][0]["text"].startswith("1 near copy of training patches")
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    section = page[page.index("<h2>Copies of training patches</h2>") :]
    first = section[section.index("<p") : section.index("</p>")]
    assert "1 of the 30 synthetic patches is a near copy" in first
    assert section.count("a near copy</b>") == 1
    assert (tmp_path / "report" / "figures" / "copies.png").exists()


def test_without_copies_one_sentence_says_so(audited):
    content = audited(SYNTHETIC)
    assert content["memorization"]["copies"] == []
    assert not [c for c in content["cautions"] if c["level"] == "alarm"]
    (said,) = [sentence for sentence in content["verdict"] if "near copy" in sentence]
    assert said.startswith("No synthetic patch is a near copy of a training patch: 30 were compared with 60")
    assert f"{content['memorization']['closest'][0]['similarity']:.2f}" in said


def test_the_keys_are_stable_and_the_page_shows_the_controls(audited, tmp_path):
    facts = audited(SYNTHETIC)["memorization"]
    assert list(facts) == [
        "n_train", "n_held_out", "n_fake", "synthetic", "left_out_patients", "left_out_patches", "plain_train",
        "plain_fake", "threshold", "copies", "closest", "train_in_store", "held_out_in_store", "fake_in_store",
    ]  # fmt: skip
    assert (facts["synthetic"]["n"], facts["synthetic"]["n_train"]) == (30, 60), "all training patches"
    assert facts["left_out_patients"]["n"] > 0
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    rows = [page.index(f"<th>{name}") for name in ("Synthetic patches", "Real, patients", "Real, patches")]
    assert rows == sorted(rows)


def test_a_model_trained_on_all_patients_may_copy_held_out_patches(audited):
    copy = replace(SYNTHETIC[0], image=HELD_OUT[5].image)
    assert audited([copy, *SYNTHETIC[1:]], train_split="all")["memorization"]["copies"][0]["train_id"] == "real-2-5"


def test_features_are_compared_with_all_training_patches(audited, make, tmp_path):
    """The main results compare 30 training patches; copies of the other 30 are not authentic either."""
    rows = plan(real=make("all", [*TRAIN, *HELD_OUT]), fake=make("some", SYNTHETIC), neighbors=3).sides["train"].rows
    others = rows["IDHwt"][30:]
    copies = [replace(patch, image=TRAIN[row].image) for patch, row in zip(SYNTHETIC, others, strict=True)]
    facts = audited(copies)["memorization"]
    assert facts["synthetic"]["authenticity"] == 0
    assert facts["synthetic"]["copying"]["nearer"] > 0.95
    assert (facts["synthetic"]["n"], facts["synthetic"]["n_train"]) == (30, 60)
    assert facts["left_out_patches"]["authenticity"] > 0.3
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "30 synthetic patches of the main results are compared with the same 60 training patches" in page


def test_held_out_patches_of_a_model_trained_on_all_patients_are_training_patches_in_features(audited):
    copies = [replace(patch, image=HELD_OUT[i].image) for i, patch in enumerate(SYNTHETIC)]
    facts = audited(copies, train_split="all")["memorization"]
    assert (facts["synthetic"]["authenticity"], facts["synthetic"]["n_train"]) == (0, 100)
    assert facts["synthetic"]["note"].startswith("C_T not measured")


def test_a_held_out_patch_is_not_a_copy_of_a_training_patch(audited):
    copy = replace(SYNTHETIC[0], image=HELD_OUT[5].image)
    assert audited([copy, *SYNTHETIC[1:]], train_split="train")["memorization"]["copies"] == []


def test_above_the_limits_patches_are_drawn_at_random_with_a_caution(audited, monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "MAX_TRAIN", 50)
    monkeypatch.setattr(measure, "MAX_PAIRS", 1_000)
    content = audited(planted())
    facts = content["memorization"]
    assert [facts[f"n_{side}"] for side in ("train", "held_out", "fake")] == [50, 20, 20]
    assert facts["synthetic"]["n_train"] == 50
    assert [facts[f"{side}_in_store"] for side in ("train", "held_out", "fake")] == [60, 40, 30]
    assert any("among 50 of 60 training patches" in c["text"] for c in content["cautions"])
    samples, ids = planted(), [patch.patch_id for patch in TRAIN]
    for pair in facts["closest"]:
        assert samples[pair["fake_row"]].patch_id == pair["fake_id"]
        assert ids[pair["train_row"]] == pair["train_id"]
    assert "20 of 30 (drawn at random)" in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_without_held_out_patients_the_threshold_is_its_lower_bound(audited, tmp_path):
    facts = audited(planted(), real=TRAIN)["memorization"]
    assert len(facts["copies"]) == 1
    assert facts["threshold"] == {"value": 0.85, "quantile": None, "n": 0, "reached": 0}
    assert "Without held-out patches to calibrate it, the threshold is its lower bound" in (
        tmp_path / "report" / "report.html"
    ).read_text("utf-8")


def test_without_training_patches_the_report_says_that_copies_were_not_searched_for(audited):
    content = audited(SYNTHETIC, real=HELD_OUT)
    assert list(content["memorization"]) == ["note"]
    assert any("copies of them were not searched for" in c["text"] for c in content["cautions"])


def test_uniform_patches_are_not_compared(audited):
    flat = [replace(p, image=np.full((PX, PX, 3), 200, np.uint8)) for p in SYNTHETIC]
    content = audited(flat)
    assert content["memorization"]["plain_fake"] == 30
    assert any("could be compared" in sentence for sentence in content["verdict"])


@pytest.mark.parametrize(("samples", "code"), [(planted, COPIES_FOUND), (lambda: SYNTHETIC, 0)])
def test_the_command_exits_with_3_after_printing_everything(
    make, extractor, tmp_path, monkeypatch, capsys, samples, code
):  # fmt: skip
    real, fake = make("real", [*TRAIN, *HELD_OUT]), make("fake", samples())
    monkeypatch.setattr(build, "build_extractor", lambda *_, **__: extractor)
    words = ["evaluate", "--real", real.path, "--fake", fake.path, "--out", tmp_path / "report", "--quiet", "--json"]
    words += ["--cache", "off", "--set", 'evaluate.sections=["memorization"]']
    monkeypatch.setattr(sys, "argv", ["histosynth", *map(str, words)])
    ended = 0
    try:
        cli.main()
    except SystemExit as stopped:
        ended = stopped.code
    assert ended == code == (3 if samples is planted else 0)
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["memorization"]["copies"]) == (1 if code else 0)
    assert (tmp_path / "report" / "report.html").exists()
