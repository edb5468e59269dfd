"""The picture of the README: patches of held-out phantom patients beside synthetic ones, one row per genotype.

    make demo && .venv/bin/python docs/figures/demo.py demo

The first patches of each label are shown, not chosen ones. The picture states that it shows synthetic patches.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from histosynth.store.png import encode_png, synthetic_mark
from histosynth.store.store import Store

OUT = Path(__file__).with_name("demo.png")
SHOWN, SCALE, GAP_PX, MIDDLE_PX, TITLE_PX, LABEL_PX = 6, 2, 3, 18, 24, 136


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="results of `make demo`")
    demo = parser.parse_args().demo
    real, fake = Store(demo / "store"), Store(demo / "samples")
    step = real.patch_px * SCALE + GAP_PX
    half = SHOWN * step - GAP_PX
    width, height = LABEL_PX + 2 * half + MIDDLE_PX, TITLE_PX + len(fake.labels) * step - GAP_PX
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for left, title in ((0, "held-out phantom patients"), (half + MIDDLE_PX, "synthetic")):
        pen.text((LABEL_PX + left, 3), title, fill="black", font=font)
    for row, label in enumerate(fake.labels):
        top = TITLE_PX + row * step
        pen.text((4, top + step // 2 - 10), label, fill="black", font=font)
        sides = (first(real, label, split="held_out"), first(fake, label, split=None))
        for left, images in zip((0, half + MIDDLE_PX), sides, strict=True):
            for column, image in enumerate(images):
                patch = Image.fromarray(image).resize((image.shape[1] * SCALE,) * 2, Image.Resampling.NEAREST)
                sheet.paste(patch, (LABEL_PX + left + column * step, top))
    mark = synthetic_mark("the demo of histosynth", note="right half; the left half is phantom tissue")
    OUT.write_bytes(encode_png(np.asarray(sheet), mark))


def first(store: Store, label: str, *, split: str | None) -> NDArray[np.uint8]:
    """Return the first patches of a label, (SHOWN, S, S, 3)."""
    return store.images(store.select(label=label, split=split)[:SHOWN])


if __name__ == "__main__":
    main()
