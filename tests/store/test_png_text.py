"""Text inside a PNG, read by Pillow, changes no pixel and no PNG without it."""

from io import BytesIO

import numpy as np
from PIL import Image, PngImagePlugin

from histosynth.store.part import decode_png, encode_png
from histosynth.store.png_text import text_of, with_text

SAID = {"Description": "SYNTHETIC: no patient's", "Label": "IDH-Wildtyp, groß ≥ 1\nzwei", "Seed": "12"}


def test_pillow_reads_what_is_written() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    plain = encode_png(image)
    said = with_text(plain, SAID)
    with Image.open(BytesIO(said)) as opened:
        opened.load()  # checks every checksum
        assert isinstance(opened, PngImagePlugin.PngImageFile)
        assert opened.text == SAID
    assert np.array_equal(decode_png(said), image)
    assert text_of(said) == SAID
    assert with_text(plain, {}) == plain
    assert text_of(plain) == {}


def test_text_that_pillow_wrote_is_read() -> None:
    buffer, info = BytesIO(), PngImagePlugin.PngInfo()
    info.add_itxt("Key", "value")
    info.add_text("Other", "of another kind")
    Image.new("RGB", (2, 2)).save(buffer, "PNG", pnginfo=info)
    assert text_of(buffer.getvalue()) == {"Key": "value"}


def test_a_torn_png_has_what_comes_before_the_tear() -> None:
    said = with_text(encode_png(np.zeros((4, 4, 3), np.uint8)), SAID)
    assert text_of(said[:20]) == {}
    assert text_of(b"") == {}
