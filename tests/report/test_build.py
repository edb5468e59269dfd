import json
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image
from pydantic import ValidationError

from histosynth.cli import main
from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import extractors
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
            assert list(cell) == ["n", "available", "measures", "frechet_infinity", "rank_deficient", "note"]
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
    assert extractor.seen == 3 * 24, "each patch that enters a result is computed once, and no other"


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
    (tmp_path / "report" / "figures" / "stale.png").write_bytes(b"old")
    assert report(real, fake) == first
    assert (tmp_path / "report" / "report.html").read_bytes() == page
    assert not (tmp_path / "report" / "figures" / "stale.png").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake", "real", "report"]


def test_a_failure_keeps_the_old_report(real, fake, report, tmp_path, monkeypatch):
    report(real, fake)
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("histosynth.report.build.write_json", full)
    with pytest.raises(OSError, match="No space"):
        report(real, fake)
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


class SourceCollector(HTMLParser):
    """Collects everything that a page would load or link to."""

    def __init__(self):
        super().__init__()
        self.sources, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]


def test_the_page_is_self_contained(real, fake, report, tmp_path):
    report(real, fake)
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    parser = SourceCollector()
    parser.feed(page)
    assert len(parser.sources) > 2 * 3 * 4
    assert all(source.startswith("data:image/png;base64,") for source in parser.sources)
    assert not {"script", "link", "iframe"} & set(parser.tags)
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


# Stores that cannot be compared


def test_swapped_stores(real, fake, report):
    with pytest.raises(HistosynthError, match=r"--fake .*real holds real patches; swap --real and --fake\?"):
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


# Stores that can be compared, with cautions


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
        "n": 0, "available": (20, 2), "measures": {}, "frechet_infinity": None, "rank_deficient": False,
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


def test_intervals_over_enough_patients_have_no_note(real, fake, report):
    """Six patients are held out, three per label."""
    assert "Intervals were" not in texts(report(real, fake), "note")


def test_provenance_is_human_readable(real, fake, report):
    content = report(real, fake) | {"settings": {"weights": "", "flag": True, "sections": ["a", "b"], "empty": []}}
    shown = provenance_tables(content)["Measures"]
    assert {key: shown[key] for key in ("weights", "flag", "sections", "empty")} == {
        "weights": "not set", "flag": "yes", "sections": "a, b", "empty": "none",
    }  # fmt: skip


# The command


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["histosynth", "evaluate", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_the_command(make, patches, tmp_path, monkeypatch, capsys):
    real = make("real", [p for s in ("train", "held_out") for p in patches(4, "IDHwt", split=s)])
    fake = make("fake", patches(5, "IDHwt", source="run"))
    stores = ("--real", real.path, "--fake", fake.path, "--out", tmp_path / "report")
    code, out, err = run(monkeypatch, capsys, *stores, "--set", "evaluate.grid=2", "--device", "cpu", "--quiet")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"report   {tmp_path / 'report' / 'report.html'}"
    assert re.search(r"^IDHwt +4 +[\d.]+ +[\d.]+ +[\d.]+ +[01]\.\d\d +[01]\.\d\d$", out, re.MULTILINE)
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["extractor"]["weights_sha256"].startswith("579344248a93e230")
    assert content["settings"]["grid"] == 2


def test_the_command_prints_the_extractor_and_caches_its_features(
    make, patches, extractor, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(extractors._items, "test", lambda device: extractor)
    real = make("real", [p for s in ("train", "held_out") for p in patches(4, "IDHwt", split=s)])
    fake = make("fake", patches(5, "IDHwt", source="run"))
    arguments = ("--real", real.path, "--fake", fake.path, "--out", tmp_path / "report")
    reports = []
    for extra in ((), (), ("--cache", "off")):
        options = ("--extractor", "test", "--cache", tmp_path / "cache", "--quiet", *extra)
        code, out, err = run(monkeypatch, capsys, *arguments, *options)
        assert (code, err) == (0, "")
        assert out.splitlines()[0] == "mean-and-contrast features"
        reports.append((json.loads((tmp_path / "report" / "report.json").read_text())["overall"], extractor.seen))
    results, seen = zip(*reports, strict=True)
    assert results[0] == results[1] == results[2]
    assert seen == (12, 12, 24)


def test_only_inception_features_are_called_comparable_with_an_fid(real, fake, report, extractor):
    assert report(real, fake)["verdict"][-1].endswith("features; not comparable with an FID of Inception features.")
    extractor.name = "inception"
    content = report(real, fake, out="other")
    assert "; comparable with an FID of the same number of images" in content["verdict"][-1]
    assert content["settings"]["extractor"] == content["extractor"]["name"] == "inception", "and not `auto`"


def test_weights_for_an_extractor_that_takes_none(real, fake, tmp_path, monkeypatch, capsys):
    arguments = ("--real", real.path, "--fake", fake.path, "--out", tmp_path / "report", "--weights", "w.pth")
    code, _, err = run(monkeypatch, capsys, *arguments, "--extractor", "efficientnet-lite0")
    assert code == 2
    assert "--weights w.pth: the extractor efficientnet-lite0 accepts no weights file" in err


def test_the_command_prints_json(real, fake, extractor, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(extractors._items, "test", lambda device: extractor)
    stores = ("--real", real.path, "--fake", fake.path, "--out", tmp_path / "report")
    code, out, err = run(monkeypatch, capsys, *stores, "--set", "evaluate.extractor=test", "--json")
    assert code == 0
    assert "72/72" in err, "progress goes to standard error"
    assert json.loads(out) == json.loads((tmp_path / "report" / "report.json").read_text())


@pytest.mark.parametrize(
    ("real_name", "fake_name", "extra", "message"),
    [
        ("fake", "real", (), "swap --real and --fake?"),
        ("absent", "fake", (), "is not a patch store"),
        ("real", "fake", ("--set", "evaluate.extractor=inceptoin"), "did you mean 'inception'?"),
        ("real", "fake", ("--device", "cuda:99"), "try --device cpu"),
        ("real", "fake", ("--set", "evaluate.neighbours=5"), "did you mean 'neighbors'?"),
    ],
)
def test_mistakes_on_the_command_line(real, fake, tmp_path, monkeypatch, capsys, real_name, fake_name, extra, message):
    arguments = ("--real", tmp_path / real_name, "--fake", tmp_path / fake_name, "--out", tmp_path / "report", *extra)
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "report").exists()


def test_the_record_follows_its_schema(real, fake, report):
    """It is checked when written; an extra key or a measure that is not an interval is rejected."""
    content = json.loads(json.dumps(report(real, fake)))
    assert ReportFacts.model_validate(content).overall["fake_vs_held_out"].n == 24
    with pytest.raises(ValidationError, match="Extra inputs"):
        ReportFacts.model_validate(content | {"other": 1})
    content["overall"]["fake_vs_train"]["measures"]["precision"] = 0.5
    with pytest.raises(ValidationError, match="precision"):
        ReportFacts.model_validate(content)
