"""Texts inside a PNG are read by Pillow, change no pixel, and state whether the image is synthetic."""

from io import BytesIO

import numpy as np
from PIL import Image, PngImagePlugin

from histosynth.store.png import decode_png, encode_png, is_synthetic, read_texts, synthetic_mark, with_texts

TEXTS = {"Description": "SYNTHETIC: no patient's", "Label": "IDH-Wildtyp, groß ≥ 1\nzwei", "Seed": "12"}


def test_pillow_reads_the_texts() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    plain = encode_png(image)
    marked = with_texts(plain, TEXTS)
    with Image.open(BytesIO(marked)) as opened:
        opened.load()  # checks every checksum
        assert isinstance(opened, PngImagePlugin.PngImageFile)
        assert opened.text == TEXTS
    assert np.array_equal(decode_png(marked), image)
    assert read_texts(marked) == TEXTS
    assert encode_png(image, TEXTS) == marked
    assert with_texts(plain, {}) == plain
    assert read_texts(plain) == {}


def test_itxt_written_by_pillow_is_read() -> None:
    buffer, info = BytesIO(), PngImagePlugin.PngInfo()
    info.add_itxt("Key", "value")
    info.add_text("Other", "of another kind")
    Image.new("RGB", (2, 2)).save(buffer, "PNG", pnginfo=info)
    assert read_texts(buffer.getvalue()) == {"Key": "value"}


def test_a_truncated_png_gives_the_texts_before_the_break() -> None:
    marked = with_texts(encode_png(np.zeros((4, 4, 3), np.uint8)), TEXTS)
    assert read_texts(marked[:20]) == {}
    assert read_texts(b"") == {}


def test_only_the_mark_makes_an_image_synthetic() -> None:
    assert is_synthetic(synthetic_mark("run"))
    assert is_synthetic(synthetic_mark("run", software="histosynth", note="beside real patches"))
    for texts in ({}, {"Description": "a scan"}, {"synthetic": "yes"}, {"Source": "run"}):
        assert not is_synthetic(texts)
    assert synthetic_mark("run")["Source"] == "run"
