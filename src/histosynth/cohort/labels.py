"""Label and patient of each slide, from a table that is joined on the slide, else on the patient.

The patient is the unit of every split. The id comes from the table, else from the barcode (the first 12 characters of
`TCGA-DB-5270-01Z-00-DX1`: project, tissue source site, participant); otherwise each slide counts as a separate patient.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from histosynth.cohort.genotypes import genotype_aliases
from histosynth.cohort.table import PATIENT_COLUMNS, SLIDE_COLUMNS, cell_text, read_table
from histosynth.errors import HistosynthError
from histosynth.slides.files import slide_id_of

LABEL_COLUMNS = ("label", "genotype", "idh_codel_subtype", "subtype", "class", "diagnosis", "idh")
_BARCODE = re.compile(r"[A-Z0-9]{4}-[A-Z0-9]{2}-[A-Z0-9]{4}(?![A-Z0-9])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """One labeled row of the table; `line` counts from 1, including the header."""

    line: int
    slide: str | None
    patient: str | None
    label: str

    @property
    def name(self) -> str:
        """The slide, or the patient in a table of patients."""
        return self.slide or self.patient or ""


@dataclass(frozen=True, kw_only=True)
class LabelAssignment:
    """Label and patient of one slide; `label` is None where the table has none."""

    label: str | None
    patient_id: str
    row: LabelRow | None = None


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """A validated table: no slide and no patient has two labels."""

    path: Path
    column: str
    rows: tuple[LabelRow, ...]
    unlabeled: Mapping[str, int]
    """Line by slide (or patient) of the rows whose label is empty or NA."""
    unlabeled_rows: int
    repeated_rows: int
    """Rows that repeat an earlier one."""
    aliases: Mapping[str, str]
    """Name of each genotype by its form in the table, where the two differ."""
    _by_slide: Mapping[str, LabelRow] = field(repr=False)
    _by_patient: Mapping[str, LabelRow] = field(repr=False)

    def assign(self, slide_id: str) -> LabelAssignment:
        """Return label and patient of a slide, joined on its id, its id before the first dot (GDC), or its patient."""
        row = self._by_slide.get(slide_id) or self._by_slide.get(slide_id.split(".")[0])
        if row is None:
            row = self._by_patient.get(slide_id) or self._by_patient.get(patient_id_of(slide_id))
        if row is None:
            return LabelAssignment(label=None, patient_id=patient_id_of(slide_id))
        return LabelAssignment(label=row.label, patient_id=row.patient or patient_id_of(slide_id), row=row)

    def describe(self, slide_ids: Sequence[str]) -> dict[str, Any]:
        """Return the facts for the manifest, with the names in the table that match none of these slides."""
        used = {row.name for row in (self.assign(slide_id).row for slide_id in slide_ids) if row is not None}
        return {
            "file": self.path.name,
            "column": self.column,
            "rows": len(self.rows),
            "unlabeled_rows": self.unlabeled_rows,
            "repeated_rows": self.repeated_rows,
            "genotype_aliases": dict(self.aliases),
            "without_slide": sorted({row.name for row in self.rows} - used),
            "slides_without_label": {
                slide_id: self.near_miss(slide_id)
                for slide_id in sorted(slide_ids)
                if self.assign(slide_id).label is None
            },
        }

    def near_miss(self, slide_id: str) -> str | None:
        """Return why a slide may have no label: a row with an empty label, or a name similar to that of the slide.

        Similar names differ in letter case and punctuation only, or by a suffix (`S1` and `S1_HE`).
        """
        empty = next((self.unlabeled[n] for n in (slide_id, patient_id_of(slide_id)) if n in self.unlabeled), None)
        if empty is not None:
            return f"line {empty} has an empty label"
        words = _words(slide_id)
        shorter = (words[:length] for length in range(len(words), 0, -1))
        near = next((self._names[key] for key in shorter if key in self._names), self._prefixes.get(words))
        return f"it has '{near}'" if near else None

    @cached_property
    def _names(self) -> dict[tuple[str, ...], str]:
        """Names in the table by their words."""
        return {_words(row.name): row.name for row in reversed(self.rows)}

    @cached_property
    def _prefixes(self) -> dict[tuple[str, ...], str]:
        """Names in the table by each proper prefix of their words."""
        return {words[:length]: name for words, name in self._names.items() for length in range(1, len(words))}


def _words(name: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W_]+", name.lower()))


def patient_id_of(slide_id: str) -> str:
    """Return the first 12 characters of a barcode such as TCGA-DB-5270-01Z-00-DX1, or any other id unchanged."""
    return slide_id[:12] if _BARCODE.match(slide_id) else slide_id


def read_labels(path: Path, *, one_label_per_patient: bool = True, aliases: bool = True) -> LabelTable:
    """Read a table of labels; see `cohort.table` for the accepted formats.

    Args:
        path: the file.
        one_label_per_patient: whether two labels of a patient are an error.
        aliases: whether to rename genotypes (`cohort.genotypes`); other labels stay unchanged.

    Raises:
        HistosynthError: unreadable; no label column; neither a slide nor a patient column; a slide with two labels, or
            a patient if `one_label_per_patient`.
    """
    # Columns
    table = read_table(path, what="labels", example="slide_id,patient_id,label")
    label = table.require_column(LABEL_COLUMNS, what="label")
    slide, patient = table.find_column(SLIDE_COLUMNS), table.find_column(PATIENT_COLUMNS)
    if slide is None and patient is None:
        raise HistosynthError(
            f"labels {path}: neither a slide_id nor a patient_id column among {', '.join(table.header)}; add one"
        )
    # Rows with and without a label
    rows: list[LabelRow] = []
    unlabeled: list[LabelRow] = []
    for number, cells in table.rows:
        text = cell_text(cells, label)
        slide_id = slide_id_of(Path(cell_text(cells, slide) or "")) or None
        patient_id = cell_text(cells, patient) or (patient_id_of(slide_id) if slide_id else None)
        if slide_id is None and patient_id is None:
            raise HistosynthError(
                f"labels {path}, line {number}: neither slide nor patient is named; add one or delete the line"
            )
        (rows if text else unlabeled).append(
            LabelRow(line=number, slide=slide_id, patient=patient_id, label=text or "")
        )
    if not rows:
        raise HistosynthError(
            f"labels {path}: column '{table.header[label]}' is empty in every row; fill it in, or omit --labels"
        )
    # Names of genotypes, and the indices, which reject contradictions
    renamed = genotype_aliases(row.label for row in rows) if aliases else {}
    rows = [replace(row, label=renamed.get(row.label, row.label)) for row in rows]
    return LabelTable(
        path=path,
        column=table.header[label],
        rows=tuple(rows),
        unlabeled={row.name: row.line for row in reversed(unlabeled)},
        unlabeled_rows=len(unlabeled),
        repeated_rows=len(rows) - len({(row.slide, row.patient, row.label) for row in rows}),
        aliases=renamed,
        _by_slide=_index(rows, "slide", path=path),
        _by_patient=_index(rows, "patient", path=path) if one_label_per_patient else {},
    )


def _index(rows: Sequence[LabelRow], key: str, *, path: Path) -> dict[str, LabelRow]:
    """Return the rows by slide or by patient; rows of one key must agree in label, and for slides in patient."""
    index: dict[str, LabelRow] = {}
    for row in rows:
        name = row.slide if key == "slide" else row.patient
        if name is None:
            continue
        first = index.setdefault(name, row)
        if first.label != row.label:
            raise HistosynthError(
                f"labels {path}: {key} {name} is '{first.label}' in line {first.line} and '{row.label}' in line "
                f"{row.line}; a {key} can have only one label, so correct one of them"
                + (", or set patches.one_label_per_patient=false for classes of regions" if key == "patient" else "")
            )
        if key == "slide" and first.patient != row.patient:
            raise HistosynthError(
                f"labels {path}: slide {name} belongs to patient {first.patient} in line {first.line} and to "
                f"{row.patient} in line {row.line}; correct one of them"
            )
    return index
