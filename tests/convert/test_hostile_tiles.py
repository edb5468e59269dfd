"""500 damaged tiles per format: each is packed, or skipped with a reason, within the limits of time and memory."""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histosynth.convert.tile_images import check_tiles
from histosynth.convert.tiles import list_class_folders
from histosynth.store.png import encode_png, synthetic_mark
from limits import attempt
from mutations import Mutations

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def save(kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, **options)
    return buffer.getvalue()


FORMATS: dict[str, Callable[[], bytes]] = {
    "tile.png": lambda: encode_png(PIXELS, synthetic_mark("unet")),
    "tile.jpg": lambda: save("JPEG", dpi=(50_800, 50_800), comment=b"a comment"),
    "tile.tif": lambda: save("TIFF", dpi=(50_800, 50_800)),
    "lzw.tif": lambda: save("TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_tiles_are_packed_or_skipped_with_a_reason(tmp_path: Path, name: str) -> None:
    path, original, reasons = tmp_path / "class" / name, FORMATS[name](), dict[bytes, str]()
    path.parent.mkdir()

    def check(content: bytes) -> None:
        path.write_bytes(content)
        listing = list_class_folders(tmp_path)
        tiles, bad = check_tiles(
            listing, tmp_path, mpp=None, size_px=None, crop_px=None, generator=None, progress=False
        )
        assert len(tiles) + len(bad) == 1
        if bad:
            reasons[content] = bad[f"class/{name}"]

    check(original)
    assert not reasons
    for copy in Mutations(original, count=500):
        assert attempt(partial(check, copy)) is None
    assert 50 < len(reasons) < 500
    assert all(len(reason) <= 2000 for reason in reasons.values())
