"""Draw the figure of docs/how-to/edits.md: phantom patches translated, interpolated and inpainted, in two minutes.

histosynth demo --out demo
.venv/bin/python docs/figures/edits.py demo
"""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.sampling.edit import EditOptions, inpaint, interpolate, translate
from histosynth.sampling.edited_store import SHEET_NOTE
from histosynth.sampling.mask import central_square
from histosynth.sampling.sources import Selection
from histosynth.store.contact_sheet import contact_sheet
from histosynth.store.png import synthetic_mark, with_texts
from histosynth.store.store import Store

OUT = Path(__file__).with_name("edits.png")
OPTIONS = EditOptions(steps=20, progress=False)
COLUMNS = 6


def main() -> None:
    """Make the three kinds of edits of held-out patches, without selection by eye, and arrange them in rows."""
    run, path = (Path(sys.argv[1]) / name for name in ("run", "store"))
    real = pictures(path)
    labels = Store(path).labels
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        translated, interpolated, inpainted = (Path(temporary) / name for name in ("translated", "between", "filled"))
        # Translations, below their sources.
        translate(run, Selection(paths=[path], per_label=COLUMNS), out=translated, options=OPTIONS)
        sources, images = Store(translated).manifest["sources"], pictures(translated)
        names = {k: [name for name, facts in sources.items() if facts["label"] == k] for k in labels}
        for label in labels:
            rows[f"{label}: phantom patches of a held-out patient"] = [real[name] for name in names[label]]
            for other in labels:
                if other != label:
                    edited = [images[f"{run.name}_{name}_to_{other}"] for name in names[label]]
                    rows[f"{label} translated into {other} (synthetic)"] = edited
        # One interpolation.
        ends = [names[label][0] for label in labels[::2]]
        interpolate(run, Selection(paths=[path], patches=ends), out=interpolated, frames=COLUMNS, options=OPTIONS)
        rows[f"From {labels[0]} to {labels[2]} (synthetic)"] = list(pictures(interpolated).values())
        # Inpainted squares, between the masked patches and their sources.
        inpaint(run, Selection(paths=[path], per_label=COLUMNS // 3), out=inpainted, options=OPTIONS)
        edits = Store(inpainted).manifest["edits"]
        before = [real[edit["from"][0]] for edit in edits.values()][:COLUMNS]
        hole = central_square(before[0].shape[0], share=0.5)[..., None]
        rows["A hole in phantom patches of held-out patients"] = [np.where(hole, 255, image) for image in before]
        rows["The hole filled (synthetic inside)"] = [pictures(inpainted)[name] for name in edits][:COLUMNS]
        rows["What was there"] = before
    sheet = contact_sheet(
        {name: np.stack(images).astype(np.uint8) for name, images in rows.items()}, columns=COLUMNS, scale=2
    )
    buffer = BytesIO()
    Image.fromarray(sheet).quantize(128, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    OUT.write_bytes(with_texts(buffer.getvalue(), synthetic_mark(run.name, note=SHEET_NOTE)))
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


def pictures(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Return the images of a store by their patch ids."""
    store = Store(path)
    return dict(zip(store.column("patch_id"), store.images(range(len(store))), strict=True))


if __name__ == "__main__":
    main()
