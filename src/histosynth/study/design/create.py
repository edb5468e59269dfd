"""Create a study from stores: select cases, blind their pictures, draw the readers' orders, write all of it at once.

The seed decides which patches become cases and in which order each reader sees them. The ids of cases and presentations
and the tokens of links come from the operating system instead, so that nothing a reader sees can be computed from the
seed.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from histosynth.config import StudySettings
from histosynth.errors import HistosynthError
from histosynth.rundir import MANIFEST, exclusive_replacement, provenance, write_json, write_text
from histosynth.store.store import Store
from histosynth.study.design.candidates import Candidates, find_candidates
from histosynth.study.design.design import REAL
from histosynth.study.design.manifest import KIND
from histosynth.study.design.pictures import picture_px
from histosynth.study.design.pixel_check import pixel_warning
from histosynth.study.design.populate import populate
from histosynth.study.design.selection import Selection, patient_warnings, select_cases
from histosynth.study.records.database import Database, sqlite_url
from histosynth.study.records.links import reader_link
from histosynth.study.records.tokens import new_token

SETTINGS = "study.toml"


@dataclass(frozen=True, kw_only=True)
class CreatedStudy:
    """A new study.

    Attributes:
        study: its directory.
        links: each reader's link, available only here: the database stores hashes.
        manifest: the content of the directory's manifest.
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
    """Create a study.

    Args:
        real: a patch store.
        fakes: sample stores, each with the name of its generator; None: the `source` of its samples.
        out: the study's directory; it must not exist, or be empty.
        settings: its size and rules.
        database: URL of the database; None: a SQLite file in the directory.
        progress: show a progress bar.

    Raises:
        HistosynthError: `out` is not empty or being written by another command, the stores do not match, or there are
            too few patches. Nothing is written.
    """
    with exclusive_replacement(out):
        return _create(real, fakes, out=out, settings=settings, database=database, progress=progress)


def _create(
    real: Path,
    fakes: Sequence[tuple[str | None, Path]],
    *,
    out: Path,
    settings: StudySettings,
    database: str | None,
    progress: bool,
) -> CreatedStudy:
    _require_new(out)
    generators = _by_name([(name, Store(path)) for name, path in fakes])
    candidates = find_candidates(
        Store(real),
        generators,
        seed=settings.seed,
        allow_training_patients=settings.allow_training_patients,
        normalized=bool(settings.normalize),
    )
    selection = select_cases(candidates, settings=settings, progress=progress)
    manifest = _manifest(candidates, selection, settings, real=real, fakes=generators, database=database)
    tokens = {f"Reader {number}": new_token() for number in range(1, settings.readers + 1)}
    with _atomic_directory(out) as directory:
        write_text(directory / SETTINGS, tomli_w.dumps(settings.model_dump(mode="json")))
        write_json(directory / MANIFEST, manifest)
        with Database(database or sqlite_url(directory)) as db:
            db.create_tables()
            populate(db, selection, candidates=candidates, settings=settings, tokens=tokens)
    links = {name: reader_link(settings.base_url, token) for name, token in tokens.items()}
    return CreatedStudy(study=out, links=links, manifest=manifest)


def _require_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HistosynthError(
            f"{out} exists, and a study is never overwritten; choose another directory, or move this one"
        )


def _by_name(fakes: Sequence[tuple[str | None, Store]]) -> dict[str, Store]:
    """Return the sample stores by the name of their generator."""
    stores: dict[str, Store] = {}
    for name, store in fakes:
        sources = sorted(set(store.column("source")))
        if name is None and len(sources) > 1:
            raise HistosynthError(
                f"{store.path} contains samples of {len(sources)} sources ({', '.join(sources)}); give them one name: "
                f"--fake NAME={store.path}"
            )
        name = name or sources[0]
        if name in stores or (name == REAL and store.synthetic):
            raise HistosynthError(
                f"{store.path} cannot be called '{name}': the name is taken; give it another name: "
                f"--fake NAME={store.path}"
            )
        stores[name] = store
    return stores


def _manifest(
    candidates: Candidates,
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
    argv = [word.replace(database, "***") if database else word for word in sys.argv]  # it may contain a password
    return {
        "kind": KIND,
        "settings": settings.model_dump(mode="json"),
        "real": {"store": real.resolve().name, "hash": candidates.real_hash},
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
        "patch_px": candidates.patch_px,
        "picture_px": picture_px(candidates.patch_px, random_crop=settings.random_crop),
        "pixel_auc": selection.pixel_auc and asdict(selection.pixel_auc),
        "mpp": candidates.mpp,
        "left_out": dict(selection.left_out),
        "warnings": [
            *candidates.warnings, *patient_warnings(selection.cases), *pixel_warning(selection.pixel_auc),
        ],
        "provenance": provenance() | {"argv": argv},
    }  # fmt: skip


@contextmanager
def _atomic_directory(out: Path) -> Iterator[Path]:
    """Yield a directory to write into, which becomes `out` on success and is removed otherwise."""
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed command
    temporary.mkdir(parents=True, mode=0o700)  # it reveals which cases are real
    try:
        yield temporary
        temporary.replace(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
