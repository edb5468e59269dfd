"""The interface behind the page: strokes are saved, conflicts shown, and nothing outside is reached."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import shapely

from histosynth.annotate import stroke_log
from histosynth.annotate.encoding import decode_rings
from histosynth.slides.annotations import read_outlines, summarize_outlines
from outlining import SIDE, Page

Start = Callable[..., Page]
SQUARE = {"kind": "area", "class": "Tumor", "points": [(300, 300), (700, 300), (700, 700), (300, 700)]}
DOT = {"kind": "brush", "class": "Tumor", "radius_px": 30, "points": [(900, 500)]}


def drawn(reply: dict[str, Any], key: str = "outlines") -> dict[str, shapely.Polygon]:
    """Return the outlines of an answer, by id."""
    polygons = {}
    for outline in reply[key]:
        exterior, *holes = decode_rings(outline["rings"])
        polygons[outline["id"]] = shapely.Polygon(exterior, holes)
    return polygons


def test_a_stroke_is_on_disk_when_it_is_answered_and_there_after_a_restart(open_page: Start, outlines: Path) -> None:
    page = open_page()
    first = page.draw(**SQUARE)
    assert drawn(first, "changed")["1"].equals(shapely.Polygon(SQUARE["points"]))
    page.draw(kind="brush", **{"class": None}, add=False, radius_px=50, points=[(500, 500)])
    page.draw(kind="comment", outline="1", text="a hole — „here“")
    before = page.get("slides/a/outlines")
    assert len(drawn(before)["1"].interiors) == 1

    again = open_page().get("slides/a/outlines")
    assert again == before
    # The GeoJSON has the same vertices, read by our own reader.
    read = read_outlines(outlines / "anna" / "a.geojson", tumor_classes=["Tumor"])
    assert read.tumor.geoms[0].equals_exact(drawn(before)["1"], normalize=True)
    feature = json.loads((outlines / "anna" / "a.geojson").read_bytes())["features"][0]
    assert feature["properties"]["classification"] == {"name": "Tumor", "color": [200, 16, 46]}
    assert feature["properties"]["metadata"] == {"ANNOTATION_DESCRIPTION": "a hole — „here“"}


def test_the_list_shows_states_corrupt_slides_and_who_works_on_what(open_page: Start) -> None:
    page = open_page()
    page.get("slides/a")
    assert page.client.get("/api/slides/broken").json()["code"] == "unreadable"
    listed = {each["id"]: each for each in page.get("slides")["slides"]}
    assert (listed["a"]["state"], listed["a"]["width_px"]) == ("new", SIDE)
    assert listed["broken"]["state"] == "unreadable"
    assert "save it again" in listed["broken"]["reason"]

    page.draw(**SQUARE)
    ben = Page(page.client, page.state.links.token("ben"), page.state)
    seen = {each["id"]: each for each in ben.get("slides")["slides"]}["a"]
    assert (seen["state"], seen["active"]) == ("new", ["anna"])
    assert seen["others"] == [{"annotator": "anna", "state": "in progress", "outlines": 1}]
    ben.draw(kind="done", done=True)
    assert {each["id"]: each for each in ben.get("slides")["slides"]}["a"]["state"] == "done"
    # Two annotators are kept apart.
    assert ben.get("slides/a/outlines")["outlines"] == []
    assert ben.client.get("/api/slides/a/outlines?annotator=anna").status_code == 404


def test_a_stroke_sent_twice_is_drawn_once_and_two_tabs_meet(open_page: Start) -> None:
    page = open_page()
    stroke = {"base": 0, "id": str(uuid4()), **SQUARE}
    assert page.post("slides/a/strokes", stroke)["n"] == 1
    twice = page.post("slides/a/strokes", stroke)
    assert (twice["n"], twice["reset"], list(drawn(twice, "changed"))) == (1, True, ["1"])
    # Another tab, which still knows nothing, gets everything.
    other = page.post("slides/a/strokes", {"base": 0, "id": str(uuid4()), **DOT})
    assert (other["n"], other["reset"], sorted(drawn(other, "changed"))) == (2, True, ["1", "2"])
    # A vertex of an outline that has changed since is not guessed.
    move = {"kind": "vertex", "outline": "1", "ring": 0, "index": 0, "to": [10, 10]}
    assert page.post("slides/a/strokes", {"base": 0, "id": str(uuid4()), **move}, 409)["code"] == "stale"
    assert page.post("slides/a/strokes", {"base": 2, "id": str(uuid4()), **move})["n"] == 3
    assert page.get("slides/a/outlines?since=3") == {"n": 3}


def test_strokes_that_change_nothing_are_not_kept(open_page: Start) -> None:
    page = open_page()
    page.draw(**SQUARE)
    inside = {"kind": "brush", "class": "Tumor", "radius_px": 20, "points": [(500, 500)]}
    off_the_slide = {"kind": "brush", "class": "Tumor", "radius_px": 20, "points": [(-500, 500), (-200, 9000)]}
    for stroke in (inside, off_the_slide, {"kind": "redo"}, {"kind": "done", "done": False}):
        assert page.draw(**stroke)["n"] == 1
    assert page.draw(kind="undo")["n"] == 2
    assert page.draw(kind="undo")["n"] == 2


def test_what_another_program_changed_is_shown_and_never_overwritten(open_page: Start, outlines: Path) -> None:
    page, file = open_page(), outlines / "anna" / "a.geojson"
    page.draw(**SQUARE)
    theirs = file.read_bytes().replace(b"300.0", b"250.0")
    file.write_bytes(theirs)
    assert "changed by another program" in page.get("slides/a/outlines?since=1")["conflict"]
    assert page.draw(status=409, **DOT)["code"] == "conflict"
    assert file.read_bytes() == theirs
    # Also after a restart.
    page = open_page()
    assert page.draw(status=409, **DOT)["code"] == "conflict"

    taken = page.post("slides/a/conflict", {"choice": "take"})
    assert drawn(taken)["2"].bounds == (250, 250, 700, 700)
    assert taken["conflict"] is None
    assert drawn(page.draw(kind="undo"), "changed")["1"].bounds == (300, 300, 700, 700)

    file.write_bytes(theirs)
    kept = page.post("slides/a/conflict", {"choice": "keep"})
    assert drawn(kept)["1"].bounds == (300, 300, 700, 700)
    assert [path.read_bytes() for path in sorted(file.parent.glob("*.bak"))] == [theirs, theirs]
    page.draw(**DOT)


def test_a_file_that_is_no_outline_leaves_the_choice_to_keep_ours(open_page: Start, outlines: Path) -> None:
    page, file = open_page(), outlines / "anna" / "a.geojson"
    page.draw(**SQUARE)
    file.write_text("{")
    assert "not valid JSON" in page.post("slides/a/conflict", {"choice": "take"}, 400)["error"]
    assert file.read_text() == "{"
    page.post("slides/a/conflict", {"choice": "keep"})
    page.draw(**DOT)


@pytest.mark.parametrize("when", ["log", "geojson"])
def test_a_full_disk_changes_nothing_and_the_stroke_can_be_sent_again(
    open_page: Start, outlines: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    page, folder = open_page(), outlines / "anna"
    page.draw(**SQUARE)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    stroke = {"base": 1, "id": str(uuid4()), **DOT}

    real, calls = stroke_log.os.fsync, []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == (1 if when == "geojson" else 2):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(stroke_log.os, "fsync", fail)
    assert page.post("slides/a/strokes", stroke, 507)["code"] == "disk_full"
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert page.get("slides/a/outlines")["n"] == 1
    assert page.post("slides/a/strokes", stroke)["n"] == 2


def test_a_kill_between_log_and_geojson_is_repaired(open_page: Start, outlines: Path) -> None:
    page, file = open_page(), outlines / "anna" / "a.geojson"
    page.draw(**SQUARE)
    one = file.read_bytes()
    page.draw(**DOT)
    two = file.read_bytes()
    file.write_bytes(one)
    assert open_page().get("slides/a/outlines")["conflict"] is None
    assert file.read_bytes() == two
    file.unlink()
    assert open_page().get("slides/a/outlines")["conflict"] is None
    assert file.read_bytes() == two


def test_outlines_of_other_tools_are_opened(open_page: Start, slides: Path, tmp_path: Path, outlines: Path) -> None:
    (outlines / "anna").mkdir()
    square = [[[10, 10], [200, 10], [200, 200], [10, 200], [10, 10]]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": square}, "properties": {}}
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [5, 5]}, "properties": {}}
    original = json.dumps([feature | {"properties": {"classification": {"name": "Stroma"}}}, point])
    (outlines / "anna" / "a.geojson").write_text(original)
    imports = tmp_path / "imports"
    imports.mkdir()
    (imports / "b.xml").write_text(
        '<ASAP_Annotations><Annotations><Annotation Name="x" Type="Polygon" PartOfGroup="Tumor"><Coordinates>'
        + "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(SQUARE["points"]))
        + "</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )
    page = open_page(imports=imports)
    (a,) = page.get("slides/a/outlines")["outlines"]
    assert (a["class"], drawn({"outlines": [a]})["1"].bounds) == ("Stroma", (10, 10, 200, 200))
    assert (outlines / "anna" / "a.geojson.1.bak").read_text() == original
    assert drawn(page.get("slides/b/outlines"))["1"].equals(shapely.Polygon(SQUARE["points"]))
    assert summarize_outlines(outlines / "anna" / "b.geojson")["classes"]["Tumor"]["area_px2"] == 160_000


def test_every_earlier_state_can_be_restored(open_page: Start) -> None:
    page = open_page()
    page.draw(**SQUARE)
    page.draw(**DOT)
    page.draw(kind="delete", outline="1")
    restored = page.draw(kind="restore", to=2)
    assert sorted(drawn(restored, "changed")) == ["1"]
    entries = page.get("slides/a/history")["entries"]
    assert [(each["n"], each["kind"], each["to"]) for each in entries[:2]] == [(4, "restore", 2), (3, "delete", None)]
    assert sorted(drawn(page.draw(kind="undo"), "changed")) == []
    assert "only 5 strokes" in page.draw(status=400, kind="restore", to=77)["error"]


def test_the_preview_shows_the_patches_that_are_extracted(
    open_page: Start, outlines: Path, tmp_path: Path, slides: Path
) -> None:
    from histosynth.patches.extract import extract
    from histosynth.store.store import Store

    page = open_page()
    assert page.get("slides/a/preview")["message"] == "nothing is outlined yet"
    page.draw(kind="area", **{"class": "Tumor"}, points=[(150, 300), (1100, 250), (1000, 1050), (200, 900)])
    page.draw(kind="brush", **{"class": "Exclude"}, radius_px=90, points=[(500, 500), (650, 650)])
    page.draw(kind="brush", **{"class": None}, add=False, radius_px=60, points=[(900, 400)])
    shown = page.get("slides/a/preview")
    settings = page.state.previewer.settings
    assert settings.exclude_classes == ("Necrosis", "Exclude")
    assert shown["counts"]["accepted"] > 3

    labels = tmp_path / "labels.csv"
    labels.write_text("slide,patient,label\na,p,IDHwt\n")
    store = tmp_path / "store"
    extract(slides=[slides / "a.png"], out=store, settings=settings, outlines=outlines / "anna", labels=labels, mpp=0.5)
    table = Store(store)
    (corners,) = decode_rings([shown["accepted"]])
    assert np.array_equal(corners, np.stack([table.column("x"), table.column("y")], axis=1))
    assert sorted(shown["counts"]) == sorted({"accepted", *shown["rejected"]})


def test_a_server_that_only_shows_takes_no_stroke(open_page: Start, outlines: Path) -> None:
    open_page().draw(**SQUARE)
    page = open_page("viewer", read_only=True)
    assert page.get("session")["annotators"] == ["anna", "ben"]
    assert drawn(page.get("slides/a/outlines?annotator=anna"))["1-0"].area == 160_000
    stroke = {"base": 0, "id": str(uuid4()), **SQUARE}
    assert page.post("slides/a/strokes", stroke, 403)["code"] == "read_only"
    assert page.client.get("/api/slides/a/outlines?annotator=..").status_code == 404
    assert page.get("slides/a/preview?annotator=anna")["counts"]["accepted"] > 0
    assert not (outlines / "viewer").exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "brush", "class": "Tumor", "radius_px": 0, "points": [(1, 1)]},
        {"kind": "brush", "class": "Tumor", "radius_px": 5, "points": []},
        {"kind": "brush", "class": "Tumor", "radius_px": 5, "points": [(1, "x")]},
        {"kind": "brush", "class": "Tumor", "radius_px": 5, "points": [(1, 1e300)]},
        {"kind": "brush", "class": None, "radius_px": 5, "points": [(1, 1)]},
        {"kind": "area", "class": "Tumor", "points": [(1, 1), (2, 2)]},
        {"kind": "area", "class": "x" * 101, "points": [(1, 1), (2, 2), (3, 1)]},
        {"kind": "import", "name": "x", "outlines": []},
        {"kind": "nothing"},
        {"kind": "undo", "id": "../../x"},
        {"kind": "undo", "base": "1"},
    ],
)
def test_strokes_that_make_no_sense_are_refused(open_page: Start, outlines: Path, fields: dict[str, Any]) -> None:
    page = open_page()
    page.post("slides/a/strokes", {"base": 0, "id": str(uuid4()), **fields}, 422)
    assert list((outlines / "anna").glob("*.jsonl")) == []


def test_without_a_link_nothing_is_shown_and_guesses_are_slowed(open_page: Start) -> None:
    page = open_page()
    client = page.client
    client.cookies.clear()
    for path in (
        "session",
        "slides",
        "slides/a",
        "slides/a/thumbnail",
        "slides/a/tiles/0/0_0.jpg",
        "slides/a/outlines",
    ):
        reply = client.get(f"/api/{path}")
        assert (reply.status_code, reply.json()["code"]) == (401, "signed_out")
    codes = [client.get(f"/open/{'0' * 32}").status_code for _ in range(12)]
    assert codes == [404] * 10 + [429] * 2
    log = [json.loads(line) for line in (page.state.workspace.folder / "audit.jsonl").read_text().splitlines()]
    assert {line["event"] for line in log} == {"link opened", "request rejected"}
    assert not any("0" * 32 in line["detail"] for line in log)


def test_other_sites_cannot_draw(open_page: Start) -> None:
    page = open_page()
    stroke = {"base": 0, "id": str(uuid4()), **SQUARE}
    for headers in (
        {},
        {"X-Histosynth": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-Histosynth": "1", "Origin": "http://x"},
    ):
        assert page.client.post("/api/slides/a/strokes", json=stroke, headers=headers).status_code == 403
    large = page.client.post("/api/slides/a/strokes", content=b" " * (3 << 20), headers={"X-Histosynth": "1"})
    assert large.json()["code"] == "too_large"


@pytest.mark.parametrize(
    "path",
    [
        "/static/assets/../index.html", "/static/assets/%2e%2e/index.html",
        "/static/assets/..%2findex.html", "/static/assets/.hidden",
        "/static/assets/b.js", "/api/slides/..%2f..%2fetc/outlines", "/api/slides/%2e%2e/outlines",
        "/api/slides/c/outlines",
        "/api/slides/a/tiles/99/0_0.jpg", "/api/slides/a/tiles/11/9_9.jpg", "/api/slides/a/tiles/11/0_0.png",
        "/api/slides/a/tiles/11/-1_0.jpg", "/api/slides/a/tiles/11/0.jpg", "/api/slides/a/tiles/11/²_0.jpg",
    ],
)  # fmt: skip
def test_nothing_else_is_reached(open_page: Start, path: str) -> None:
    reply = open_page().client.get(path)
    assert reply.status_code == 404
    assert "root" not in reply.text


def test_headers_of_pages_pictures_and_scripts(open_page: Start) -> None:
    client = open_page().client
    kept = {"/": "no-store", "/static/assets/a.js": "public, max-age=31536000, immutable", "/api/slides": "no-store"}
    kept |= {
        "/api/slides/a/tiles/11/0_0.jpg": "private, max-age=86400",
        "/api/slides/a/thumbnail": "private, max-age=86400",
    }
    for path, cached in kept.items():
        reply = client.get(path)
        assert reply.headers["Cache-Control"] == cached
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    tag = client.get("/api/slides/a/thumbnail").headers["ETag"]
    again = client.get("/api/slides/a/thumbnail", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
