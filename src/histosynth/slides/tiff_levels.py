"""Find the pages of a TIFF that are the levels of a slide, and the decoder of their tiles.

Level 0 is the first page. Further levels are the other tiled pages in Aperio's SVS, and in plain pyramids those that
are marked as reduced (NewSubfileType, TIFF 6.0). In OME-TIFF, a pyramid lies in the SubIFDs of a page, and the largest
of several series is the slide. The rules for SVS and plain pyramids are OpenSlide's, and so are the pixels: JPEG tiles
are decoded by libjpeg with its default integer DCT and smooth chroma upsampling. Files whose pixels would differ are
rejected (`UnsupportedTiffError`) and left to OpenSlide, with one exception: OpenSlide takes the color space from the
page, and QuPath and Bio-Formats write pages of RGB with JPEG data of YCbCr. Here the JPEG data decide (`jpeg`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.slides.jpeg import ColorSpace, decode_jpeg

_RGB, _YCBCR = 2, 6
_NONE, _LZW, _JPEG, _ZIP, _OLD_ZIP, _APERIO_J2K_RGB, _J2K = 1, 5, 7, 8, 32946, 33005, 34712
_BYTE_CODECS: dict[int, Callable[..., bytes | bytearray]] = {
    _NONE: lambda data, out: data[:out],
    _LZW: lambda data, out: imagecodecs.lzw_decode(data, out=out),
    _ZIP: lambda data, out: imagecodecs.zlib_decode(data, out=out),
    _OLD_ZIP: lambda data, out: imagecodecs.zlib_decode(data, out=out),
}
_FOREIGN = ("ndpi", "scn", "bif", "philips", "qpi", "vista", "indica", "lsm", "stk", "imagej", "geotiff")
_MICRONS = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4, "in": 25_400.0}
_END_OF_CODESTREAM, _LOST_BLOCK = b"\xff\xd9", bytes(512)
_MAX_TILE_PX = 1 << 26
_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # microns per inch and per centimeter


class UnsupportedTiffError(HistosynthError):
    """The file is not a TIFF that is read tile by tile; another reader may support it."""


@dataclass(frozen=True, kw_only=True)
class TiledPage:
    """One level: its size, its tiles (row by row, then plane by plane), and their decoder.

    Attributes:
        planes: 3 if each tile holds one of the three colors, else 1.
        decode: compressed bytes to (tile_height, tile_width, 3 // planes); raises errors of the codec, or ValueError.
    """

    width_px: int
    height_px: int
    tile_width: int
    tile_height: int
    planes: int
    offsets: Sequence[int]
    lengths: Sequence[int]
    decode: Callable[[bytes], NDArray[np.uint8]]

    @property
    def columns(self) -> int:
        """Number of tiles per row."""
        return -(-self.width_px // self.tile_width)

    @property
    def tiles(self) -> int:
        """Number of tiles per plane."""
        return self.columns * -(-self.height_px // self.tile_height)


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """Levels of a slide, the finest first, and the microns per pixel (x, y) that the file states."""

    pages: tuple[TiledPage, ...]
    stated_mpp: tuple[float, float] | None


def find_pyramid(tiff: tifffile.TiffFile, *, path: Path) -> Pyramid:
    """Return the pyramid of an opened TIFF.

    Raises:
        UnsupportedTiffError: the file is left to another reader.
        HistosynthError: an OME-TIFF that is not an 8-bit RGB image (OpenSlide would show its first channel as gray).
    """
    if formats := [name for name in _FOREIGN if getattr(tiff, f"is_{name}", False)]:
        raise UnsupportedTiffError(f"slide {path} is of the format {formats[0]}; omit the name of the reader")
    if tiff.is_ome:
        return _ome_pyramid(tiff, path=path)
    pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
    if len(pages) < len(tiff.pages) or not pages or not pages[0].is_tiled:
        raise UnsupportedTiffError(f"slide {path} is a TIFF without tiles; omit the name of the reader")
    tiled = [page for page in pages if page.is_tiled]
    if tiff.is_svs:
        levels = [_tiled_page(page, path=path) for page in tiled]
        if len(levels) > 1 and not all(all(level.lengths) for level in levels):
            # If a tile is missing, OpenSlide renders this level and the coarser ones from finer levels.
            raise UnsupportedTiffError(f"slide {path} lacks some of its tiles; omit the name of the reader")
        return Pyramid(pages=_order_levels(levels, path), stated_mpp=_aperio_mpp(pages[0]))
    levels = [_tiled_page(page, path=path) for page in tiled if page is pages[0] or page.subfiletype & 1]
    return Pyramid(pages=_order_levels(levels, path), stated_mpp=_resolution_mpp(pages[0]))


def _order_levels(levels: Sequence[TiledPage], path: Path) -> tuple[TiledPage, ...]:
    ordered = tuple(sorted(levels, key=lambda level: -level.width_px))
    first = ordered[0]
    shapes = {round(first.width_px / level.width_px / (first.height_px / level.height_px), 1) for level in ordered}
    if first is not levels[0] or shapes != {1.0}:
        raise UnsupportedTiffError(f"slide {path} has pages of several images; omit the name of the reader")
    return ordered


def _ome_pyramid(tiff: tifffile.TiffFile, *, path: Path) -> Pyramid:
    # The largest image; among equals one with a pyramid, then the first.
    index, series = max(enumerate(tiff.series), key=lambda item: (item[1].size, len(item[1].levels), -item[0]))
    if series.dtype != np.uint8 or sorted(series.get_axes(squeeze=True)) != ["S", "X", "Y"]:
        raise HistosynthError(
            f"slide {path} is an OME-TIFF of {series.get_axes(squeeze=True)} {series.dtype}, not 8-bit RGB; "
            "export it as 8-bit RGB"
        )
    keyframes = [level.keyframe for level in series.levels]
    if not keyframes[0].is_tiled:
        raise UnsupportedTiffError(f"slide {path} is an OME-TIFF without tiles; omit the name of the reader")
    pages = [_tiled_page(page, path=path) for page in keyframes if page.is_tiled]
    return Pyramid(pages=_order_levels(pages, path), stated_mpp=_ome_mpp(tiff, index) or _resolution_mpp(keyframes[0]))


def _tiled_page(page: tifffile.TiffPage, *, path: Path) -> TiledPage:
    # Check that the pixels are 8-bit RGB, in a color space that is decoded exactly.
    planes = 3 if page.planarconfig == 2 else 1
    compression, photometric = int(page.compression), int(page.photometric)
    known = (
        (page.samplesperpixel, page.bitspersample, page.sampleformat, page.fillorder) == (3, 8, 1, 1)
        and not page.extrasamples
        and page.imagedepth == page.tiledepth == 1
        and (photometric == _RGB or (photometric == _YCBCR and compression == _JPEG and planes == 1))
        and page.predictor in (1, 2)
    )
    if page.tilelength * page.tilewidth > _MAX_TILE_PX:
        raise HistosynthError(
            f"slide {path} has tiles of {page.tilewidth} x {page.tilelength} px, which do not fit into memory; save it "
            "with smaller tiles"
        )
    # Choose the decoder.
    shape = (page.tilelength, page.tilewidth, 3 // planes)
    if known and compression in _BYTE_CODECS:
        decode = _byte_decoder(_BYTE_CODECS[compression], shape, predictor=page.predictor)
    elif known and compression == _JPEG and planes == 1:
        decode = _jpeg_decoder(page.jpegtables, shape, color_space="RGB" if photometric == _RGB else "YCbCr")
    elif known and compression in (_APERIO_J2K_RGB, _J2K) and planes == 1:
        decode = _jpeg2000_decoder(shape)
    else:
        raise UnsupportedTiffError(
            f"slide {path} has tiles of compression {compression}, photometry {photometric}, {page.samplesperpixel} x "
            f"{page.bitspersample} bits, which are not supported; omit the name of the reader"
        )
    level = TiledPage(
        width_px=page.imagewidth,
        height_px=page.imagelength,
        tile_width=page.tilewidth,
        tile_height=page.tilelength,
        planes=planes,
        offsets=page.dataoffsets,
        lengths=page.databytecounts,
        decode=decode,
    )
    if not len(level.offsets) == len(level.lengths) == level.tiles * planes:
        raise UnsupportedTiffError(f"slide {path} lists {len(level.offsets)} tiles instead of {level.tiles * planes}")
    return level


def _jpeg_decoder(
    tables: bytes | None, shape: tuple[int, ...], *, color_space: ColorSpace
) -> Callable[[bytes], NDArray[np.uint8]]:
    return lambda data: _check_tile(decode_jpeg(data, tables=tables, color_space=color_space), shape)


def _jpeg2000_decoder(shape: tuple[int, ...]) -> Callable[[bytes], NDArray[np.uint8]]:
    def decode(data: bytes) -> NDArray[np.uint8]:
        # OpenJPEG decodes zeros in place of lost blocks of a disk without an error.
        if _END_OF_CODESTREAM not in data or _LOST_BLOCK in data[: data.rindex(_END_OF_CODESTREAM)]:
            raise ValueError("the JPEG 2000 data is damaged")
        return _check_tile(imagecodecs.jpeg2k_decode(data), shape)

    return decode


def _byte_decoder(
    codec: Callable[..., bytes | bytearray], shape: tuple[int, ...], *, predictor: int
) -> Callable[[bytes], NDArray[np.uint8]]:
    size = int(np.prod(shape))

    def decode(data: bytes) -> NDArray[np.uint8]:
        flat = np.frombuffer(codec(data, out=size), np.uint8)
        if flat.size != size:
            raise ValueError(f"a tile of {flat.size} bytes instead of {size}")
        tile = flat.reshape(shape)
        # Predictor 2 stores differences along the row, modulo 256.
        return np.cumsum(tile, axis=1, dtype=np.uint8) if predictor == 2 else tile

    return decode


def _check_tile(tile: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if tile.shape != shape or tile.dtype != np.uint8:
        raise ValueError(f"a tile of {tile.shape} {tile.dtype} instead of {shape} uint8")
    return tile


def _aperio_mpp(page: tifffile.TiffPage) -> tuple[float, float] | None:
    match = re.search(r"\|\s*MPP\s*=\s*([^|\s]+)", page.description)
    return _parse_pair(match[1].replace(",", "."), match[1].replace(",", ".")) if match else None


def _resolution_mpp(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Return the microns per pixel from the resolution tags; the default unit is the inch (TIFF 6.0)."""
    x, y, unit = (page.tags.valueof(name) for name in ("XResolution", "YResolution", "ResolutionUnit"))
    micron = _PER_UNIT.get(int(unit or 2))
    if not x or not y or micron is None or not (x[0] and x[1] and y[0] and y[1]):
        return None
    return micron * x[1] / x[0], micron * y[1] / y[0]


def _ome_mpp(tiff: tifffile.TiffFile, index: int) -> tuple[float, float] | None:
    """Return PhysicalSizeX and Y of the image; the default unit is the micron (OME schema 2016-06)."""
    pixels = ElementTree.fromstring(tiff.ome_metadata or "<OME/>").findall(".//{*}Image/{*}Pixels")
    if index >= len(pixels):
        return None
    attribute = pixels[index].get
    x, y = attribute("PhysicalSizeX"), attribute("PhysicalSizeY") or attribute("PhysicalSizeX")
    sizes = _parse_pair(x, y)
    units = [_MICRONS.get(attribute(f"PhysicalSize{axis}Unit", "µm")) for axis in "XY"]
    if sizes is None or units[0] is None or units[1] is None:
        return None
    return sizes[0] * units[0], sizes[1] * units[1]


def _parse_pair(x: str | None, y: str | None) -> tuple[float, float] | None:
    try:
        return float(x or ""), float(y or "")
    except ValueError:
        return None
