"""Reports from others: changed at random, and with paths that should not be opened."""

import json
import os
import random
import shutil

import pytest

from histosynth.errors import HistosynthError
from histosynth.report.compare import build, charts
from histosynth.report.compare.build import as_text, compare
from histosynth.report.compare.schema import ComparisonFacts

ODD = [
    None, True, 0, -1, 3, 10**400, 1e300, -0.5, float("nan"), float("inf"), "", "x", "\ud800", "\x1b[2J", "a" * 5000,
    "\u202e|<b>", "../../etc", [], [[]], ["x"], {}, {"x": 1}, "1e999", "held_out",
]  # fmt: skip


def nodes(value, path=()):
    """Return the path of every value below this one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    paths = []
    for key, child in inner:
        paths += [(*path, key), *nodes(child, (*path, key))]
    return paths


def mutated(text: str, rng: random.Random) -> bytes:
    """Return the report with one to three values changed, removed, renamed or nested, or with damaged bytes."""
    if rng.random() < 0.2:
        data = bytearray(text.encode())
        for _ in range(rng.randint(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
    facts = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(nodes(facts))
        parent = facts
        for key in path[:-1]:
            parent = parent[key]
        kind = rng.choice(("replace", "replace", "remove", "rename", "copy", "deep"))
        if kind == "replace":
            parent[path[-1]] = rng.choice(ODD)
        elif kind == "remove":
            del parent[path[-1]]
        elif kind == "copy" and isinstance(parent, dict):
            parent[rng.choice(list(parent))] = parent[path[-1]]
        elif kind == "rename" and isinstance(parent, dict):
            parent[str(rng.choice(ODD))[:50]] = parent.pop(path[-1])
        elif kind == "deep":
            parent[path[-1]] = "DEEP"
    text = json.dumps(facts)
    return text.replace('"DEEP"', "[" * 100_000 + "]" * 100_000).encode()


def test_changed_reports_end_in_a_message_or_a_comparison(paths, tmp_path, monkeypatch):
    """500 mutations; charts, which take most of the time, are drawn for every fiftieth."""
    text, rng, ended = (paths[1] / "report.json").read_text(), random.Random(0), {"compared": 0, "rejected": 0}
    for i in range(500):
        content = mutated(text, rng)
        (paths[1] / "report.json").write_bytes(content)
        with monkeypatch.context() as patch:
            if i % 50:
                patch.setattr(build, "chart_files", lambda *_, **__: {})
                patch.setattr(build, "contact_sheet", lambda *_, **__: b"")
                patch.setattr(build, "shown_sides", lambda *_, **__: ([], []))
            message = ""
            try:
                result = compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
                as_text(ComparisonFacts.model_validate(result), narrow=True).encode()
                ended["compared"] += 1
            except HistosynthError as error:
                message = str(error)
                ended["rejected"] += 1
            except Exception as error:
                error.add_note(f"mutation {i}")
                raise
        assert len(message) < 2000, f"mutation {i}"
    assert min(ended.values()) > 50, f"one-sided mutations test little: {ended}"


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
