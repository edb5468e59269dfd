"""A table with the split, train or held out, of each patient or slide.

The patient remains the unit: a slide in the table stands for its patient, all of whose slides get the same split.
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
_SPLITS = {"train": TRAIN, "training": TRAIN}
_SPLITS |= dict.fromkeys(("held_out", "heldout", "test", "testing", "val", "valid", "validation"), HELD_OUT)
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """One row; `name` is a slide if `is_slide`, else a patient."""

    line: int
    name: str
    is_slide: bool
    split: str


@dataclass(frozen=True, kw_only=True)
class SplitTable:
    """A table in which every row has a name and a split."""

    path: Path
    rows: tuple[SplitRow, ...]

    def assign(self, slides: Mapping[str, str], *, all_slides: Mapping[str, str]) -> dict[str, str]:
        """Return the split of each patient.

        Args:
            slides: patient of each slide to extract.
            all_slides: patient of each known slide.

        Raises:
            HistosynthError: a patient with both splits, or one of `slides` without a split.
        """
        rows: dict[str, SplitRow] = {}
        for row, patient in self._patients(all_slides):
            first = rows.setdefault(patient or row.name, row)
            if first.split != row.split:
                raise HistosynthError(
                    f"split table {self.path}: patient {patient or row.name} is {first.split} in line {first.line} and "
                    f"{row.split} in line {row.line}; a patient has one split, so correct one of them"
                )
        patients = dict.fromkeys(slides.values())
        if missing := [patient for patient in patients if patient not in rows]:
            raise HistosynthError(
                f"split table {self.path} lacks {len(missing)} patient(s): {', '.join(missing[:_NAMED])}"
                f"{' …' if len(missing) > _NAMED else ''}; add them, as {TRAIN} or {HELD_OUT}"
            )
        return {patient: rows[patient].split for patient in patients}

    def describe(self, all_slides: Mapping[str, str]) -> dict[str, Any]:
        """Return the facts for the manifest, with the names in the table that match none of these slides."""
        without = sorted({row.name for row, patient in self._patients(all_slides) if patient is None})
        return {"by": "split table", "file": self.path.name, "rows": len(self.rows), "without_slide": without}

    def _patients(self, all_slides: Mapping[str, str]) -> Iterator[tuple[SplitRow, str | None]]:
        """Yield each row with its patient; None where no slide has that name or patient."""
        slides = {slide_id.split(".")[0]: patient for slide_id, patient in all_slides.items()} | dict(all_slides)
        patients = {patient: patient for patient in all_slides.values()}
        for row in self.rows:
            known = slides if row.is_slide else patients
            yield row, known.get(row.name) or (None if row.is_slide else known.get(patient_id_of(row.name)))


def read_split_table(path: Path) -> SplitTable:
    """Read a table with a column of patients or slides, and one of splits: train, or held_out (test, val, valid).

    Raises:
        HistosynthError: unreadable, a missing column, or a row without name or split.
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
        text, patient_id, file = cell_text(cells, split), cell_text(cells, patient), cell_text(cells, slide)
        name = patient_id or (slide_id_of(Path(file)) if file else None)
        value = _SPLITS.get((text or "").lower().replace("-", "_").replace(" ", "_"))
        if name is None:
            raise HistosynthError(f"{table.name}, line {line}: neither patient nor slide is named; add one")
        if value is None:
            raise HistosynthError(
                f"{table.name}, line {line}: the split of {name} is '{text or ''}'; "
                f"write {TRAIN} or {HELD_OUT} (or test, val)"
            )
        rows.append(SplitRow(line=line, name=name, is_slide=patient_id is None, split=value))
    if not rows:
        raise HistosynthError(f"{table.name} has no rows; add the patients, or omit --split-table")
    return SplitTable(path=path, rows=tuple(rows))
