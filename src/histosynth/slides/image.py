"""Reader of plain images: a region saved as PNG, JPEG or TIFF, which is read completely, once, and has one level."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.slides.compositing import composite_on_white
from histosynth.slides.files import slide_id_of
from histosynth.slides.jpeg_damage import find_jpeg_damage
from histosynth.slides.mpp import plausible_mpp
from histosynth.slides.types import Box, SlideReader

_OPAQUE_MODES = frozenset({"1", "L", "P", "RGB", "RGBX", "YCbCr"})
_ALPHA_MODES = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})
_MICRONS_PER_INCH = 25_400
_BLOCK_ROWS = 256


class ImageReader(SlideReader):
    """A plain image. Transparent pixels become white; gray and palette images become RGB.

    Raises:
        HistosynthError: the file is not PNG, JPEG or TIFF; is damaged; has several pages or more than 8 bits per
            channel; or is too large to be read completely (Pillow's limit, 179 million pixels).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.slide_id = slide_id_of(path)
        self._pixels, self.mpp = _load(path)
        self.height_px, self.width_px = self._pixels.shape[:2]

    def read(self, box: Box, *, level: int = 0) -> NDArray[np.uint8]:
        """Return the pixels of `box`, (height, width, 3), white outside the image; `level` must be 0."""
        out = np.full((box.height, box.width, 3), 255, np.uint8)
        left, top = max(box.x, 0), max(box.y, 0)
        inside = self._pixels[top : max(box.y + box.height, 0), left : max(box.x + box.width, 0)]
        out[top - box.y :, left - box.x :][: inside.shape[0], : inside.shape[1]] = inside
        return out

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """Return the whole image, (h, w, 3), with its longest side at most `max_px`."""
        downsample = max(1.0, max(self.width_px, self.height_px) / max_px)
        size = max(1, round(self.width_px / downsample)), max(1, round(self.height_px / downsample))
        return np.asarray(Image.fromarray(self._pixels).resize(size, Image.Resampling.BOX))

    def close(self) -> None:
        """Free the pixels."""
        self._pixels = np.empty((0, 0, 3), np.uint8)


def _load(path: Path) -> tuple[NDArray[np.uint8], float | None]:
    """Return the pixels (H, W, 3) and the microns per pixel, if the file states a plausible value."""
    try:
        # Pillow warns about large images and unusual metadata, neither of which affects the pixels.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=("PNG", "JPEG", "TIFF")) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format == "TIFF":
                raise HistosynthError(f"image {path} has several pages; save the page you need as a separate file")
            if image.mode not in _OPAQUE_MODES | _ALPHA_MODES:
                raise HistosynthError(f"image {path} has pixels of type {image.mode}; save it as 8-bit RGB")
            # Before the pixels take memory: the check decodes them too.
            damage = find_jpeg_damage(path.read_bytes()) if image.format == "JPEG" else None
            pixels = _rgb(image)
            if damage:
                raise HistosynthError(f"image {path} is damaged: {damage}; save it again or leave it out")
            return pixels, _stated_mpp(image)
    except Image.DecompressionBombError as error:
        raise HistosynthError(
            f"image {path} is too large to be read completely ({error}); save it as a pyramidal TIFF"
        ) from error
    except HistosynthError:
        raise
    except Exception as error:  # Pillow raises anything for an invalid structure
        reason = "the file is empty" if path.stat().st_size == 0 else str(error)
        raise HistosynthError(f"image {path} cannot be read ({reason}); save it again or leave it out") from error


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels, (H, W, 3), converted in blocks, because an image may take a gigabyte."""
    has_alpha = image.mode in _ALPHA_MODES or "transparency" in image.info
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _BLOCK_ROWS):
        block = image.crop((0, top, image.width, min(top + _BLOCK_ROWS, image.height)))
        pixels[top : top + block.height] = (
            composite_on_white(np.asarray(block.convert("RGBA"))) if has_alpha else np.asarray(block.convert("RGB"))
        )
    return pixels


def _stated_mpp(image: Image.Image) -> float | None:
    """Return the microns per pixel from the stated resolution, which often is that of a screen or printer instead."""
    x, y = map(float, image.info.get("dpi", (0, 0)))
    return plausible_mpp(_MICRONS_PER_INCH / x) if x > 0 and abs(x - y) <= 0.01 * x else None
