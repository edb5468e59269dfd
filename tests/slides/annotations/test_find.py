from pathlib import Path

import pytest

from histosynth.errors import HistosynthError
from histosynth.slides.annotations import find_outlines, read_outlines


@pytest.mark.parametrize(
    ("names", "slide_id", "expected"),
    [
        (["s.geojson", "s2.geojson"], "s", "s.geojson"),
        (["s.json"], "s", "s.json"),
        (["s.geojson", "s.uuid.geojson"], "s", "s.geojson"),
        (["s.uuid.geojson"], "s", "s.uuid.geojson"),
        (["s.svs.geojson"], "s", "s.svs.geojson"),
        (["s.geojson"], "s.uuid", "s.geojson"),
        (["s10.geojson", "s-1.geojson", ".s.geojson", "s.csv"], "s", None),
        ([], "s", None),
        (["s.xml"], "s", "s.xml"),
        (["S.ANNOTATIONS"], "S", "S.ANNOTATIONS"),
        (["s.ndpi.ndpa"], "s", "s.ndpi.ndpa"),
        (["s.svs.xml", "s.svs"], "s", "s.svs.xml"),
        (["s.ndpa", "s.uuid.xml"], "s", "s.ndpa"),
    ],
)
def test_outlines_are_found_by_the_slide_id(
    tmp_path: Path, names: list[str], slide_id: str, expected: str | None
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert find_outlines(tmp_path, slide_id) == (None if expected is None else tmp_path / expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["s.geojson", "s.json"], r"slide s has several outline files .*s\.geojson, s\.json"),
        (["s.a.geojson", "s.b.geojson"], "several outline files"),
        (["s.geojson", "s.xml"], r"several outline files .*s\.geojson, s\.xml.*; keep one"),
        (["s.svs.xml", "s.ndpi.ndpa"], "several outline files"),
    ],
)
def test_ambiguous_or_missing_outlines_are_rejected(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(HistosynthError, match=message):
        find_outlines(tmp_path, "s")
    with pytest.raises(HistosynthError, match="no folder of outlines"):
        find_outlines(tmp_path / "absent", "s")


@pytest.mark.real
def test_outlines_of_a_real_cohort(shared_data: Path) -> None:
    for slide in sorted((shared_data / "lgg_mini" / "slides").iterdir()):
        path = find_outlines(shared_data / "lgg_mini" / "annotations", slide.stem)
        assert path is not None
        assert read_outlines(path, tumor_classes=["Tumor"]).tumor.area == 2 * 1012**2
