"""Draw the picture of docs/how-to/edits.md: phantom patches translated, interpolated and filled. Two minutes.

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

from histosynth.sampling.edit import EditOptions, central_square, inpaint, interpolate, translate
from histosynth.sampling.edited_store import SHEET_NOTE
from histosynth.sampling.sources import Selection
from histosynth.store.contact_sheet import contact_sheet
from histosynth.store.png import synthetic_mark, with_texts
from histosynth.store.store import Store

OUT = Path(__file__).with_name("edits.png")
OPTIONS = EditOptions(steps=20, progress=False)
COLUMNS = 6


def main() -> None:
    """Make the three kinds of edits of held-out patches, none of them picked, and lay them out."""
    run, path = (Path(sys.argv[1]) / name for name in ("run", "store"))
    real = pictures(path)
    labels = Store(path).labels
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        translated, between, filled = (Path(temporary) / name for name in ("translated", "between", "filled"))
        translate(run, Selection(paths=[path], per_label=COLUMNS), out=translated, options=OPTIONS)
        manifest, made = Store(translated).manifest, pictures(translated)
        names = {k: [n for n, told in manifest["sources"].items() if told["label"] == k] for k in labels}
        for label in labels:
            rows[f"{label}: phantom patches of a held-out patient"] = [real[name] for name in names[label]]
            for other in labels:
                if other != label:
                    made_from = [made[f"{run.name}_{name}_to_{other}"] for name in names[label]]
                    rows[f"{label} translated into {other} (synthetic)"] = made_from
        ends = [names[label][0] for label in labels[::2]]
        interpolate(run, Selection(paths=[path], patches=ends), out=between, frames=COLUMNS, options=OPTIONS)
        rows[f"From {labels[0]} to {labels[2]} (synthetic)"] = list(pictures(between).values())
        inpaint(run, Selection(paths=[path], per_label=COLUMNS // 3), out=filled, options=OPTIONS)
        told = Store(filled).manifest["edits"]
        before = [real[edit["from"][0]] for edit in told.values()][:COLUMNS]
        hole = central_square(before[0].shape[0], share=0.5)[..., None]
        rows["A hole in phantom patches of held-out patients"] = [np.where(hole, 255, image) for image in before]
        rows["The hole filled (synthetic inside)"] = [pictures(filled)[name] for name in told][:COLUMNS]
        rows["What was there"] = before
    sheet = contact_sheet(
        {name: np.stack(images).astype(np.uint8) for name, images in rows.items()}, columns=COLUMNS, scale=2
    )
    buffer = BytesIO()
    Image.fromarray(sheet).quantize(128, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    OUT.write_bytes(with_texts(buffer.getvalue(), synthetic_mark(run.name, note=SHEET_NOTE)))
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


def pictures(path: Path) -> dict[str, NDArray[np.uint8]]:
    """The images of a store by their names."""
    store = Store(path)
    return dict(zip(store.column("patch_id"), store.images(range(len(store))), strict=True))


if __name__ == "__main__":
    main()
