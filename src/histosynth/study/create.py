"""From stores to a study: choose cases, blind their pictures, draw each reader's order, and put it all in place at once.

The seed decides which patches become cases and in which order each reader sees them. Ids of cases and showings and the
tokens of links come from the operating system instead, so that nothing a reader sees can be computed from the seed.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from tqdm import tqdm

from histosynth.config import StudySettings
from histosynth.errors import HistosynthError
from histosynth.patches.staining import staining_of
from histosynth.patches.store import Store
from histosynth.rundir import MANIFEST, provenance, write_json, write_text
from histosynth.study.candidates import Candidate, Candidates, find_candidates
from histosynth.study.database import Case, Database, Picture, Presentation, Reader, Study, now, url_in
from histosynth.study.design import (
    REAL,
    SYNTHETIC,
    Cell,
    main_quota,
    most_cases,
    practice_quota,
    reading_order,
    repeated,
    rng_of,
)
from histosynth.study.links import reader_link
from histosynth.study.pictures import NotAlike, blinded
from histosynth.study.tokens import hash_token, new_id, new_token

KIND = "reader study"
SETTINGS = "study.toml"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A patch that has become a case."""

    case_id: str
    part: str
    candidate: Candidate
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Created:
    """What `create` made.

    Attributes:
        study: its directory.
        links: the invitation of each reader, told once: only hashes are kept.
        manifest: what the directory's manifest says.
    """

    study: Path
    links: dict[str, str]
    manifest: dict[str, Any]


def create(
    real: Path,
    fakes: Sequence[tuple[str | None, Path]],
    *,
    out: Path,
    settings: StudySettings,
    database: str | None = None,
    progress: bool = True,
) -> Created:
    """Make a study.

    Args:
        real: a patch store.
        fakes: sample stores, each with the name of its generator; None: the `source` of its samples.
        out: the study's directory, absent or empty.
        settings: its size and rules.
        database: URL of the database; None: a SQLite file in the directory.
        progress: show a progress bar.

    Raises:
        HistosynthError: `out` holds something, stores that are no pair, or too few patches. Nothing is left then.
    """
    _require_new(out)
    generators = _named([(name, Store(path)) for name, path in fakes])
    staining = staining_of(settings.normalize, per="patch") if settings.normalize else None
    if staining is not None and staining.normalizer.target is None:
        raise HistosynthError(f"--normalize {settings.normalize} changes no colors; name another, or leave it out")
    found = find_candidates(
        Store(real),
        generators,
        seed=settings.seed,
        allow_training_patients=settings.allow_training_patients,
        normalized=staining is not None,
    )
    quotas = _quotas(found, settings)
    dropped: Counter[str] = Counter()
    chosen: list[Chosen] = []
    with tqdm(
        total=sum(sum(q.values()) for q in quotas.values()), desc="pictures", unit="img", disable=not progress
    ) as bar:
        for cell, order in found.orders.items():
            rest = iter(order)
            for part, quota in quotas.items():  # main cases first: practice must not take from them
                for _ in range(quota[cell]):
                    chosen.append(_next(rest, cell, part, staining=staining, settings=settings, dropped=dropped))
                    bar.update()
    manifest = _manifest(found, chosen, settings, dropped, real=real, fakes=generators, database=database)
    tokens = {f"Reader {number}": new_token() for number in range(1, settings.readers + 1)}
    with _placed(out) as directory:
        write_text(directory / SETTINGS, tomli_w.dumps(settings.model_dump(mode="json")))
        write_json(directory / MANIFEST, manifest)
        kept = Database(database or url_in(directory))
        try:
            kept.create_tables()
            _write(kept, chosen, found, settings, tokens)
        finally:
            kept.close()
    links = {name: reader_link(settings.base_url, token) for name, token in tokens.items()}
    return Created(study=out, links=links, manifest=manifest)


def _require_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HistosynthError(f"{out} exists; a study is never overwritten: name another directory, or move it away")


def _named(fakes: Sequence[tuple[str | None, Store]]) -> dict[str, Store]:
    """The sample stores by the name of their generator."""
    named: dict[str, Store] = {}
    for name, store in fakes:
        sources = sorted(set(store.column("source")))
        if name is None and len(sources) > 1:
            raise HistosynthError(
                f"{store.path} mixes samples of {len(sources)} sources ({', '.join(sources)}); give it one name: "
                f"--fake NAME={store.path}"
            )
        name = name or sources[0]
        if name in named or (name == REAL and sources != [REAL]):
            raise HistosynthError(
                f"{store.path} cannot be called '{name}', as another is; give it a name of its own: "
                f"--fake NAME={store.path}"
            )
        named[name] = store
    return named


def _quotas(found: Candidates, settings: StudySettings) -> dict[str, dict[Cell, int]]:
    """Cases of each cell, by part."""
    labels, generators = found.labels, found.generators
    main = main_quota(settings.cases, labels=labels, generators=generators)
    rng = rng_of(settings.seed, "practice")
    practice = practice_quota(settings.practice, labels=labels, generators=generators, rng=rng)
    available = {cell: len(order) for cell, order in found.orders.items()}
    for cell, there in available.items():
        if there < main[cell] + practice[cell]:
            most = most_cases(available, practice=practice, labels=labels, generators=generators)
            raise HistosynthError(
                f"{there} patches of {_said(cell)}, but {settings.cases} cases need {main[cell]} of them and "
                f"{practice[cell]} for practice; give --cases {most} at most, or more patches"
                if most
                else f"{there} patches of {_said(cell)}: too few for any balanced study; give more patches"
            )
    return {"main": main, "practice": practice}


