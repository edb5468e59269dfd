"""The tables of a paper, as data: Table 1 with IS, FID and sFID, Table 2 with improved precision and recall, then every
figure by label. HTML, Markdown and terminal show the same cells.

The layout is that of Azadi Moghadam et al. 2023 (arXiv 2209.13167); what is no Inception feature is not called FID.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from histosynth.metrics.inception_score import InceptionScore
from histosynth.report.compare.schema import ComparisonFacts, Row
from histosynth.report.compare.wording import SIDES, measure_name
from histosynth.report.comparison import DISTANCES, MEASURES, Comparison
from histosynth.report.wording import format_interval, format_result

FLOOR = "real training patches"
SIGN = "†"
_SHARES = ("precision", "recall")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One figure."""

    text: str
    interval: str = ""
    best: bool = False
    distinguishable: bool = False  # and its interval overlaps no other model's
    known: bool = True


@dataclass(frozen=True, kw_only=True)
class Line:
    """One model, or the floor."""

    name: str
    n: int
    cells: Sequence[Cell]
    floor: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Lines in groups (overall, each label), one column a measure."""

    title: str
    columns: Sequence[str]
    groups: dict[str, list[Line]] = field(default_factory=dict)


def tables(found: ComparisonFacts) -> list[Table]:
    """Tables 1 and 2, then all measures by label."""
    features, extractor = f"{found.extractor.title} features", found.extractor.name
    side = SIDES[found.reference]
    every = [m for m in MEASURES if any(m in c.measures for c in _comparisons(found))]
    first = [m for m in ("frechet_distance", "spatial_frechet_distance") if m in every]
    spoken = bool(found.inception_score.models)
    made = []
    if any(c.n for models in found.overall.models.values() for c in models.values()):
        made = [
            Table(
                title=f"Table 1. Synthetic to {side} patients, {features}",
                columns=[*(["IS ↑"] if spoken else []), *(_heading(m, extractor) for m in first)],
                groups={"": _lines(found, found.overall, first, scored=spoken)},
            ),
            Table(
                title=f"Table 2. Improved precision and recall, {features}",
                columns=[_heading(m, extractor) for m in _SHARES],
                groups={"": _lines(found, found.overall, _SHARES)},
            ),
        ]
    both = found.reference == "held_out"
    return [
        *made,
        Table(
            title=f"Table {len(made) + 1}. All measures, synthetic to {side} patients, {features}",
            columns=[
                *(_heading(m, extractor) for m in every),
                *([f"{measure_name('frechet_distance', extractor=extractor)} to training"] if both else []),
            ],
            groups={name: _lines(found, row, every, training=both) for name, row in found.rows.items()},
        ),
    ]


def as_markdown(table: Table, *, intervals: bool = True) -> str:
    """The table in Markdown, its columns aligned."""
    grouped = list(table.groups) != [""]
    head = [*(["label"] if grouped else []), "model", "n", *table.columns]
    body = [
        [
            *([group] if grouped else []),
            line.name,
            f"{line.n:,}" if line.n else "–",
            *(_plain(cell, intervals=intervals) for cell in line.cells),
        ]
        for group, lines in table.groups.items()
        for line in lines
    ]
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (head, *body)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = 2 if grouped else 1  # names to the left, figures to the right
    rule = [f"{'-' * (width - 1)}{':' if i >= left else '-'}" for i, width in enumerate(widths)]
    padded = [
        [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (padded[0], rule, *padded[1:]))


def legend(found: ComparisonFacts, *, place: str) -> str:
    """What the signs of the tables mean; `place` is where the intervals stand."""
    text = f"Bold: the best figure. {SIGN}: its 95% interval overlaps that of no other model. {place}: the interval."
    if found.reference == "held_out":
        text += f" “{FLOOR.capitalize()}”: in the place of synthetic ones, the mark to read the others by."
    return text


def _plain(cell: Cell, *, intervals: bool) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    return f"{text}{SIGN if cell.distinguishable else ''}{f' [{cell.interval}]' if intervals and cell.interval else ''}"


def _heading(measure: str, extractor: str) -> str:
    return f"{measure_name(measure, extractor=extractor)} {'↓' if measure in DISTANCES else '↑'}"


def _comparisons(found: ComparisonFacts) -> Iterator[Comparison]:
    for row in (found.overall, *found.labels.values()):
        for models in row.models.values():
            yield from models.values()


def _lines(
    found: ComparisonFacts, row: Row, measures: Sequence[str], *, scored: bool = False, training: bool = False
) -> list[Line]:
    """A line a model, and the floor; with the Inception Score before, and the distance to training behind, if asked."""
    scores = found.inception_score
    top = max((f"{score.mean:.2f}" for score in scores.models.values()), key=float, default="")
    made = []
    for name, pairs in row.models.items():
        main = pairs.get(found.reference_pair)
        cells = [_score(scores.models.get(name), top=top)] if scored else []
        for measure in measures:
            best = row.best.get(measure)
            first = best is not None and name in best.models and len(best.models) < len(row.models)
            cells.append(
                _cell(main, measure, best=first, distinguishable=first and best is not None and best.distinguishable)
            )
        if training:
            cells.append(_cell(pairs.get("fake_vs_train"), "frechet_distance"))
        made.append(Line(name=name, n=main.n if main else 0, cells=cells))
    if row.floor is not None and found.reference == "held_out":
        cells = [_score(scores.real.get("train"))] if scored else []
        cells += [_cell(row.floor, measure) for measure in measures]
        if training:
            cells.append(Cell(text="–", known=False))
        made.append(Line(name=FLOOR, n=row.floor.n, cells=cells, floor=True))
    return made


def _score(found: InceptionScore | None, *, top: str = "") -> Cell:
    if found is None:
        return Cell(text="none", known=False)
    text = f"{found.mean:.2f}"
    return Cell(text=text, interval=f"± {found.deviation:.2f}" if found.splits > 1 else "", best=text == top)


def _cell(comparison: Comparison | None, measure: str, *, best: bool = False, distinguishable: bool = False) -> Cell:
    if comparison is None or measure not in comparison.measures:
        return Cell(text=(comparison.note if comparison else None) or "none", known=False)
    found = comparison.measures[measure]
    return Cell(
        text=format_result(found, measure),
        interval=format_interval(found, measure),
        best=best,
        distinguishable=distinguishable,
    )
