"""Reading and validation of tiles: size, bit depth, scale, and whether a tile is synthetic.

A PNG with the mark of `store.png` is synthetic, and the mark names its generator. Tiles of other programs carry no
mark; their generator is an argument, which then applies to every tile.
"""

import hashlib
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from histosynth.convert.tiles import Tile, TileListing
from histosynth.errors import HistosynthError
from histosynth.slides.image import ImageReader
from histosynth.slides.types import Box
from histosynth.store.png import is_synthetic
from histosynth.store.source import REAL, check_generator


@dataclass(frozen=True, kw_only=True)
class CheckedTile:
    """A tile that was read completely and can be packed."""

    entry: Tile
    """The tile as the folder or the table lists it."""
    width_px: int
    height_px: int
    mpp: float | None
    generator: str | None
    """The model that made it; None where it is real."""
    sha256: str

    @property
    def source(self) -> str:
        """The value of the column `source`."""
        return self.generator or REAL

    @property
    def patient_id(self) -> str:
        """The patient; the tile itself where the patient is unknown."""
        return self.entry.patient_id or self.entry.tile_id

    def boxes(self, crop_px: int | None) -> list[Box]:
        """Return the squares that become patches."""
        side = crop_px or self.width_px
        tops, lefts = range(0, self.height_px - side + 1, side), range(0, self.width_px - side + 1, side)
        return [Box(x=x, y=y, width=side, height=side) for y in tops for x in lefts]


def check_tiles(
    listing: TileListing,
    folder: Path,
    *,
    mpp: float | None,
    size_px: int | None,
    crop_px: int | None,
    generator: str | None,
    progress: bool,
) -> tuple[list[CheckedTile], dict[str, str]]:
    """Read every tile; return the usable ones, and the reason for each of the others by file name."""
    # Each tile by itself
    tiles: list[CheckedTile] = []
    bad = dict(listing.bad)
    for entry in tqdm(listing.tiles, desc="checking", unit="tile", delay=1, leave=False, disable=not progress):
        try:
            tile = _check_tile(entry, mpp=mpp, generator=generator)
            _check_size(tile, size_px=size_px, crop_px=crop_px)
            tiles.append(tile)
        except HistosynthError as error:
            bad[entry.path.relative_to(folder).as_posix()] = str(error)

    # One size, unless tiles are scaled or cropped: the most frequent one, of several the smallest
    if not (size_px or crop_px) and tiles:
        sides = Counter(tile.width_px for tile in tiles)
        usual = max(sides, key=lambda side: (sides[side], -side))
        for tile in tiles:
            if tile.width_px != usual:
                bad[tile.entry.path.relative_to(folder).as_posix()] = (
                    f"tile {tile.entry.path} is {tile.width_px} px wide, while most are {usual} px; "
                    f"pass --size {min(sides)} to scale all to one size"
                )
        tiles = [tile for tile in tiles if tile.width_px == usual]

    # Real or synthetic, not both
    if len({tile.generator is None for tile in tiles}) > 1:
        synthetic = next(tile for tile in tiles if tile.generator is not None)
        raise HistosynthError(
            f"the folder {folder} mixes real tiles with synthetic ones, such as {synthetic.entry.path}; pack each kind "
            "separately"
        )
    return tiles, dict(sorted(bad.items()))


def _check_tile(entry: Tile, *, mpp: float | None, generator: str | None) -> CheckedTile:
    with ImageReader(entry.path) as image:
        width, height, stated = image.width_px, image.height_px, image.mpp
    with warnings.catch_warnings(action="ignore"), Image.open(entry.path) as header, entry.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(24)  # the bit depth in a PNG's header; Pillow shows 16-bit color as 8-bit
        bits = file.read(1)[0] if header.format == "PNG" else 8
        if header.format == "TIFF":
            bits = max(getattr(header, "tag_v2", {}).get(258, (8,)))
        if bits > 8:
            raise HistosynthError(f"image {entry.path} has {bits} bits per channel; save it as 8-bit RGB")
        marked = is_synthetic(header.info)
        stated_generator = str(header.info.get("Source", "synthetic"))
    if generator is None and marked:
        where = f"the mark of {entry.path} (or pass --synthetic --source NAME)"
        generator = check_generator(stated_generator, where=where)
    return CheckedTile(
        entry=entry, width_px=width, height_px=height, mpp=stated or mpp, generator=generator, sha256=digest
    )


def _check_size(tile: CheckedTile, *, size_px: int | None, crop_px: int | None) -> None:
    what = f"tile {tile.entry.path} is {tile.width_px} x {tile.height_px} px"
    if crop_px and crop_px > min(tile.width_px, tile.height_px):
        raise HistosynthError(f"{what}, smaller than one crop of {crop_px} px; lower --crop, or omit it")
    if not crop_px and tile.width_px != tile.height_px:
        raise HistosynthError(f"{what}, not square; crop squares from it with --crop, or remove it")
    if not crop_px and size_px and size_px > tile.width_px:
        raise HistosynthError(f"{what}, smaller than --size {size_px}; lower --size, or omit it")