def _said(cell: Cell) -> str:
    label, source = cell
    what = "held-out real tissue" if source == REAL else source
    return f"{what}, {label}" if label else what


def _next(
    rest: Iterator[Candidate],
    cell: Cell,
    part: str,
    *,
    staining: Any,
    settings: StudySettings,
    dropped: Counter[str],
) -> Chosen:
    """The next patch of a cell whose picture can be made; those that cannot be are counted."""
    for candidate in rest:
        try:
            png = blinded(candidate.image(), staining=staining, jpeg_history=settings.jpeg_history)
        except NotAlike as reason:
            dropped[f"{_said(cell)}: {reason}"] += 1
            continue
        return Chosen(case_id=new_id(), part=part, candidate=candidate, png=png)
    raise HistosynthError(
        f"too few patches of {_said(cell)} can be normalized by {settings.normalize}; give fewer --cases, or more patches"
    )


def _manifest(
    found: Candidates,
    chosen: Sequence[Chosen],
    settings: StudySettings,
    dropped: Mapping[str, int],
    *,
    real: Path,
    fakes: Mapping[str, Store],
    database: str | None,
) -> dict[str, Any]:
    cells = Counter((c.part, *c.candidate.cell) for c in chosen)
    patients: dict[str | None, set[str | None]] = {}
    for case in chosen:
        if case.candidate.cell[1] == REAL:
            patients.setdefault(case.candidate.cell[0], set()).add(case.candidate.patient_id)
    made_by = provenance()
    hide = {database or "": "***"}  # it may hold a password
    return {
        "kind": KIND,
        "settings": settings.model_dump(mode="json"),
        "real": {"store": real.resolve().name, "hash": found.real_hash},
        "generators": {
            name: {"store": store.path.resolve().name, "hash": store.content_hash(),
                   "made_with": store.manifest.get("made_with")}
            for name, store in fakes.items()
        },
        "cases": [
            {"part": part, "label": label, "source": source, "cases": count}
            for (part, label, source), count in sorted(cells.items(), key=str)
        ],
        "patients": [{"label": label, "patients": len(names)} for label, names in patients.items()],
        "patch_px": found.patch_px,
        "mpp": found.mpp,
        "left_out": dict(dropped),
        "warnings": found.warnings,
        "provenance": made_by | {"argv": [hide.get(word, word) for word in sys.argv]},
    }  # fmt: skip


def _write(
    database: Database,
    chosen: Sequence[Chosen],
    found: Candidates,
    settings: StudySettings,
    tokens: Mapping[str, str],
) -> None:
    cells = {case.case_id: case.candidate.cell for case in chosen}
    shown = {part: [case.case_id for case in chosen if case.part == part] for part in ("practice", "main")}
    facts = {"patch_px": found.patch_px, "mpp": found.mpp, "labels": found.labels, "generators": found.generators}
    with database.writing() as session:
        session.add(
            Study(id=1, title=settings.title, created_at=now(), seed=settings.seed, margin=settings.margin,
                  alpha=settings.alpha, settings=settings.model_dump(mode="json") | facts, organizer_hash=None)
        )  # fmt: skip
        for case in sorted(chosen, key=lambda case: case.case_id):  # in no order that says anything
            label, source = case.candidate.cell
            session.add(
                Case(case_id=case.case_id, part=case.part, label=label, truth=REAL if source == REAL else SYNTHETIC,
                     source=source, patch_id=case.candidate.patch_id, patient_id=case.candidate.patient_id)
            )  # fmt: skip
        session.flush()
        session.add_all(Picture(case_id=case.case_id, png=case.png) for case in chosen)
        for number, (name, token) in enumerate(tokens.items(), 1):
            session.add(
                Reader(reader_id=number, name=name, token_hash=hash_token(token),
                       expires_at=now(days=settings.valid_days), revoked_at=None, consented_at=None, finished_at=None)
            )  # fmt: skip
            session.flush()
            rng = rng_of(settings.seed, "reader", number)
            twice = repeated({c: cells[c] for c in shown["main"]}, repeats=settings.repeats, rng=rng)
            order = [("practice", shown["practice"][i], False) for i in rng.permutation(len(shown["practice"]))]
            order += [("main", *place) for place in reading_order(shown["main"], twice=twice, rng=rng)]
            session.add_all(
                Presentation(presentation_id=new_id(), reader_id=number, position=position, case_id=case_id, part=part,
                             is_repeat=is_repeat)
                for position, (part, case_id, is_repeat) in enumerate(order)
            )  # fmt: skip


@contextmanager
def _placed(out: Path) -> Iterator[Path]:
    """A directory to write into, which becomes `out` once all went well, and is gone otherwise."""
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed command
    temporary.mkdir(parents=True, mode=0o700)  # it says which case is real
    try:
        yield temporary
        temporary.replace(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
