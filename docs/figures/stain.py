"""Draw the figure of docs/how-to/stain.md: phantom slides of several stainings, raw and normalized, in a minute.

.venv/bin/python docs/figures/stain.py
"""

import tempfile
from pathlib import Path

from PIL import Image

from histosynth.config import PatchSettings
from histosynth.normalization.normalize import normalize
from histosynth.patches.extract import extract
from histosynth.slides.phantom import draw_cohort

OUT = Path(__file__).with_name("stain.png")


def main() -> None:
    """Draw phantoms, extract and normalize patches, and save the preview with fewer colors."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cohort = draw_cohort(folder / "cohort", patients_per_genotype=2, size_px=1024)
        settings = PatchSettings(stain="none", region_px=256, region_mpp=0.5, cap=12)
        extract([cohort.slides], out=folder / "raw", settings=settings, outlines=cohort.outlines, labels=cohort.labels)
        result = normalize(folder / "raw", out=folder / "store", preview=True)
        assert result.preview is not None
        Image.open(result.preview).quantize(192, dither=Image.Dither.NONE).save(OUT, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size:,} bytes; {result.between_slides}")


if __name__ == "__main__":
    main()
