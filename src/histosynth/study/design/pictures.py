"""Blinding: every picture goes through the same steps, so that only what a patch shows can tell real from synthetic.

1. The stores' own bytes are not used. A picture is decoded to pixels, so text chunks (sample stores say inside each PNG
   that it is synthetic), color profiles and the habits of an encoder are gone.
2. By option, each picture is stain-normalized by itself, real and synthetic alike.
3. By option, each goes through JPEG of one quality, its 8 x 8 grid at the picture's corner. Slides were JPEG, so real
   patches show traces of it that a model may not reproduce; afterwards both have the same last compression. It cannot
   take away an earlier one: real patches were compressed twice then.
4. Each is encoded as PNG without filters and without compression. Compressed sizes tell noise, and so may tell real
   from synthetic, through HTTPS even to who sees only the lengths of replies. Stored, all are equally long.
"""

from io import BytesIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.normalization.staining import NORMALIZED, StainNormalization, normalize_each

_NO_FILTER = 0x08  # libpng's PNG_FILTER_NONE


class BlindingError(Exception):
    """A patch cannot go through the same steps as the others. Its text is the reason."""


def blinded_png(
    image: NDArray[np.uint8], *, staining: StainNormalization | None = None, jpeg_history: int = 0
) -> bytes:
    """The picture of a patch, (H, W, 3), as readers get it.

    Args:
        image: the patch.
        staining: the stain normalization that all pictures go through; None: none.
        jpeg_history: the JPEG quality that all pictures go through, 1 to 100; 0: none.

    Raises:
        BlindingError: its stain cannot be normalized.
    """
    if staining is not None:
        stained = normalize_each({"": image}, staining)
        if stained.statuses != [NORMALIZED]:
            raise BlindingError(stained.statuses[0])
        image = stained.images[0]
    if jpeg_history:
        image = _through_jpeg(image, quality=jpeg_history)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=0, filter=_NO_FILTER))


def _through_jpeg(image: NDArray[np.uint8], *, quality: int) -> NDArray[np.uint8]:
    """Compress and decompress: baseline JPEG, 4:2:0, the grid from the corner."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=False)
    with Image.open(buffer) as opened:
        return np.asarray(opened.convert("RGB"))
