"""Blinding: every picture goes through the same steps, so that only its content can tell real from synthetic.

1. The bytes in the stores are not used. A picture is decoded to pixels, which removes text chunks (each PNG of a sample
   store states that it is synthetic), color profiles and the traces of an encoder's file format.
2. Optionally, each picture is stain-normalized by itself, real and synthetic alike.
3. Each picture is cropped at a random offset. Slides were JPEG-compressed, so real patches show the 8 x 8 grid of that
   compression, often in the same place; a model may reproduce it in another place, or not at all. After the crop, no
   picture has its grid in a place that could be known.
4. Each picture goes through JPEG of one quality, with its grid at the corner of the picture, so that all pictures have
   the same last compression. This cannot remove an earlier compression: `pixel_check` measures what remains.
5. Each picture is encoded as PNG without filters and without compression. Compressed sizes depend on noise, and so
   could tell real from synthetic, through HTTPS even to someone who only sees the lengths of replies. Uncompressed, all
   pictures have the same length.
"""

from io import BytesIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.normalization.staining import NORMALIZED, StainNormalization, normalize_each

GRID_PX = 8
"""Side of the blocks of JPEG."""
_NO_FILTER = 0x08  # libpng's PNG_FILTER_NONE


class BlindingError(Exception):
    """A patch cannot go through the same steps as the others and is left out. The text is the reason."""


def blinded_png(
    image: NDArray[np.uint8],
    *,
    staining: StainNormalization | None = None,
    crop: np.random.Generator | None = None,
    jpeg_history: int = 0,
) -> bytes:
    """Return the picture of a patch, (H, W, 3), as readers see it.

    Args:
        image: the patch.
        staining: the stain normalization that all pictures go through; None: none.
        crop: draws the offset of the crop; None: no crop.
        jpeg_history: the JPEG quality that all pictures go through, 1 to 100; 0: none.

    Raises:
        BlindingError: the stain of the patch cannot be normalized.
    """
    if staining is not None:
        stained = normalize_each({"": image}, staining)
        if stained.statuses != [NORMALIZED]:
            raise BlindingError(stained.statuses[0])
        image = stained.images[0]
    if crop is not None:
        image = _random_crop(image, crop)
    if jpeg_history:
        image = _jpeg_round_trip(image, quality=jpeg_history)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=0, filter=_NO_FILTER))


def picture_px(patch_px: int, *, random_crop: bool) -> int:
    """Return the side of the picture of a patch: eight pixels less if cropped, and at most a quarter less."""
    return patch_px - min(GRID_PX, patch_px // 4) * random_crop


def _random_crop(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Crop (H, W, 3) to the size of `picture_px`; all places of the grid are equally probable."""
    height, width = (picture_px(side, random_crop=True) for side in image.shape[:2])
    top, left = (
        int(rng.integers(min(GRID_PX, margin + 1))) for margin in (len(image) - height, image.shape[1] - width)
    )
    return image[top : top + height, left : left + width]


def _jpeg_round_trip(image: NDArray[np.uint8], *, quality: int) -> NDArray[np.uint8]:
    """Compress and decompress: baseline JPEG, 4:2:0, with the grid at the corner."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=False)
    with Image.open(buffer) as jpeg:
        return np.asarray(jpeg.convert("RGB"))
