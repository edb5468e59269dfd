"""A tile read whole: what it is, whether it can be packed, and what it says of itself.

A PNG of a synthetic patch says so in its text (`Description`), and which run made it (`Source`): it stays synthetic.
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


@dataclass(frozen=True, kw_only=True)
class CheckedTile:
    """A tile that was read whole and can be packed."""

    tile: Tile
    width_px: int
    height_px: int
    mpp: float | None
    source: str
    """`real`, or the run that the file says it was made by."""
    sha256: str

    @property
    def patient_id(self) -> str:
        """The patient; the tile itself where nothing names him."""
        return self.tile.patient_id or self.tile.tile_id

    def boxes(self, crop_px: int | None) -> list[Box]:
        """The regions that become patches."""
        side = crop_px or self.width_px
        tops, lefts = range(0, self.height_px - side + 1, side), range(0, self.width_px - side + 1, side)
        return [Box(x=x, y=y, width=side, height=side) for y in tops for x in lefts]


def check_tiles(
    listing: TileListing, folder: Path, *, mpp: float | None, size_px: int | None, crop_px: int | None, progress: bool
) -> tuple[list[CheckedTile], dict[str, str]]:
    """Read every tile: those that can be packed, and why the others cannot, by name."""
    seen: list[CheckedTile] = []
    bad = dict(listing.bad)
    for tile in tqdm(listing.tiles, desc="checking", unit="tile", delay=1, leave=False, disable=not progress):
        try:
            found = _look(tile, mpp=mpp)
            _check_size(found, size_px=size_px, crop_px=crop_px)
            seen.append(found)
        except HistosynthError as error:
            bad[tile.path.relative_to(folder).as_posix()] = str(error)
    if not (size_px or crop_px) and seen:
        sides = Counter(found.width_px for found in seen)
        usual = max(sides, key=lambda side: (sides[side], -side))
        seen, odd = [found for found in seen if found.width_px == usual], [f for f in seen if f.width_px != usual]
        for found in odd:
            name = found.tile.path.relative_to(folder).as_posix()
            bad[name] = (
                f"tile {found.tile.path} is {found.width_px} px a side, while most are {usual} px; "
                f"pass --size {min(sides)} to scale all to one size"
            )
    if len({found.source == "real" for found in seen}) > 1:
        made = next(found for found in seen if found.source != "real")
        raise HistosynthError(
            f"the folder {folder} mixes real tiles with synthetic ones, such as {made.tile.path}; pack each apart"
        )
    return seen, dict(sorted(bad.items()))


def _look(tile: Tile, *, mpp: float | None) -> CheckedTile:
    with ImageReader(tile.path) as image:
        width, height, stated = image.width_px, image.height_px, image.mpp
    with warnings.catch_warnings(action="ignore"), Image.open(tile.path) as header, tile.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(24)  # the bit depth in a PNG's header; Pillow shows 16-bit color as 8-bit
        bits = file.read(1)[0] if header.format == "PNG" else 8
        if header.format == "TIFF":
            bits = max(getattr(header, "tag_v2", {}).get(258, (8,)))
        if bits > 8:
            raise HistosynthError(f"image {tile.path} has {bits} bits a channel; save it as 8-bit RGB")
        source = str(header.info.get("Source", "synthetic")) if is_synthetic(header.info) else "real"
    return CheckedTile(tile=tile, width_px=width, height_px=height, mpp=stated or mpp, source=source, sha256=digest)


def _check_size(seen: CheckedTile, *, size_px: int | None, crop_px: int | None) -> None:
    what = f"tile {seen.tile.path} is {seen.width_px} x {seen.height_px} px"
    if crop_px and crop_px > min(seen.width_px, seen.height_px):
        raise HistosynthError(f"{what}, smaller than one crop of {crop_px} px; lower --crop, or leave it out")
    if not crop_px and seen.width_px != seen.height_px:
        raise HistosynthError(f"{what}, not square; cut squares from it with --crop, or leave it out")
    if not crop_px and size_px and size_px > seen.width_px:
        raise HistosynthError(f"{what}, smaller than --size {size_px}; lower --size, or leave it out")
