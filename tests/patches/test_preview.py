"""The preview shows what the store holds, and its page is complete in itself."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor
from scipy import ndimage

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.patches.extract import extract
from histosynth.patches.preview import COLORS
from histosynth.store.store import Store


def run(cohort: Any, out: Path, settings: PatchSettings, **changes: Any) -> Any:
    given = {**cohort.inputs, "workers": 1, "progress": False, "preview": True, **changes}
    return extract(given.pop("slides"), out=out, settings=settings, **given)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def cohort(draw_cohort: Any) -> Any:
    """Return three slides: one partly blurred, one intact, one without an outline."""
    cohort = draw_cohort(3, side=400)
    slide = np.asarray(Image.open(cohort.slides / "S0.png")).copy()
    slide[:, :200] = ndimage.gaussian_filter(slide[:, :200], (6, 6, 0))
    cohort.add("S0", slide)
    (cohort.outlines / "S2.geojson").unlink()
    return cohort


@pytest.mark.parametrize("placement", ["grid", "random"])
def test_every_region_is_drawn_in_the_color_of_its_outcome(
    cohort: Any, small: PatchSettings, tmp_path: Path, placement: str
) -> None:
    run(cohort, tmp_path / "store", small.model_copy(update={"placement": placement, "cap": 20}))
    record = json.loads((tmp_path / "store" / "manifest.json").read_text())["slides"][0]
    store = Store(tmp_path / "store")
    with Image.open(tmp_path / "store" / "preview" / "S0.png") as image:
        picture = np.asarray(image.convert("RGB"))[:400]  # without the legend; one pixel per pixel of the slide

    def frames(name: str) -> set[tuple[int, int]]:
        """Return the corners of complete frames of a color; a side may be hidden by that of another frame."""
        hit = (picture == ImageColor.getrgb(COLORS[name])).all(axis=2)
        rows = np.lib.stride_tricks.sliding_window_view(hit, (32, 32))
        edge = np.stack([rows[:, :, 0].mean(2), rows[:, :, -1].mean(2), rows[..., 0].mean(2), rows[..., -1].mean(2)])
        return {(int(x), int(y)) for y, x in np.argwhere((edge > 0.9).all(axis=0))}

    extracted = {
        (row["x"], row["y"])
        for row in store.table.select(["slide_id", "x", "y"]).to_pylist()
        if row["slide_id"] == "S0"
    }
    assert len(extracted) == 20
    assert {corner for corner in extracted if min(corner) > 40 and max(corner) < 320} <= frames("extracted")
    assert record["rejected"]["blurred"] >= len(frames("blurred")) > 0
    assert all(x < 200 for x, _ in frames("blurred"))
    assert not frames("blurred") & extracted


def test_page_is_complete_and_self_contained(cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    cohort.labels.write_text(cohort.labels.read_text().replace("codel", "<b>&codel"))
    result = run(cohort, tmp_path / "store", small)
    assert result.preview == tmp_path / "store" / "preview" / "index.html"
    page = result.preview.read_text("utf-8")
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    for slide in manifest["slides"][:2]:
        article = page[page.index(f"<h2>{slide['slide_id']}</h2>") :].partition("</article>")[0]
        words = " ".join(re.sub("<[^>]*>", " ", article).split())
        for reason, count in {"extracted": slide["patches"], **slide["rejected"]}.items():
            assert (f"{reason.replace('_', ' ')} {count}" in words) == bool(count)
        assert f"patient {slide['patient_id']}, {slide['split'].replace('_', ' ')}" in words
        assert "scale 0.5 um per pixel; a region is 32 px, 16 um" in words
        assert "stain macenko: normalized" in words
        assert f'href="{slide["slide_id"]}.png"' in article
    assert "Skipped: no outline file" in page
    assert "&lt;b&gt;&amp;codel" in page
    assert "<b>&codel" not in page
    assert not re.search(r'(src|href)="(?!data:|S\d\.png)', page)
    assert "<script" not in page
    assert page.count("data:image/jpeg;base64,") == 2


def test_preview_is_the_same_after_resuming(cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    run(cohort, tmp_path / "whole", small)
    run(cohort, tmp_path / "later", small, preview=False)
    assert not (tmp_path / "later" / "preview").exists()
    (tmp_path / "later" / "part-S1.parquet").unlink()
    result = run(cohort, tmp_path / "later", small, workers=2)
    assert (result.slides_resumed, result.slides_done) == (1, 2)
    assert files(tmp_path / "later") == files(tmp_path / "whole")
    assert run(cohort, tmp_path / "later", small, preview=False).preview is None
    assert not (tmp_path / "later" / "preview").exists()


def test_invalid_input_keeps_an_earlier_preview(cohort: Any, small: PatchSettings, tmp_path: Path) -> None:
    run(cohort, tmp_path / "store", small)
    before = files(tmp_path / "store")
    with pytest.raises(HistosynthError):
        run(cohort, tmp_path / "store", small, labels=tmp_path / "absent.csv")
    assert files(tmp_path / "store") == before
