"""A table of microns per pixel by slide, for slides whose files state none or a wrong value."""

from pathlib import Path

from histosynth.cohort.table import SLIDE_COLUMNS, cell_text, read_table
from histosynth.errors import HistosynthError
from histosynth.slides.files import slide_id_of
from histosynth.slides.mpp import plausible_mpp

MPP_COLUMNS = ("mpp", "microns_per_pixel", "um_per_px", "mpp_x")


def read_mpp_table(path: Path) -> dict[str, float]:
    """Read the microns per pixel at full resolution by slide id.

    Raises:
        HistosynthError: unreadable table, missing column, a slide with two values, or an implausible value.
    """
    table = read_table(path, what="mpp table", example="slide_id,mpp")
    slide, mpp = table.require_column(SLIDE_COLUMNS, what="slide"), table.require_column(MPP_COLUMNS, what="mpp")
    stated: dict[str, float] = {}
    for line, cells in table.rows:
        where, name, text = f"{table.name}, line {line}", cell_text(cells, slide), cell_text(cells, mpp)
        if name is None or text is None:
            raise HistosynthError(f"{where}: the slide or its mpp is missing; add it or delete the line")
        try:
            value = plausible_mpp(float(text))
        except ValueError:
            value = None
        if value is None:
            raise HistosynthError(
                f"{where}: '{text}' microns per pixel is not a number from 0.05 to 10 with a decimal point; "
                "a 20x scan has about 0.5, a 40x one 0.25"
            )
        if (first := stated.setdefault(slide_id_of(Path(name)), value)) != value:
            raise HistosynthError(
                f"{where}: slide {name} has {first:g} in an earlier line and {value:g} here; keep one"
            )
    if not stated:
        raise HistosynthError(f"{table.name} names no slide; fill it in, or omit --mpp-table")
    return stated
