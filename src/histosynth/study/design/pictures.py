"""Blinding: every picture goes through the same steps, so that only its content can tell real from synthetic.

1. The bytes in the stores are not used. A picture is decoded to pixels, which removes text chunks (each PNG of a sample
   store states that it is synthetic), color profiles and the traces of an encoder.
2. Optionally, each picture is stain-normalized by itself, real and synthetic alike.
3. Optionally, each picture goes through JPEG of one quality, with its 8 x 8 grid at the corner of the picture. Slides
   were JPEG-compressed, so real patches show traces of it that a model may not reproduce; afterwards both have the same
   last compression. This cannot remove an earlier compression: real patches are then compressed twice.
4. Each picture is encoded as PNG without filters and without compression. Compressed sizes depend on noise, and so
   could tell real from synthetic, through HTTPS even to someone who only sees the lengths of replies. Uncompressed, all
   pictures have the same length.
"""

from io import BytesIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.normalization.staining import NORMALIZED, StainNormalization, normalize_each

_NO_FILTER = 0x08  # libpng's PNG_FILTER_NONE


class BlindingError(Exception):
    """A patch cannot go through the same steps as the others and is left out. The text is the reason."""


def blinded_png(
    image: NDArray[np.uint8], *, staining: StainNormalization | None = None, jpeg_history: int = 0
) -> bytes:
    """Return the picture of a patch, (H, W, 3), as readers see it.

    Args:
        image: the patch.
        staining: the stain normalization that all pictures go through; None: none.
        jpeg_history: the JPEG quality that all pictures go through, 1 to 100; 0: none.

    Raises:
        BlindingError: the stain of the patch cannot be normalized.
    """
    if staining is not None:
        stained = normalize_each({"": image}, staining)
        if stained.statuses != [NORMALIZED]:
            raise BlindingError(stained.statuses[0])
        image = stained.images[0]
    if jpeg_history:
        image = _jpeg_round_trip(image, quality=jpeg_history)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=0, filter=_NO_FILTER))


def _jpeg_round_trip(image: NDArray[np.uint8], *, quality: int) -> NDArray[np.uint8]:
    """Compress and decompress: baseline JPEG, 4:2:0, with the grid at the corner."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=False)
    with Image.open(buffer) as jpeg:
        return np.asarray(jpeg.convert("RGB"))
