"""Texts inside a PNG are read by Pillow, change no pixel, and state whether the image is synthetic."""

from io import BytesIO
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from histosynth.store.png import decode_png, encode_png, is_synthetic, read_texts, synthetic_mark, with_texts

TEXTS = {"Description": "SYNTHETIC: no patient's", "Label": "IDH-Wildtyp, groß ≥ 1\nzwei", "Seed": "12"}


@given(st.integers(1, 40), st.integers(1, 40), st.randoms(use_true_random=False))
def test_png_is_lossless_and_without_metadata(height: int, width: int, random: Any) -> None:
    image = np.frombuffer(random.randbytes(height * width * 3), np.uint8).reshape(height, width, 3)
    data = encode_png(image)
    assert (decode_png(data) == image).all()
    chunks, at = [], 8
    while at < len(data):
        chunks.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}


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
