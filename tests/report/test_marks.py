"""Synthetic patches that are saved out of a report stay synthetic in a store packed from them."""

import re
from base64 import b64decode
from pathlib import Path

import pytest

from histosynth.config import PatchSettings
from histosynth.convert.pack import pack
from histosynth.store.store import Store


@pytest.fixture
def saved(real, fake, report, tmp_path):
    """A report, and a folder of tiles per kind: the patches of the page, and the figures."""
    report(real, fake)
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    images = re.findall(r'src="data:image/png;base64,([^"]+)" alt="(Synthetic|Real, held-out) patch', page)
    for number, (data, title) in enumerate(images):
        tile = tmp_path / title / "tiles" / f"{number}.png"
        tile.parent.mkdir(parents=True, exist_ok=True)
        tile.write_bytes(b64decode(data))
    return tmp_path


def packed(folder: Path, out: Path, *, crop_px: int | None = None) -> Store:
    pack(folder, out=out, settings=PatchSettings(), size_px=16, crop_px=crop_px, progress=False)
    return Store(out)


def test_patches_saved_from_the_page_keep_their_source(saved):
    assert set(packed(saved / "Synthetic", saved / "fake-store").column("source")) == {"run-1"}
    assert set(packed(saved / "Real, held-out", saved / "real-store").column("source")) == {"real"}


@pytest.mark.parametrize(("figure", "source"), [("fake-IDHwt", "run-1"), ("copies", "run-1"), ("train-IDHwt", "real")])
def test_figures_keep_their_source(saved, figure, source):
    folder = saved / "sheets" / "tiles"
    folder.mkdir(parents=True)
    (folder / "sheet.png").write_bytes((saved / "report" / "figures" / f"{figure}.png").read_bytes())
    assert set(packed(saved / "sheets", saved / "store", crop_px=80).column("source")) == {source}
