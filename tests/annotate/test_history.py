"""Any sequence of strokes, undos and redos gives what computing from scratch gives, and valid outlines."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from histosynth.annotate import local_overlay
from histosynth.annotate.drawing import Canvas, Drawing, apply_edit
from histosynth.annotate.encoding import decode_rings, encode_rings
from histosynth.annotate.history import History
from histosynth.annotate.stroke_log import Entry, StrokeLog
from histosynth.annotate.strokes import STROKE, Area, Brush, Done, Redo, Restore, Stroke, Undo
from histosynth.errors import HistosynthError

CANVAS = Canvas(width_px=400, height_px=300)
CLASSES = st.sampled_from(["Tumor", "Necrosis"])
# Some points lie off the slide.
POINTS = st.tuples(st.floats(-40, 440), st.floats(-40, 340))
BRUSHES = st.builds(
    Brush,
    class_name=CLASSES,
    add=st.booleans(),
    radius_px=st.floats(0.5, 90),
    points=st.lists(POINTS, min_size=1, max_size=6),
)
AREAS = st.builds(Area, class_name=CLASSES, add=st.booleans(), points=st.lists(POINTS, min_size=3, max_size=9))
ERASERS = st.builds(Area, class_name=st.none(), add=st.just(False), points=st.lists(POINTS, min_size=3, max_size=5))
NUMBERS = st.integers(0, 8)
KINDS = st.one_of(
    BRUSHES,
    AREAS,
    ERASERS,
    st.builds(Undo),
    st.builds(Undo),
    st.builds(Redo),
    st.builds(Restore, to=NUMBERS),
    st.builds(Done, done=st.booleans()),
    # On an outline and a vertex that exist, if there are any: their numbers are taken modulo.
    st.builds(
        dict,
        kind=st.sampled_from(
            ["vertex", "vertex_insert", "vertex_remove", "class", "comment", "delete", "boundary"],
        ),
        of=NUMBERS,
        index=NUMBERS,
        to=POINTS,
        path=st.lists(POINTS, min_size=2, max_size=5),
        text=st.text(max_size=5),
        class_name=CLASSES,
    ),
)


def stroke_on(drawing: Drawing, drawn: object) -> Stroke | None:
    """Return a drawn stroke, on an outline of the drawing if it needs one."""
    if not isinstance(drawn, dict):
        return drawn  # type: ignore[return-value]
    if not drawing:
        return None
    outline = drawing[drawn["of"] % len(drawing)]
    kind, fields = drawn["kind"], {"kind": drawn["kind"], "outline": outline.id}
    if kind.startswith("vertex"):
        fields |= {"ring": 0, "index": drawn["index"] % (len(outline.polygon.exterior.coords) - 1)}
        fields |= {} if kind == "vertex_remove" else {"to": drawn["to"]}
    fields |= {
        "class": {"class": drawn["class_name"]},
        "comment": {"text": drawn["text"]},
        "boundary": {"points": drawn["path"]},
    }.get(kind, {})
    return STROKE.validate_python(fields)


def draw(strokes: list[object]) -> tuple[History, list[Entry]]:
    history, entries = History([], canvas=CANVAS), []
    for drawn in strokes:
        stroke = stroke_on(history.drawing, drawn)
        if stroke is None or (isinstance(stroke, Restore) and stroke.to > history.number):
            continue
        result = history.result_of(stroke)
        if result is not None:
            entries.append(Entry(number=len(entries) + 1, id=f"s{len(entries)}", at=datetime.now(UTC), stroke=stroke))
            history.record(entries[-1], result)
    return history, entries


def facts(drawing: Drawing) -> list[tuple[object, ...]]:
    return [(each.id, each.class_name, each.comment, encode_rings(each.polygon)) for each in drawing]


@settings(max_examples=150)
@given(st.lists(KINDS, max_size=25))
def test_the_shown_drawing_is_the_one_computed_from_scratch(strokes: list[object]) -> None:
    history, entries = draw(strokes)

    # From scratch, by a stack of the strokes that count.
    stack: list[list[Entry]] = [[]]
    undone: list[list[Entry]] = []
    shown = [stack[0]]
    for entry in entries:
        if isinstance(entry.stroke, Undo):
            undone.append(stack.pop())
        elif isinstance(entry.stroke, Redo):
            stack.append(undone.pop())
        elif isinstance(entry.stroke, Restore):
            stack.append(shown[entry.stroke.to])
            undone = []
        elif not isinstance(entry.stroke, Done):
            stack.append([*stack[-1], entry])
            undone = []
        shown.append(stack[-1])
    drawing: Drawing = ()
    for entry in stack[-1]:
        drawing = apply_edit(drawing, entry.stroke, number=entry.number, canvas=CANVAS)  # type: ignore[arg-type]

    assert facts(history.drawing) == facts(drawing)
    assert facts(History(entries, canvas=CANVAS).drawing) == facts(drawing)


@pytest.mark.parametrize("few", [0, 1000], ids=["in windows", "as a whole"])
@settings(max_examples=150)
@given(strokes=st.lists(KINDS, max_size=20))
def test_outlines_are_valid_on_the_slide_and_on_the_grid(few: int, strokes: list[object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_overlay, "_FEW_VERTICES", few)
        history, _ = draw(strokes)
    slide = shapely.box(0, 0, CANVAS.width_px, CANVAS.height_px)
    ids = [each.id for each in history.drawing]
    assert len(ids) == len(set(ids))
    for each in history.drawing:
        assert each.polygon.is_valid
        assert each.polygon.area >= 1
        assert slide.covers(each.polygon)
        decoded = decode_rings(encode_rings(each.polygon))
        exact = [shapely.get_coordinates(ring)[:-1] for ring in (each.polygon.exterior, *each.polygon.interiors)]
        assert all(np.array_equal(one, other) for one, other in zip(decoded, exact, strict=True))


@settings(max_examples=60)
@given(strokes=st.lists(KINDS, min_size=1, max_size=12), data=st.data())
def test_a_log_cut_anywhere_has_the_strokes_that_were_whole(
    tmp_path_factory: pytest.TempPathFactory, strokes: list[object], data: st.DataObject
) -> None:
    _, entries = draw(strokes)
    path = tmp_path_factory.mktemp("log") / "a.strokes.jsonl"
    log = StrokeLog(path, slide_id="a", canvas=CANVAS)
    for entry in entries:
        log.append(entry.id, entry.stroke)
    whole = path.read_bytes() if entries else b""

    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    again = StrokeLog(path, slide_id="a", canvas=CANVAS)

    complete = max(0, whole[:cut].count(b"\n") - 1)
    assert [(e.number, e.id, e.stroke) for e in again.entries] == [
        (e.number, e.id, e.stroke) for e in entries[:complete]
    ]
    expected = facts(History(entries[:complete], canvas=CANVAS).drawing)
    assert facts(History(again.entries, canvas=CANVAS).drawing) == expected
    # The next stroke overwrites the incomplete line.
    again.append("next", Done(done=True))
    assert [json.loads(line) for line in path.read_bytes().splitlines()][-1]["id"] == "next"
    assert len(StrokeLog(path, slide_id="a", canvas=CANVAS).entries) == complete + 1


def test_undo_reaches_the_first_of_hundreds_of_strokes_and_memory_stays_bounded() -> None:
    dots: list[object] = [
        Brush(class_name="Tumor", radius_px=3, points=[(10 + 13 * (n % 28), 10 + 13 * (n // 28))]) for n in range(300)
    ]
    history, entries = draw([*dots, *[Undo()] * 300])
    assert len(entries) == 600
    assert history.drawing == ()
    assert len(draw([*dots, *[Undo()] * 299])[0].drawing) == 1
    assert len(history._recent) <= 32
    assert len(history._kept) <= 11
    restored, _ = draw([*dots, *[Undo()] * 300, Restore(to=150)])
    assert len(restored.drawing) == 150


def test_united_outlines_keep_the_oldest_id_and_divided_ones_theirs_on_the_largest_part() -> None:
    def bar(left: float, right: float) -> Area:
        return Area(class_name="Tumor", points=[(left, 10), (right, 10), (right, 40), (left, 40)])

    history, _ = draw([bar(10, 60), bar(100, 150), bar(200, 250), bar(55, 105)])
    assert [each.id for each in history.drawing] == ["1", "3"]
    eraser = Area(class_name=None, add=False, points=[(40, 0), (70, 0), (70, 90), (40, 90)])
    history, _ = draw([bar(10, 60), bar(100, 150), bar(55, 105), eraser])
    assert [(each.id, each.polygon.area) for each in history.drawing] == [("1", 2400), ("4", 900)]


def test_redrawing_a_part_of_the_boundary_keeps_the_rest() -> None:
    square = Area(class_name="Tumor", points=[(100, 100), (200, 100), (200, 200), (100, 200)])
    bulge = {"kind": "boundary", "outline": "1", "points": [(200, 120), (240, 150), (200, 180)]}
    history, _ = draw([square, STROKE.validate_python(bulge)])
    assert history.drawing[0].polygon.equals(
        shapely.Polygon([(100, 100), (200, 100), (200, 120), (240, 150), (200, 180), (200, 200), (100, 200)])
    )


HEADER = '{"format":"histosynth-strokes","version":1,"slide_id":"%s","width_px":400,"height_px":300}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}\n", "is no stroke log of this version"),
        (HEADER % "b", "another slide"),
        (HEADER % "a" + '{"n":2}\n', "stroke 1 is damaged"),
        (HEADER % "a" + "null\n", "stroke 1 is damaged"),
        (HEADER % "a" + "?\n", "stroke 1"),
    ],
)
def test_a_damaged_log_says_where(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.strokes.jsonl"
    path.write_text(content)
    with pytest.raises(HistosynthError, match=message):
        StrokeLog(path, slide_id="a", canvas=CANVAS)
    assert path.read_text() == content
