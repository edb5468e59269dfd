"""Open a slide with the reader that suits its content, or with a registered reader by name."""

from collections.abc import Callable
from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.registry import Registry
from histosynth.remote import url_of
from histosynth.slides.files import IMAGE_SUFFIXES, TIFF_SUFFIXES
from histosynth.slides.mpp import MPP_RANGE, plausible_mpp
from histosynth.slides.types import SlideReader

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
        raise HistosynthError(f"no slide '{path}'; check the path")
    if mpp is not None and plausible_mpp(mpp) is None:
        low, high = MPP_RANGE
        raise HistosynthError(
            f"{mpp:g} microns per pixel is out of range ({low:g} to {high:g}); a 20x scan has about 0.5, a 40x one 0.25"
        )
    slide = readers[reader](path) if reader else _open(path)
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
    return readers["image" if suffix in TIFF_SUFFIXES and not is_openslide(path) else "openslide"](path)
