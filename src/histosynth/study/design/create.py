"""From stores to a study: choose cases, blind their pictures, draw each reader's order, and put all in place at once.

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

from histosynth.config import StudySettings
from histosynth.errors import HistosynthError
from histosynth.rundir import MANIFEST, provenance, write_json, write_text
from histosynth.store.store import Store
from histosynth.study.design.candidates import Candidates, find_candidates
from histosynth.study.design.design import (
    REAL,
)
from histosynth.study.design.populate import populate
from histosynth.study.design.selection import Selection, select_cases
from histosynth.study.records.database import Database, sqlite_url
from histosynth.study.records.links import reader_link
from histosynth.study.records.tokens import new_token

KIND = "reader study"
SETTINGS = "study.toml"


@dataclass(frozen=True, kw_only=True)
class CreatedStudy:
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
) -> CreatedStudy:
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
    found = find_candidates(
        Store(real),
        generators,
        seed=settings.seed,
        allow_training_patients=settings.allow_training_patients,
        normalized=bool(settings.normalize),
    )
    selection = select_cases(found, settings=settings, progress=progress)
    manifest = _manifest(found, selection, settings, real=real, fakes=generators, database=database)
    tokens = {f"Reader {number}": new_token() for number in range(1, settings.readers + 1)}
    with _atomic_directory(out) as directory:
        write_text(directory / SETTINGS, tomli_w.dumps(settings.model_dump(mode="json")))
        write_json(directory / MANIFEST, manifest)
        kept = Database(database or sqlite_url(directory))
        try:
            kept.create_tables()
            populate(kept, selection.cases, found=found, settings=settings, tokens=tokens)
        finally:
            kept.close()
    links = {name: reader_link(settings.base_url, token) for name, token in tokens.items()}
    return CreatedStudy(study=out, links=links, manifest=manifest)


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


def _manifest(
    found: Candidates,
    selection: Selection,
    settings: StudySettings,
    *,
    real: Path,
    fakes: Mapping[str, Store],
    database: str | None,
) -> dict[str, Any]:
    cells = Counter((c.part, *c.candidate.cell) for c in selection.cases)
    patients: dict[str | None, set[str | None]] = {}
    for case in selection.cases:
        if case.candidate.cell[1] == REAL:
            patients.setdefault(case.candidate.cell[0], set()).add(case.candidate.patient_id)
    argv = [word.replace(database, "***") if database else word for word in sys.argv]  # it may hold a password
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
        "left_out": dict(selection.left_out),
        "warnings": found.warnings,
        "provenance": provenance() | {"argv": argv},
    }  # fmt: skip


@contextmanager
def _atomic_directory(out: Path) -> Iterator[Path]:
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
