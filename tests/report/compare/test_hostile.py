"""Reports from others: changed at random, and with paths that should not be opened."""

import os
import shutil

import pytest

from histosynth.cli.info import as_lines
from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.report.compare import build, charts
from histosynth.report.compare.build import as_text, compare
from histosynth.report.compare.schema import ComparisonFacts
from limits import attempt
from mutations import JsonMutations


def describes(path):
    return attempt(lambda: as_lines(describe(path))) is None


def test_changed_reports_end_in_a_message_or_a_comparison(paths, tmp_path, monkeypatch):
    """500 mutations, which `info` and `compare` read; charts, which take most time, are drawn for every fiftieth."""
    content, refused = (paths[1] / "report.json").read_bytes(), 0

    def use():
        result = compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
        as_text(ComparisonFacts.model_validate(result), narrow=True).encode()

    for i, copy in enumerate(JsonMutations(content, count=500)):
        (paths[1] / "report.json").write_bytes(copy)
        with monkeypatch.context() as patch:
            if i % 50:
                patch.setattr(build, "chart_files", lambda *_, **__: {})
                patch.setattr(build, "contact_sheet", lambda *_, **__: b"")
                patch.setattr(build, "shown_sides", lambda *_, **__: ([], []))
            compared = attempt(use) is None
        assert describes(paths[1]) >= compared, "info accepts what compare does"
        refused += not compared
    assert 50 < refused < 450, "one-sided mutations test little"


def test_changed_comparisons_are_described_or_end_in_a_message(paths, tmp_path):
    compare(reports=paths, out=tmp_path / "both")
    file, described = tmp_path / "both" / "compare.json", 0
    for copy in JsonMutations(file.read_bytes(), count=500):
        file.write_bytes(copy)
        described += describes(tmp_path / "both")
    assert 10 < described < 450


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/store", "HTTPS:/x.org/store", "s3://bucket/store", "memory://x"]
)
def test_an_address_in_a_report_is_not_fetched(paths, edit, tmp_path, monkeypatch, address):
    def refuse(*_, **__):
        raise AssertionError("fetched")

    monkeypatch.setattr("histosynth.remote.open_binary", refuse)
    monkeypatch.setattr("histosynth.store.store.open_binary", refuse)

    def remote(facts):
        facts["stores"]["fake"]["path"] = facts["stores"]["real"]["path"] = address

    content = compare(reports=[edit(path, f"r-{path.name}", remote) for path in paths], out=tmp_path / "both")
    notes = [c["text"] for c in content["cautions"] if "addresses in a report are not fetched" in c["text"]]
    assert len(notes) == 3


def test_only_stores_beside_the_report_or_in_a_named_folder_are_opened(paths, edit, tmp_path, monkeypatch):
    opened = []
    store_type = charts.Store
    monkeypatch.setattr(charts, "Store", lambda path: opened.append(path) or store_type(path))

    def cautions(reports, **options):
        content = compare(reports=reports, out=tmp_path / "both", **options)
        return [
            c["text"] for c in content["cautions"] if "not inside the report's directory and is not read" in c["text"]
        ]

    assert len(cautions(paths)) == 3
    assert opened == []
    # A copy of the samples inside the report, one behind a link, and one with an unusable name.
    shutil.copytree(tmp_path / "one-samples", paths[0] / "samples")
    (paths[1] / "samples").symlink_to(tmp_path / "two-samples")
    inside = [
        edit(path, f"r-{path.name}", lambda facts, name=path.name: facts["stores"]["fake"].update(
            path=str(tmp_path / f"r-{name}" / "samples")))
        for path in paths
    ]  # fmt: skip
    shutil.rmtree(inside[1] / "samples")
    (inside[1] / "samples").symlink_to(tmp_path / "two-samples")
    assert len(cautions(inside)) == 2
    assert opened == [inside[0] / "samples"]
    assert cautions(paths, stores=[tmp_path]) == []
    assert set(opened[1:]) == {tmp_path / "one-samples", tmp_path / "two-samples", opened[1]}
    for name in ("a\0b", "x" * 5000, "..", str(tmp_path / "r-one" / ".." / "one-samples")):
        odd = edit(paths[0], "odd", lambda facts, name=name: facts["stores"]["fake"].update(path=name))
        assert len(cautions([odd, paths[1]])) == 3
        shutil.rmtree(odd)


def test_a_pipe_in_place_of_a_report_is_refused_and_not_waited_for(paths, tmp_path):
    (paths[1] / "report.json").unlink()
    os.mkfifo(paths[1] / "report.json")
    with pytest.raises(HistosynthError, match="is not a regular file"):
        compare(reports=paths, out=tmp_path / "both")
