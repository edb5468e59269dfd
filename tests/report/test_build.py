"""A report: its record, its results, its page and its directory."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image
from pydantic import ValidationError

from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.manifold import precision_recall
from histosynth.metrics.statistics import Statistics
from histosynth.report.record import provenance_tables
from histosynth.report.schema import ReportFacts
from histosynth.store.png import is_synthetic

PAIRS = ("fake_vs_held_out", "fake_vs_train", "train_vs_held_out")
MEASURES = ["frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"]


def value(cell, measure):
    return cell["measures"][measure]["value"]


def test_the_keys_of_the_record_are_stable(real, fake, report, tmp_path):
    content = report(real, fake)
    assert list(content) == [
        "kind", "schema_version", "verdict", "cautions", "sides", "overall", "overall_labels", "labels", "matrices",
        "inception_score", "color", "morphology", "memorization", "label_check", "feature_map",
        "extractor", "settings", "stores", "provenance",
    ]  # fmt: skip
    assert content["kind"] == "report"
    assert content["schema_version"] == 2
    for row in (content["overall"], *content["labels"].values()):
        assert tuple(row) == PAIRS
        for cell in row.values():
            assert list(cell) == [
                "n",
                "available",
                "measures",
                "frechet_infinity",
                "frechet_infinity_interval",
                "rank_deficient",
                "note",
            ]
            assert list(cell["measures"]) == MEASURES
            for interval in cell["measures"].values():
                assert list(interval) == ["value", "low", "high", "level", "note"]
                assert interval["low"] <= interval["value"] <= interval["high"]
    assert set(content["stores"]["real"]) >= {"path", "sha256", "patches", "patch_px", "mpp", "sources", "manifest"}
    assert content["stores"]["real"]["sha256"] == real.content_hash()
    assert content["settings"]["subsample_seed"] == 0
    assert content["provenance"]["versions"]["histosynth"]
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == json.loads(json.dumps(content))


def test_results_use_the_same_patches_at_equal_n(real, fake, report, extractor):
    """The smallest side limits n: 14 held-out IDHmut, 10 held-out IDHwt. Overall results pool both in equal shares."""
    content = report(real, fake)
    assert {k: c["n"] for k, c in content["labels"]["IDHmut"].items()} == dict.fromkeys(PAIRS, 14)
    assert {k: c["n"] for k, c in content["labels"]["IDHwt"].items()} == dict.fromkeys(PAIRS, 10)
    assert {k: c["n"] for k, c in content["overall"].items()} == dict.fromkeys(PAIRS, 24)
    assert content["labels"]["IDHmut"]["fake_vs_train"]["available"] == (20, 30)
    assert {m["n"] for m in content["matrices"].values()} == {10}
    assert extractor.seen == 3 * 24 + (55 - 24), "all training patches enter the audit; each patch is computed once"


def test_another_n_extracts_no_training_patch_again(make, real, fake, patches, report, extractor, tmp_path):
    """The audit has extracted all 55 training patches; a larger n needs more held-out patches, and a smaller n none."""
    cache = str(tmp_path / "cache")

    def extracted(fake, out):
        before = extractor.seen
        n = report(real, fake, out=out, cache=cache)["labels"]["IDHmut"]["fake_vs_train"]["n"]
        return n, extractor.seen - before

    few, more = (
        make(name, [*patches(count, "IDHmut", source=name), *patches(count, "IDHwt", source=name)])
        for name, count in (("few", 5), ("more", 9))
    )
    assert extracted(few, "1") == (5, 2 * 5 + 55 + 2 * 5)
    assert extracted(more, "2") == (9, 2 * 9 + 2 * (9 - 5)), "synthetic patches and held-out ones"
    assert extracted(few, "3") == (5, 0)


def test_without_the_audit_only_patches_of_the_main_results_are_computed(real, fake, report, extractor):
    report(real, fake, sections=("color",))
    assert extractor.seen == 3 * 24


def test_results_agree_with_the_metric_functions(make, patches, report, extractor):
    real = make("real", [*patches(9, "IDHwt", split="train", seed=1), *patches(9, "IDHwt", split="held_out", seed=2)])
    fake = make("fake", patches(9, "IDHwt", source="run", seed=3))
    cell = report(real, fake)["overall"]["fake_vs_held_out"]
    a = extractor(real.images(real.select(split="held_out")))
    b = extractor(fake.images(range(9)))
    assert value(cell, "frechet_distance") == pytest.approx(frechet_distance(Statistics.of(a), Statistics.of(b)))
    shares = precision_recall(real=a, fake=b)
    assert (value(cell, "precision"), value(cell, "recall")) == (shares.precision, shares.recall)


def test_identical_patches_have_zero_distance(make, real_rows, report):
    held_out = [p for p in real_rows if p.split == "held_out"]
    copies = [replace(p, source="run", split=None, patient_id=None) for p in held_out]
    content = report(make("real", real_rows), make("fake", copies))
    for row in (content["overall"], *content["labels"].values()):
        cell = row["fake_vs_held_out"]
        assert value(cell, "frechet_distance") == pytest.approx(0, abs=1e-6)
        assert (value(cell, "precision"), value(cell, "recall")) == (1.0, 1.0)


def test_the_matrix_shows_whether_labels_steer_the_image(make, real, fake_rows, report):
    right = report(real, make("right", fake_rows), out="one")["matrices"]
    swap = {"IDHmut": "IDHwt", "IDHwt": "IDHmut"}
    wrong = report(real, make("wrong", [replace(p, label=swap[p.label]) for p in fake_rows]), out="two")["matrices"]
    assert [right[key]["diagonal_lowest"] for key in PAIRS] == [2, 2, 2]
    assert [wrong[key]["diagonal_lowest"] for key in PAIRS] == [0, 0, 2], "the control does not use synthetic patches"
    assert {m["rows"] for m in (*right.values(), *wrong.values())} == {2}


def test_a_second_report_replaces_the_first_and_is_identical(real, fake, report, tmp_path):
    first = report(real, fake)
    page = (tmp_path / "report" / "report.html").read_bytes()
    assert report(real, fake) == first
    assert (tmp_path / "report" / "report.html").read_bytes() == page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake", "real", "report"]


def test_a_report_does_not_delete_files_of_others(real, fake, report, tmp_path):
    report(real, fake)
    (tmp_path / "report" / "figures" / "mine.png").write_bytes(b"mine")
    with pytest.raises(HistosynthError, match=r"holds figures/mine\.png, which the report did not write; move it"):
        report(real, fake)
    assert (tmp_path / "report" / "figures" / "mine.png").read_bytes() == b"mine"


def test_a_failure_keeps_the_old_report(real, fake, report, tmp_path, monkeypatch):
    report(real, fake)
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("histosynth.report.build.write_json", full)
    with pytest.raises(OSError, match="No space"):
        report(real, fake)
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


def test_the_page_is_self_contained(real, fake, report, sources, tmp_path):
    report(real, fake)
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    sources.feed(page)
    assert len(sources.sources) > 2 * 3 * 4
    assert all(source.startswith("data:image/png;base64,") for source in sources.sources)
    assert not {"script", "link", "iframe"} & set(sources.tags)
    assert not re.search(r"https?://|url\(|@import", page)
    for sentence in report(real, fake)["verdict"]:
        assert sentence in page


def test_synthetic_images_carry_the_mark(real, fake, report, tmp_path):
    report(real, fake)
    figures = tmp_path / "report" / "figures"
    names = sorted(p.name for p in figures.iterdir())
    sheets = [f"{side}-{label}.png" for side in ("fake", "held_out", "train") for label in ("IDHmut", "IDHwt")]
    charts = ["color", "distances", "feature_map", "label_check", "labels"]
    others = ["copies.png"]
    assert names == sorted([*(f"{chart}.{kind}" for chart in charts for kind in ("png", "svg")), *others, *sheets])
    for sheet in sheets:
        with Image.open(figures / sheet) as image:
            assert is_synthetic(image.info) == sheet.startswith("fake")
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    marked = 0
    for tag, data in re.findall(r'(<img src="data:image/png;base64,([^"]+)"[^>]*>)', page):
        with Image.open(BytesIO(b64decode(data))) as image:
            alt = re.search(r'alt="([^"]*)"', tag)[1]
            assert is_synthetic(image.info) == ("synthetic" in alt.lower() or "difference" in alt), alt
            marked += is_synthetic(image.info)
    assert marked >= 2 * 4
    assert page.count("made by a model") >= 2


def test_grids_show_patches_that_enter_the_results(real, fake, report, tmp_path):
    report(real, fake, grid=500)
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    panels = page.partition("<h2>Patches</h2>")[2].partition("</section>")[0]
    assert sorted(re.findall(r'title="(run-1-[^"]+)"', panels)) == sorted(fake.column("patch_id"))


def test_markup_in_a_label_is_escaped(make, real_rows, fake_rows, report, tmp_path):
    rename = {"IDHmut": "<b>a/b & c</b>", "IDHwt": "IDHwt"}
    real = make("real", [replace(p, label=rename[p.label]) for p in real_rows])
    report(real, make("fake", [replace(p, label=rename[p.label]) for p in fake_rows]))
    assert "&lt;b&gt;a/b &amp; c&lt;/b&gt;" in (tmp_path / "report" / "report.html").read_text("utf-8")
    assert (tmp_path / "report" / "figures" / "fake-%3Cb%3Ea%2Fb %26 c%3C%2Fb%3E.png").is_file()


@pytest.mark.parametrize("content", [{"notes.txt": "mine"}, {"report.json": "{"}, {"report.json": '{"kind": "other"}'}])
def test_a_directory_with_other_files_is_not_overwritten(real, fake, report, tmp_path, content, extractor):
    (tmp_path / "report").mkdir()
    for name, text in content.items():
        (tmp_path / "report" / name).write_text(text)
    with pytest.raises(HistosynthError, match="is not a report; give a new or an empty directory"):
        report(real, fake)
    assert {p.name: p.read_text() for p in (tmp_path / "report").iterdir()} == content
    assert extractor.seen == 0, "it must fail before the long work"


def test_out_is_a_file(real, fake, report, tmp_path):
    (tmp_path / "report").write_text("mine")
    with pytest.raises(HistosynthError, match="is not a report"):
        report(real, fake)


def test_provenance_is_human_readable(real, fake, report):
    content = report(real, fake) | {"settings": {"weights": "", "flag": True, "sections": ["a", "b"], "empty": []}}
    shown = provenance_tables(content)["Measures"]
    assert {key: shown[key] for key in ("weights", "flag", "sections", "empty")} == {
        "weights": "not set", "flag": "yes", "sections": "a, b", "empty": "none",
    }  # fmt: skip


def test_info_describes_a_report(real, fake, report, tmp_path):
    content = report(real, fake)
    assert describe(tmp_path / "report" / "report.json") == {
        "kind": "report",
        "real": content["stores"]["real"]["path"],
        "fake": content["stores"]["fake"]["path"],
        "labels": ["IDHmut", "IDHwt"],
        "verdict": content["verdict"],
        "cautions": [caution["text"] for caution in content["cautions"]],
    }


def test_the_record_follows_its_schema(real, fake, report):
    """It is checked when written; an extra key or a measure that is not an interval is rejected."""
    content = json.loads(json.dumps(report(real, fake)))
    assert ReportFacts.model_validate(content).overall["fake_vs_held_out"].n == 24
    with pytest.raises(ValidationError, match="Extra inputs"):
        ReportFacts.model_validate(content | {"other": 1})
    content["overall"]["fake_vs_train"]["measures"]["precision"] = 0.5
    with pytest.raises(ValidationError, match="precision"):
        ReportFacts.model_validate(content)
