"""The report of a study on disk, and the commands that write it."""

import json
import re
import sys
import warnings
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from histosynth import cli
from histosynth.errors import HistosynthError
from histosynth.store.png import is_synthetic
from histosynth.study.analysis.readings_csv import write_csv
from histosynth.study.report.build import FACTS, PAGE, analyze


class Page(HTMLParser):
    """Tags that are not closed, text, and pictures without alternative text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.images, self.attributes = "", 0, []

    def handle_starttag(self, tag, attrs) -> None:
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag == "img":
            self.images += 1
            assert dict(attrs)["alt"]
        if tag not in ("meta", "img", "br", "link", "path", "use", "rect", "stop"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def page(path: Path) -> Page:
    parsed = Page()
    parsed.feed(path.read_text("utf-8"))
    assert parsed.open == []
    return parsed


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `histosynth study …`; return exit code, standard output and standard error."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["histosynth", "study", *map(str, words)])
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main replaces it
        code = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_report_is_one_self_contained_file(answered, tmp_path: Path) -> None:
    report = analyze(answered.path, out=tmp_path / "r", progress=False)
    parsed = page(tmp_path / "r" / PAGE)
    facts = json.loads((tmp_path / "r" / FACTS).read_text("utf-8"))
    assert facts["verdict"] == list(report.verdict)
    assert facts["kind"] == "study_report"
    assert report.verdict[0] in " ".join(parsed.text.split())
    assert parsed.images == len({p["case"] for part in facts["patches"].values() for p in part})
    assert not [a for a in parsed.attributes if a[1] in ("src", "href") and not a[2].startswith(("data:", "#"))]
    assert "<script" not in (tmp_path / "r" / PAGE).read_text("utf-8")


def test_only_synthetic_pictures_are_marked(answered, tmp_path: Path) -> None:
    analyze(answered.path, out=tmp_path, progress=False)
    text = (tmp_path / PAGE).read_text("utf-8")
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)" alt="(\w+) patch', text)
    assert {kind for _, kind in pictures} == {"real", "synthetic"}
    for data, kind in pictures:
        with Image.open(BytesIO(b64decode(data))) as image:
            assert is_synthetic(image.info) == (kind == "synthetic")


def test_text_written_by_readers_is_escaped(tmp_path: Path, make_readings) -> None:
    readings = make_readings(2, 12, skill=3, generators=("<gan>", "unet")).readings
    names = {"Reader 1": "$x$ <b>", "Reader 2": "$\\frac a reader of a long name"}
    write_csv(tmp_path / "<i>r.csv", [replace(reading, reader=names[reading.reader]) for reading in readings])
    analyze(tmp_path / "<i>r.csv", out=tmp_path / "r", margin=0.1, area_margin=0.14, progress=False)
    parsed = page(tmp_path / "r" / PAGE)
    assert "<b>smeared</b>" in parsed.text
    assert "<gan>" in parsed.text
    assert parsed.text.count("$x$ <b>") > 5


def test_a_single_reading_makes_a_report(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("reader,case,truth,said,confidence\nA,1,synthetic,real,5\n")
    analyze(tmp_path / "r.csv", out=tmp_path / "r", margin=0.1, area_margin=0.14, progress=False)
    page(tmp_path / "r" / PAGE)


def test_the_same_readings_give_the_same_page(tmp_path: Path, make_readings) -> None:
    write_csv(tmp_path / "r.csv", make_readings(2, 12).readings)
    pages = []
    for name in ("a", "b"):
        analyze(tmp_path / "r.csv", out=tmp_path / name, margin=0.1, area_margin=0.14, progress=False)
        pages.append(re.sub(r"20\d\d-\d\d-\d\dT[^<]*", "", (tmp_path / name / PAGE).read_text("utf-8")))
    assert pages[0] == pages[1]


def test_nothing_is_written_for_an_unfinished_study(half_answered, tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match="--interim"):
        analyze(half_answered.path, out=tmp_path / "r", progress=False)
    assert not (tmp_path / "r").exists()
    report = analyze(half_answered.path, out=tmp_path / "r", interim=True, progress=False)
    assert report.interim
    assert "interim" in page(tmp_path / "r" / PAGE).text


def test_export_and_analyze_on_the_command_line(answered, tmp_path: Path, run) -> None:
    _, out, _ = run("export", answered.path, "--out", tmp_path / "r.csv", "--json")
    assert json.loads(out)["readings"] == 10
    words = ["--margin", "0.1", "--area-margin", "0.14", "--out", tmp_path / "out", "--quiet", "--json"]
    code, out, err = run("analyze", tmp_path / "r.csv", *words)
    assert json.loads(out)["counts"]["readings"] == 8
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("analyze", "nowhere", "--out", "r"), "nowhere does not exist"),
        (("export", ".", "--to", "csv", "--out", "r.csv"), "is not a study"),
        (("export", ".", "--out", "readings"), "choose the format with --to"),
        (("plan", "--readers", "two"), "--readers takes numbers"),
        (("plan", "--accuracy", "0.9"), "equivalence is false there"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], message: str, tmp_path: Path, run, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unfinished_study_is_rejected_in_one_line(half_answered, tmp_path: Path, run) -> None:
    for verb in (["analyze", half_answered.path], ["export", half_answered.path, "--to", "csv"]):
        code, _, err = run(*verb, "--out", tmp_path / "out")
        assert (code, err.count("\n")) == (2, 1)
        assert "Reader 2: 2" in err
    assert not (tmp_path / "out").exists()


def test_plan_prints_json(run) -> None:
    _, out, err = run("plan", "--readers", "1", "--margin", "0.2", "--area-margin", "0.27", "--json", "--quiet")
    assert json.loads(out)["needs"][0]["cases"] < 80
    assert err == ""
