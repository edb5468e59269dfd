"""Open a slide with the reader that suits its content, or with a registered reader by name."""

from collections.abc import Callable
from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.registry import Registry
from histosynth.remote import url_of
from histosynth.slides.files import FOREIGN_SUFFIXES, IMAGE_SUFFIXES, TIFF_SUFFIXES
from histosynth.slides.mpp import MPP_RANGE, plausible_mpp
from histosynth.slides.types import SlideReader

_MAX_SIDE_PX = 1_000_000  # a glass slide of 75 mm at 0.075 microns per pixel

readers: Registry[Callable[[Path], SlideReader]] = Registry("reader")
"""Readers by name. A reader is called with a path, and raises `HistosynthError` if it cannot read the file."""


@readers.register("tiff")
def _tiff(path: Path) -> SlideReader:
    from histosynth.slides.tiff import TiffReader

    return TiffReader(path)


@readers.register("openslide")
def _openslide(path: Path) -> SlideReader:
    from histosynth.slides.openslide import OpenSlideReader

    return OpenSlideReader(path)


@readers.register("image")
def _image(path: Path) -> SlideReader:
    from histosynth.slides.image import ImageReader

    return ImageReader(path)


def open_slide(path: Path, *, mpp: float | None = None, reader: str | None = None) -> SlideReader:
    """Open a slide or a plain image region.

    Args:
        path: the file, or a URL in the form of a path (`remote`).
        mpp: microns per pixel of the full resolution, used if the file states none.
        reader: name of a registered reader. By default the content decides: `tiff` if it supports the file, `image` for
            plain images (PNG, JPEG, and TIFF that OpenSlide does not recognize), `openslide` for all other files.

    Raises:
        HistosynthError: the file does not exist or cannot be read, or `mpp` is not plausible.
    """
    path = Path(path)
    if not url_of(path) and not path.is_file():
        state = "is not a regular file" if path.exists() else "does not exist"
        raise HistosynthError(f"no slide '{path}' (it {state}); check the path")
    if mpp is not None and plausible_mpp(mpp) is None:
        low, high = MPP_RANGE
        raise HistosynthError(
            f"{mpp:g} microns per pixel is out of range ({low:g} to {high:g}); a 20x scan has about 0.5, a 40x one 0.25"
        )
    slide = readers[reader](path) if reader else _open(path)
    if max(slide.width_px, slide.height_px) > _MAX_SIDE_PX:
        slide.close()
        raise HistosynthError(
            f"slide {path} claims {slide.width_px} x {slide.height_px} px, more than any scanner writes; it is "
            "damaged: copy it again or leave it out"
        )
    if slide.mpp is None:
        slide.mpp = mpp
    return slide


def _open(path: Path) -> SlideReader:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES and not url_of(path):
        return readers["image"](path)
    from histosynth.slides.openslide import is_openslide
    from histosynth.slides.tiff_levels import UnsupportedTiffError

    try:
        return readers["tiff"](path)
    except UnsupportedTiffError as error:
        if url_of(path):
            raise HistosynthError(
                f"{error} (only tiled TIFF is read from remote storage; download the file)"
            ) from error
    if is_openslide(path):
        return readers["openslide"](path)
    if suffix in FOREIGN_SUFFIXES:
        raise HistosynthError(
            f"slide {path} is of a format that no reader supports ({suffix}); convert it to OME-TIFF, for example with "
            "QuPath or bfconvert"
        )
    return readers["image" if suffix in TIFF_SUFFIXES else "openslide"](path)
