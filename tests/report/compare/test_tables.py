"""Models side by side: results are those of the reports, and reports that are not comparable are rejected."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from histosynth.cli import main
from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.metrics.uncertainty import Interval
from histosynth.report.compare.build import compare
from histosynth.report.compare.ranking import best_of
from histosynth.report.wording import format_value
from histosynth.store.png import is_synthetic

PAIR = "fake_vs_held_out"
MEASURES = ["frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"]


@pytest.fixture
def report(report, monkeypatch):
    """As in conftest.py, with the main results only: no section and no chart enters a comparison."""
    monkeypatch.setattr("histosynth.report.build.write_charts", lambda *_, **__: None)

    def build(real, fake, *, out):
        return report(real, fake, out=out, sections=())

    return build


@pytest.fixture
def models(make, real, fake_rows, patches, report, tmp_path):
    """Reports of run-1, and of run-2, whose colors are wrong; `(path, content)` by name."""
    off = [replace(p, source="run-2", patch_id=f"off-{p.patch_id}", image=p.image // 2) for p in fake_rows]
    reports = {}
    for name, rows in (("one", fake_rows), ("two", off)):
        content = report(real, make(f"{name}-samples", rows, synthetic=True), out=name)
        reports[name] = (tmp_path / name, json.loads(json.dumps(content)))
    return reports


@pytest.fixture
def paths(models):
    return [path for path, _ in models.values()]


@pytest.fixture
def edit(tmp_path):
    """`edit(path, name, change)`: a copy of a report with changed content."""

    def copy(path, name, change):
        shutil.copytree(path, tmp_path / name)
        facts = json.loads((path / "report.json").read_text())
        change(facts)
        (tmp_path / name / "report.json").write_text(json.dumps(facts))
        return tmp_path / name

    return copy


def enough_patients(facts):
    """Give intervals as if over enough patients."""
    for row in (facts["overall"], *facts["labels"].values()):
        for cell in row.values():
            for interval in cell["measures"].values():
                value, margin = interval["value"], abs(interval["value"]) / 100
                interval |= {"low": value - margin, "high": value + margin, "note": None}


def other_samples(facts):
    facts["stores"]["fake"] |= {"sha256": "another", "sources": ["run-3"]}


# Content


def test_results_are_those_of_the_reports(models, paths, tmp_path):
    content = compare(reports=paths, out=tmp_path / "both")
    assert list(content["models"]) == ["run-1", "run-2"]
    assert content["reference"] == "held_out"
    for name, (_, facts) in zip(content["models"], models.values(), strict=True):
        for pair in (PAIR, "fake_vs_train"):
            assert content["overall"]["models"][name][pair] == facts["overall"][pair]
            for label in ("IDHmut", "IDHwt"):
                assert content["labels"][label]["models"][name][pair] == facts["labels"][label][pair]
        assert content["overall"]["floor"] == facts["overall"]["train_vs_held_out"]
        assert content["models"][name]["samples"] == facts["stores"]["fake"]
    assert json.loads((tmp_path / "both" / "compare.json").read_text()) == content


def test_the_keys_are_stable(paths, tmp_path):
    content = compare(reports=paths, out=tmp_path / "both")
    assert list(content) == [
        "kind", "schema_version", "verdict", "cautions", "reference", "models", "overall", "overall_labels", "labels",
        "inception_score", "extractor", "neighbors", "real", "provenance",
    ]  # fmt: skip
    assert (content["kind"], content["schema_version"]) == ("comparison", 1)
    assert list(content["overall"]) == ["models", "floor", "best"]
    assert list(content["overall"]["best"]) == MEASURES


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_tables_show_these_results(models, paths, tmp_path):
    compare(reports=paths, out=tmp_path / "both")
    text = (tmp_path / "both" / "compare.md").read_text()
    tables = [[cells(line) for line in re.findall(r"^\|.*\|$", part, re.M)] for part in text.split("Table ")[1:]]
    assert len(tables) == 3
    assert tables[0][0] == ["model", "n", "Fréchet distance ↓"], "not FID, for the features are not Inception's"
    assert tables[1][0] == ["model", "n", "precision ↑", "recall ↑"]
    one, two = (facts["overall"][PAIR] for _, facts in models.values())
    shown = {row[0]: row[1:] for table in tables[:2] for row in table[2:]}
    for name, cell in (
        ("run-1", one),
        ("run-2", two),
        ("real training patches", models["one"][1]["overall"]["train_vs_held_out"]),
    ):
        assert shown[name][0] == "24"
        for at, measure in ((1, "precision"), (2, "recall")):
            expected = cell["measures"][measure]
            low, high = (format_value(expected[end], measure) for end in ("low", "high"))
            plain = shown[name][at].replace("**", "").replace("†", "")
            assert plain == f"{expected['value']:.2f} [{low} to {high}]"
    by_label = {(row[0], row[1]): row for row in tables[2][2:]}
    assert list(by_label) == [
        (label, name)
        for label in ("Overall", "IDHmut", "IDHwt")
        for name in ("run-1", "run-2", "real training patches")
    ]
    for label in ("IDHmut", "IDHwt"):
        cell = models["two"][1]["labels"][label][PAIR]
        assert by_label[label, "run-2"][2] == str(cell["n"])
        assert by_label[label, "run-2"][3].startswith(
            format_value(cell["measures"]["frechet_distance"]["value"], "frechet_distance")
        )


def test_inception_features_give_the_columns_of_the_paper(paths, edit, tmp_path):
    def inception(facts):
        facts["extractor"]["name"] = "inception"
        for cell in facts["overall"].values():
            cell["measures"]["spatial_frechet_distance"] = cell["measures"]["frechet_distance"] | {"value": 77.7}
        facts["inception_score"] = {
            side: {"mean": mean, "deviation": 0.1, "splits": 2} for side, mean in (("fake", 3.25), ("train", 4.5))
        }

    def worse(facts):
        inception(facts)
        facts["inception_score"]["fake"]["mean"] = 2.0

    reports = [edit(paths[0], "a", inception), edit(paths[1], "b", worse)]
    compare(reports=reports, out=tmp_path / "both")
    text = (tmp_path / "both" / "compare.md").read_text()
    lines = [cells(line) for line in re.findall(r"^\|.*\|$", text, re.M)]
    assert lines[0] == ["model", "n", "IS ↑", "FID ↓", "sFID ↓"]
    assert [line[2] for line in lines[2:5]] == ["**3.25** [± 0.10]", "2.00 [± 0.10]", "4.50 [± 0.10]"]
    assert [line[4].replace("**", "").split(" [")[0] for line in lines[2:4]] == ["77.7", "77.7"]


# The best model


@pytest.mark.parametrize(
    ("measure", "intervals", "models", "distinguishable"),
    [
        ("frechet_distance", {"a": (5, 4, 6), "b": (9, 8, 10)}, ["a"], True),
        ("frechet_distance", {"a": (5, 4, 8), "b": (9, 7, 10)}, ["a"], False),
        ("frechet_distance", {"a": (9, 8, 10), "b": (5, 4, 6), "c": (6.5, 5.5, 7)}, ["b"], False),
        ("precision", {"a": (0.5, 0.4, 0.6), "b": (0.8, 0.7, 0.9)}, ["b"], True),
        ("precision", {"a": (0.501, 0.5, 0.502), "b": (0.504, 0.503, 0.505)}, ["a", "b"], False),
    ],
)
def test_a_model_is_distinguishable_only_by_its_interval(measure, intervals, models, distinguishable):
    results = {k: Interval(value=v, low=low, high=high, level=0.95) for k, (v, low, high) in intervals.items()}
    best = best_of(results, measure=measure)
    assert (best.models, best.distinguishable) == (models, distinguishable)


def test_with_few_patients_no_model_is_distinguishable():
    a, b = (Interval(value=v, low=v - 0.1, high=v + 0.1, level=0.95) for v in (1, 9))
    assert best_of({"a": a, "b": b}, measure="frechet_distance").distinguishable
    best = best_of({"a": a, "b": b}, measure="frechet_distance", note="too narrow")
    assert (best.models, best.distinguishable, best.note) == (["a"], False, "too narrow")
    assert best_of({"a": a}, measure="recall") is None


def test_the_verdict_names_the_better_model_if_it_is_distinguishable(models, paths, edit, tmp_path):
    reports = [edit(path, f"many-{path.name}", enough_patients) for path in paths]
    content = compare(reports=reports, out=tmp_path / "both")
    one, two = (facts["overall"][PAIR]["measures"]["frechet_distance"]["value"] for _, facts in models.values())
    assert one < 0.9 * two, "otherwise this test is empty"
    shown = format_value(one, "frechet_distance")
    assert content["verdict"][0].startswith("Best results: run-1 in Fréchet distance")
    assert f"run-1 has the lowest Fréchet distance, {shown}; its 95% interval, " in " ".join(content["verdict"])
    best = {"models": ["run-1"], "distinguishable": True, "note": None}
    assert content["overall"]["best"]["frechet_distance"] == best
    page = (tmp_path / "both" / "compare.html").read_text()
    assert re.search(rf'<th>run-1</th><td>24</td>\s*<td class="best">{shown}<i class="sign">†</i>', page)
    assert f"**{shown}**†" in (tmp_path / "both" / "compare.md").read_text()


def test_without_enough_patients_no_model_is_called_better(models, make, real_rows, fake_rows, report, tmp_path):
    few = make("few", [replace(p, patient_id=f"{p.split}-{p.patient_id[-1]}") for p in real_rows])
    off = [replace(p, source="run-2", image=p.image // 2) for p in fake_rows]
    for name, rows in (("x", fake_rows), ("y", off)):
        report(few, make(f"samples-{name}", rows), out=name)
    content = compare(reports=[tmp_path / "x", tmp_path / "y"], out=tmp_path / "both")
    assert not any("has the" in sentence for sentence in content["verdict"])
    assert content["verdict"][1].startswith("No measure shows that a model is better: ")
    assert "because there are only 3 patients: too narrow" in content["verdict"][1]
    assert not any(
        best["distinguishable"]
        for row in (content["overall"], *content["labels"].values())
        for best in row["best"].values()
    )
    assert "†:" in (tmp_path / "both" / "compare.md").read_text()
    assert (tmp_path / "both" / "compare.md").read_text().count("†") == 1


def test_the_verdict_repeats_that_a_report_warns_of_its_model(paths, edit, tmp_path):
    def warned(facts):
        enough_patients(facts)
        facts["cautions"] = [{"level": "alarm", "text": "20 patches are copies."}]

    def plain(facts):
        enough_patients(facts)
        facts["cautions"] = [{"level": "note", "text": "One patient."}]

    content = compare(reports=[edit(paths[0], "a", warned), edit(paths[1], "b", plain)], out=tmp_path / "both")
    assert content["cautions"][0] == {"level": "alarm", "text": "run-1: 20 patches are copies."}
    assert {"level": "note", "text": "run-2: One patient."} in content["cautions"]
    praise = [sentence for sentence in content["verdict"] if "run-1" in sentence]
    assert len(praise) > 1
    assert all("run-1 (see the warnings about it)" in sentence for sentence in praise)
    assert not any("run-2 (see" in sentence for sentence in content["verdict"])


def test_a_caution_of_all_reports_appears_once(paths, edit, tmp_path):
    def warned(facts):
        facts["cautions"] = [{"level": "note", "text": "One patient."}, {"level": "alarm", "text": "Trained on all."}]

    content = compare(reports=[edit(path, f"w-{path.name}", warned) for path in paths], out=tmp_path / "both")
    texts = [c["text"] for c in content["cautions"]]
    assert texts[:2] == ["Trained on all.", "One patient."]
    assert not any("Trained" in text or "One patient" in text for text in texts[2:])


# The page and the charts


class SourceCollector(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]


def test_the_page_is_self_contained_and_shows_patches_that_were_measured(paths, real, tmp_path):
    compare(reports=paths, out=tmp_path / "both")
    page = (tmp_path / "both" / "compare.html").read_text()
    parser = SourceCollector()
    parser.feed(page)
    assert len(parser.sources) == 2 * 3 * 4
    assert all(source.startswith("data:image/png;base64,") for source in parser.sources)
    assert not {"script", "link", "iframe"} & set(parser.tags)
    assert not re.search(r"https?://|url\(|@import", page)
    report = (paths[1] / "report.html").read_text()
    shown = re.findall(r'title="(off-run-1-[^"]+)"', page)
    panels = report.partition("<h2>Patches</h2>")[2].partition("</section>")[0]
    assert shown == re.findall(r'title="(off-run-1-[^"]+)"', panels), "the same patches, in the same order"
    assert page.count("made by a model") == 4


def test_the_charts_and_their_marks(paths, tmp_path):
    compare(reports=paths, out=tmp_path / "both")
    figures = tmp_path / "both" / "figures"
    assert sorted(p.name for p in figures.iterdir()) == [
        "intervals.png", "intervals.svg", "patches-IDHmut.png", "patches-IDHwt.png",
    ]  # fmt: skip
    with Image.open(figures / "patches-IDHwt.png") as image:
        texts, pixels = image.info, np.asarray(image)
    assert is_synthetic(texts)
    assert texts["Source"] == "run-1, run-2"
    block = 4 * 80 + 3 * 4
    assert pixels.shape == (26 + 80, 3 * block + 2 * 16, 3)


def test_each_block_shows_the_patches_of_its_store(make, real, fake_rows, report, tmp_path):
    """One flat color per model: each is below its title."""
    for name, tone in (("dark", 40), ("light", 220)):
        flat = [replace(p, source=name, image=np.full_like(p.image, tone)) for p in fake_rows]
        report(real, make(f"{name}-samples", flat), out=name)
    compare(reports=[tmp_path / "dark", tmp_path / "light"], out=tmp_path / "both")
    with Image.open(tmp_path / "both" / "figures" / "patches-IDHmut.png") as image:
        pixels = np.asarray(image)
    block = 4 * 80 + 3 * 4
    assert (pixels[26:106, block + 16 : block + 96] == 40).all()
    assert (pixels[26:106, 2 * (block + 16) : 2 * (block + 16) + 80] == 220).all()


def test_missing_and_changed_stores_are_reported(paths, make, fake_rows, real, tmp_path):
    shutil.rmtree(tmp_path / "one-samples")
    shutil.rmtree(tmp_path / "two-samples")
    make("two-samples", [replace(p, source="run-2") for p in fake_rows])
    content = compare(reports=paths, out=tmp_path / "both")
    texts = " | ".join(c["text"] for c in content["cautions"])
    assert "Patches not shown (run-1, synthetic)" in texts
    assert re.search(r"Patches not shown \(run-2, synthetic\): .*two-samples no longer holds the patches", texts)
    assert "Patches not shown (run-1, synthetic)" in (tmp_path / "both" / "compare.html").read_text()
    with Image.open(tmp_path / "both" / "figures" / "patches-IDHwt.png") as image:
        assert not is_synthetic(image.info), "only real patches are left"
    shutil.rmtree(real.path)
    compare(reports=paths, out=tmp_path / "both")
    assert sorted(p.suffix for p in (tmp_path / "both" / "figures").iterdir()) == [".png", ".svg"]


def test_markup_is_escaped(make, real_rows, fake_rows, report, tmp_path):
    rename = {"IDHmut": "<b>a/b & c</b>|x", "IDHwt": "$IDH_{wt}"}
    real = make("odd", [replace(p, label=rename[p.label]) for p in real_rows])
    for name in ("<i>one</i>", "two|"):
        rows = [replace(p, label=rename[p.label], source=name) for p in fake_rows]
        report(real, make(f"samples-{len(name)}", rows), out=f"r{len(name)}")
    compare(reports=[tmp_path / "r10", tmp_path / "r4"], out=tmp_path / "both")
    page = (tmp_path / "both" / "compare.html").read_text()
    assert "<i>one</i>" not in page
    assert "&lt;i&gt;one&lt;/i&gt;" in page
    assert "&lt;b&gt;a/b &amp; c&lt;/b&gt;|x" in page
    assert "two\\|" in (tmp_path / "both" / "compare.md").read_text()
    assert (tmp_path / "both" / "figures" / "patches-%3Cb%3Ea%2Fb %26 c%3C%2Fb%3E%7Cx.png").is_file()


def test_a_repeated_comparison_is_identical(paths, tmp_path):
    compare(reports=paths, out=tmp_path / "both")
    before = {p.name: p.read_bytes() for p in (tmp_path / "both").rglob("*") if p.is_file()}
    (tmp_path / "both" / "figures" / "stale.png").write_bytes(b"old")
    compare(reports=paths, out=tmp_path / "both")
    assert {p.name: p.read_bytes() for p in (tmp_path / "both").rglob("*") if p.is_file()} == before


# Reports that are not comparable


def test_models_of_one_source_are_named_by_their_reports(paths, edit, tmp_path):
    other = edit(paths[0], "again", lambda facts: facts["stores"]["fake"].update(sha256="another"))
    content = compare(reports=[paths[0], other], out=tmp_path / "both")
    assert list(content["models"]) == ["run-1 (one)", "run-1 (again)"]
    assert any("with the source run-1" in c["text"] for c in content["cautions"])


def test_other_versions_and_floors_are_noted(paths, edit, tmp_path):
    def older(facts):
        facts["provenance"]["versions"]["histosynth"] = "0.0.9"
        facts["labels"]["IDHwt"]["train_vs_held_out"]["measures"]["frechet_distance"]["value"] *= 1.1

    content = compare(reports=[paths[0], edit(paths[1], "older", older)], out=tmp_path / "both")
    texts = " | ".join(c["text"] for c in content["cautions"])
    assert "different versions of histosynth" in texts
    assert re.search(r"same real patches differs between the reports \(IDHwt: [\d.]+ to [\d.]+\)", texts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["extractor"].update(name="inception"), "extractor mean-and-contrast in .*, inception in .*--extr"),
        (lambda f: f["extractor"].update(weights_sha256="beef"), "weights sha256 none in .*, beef in .*--weights"),
        (lambda f: f["extractor"].update(preprocessing="other"), "preprocessing none in .*, other in"),
        (lambda f: f["stores"]["real"].update(sha256="beef"), "real patches differ.*beef.*evaluate both against one"),
        (lambda f: f["settings"].update(neighbors=5), "neighbors differs: 3 in .*, 5 in"),
        (lambda f: f["overall_labels"].remove("IDHwt"), "pool different labels: IDHmut, IDHwt in .*; IDHmut in"),
        (
            lambda f: f["labels"]["IDHwt"][PAIR].update(n=9),
            r"n differs.*IDHwt has 10 patches per side in .*one, 9 in .*--per-label",
        ),
        (lambda f: f.update(schema_version=1), "has schema version 1, but this histosynth reads 2; evaluate again"),
        (lambda f: f.update(kind="other"), "is not a report of histosynth"),
        (lambda f: f.pop("stores"), r"is damaged \(stores: .*\); evaluate again"),
    ],
)
def test_reports_not_measured_alike_are_rejected(paths, edit, tmp_path, change, message):
    def both(facts):
        other_samples(facts)
        change(facts)

    with pytest.raises(HistosynthError, match=message) as caught:
        compare(reports=[paths[0], edit(paths[0], "odd", both)], out=tmp_path / "both")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "both").exists()


def test_every_pair_of_reports_is_checked(paths, edit, tmp_path):
    third = edit(paths[1], "third", lambda facts: facts["stores"]["fake"].update(sources=["run-3"]))
    with pytest.raises(HistosynthError, match=r"two and .*third are of the same samples"):
        compare(reports=[*paths, third], out=tmp_path / "both")


def test_unreadable_reports(paths, tmp_path):
    with pytest.raises(HistosynthError, match="is given twice"):
        compare(reports=[*paths, paths[0] / "report.json"], out=tmp_path / "both")
    with pytest.raises(HistosynthError, match=r"nothing to compare .*one with"):
        compare(reports=paths[:1], out=tmp_path / "both")
    for nothing in ("absent", "one-samples"):
        with pytest.raises(HistosynthError, match=f"{nothing} is not a report: it has no report.json"):
            compare(reports=[paths[0], tmp_path / nothing], out=tmp_path / "both")
    (paths[1] / "report.json").write_text("{")
    with pytest.raises(HistosynthError, match=r"report\.json is damaged"):
        compare(reports=paths, out=tmp_path / "both")


def test_a_report_is_not_overwritten(paths, tmp_path):
    before = (paths[0] / "report.json").read_bytes()
    with pytest.raises(HistosynthError, match="exists and is not a comparison"):
        compare(reports=paths, out=paths[0])
    assert (paths[0] / "report.json").read_bytes() == before


# Reports that are comparable, with cautions


def test_no_held_out_patients(make, real_rows, fake_rows, report, tmp_path):
    real = make("train-only", [p for p in real_rows if p.split == "train"])
    for name in ("x", "y"):
        report(real, make(f"samples-{name}", [replace(p, source=name) for p in fake_rows]), out=name)
    content = compare(reports=[tmp_path / "x", tmp_path / "y"], out=tmp_path / "both")
    assert content["reference"] == "train"
    assert content["overall"]["floor"] is None
    text = (tmp_path / "both" / "compare.md").read_text()
    assert "Synthetic to training patients" in text
    assert "real training patches" not in text


def test_samples_without_labels(make, real, fake_rows, report, tmp_path):
    for name in ("x", "y"):
        rows = [replace(p, source=name, label=None) for p in fake_rows]
        report(real, make(f"samples-{name}", rows), out=name)
    content = compare(reports=[tmp_path / "x", tmp_path / "y"], out=tmp_path / "both")
    assert list(content["labels"]) == ["all patches"]
    with Image.open(tmp_path / "both" / "figures" / "patches-all patches.png") as image:
        assert is_synthetic(image.info)
        assert image.info["Source"] == "x, y"


def test_no_overall_result(make, patches, report, tmp_path):
    """One label has no training patients, the other no held-out patches: no label can be pooled."""
    real = make("odd", [*patches(9, "IDHmut", split="held_out"), *patches(9, "IDHwt", split="train", seed=1)])
    for seed, name in enumerate(("x", "y"), start=2):
        rows = [p for label in ("IDHmut", "IDHwt") for p in patches(9, label, source=name, seed=seed)]
        report(real, make(f"samples-{name}", rows), out=name)
    content = compare(reports=[tmp_path / "x", tmp_path / "y"], out=tmp_path / "both")
    assert "No label has enough patches on every side" in content["verdict"][0]
    text = (tmp_path / "both" / "compare.md").read_text()
    assert text.startswith("Table 1. All measures")
    lines = {(row[0], row[1]): row[2:] for row in map(cells, re.findall(r"^\|.*\|$", text, re.M)[2:])}
    assert lines["IDHwt", "x"][:2] == ["–", "none"]
    shown = content["labels"]["IDHwt"]["models"]["x"]["fake_vs_train"]["measures"]["frechet_distance"]["value"]
    assert lines["IDHwt", "x"][-1].startswith(f"{format_value(shown, 'frechet_distance')} [")


# The command


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["histosynth", "compare", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_the_command(paths, tmp_path, monkeypatch, capsys):
    out = tmp_path / "both"
    code, out_text, err = run(monkeypatch, capsys, *paths, "--out", out)
    assert (code, err) == (0, "")
    tables = (out / "compare.md").read_text()
    assert tables.partition("Table 3")[0] in out_text
    assert re.sub(r" \[.*?\]|[ -]", "", tables.partition("Table 3")[2]) in re.sub(r" \[.*?\]|[ -]", "", out_text)
    assert out_text.splitlines()[-1] == f"comparison   {out / 'compare.html'}"
    code, out_text, err = run(monkeypatch, capsys, *paths, "--out", out, "--json")
    assert (code, err) == (0, "")
    content = json.loads((out / "compare.json").read_text())
    assert json.loads(out_text) == content
    facts = describe(out)
    assert (facts["kind"], facts["models"]) == ("comparison", {"run-1": str(paths[0]), "run-2": str(paths[1])})
    assert facts["verdict"] == content["verdict"]
    (out / "compare.json").write_text("{")
    with pytest.raises(HistosynthError, match=r"compare\.json is damaged"):
        describe(out)


def test_mistakes_on_the_command_line(paths, tmp_path, monkeypatch, capsys):
    for words, message in (
        ((paths[0],), "nothing to compare"),
        ((paths[0], tmp_path / "absent"), "is not a report"),
        ((), "Missing argument 'REPORT...'"),
    ):
        code, out_text, err = run(monkeypatch, capsys, *words, "--out", tmp_path / "both")
        assert (code, out_text) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1
