"""A split of one's own: a table that says for each patient, or for each slide, whether he trains or is held out.

The patient stays the unit: a slide in the table stands for its patient, all of whose slides go to the same side.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histosynth.cohort.labels import patient_id_of
from histosynth.cohort.split import HELD_OUT, TRAIN
from histosynth.cohort.table import PATIENT_COLUMNS, SLIDE_COLUMNS, cell_text, read_table
from histosynth.errors import HistosynthError
from histosynth.slides.files import slide_id_of

SPLIT_COLUMNS = ("split", "set", "subset", "partition")
_SIDES = {"train": TRAIN, "training": TRAIN}
_SIDES |= dict.fromkeys(("held_out", "heldout", "test", "testing", "val", "valid", "validation"), HELD_OUT)
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """One row: `name` is a patient or a slide, as `is_slide` says."""

    line: int
    name: str
    is_slide: bool
    split: str


@dataclass(frozen=True, kw_only=True)
class SplitTable:
    """A table whose every row has a name and a side."""

    path: Path
    rows: tuple[SplitRow, ...]

    def assign(self, slides: Mapping[str, str], *, all_slides: Mapping[str, str]) -> dict[str, str]:
        """The side of each patient.

        Args:
            slides: patient of each slide that will be cut.
            all_slides: patient of each slide there is.

        Raises:
            HistosynthError: a patient on both sides, or one of `slides` on none.
        """
        sides: dict[str, SplitRow] = {}
        for row, patient in self._patients(all_slides):
            first = sides.setdefault(patient or row.name, row)
            if first.split != row.split:
                raise HistosynthError(
                    f"split table {self.path}: patient {patient or row.name} is {first.split} in line {first.line} and "
                    f"{row.split} in line {row.line}; a patient has one side, so correct one of them"
                )
        wanted = dict.fromkeys(slides.values())
        if missing := [patient for patient in wanted if patient not in sides]:
            raise HistosynthError(
                f"split table {self.path} says nothing of {len(missing)} patient(s): {', '.join(missing[:_NAMED])}"
                f"{' …' if len(missing) > _NAMED else ''}; add them, as {TRAIN} or {HELD_OUT}"
            )
        return {patient: sides[patient].split for patient in wanted}

    def describe(self, all_slides: Mapping[str, str]) -> dict[str, Any]:
        """What the manifest says of the table, with the names in it that are not among these slides."""
        without = sorted({row.name for row, patient in self._patients(all_slides) if patient is None})
        return {"by": "split table", "file": self.path.name, "rows": len(self.rows), "without_slide": without}

    def _patients(self, all_slides: Mapping[str, str]) -> Iterator[tuple[SplitRow, str | None]]:
        """Each row with the patient that it is about, None where no slide is of that name or patient."""
        slides = {slide_id.split(".")[0]: patient for slide_id, patient in all_slides.items()} | dict(all_slides)
        patients = {patient: patient for patient in all_slides.values()}
        for row in self.rows:
            known = slides if row.is_slide else patients
            yield row, known.get(row.name) or (None if row.is_slide else known.get(patient_id_of(row.name)))


def read_split_table(path: Path) -> SplitTable:
    """Read a table with a column of patients or slides, and one of sides: train, or held_out (test, val, valid).

    Raises:
        HistosynthError: unreadable, a column is missing, or a row lacks its name or a side.
    """
    table = read_table(path, what="split table", example="patient_id,split")
    split = table.require_column(SPLIT_COLUMNS, what="split")
    slide, patient = table.find_column(SLIDE_COLUMNS), table.find_column(PATIENT_COLUMNS)
    if slide is None and patient is None:
        raise HistosynthError(
            f"{table.name}: neither a patient_id nor a slide_id column among {', '.join(table.header)}; add one"
        )
    rows = []
    for line, cells in table.rows:
        text, who, where = cell_text(cells, split), cell_text(cells, patient), cell_text(cells, slide)
        name = who or (slide_id_of(Path(where)) if where else None)
        side = _SIDES.get((text or "").lower().replace("-", "_").replace(" ", "_"))
        if name is None:
            raise HistosynthError(f"{table.name}, line {line}: names neither a patient nor a slide; add it")
        if side is None:
            raise HistosynthError(
                f"{table.name}, line {line}: the split of {name} is '{text or ''}'; "
                f"write {TRAIN} or {HELD_OUT} (or test, val)"
            )
        rows.append(SplitRow(line=line, name=name, is_slide=who is None, split=side))
    if not rows:
        raise HistosynthError(f"{table.name} has no row; name the patients, or leave --split-table out")
    return SplitTable(path=path, rows=tuple(rows))
