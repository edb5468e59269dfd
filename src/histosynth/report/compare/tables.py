"""The tables of a paper, as data: Table 1 with IS, FID and sFID, Table 2 with precision and recall, then all results.

HTML, Markdown and terminal show the same cells. The layout is that of Azadi Moghadam et al. 2023 (arXiv 2209.13167).
Only distances of Inception features are named FID.
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
    """One result."""

    text: str
    interval: str = ""
    best: bool = False
    distinguishable: bool = False  # its interval overlaps that of no other model
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
    """Lines in groups (overall, each label), with one column per measure."""

    title: str
    columns: Sequence[str]
    groups: dict[str, list[Line]] = field(default_factory=dict)


def tables(comparison: ComparisonFacts) -> list[Table]:
    """Return Tables 1 and 2, then the table of all measures by label."""
    # Columns: the measures that any model has.
    features, extractor = f"{comparison.extractor.title} features", comparison.extractor.name
    side = SIDES[comparison.reference]
    available = [m for m in MEASURES if any(m in c.measures for c in _comparisons(comparison))]
    first = [m for m in ("frechet_distance", "spatial_frechet_distance") if m in available]
    has_scores = bool(comparison.inception_score.models)

    # Tables 1 and 2, if there are overall results.
    overall = []
    if any(c.n for models in comparison.overall.models.values() for c in models.values()):
        overall = [
            Table(
                title=f"Table 1. Synthetic to {side} patients, {features}",
                columns=[*(["IS ↑"] if has_scores else []), *(_heading(m, extractor) for m in first)],
                groups={"": _lines(comparison, comparison.overall, first, with_score=has_scores)},
            ),
            Table(
                title=f"Table 2. Improved precision and recall, {features}",
                columns=[_heading(m, extractor) for m in _SHARES],
                groups={"": _lines(comparison, comparison.overall, _SHARES)},
            ),
        ]

    # Table 3, which becomes Table 1 without overall results.
    has_held_out = comparison.reference == "held_out"
    return [
        *overall,
        Table(
            title=f"Table {len(overall) + 1}. All measures, synthetic to {side} patients, {features}",
            columns=[
                *(_heading(m, extractor) for m in available),
                *([f"{measure_name('frechet_distance', extractor=extractor)} to training"] if has_held_out else []),
            ],
            groups={
                name: _lines(comparison, row, available, with_training=has_held_out)
                for name, row in comparison.rows.items()
            },
        ),
    ]


def as_markdown(table: Table, *, intervals: bool = True) -> str:
    """Return the table in Markdown, with aligned columns."""
    # Text of the cells.
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

    # Escape, then pad each column to its widest cell.
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (head, *body)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = 2 if grouped else 1  # names on the left, numbers on the right
    rule = [f"{'-' * (width - 1)}{':' if i >= left else '-'}" for i, width in enumerate(widths)]
    padded = [
        [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (padded[0], rule, *padded[1:]))


def legend(comparison: ComparisonFacts, *, place: str) -> str:
    """Return the legend of the tables; `place` says where the intervals are."""
    text = f"Bold: the best result. {SIGN}: its 95% interval overlaps that of no other model. {place}: the interval."
    if comparison.reference == "held_out":
        text += f" “{FLOOR.capitalize()}”: in place of synthetic ones, for reference."
    return text


def _plain(cell: Cell, *, intervals: bool) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    return f"{text}{SIGN if cell.distinguishable else ''}{f' [{cell.interval}]' if intervals and cell.interval else ''}"


def _heading(measure: str, extractor: str) -> str:
    return f"{measure_name(measure, extractor=extractor)} {'↓' if measure in DISTANCES else '↑'}"


def _comparisons(comparison: ComparisonFacts) -> Iterator[Comparison]:
    for row in (comparison.overall, *comparison.labels.values()):
        for models in row.models.values():
            yield from models.values()


def _lines(
    comparison: ComparisonFacts,
    row: Row,
    measures: Sequence[str],
    *,
    with_score: bool = False,
    with_training: bool = False,
) -> list[Line]:
    """Return one line per model, and the floor.

    `with_score` puts the Inception Score first, `with_training` the distance to training patients last.
    """
    # Models.
    scores = comparison.inception_score
    top = max((f"{score.mean:.2f}" for score in scores.models.values()), key=float, default="")
    lines = []
    for name, pairs in row.models.items():
        main = pairs.get(comparison.reference_pair)
        cells = [_score(scores.models.get(name), top=top)] if with_score else []
        for measure in measures:
            best = row.best.get(measure)
            is_best = best is not None and name in best.models and len(best.models) < len(row.models)
            distinguishable = is_best and best is not None and best.distinguishable
            cells.append(_cell(main, measure, best=is_best, distinguishable=distinguishable))
        if with_training:
            cells.append(_cell(pairs.get("fake_vs_train"), "frechet_distance"))
        lines.append(Line(name=name, n=main.n if main else 0, cells=cells))

    # The floor.
    if row.floor is not None and comparison.reference == "held_out":
        cells = [_score(scores.real.get("train"))] if with_score else []
        cells += [_cell(row.floor, measure) for measure in measures]
        if with_training:
            cells.append(Cell(text="–", known=False))
        lines.append(Line(name=FLOOR, n=row.floor.n, cells=cells, floor=True))
    return lines


def _score(score: InceptionScore | None, *, top: str = "") -> Cell:
    if score is None:
        return Cell(text="none", known=False)
    text = f"{score.mean:.2f}"
    return Cell(text=text, interval=f"± {score.deviation:.2f}" if score.splits > 1 else "", best=text == top)


def _cell(comparison: Comparison | None, measure: str, *, best: bool = False, distinguishable: bool = False) -> Cell:
    if comparison is None or measure not in comparison.measures:
        return Cell(text=(comparison.note if comparison else None) or "none", known=False)
    interval = comparison.measures[measure]
    return Cell(
        text=format_result(interval, measure),
        interval=format_interval(interval, measure),
        best=best,
        distinguishable=distinguishable,
    )
