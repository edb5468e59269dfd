"""Slides as one thing, whoever made the file: read a box of full-resolution pixels, or a thumbnail of the whole.

Frame: a coordinate is a pixel of level 0, the full resolution, where no other level is named, counted from the upper
left corner of the whole slide (not of its scanned bounds). What was not scanned, and what lies outside the slide, is
white. Scale is microns per pixel (mpp) of level 0, never a magnification.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.registry import Registry
from histosynth.slides.pyramid import Level
from histosynth.slides.remote import file_name, url_of

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
SLIDE_SUFFIXES = frozenset({".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide"})
_KNOWN_SUFFIXES = TIFF_SUFFIXES | IMAGE_SUFFIXES | SLIDE_SUFFIXES
_MPP_RANGE = (0.05, 10.0)
_MAX_ASPECT = 1.05


@dataclass(frozen=True, kw_only=True)
class Box:
    """A region in pixels of one level: its upper left corner and its size. It may reach outside the slide."""

    x: int
    y: int
    width: int
    height: int


class SlideReader(Protocol):
    """An opened slide. Use it in a `with` statement; it belongs to one process and does not pickle."""

    path: Path
    slide_id: str
    width_px: int
    height_px: int
    mpp: float | None
    properties: Mapping[str, str] = MappingProxyType({})
    """What else the file states, under OpenSlide's names: `openslide.bounds-x`, `hamamatsu.XOffsetFromSlideCentre` …"""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The resolutions there are, the full one first. A reader that does not say has that one."""
        return (Level(width_px=self.width_px, height_px=self.height_px, downsample=1.0),)

    def read(self, box: Box, *, level: int = 0) -> NDArray[np.uint8]:
        """The pixels of `box`, in pixels of `level`: (height, width, 3), white where nothing was scanned."""
        ...

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """The whole slide, (h, w, 3), with its longest side at most `max_px`; never enlarged."""
        ...

    def close(self) -> None:
        """Give the file back."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


readers: Registry[Callable[[Path], SlideReader]] = Registry("reader")
"""Readers by name. A reader is called with a path, and raises `HistosynthError` where it cannot read the file."""


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


def slide_id_of(path: Path) -> str:
    """The file name without its suffix: `TCGA-DB-5270-01Z-00-DX1.svs` is slide `TCGA-DB-5270-01Z-00-DX1`."""
    path = Path(file_name(path))
    stem = path.stem if path.suffix.lower() in _KNOWN_SUFFIXES else path.name
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def find_slides(paths: Sequence[Path]) -> list[Path]:
    """The slide files that `paths` name, sorted by slide id. A folder stands for the slides in it (not in subfolders).

    URLs pass unseen: whether there is a slide shows when it is opened.

    Raises:
        HistosynthError: a path that is not there, a folder without a slide, or two files of the same slide id.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += _slides_in(path)
        elif url_of(path) or path.exists():
            files.append(path)
        else:
            raise HistosynthError(f"no slide or folder '{path}'; check the path")
    if not files:
        raise HistosynthError("no slide given; name slide files, or folders of them")
    by_id: dict[str, Path] = {}
    for file in files:
        other = by_id.setdefault(slide_id_of(file), file)
        if other.resolve() != file.resolve():
            raise HistosynthError(f"two slides are called '{slide_id_of(file)}': {other} and {file}; rename one")
    return [by_id[slide_id] for slide_id in sorted(by_id)]


def _slides_in(folder: Path) -> list[Path]:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    found = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in _KNOWN_SUFFIXES]
    if not found:
        below = "; its subfolders are not searched, so name them instead" if any(e.is_dir() for e in entries) else ""
        known = " ".join(sorted(_KNOWN_SUFFIXES))
        raise HistosynthError(f"no slide in the folder '{folder}' (looked for {known}){below}")
    return found


def open_slide(path: Path, *, mpp: float | None = None, reader: str | None = None) -> SlideReader:
    """Open a slide or a plain image region.

    Args:
        path: the file, or a URL that became a path (`remote`).
        mpp: microns per pixel of its full resolution, used where the file states none.
        reader: name of a registered reader; by default the content decides: `tiff` for what it understands, plain
            images (PNG, JPEG, TIFF that OpenSlide does not know) go to `image`, all else to `openslide`.

    Raises:
        HistosynthError: no such file, a file that cannot be read, or an `mpp` that no microscope has.
    """
    path = Path(path)
    if not url_of(path) and not path.is_file():
        raise HistosynthError(f"no slide '{path}'; check the path")
    if mpp is not None and plausible_mpp(mpp) is None:
        low, high = _MPP_RANGE
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
    from histosynth.slides.tiff_levels import NotUnderstoodError

    try:
        return readers["tiff"](path)
    except NotUnderstoodError as error:
        if url_of(path):
            raise HistosynthError(f"{error} (only tiled TIFF is read from afar; copy the file here)") from error
    return readers["image" if suffix in TIFF_SUFFIXES and not is_openslide(path) else "openslide"](path)


def require_mpp(slide: SlideReader) -> float:
    """Microns per pixel of level 0.

    Raises:
        HistosynthError: the slide states none, and none was given.
    """
    if slide.mpp is None:
        raise HistosynthError(
            f"slide {slide.slide_id} states no microns per pixel; pass --mpp (microns per pixel of its full "
            "resolution), or name it in --mpp-table"
        )
    return slide.mpp


def plausible_mpp(value: float) -> float | None:
    """`value` if a scan can have so many microns per pixel, else None: 72 dpi is that of a screen, not of a slide."""
    low, high = _MPP_RANGE
    return value if low <= value <= high else None


def square_mpp(path: Path, x: float, y: float) -> float | None:
    """One figure for the microns per pixel stated along x and y, None where they can be no scan's.

    Raises:
        HistosynthError: they differ by more than a twentieth.
    """
    if plausible_mpp(x) is None or plausible_mpp(y) is None:
        return None
    if max(x, y) > _MAX_ASPECT * min(x, y):
        raise HistosynthError(f"slide {path} has oblong pixels ({x:g} x {y:g} microns); resample it to square ones")
    return (x + y) / 2


def on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite (H, W, 4) pixels on white, (H, W, 3): what was not scanned is transparent, black without its alpha."""
    color, alpha = rgba[..., :3], rgba[..., 3:].astype(np.uint16)
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(color)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
