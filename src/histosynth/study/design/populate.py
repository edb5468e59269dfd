"""Populate the database of a new study: cases and pictures, readers, and their presentations."""

from collections.abc import Mapping
from dataclasses import asdict

from histosynth.config import StudySettings
from histosynth.study.design.candidates import Candidates
from histosynth.study.design.design import REAL, SYNTHETIC, derive_rng, draw_repeats, reading_order
from histosynth.study.design.selection import Selection
from histosynth.study.records.database import Database
from histosynth.study.records.tables import Case, Picture, Presentation, Reader, Study, now
from histosynth.study.records.tokens import hash_token, new_id


def populate(
    database: Database,
    selection: Selection,
    *,
    candidates: Candidates,
    settings: StudySettings,
    tokens: Mapping[str, str],
) -> None:
    """Write a study in one transaction.

    Args:
        database: one with empty tables.
        selection: the selected cases.
        candidates: the candidates they were selected from.
        settings: the settings of the study.
        tokens: the readers' tokens by their names.
    """
    cases = selection.cases
    cells = {case.case_id: case.candidate.cell for case in cases}
    case_ids = {part: [case.case_id for case in cases if case.part == part] for part in ("practice", "main")}
    facts = {
        "patch_px": candidates.patch_px,
        "mpp": candidates.mpp,
        "labels": candidates.labels,
        "generators": candidates.generators,
        "pixel_auc": selection.pixel_auc and asdict(selection.pixel_auc),
    }
    with database.write_session() as session:
        # The study, and its cases with their pictures.
        session.add(
            Study(id=1, title=settings.title, created_at=now(), seed=settings.seed, margin=settings.margin,
                  area_margin=settings.area_margin, alpha=settings.alpha,
                  settings=settings.model_dump(mode="json") | facts, organizer_hash=None)
        )  # fmt: skip
        for case in sorted(cases, key=lambda case: case.case_id):  # sorted by random id: the order reveals nothing
            label, source = case.candidate.cell
            session.add(
                Case(case_id=case.case_id, part=case.part, label=label, truth=REAL if source == REAL else SYNTHETIC,
                     source=source, patch_id=case.candidate.patch_id, patient_id=case.candidate.patient_id)
            )  # fmt: skip
        session.flush()
        session.add_all(Picture(case_id=case.case_id, png=case.png) for case in cases)
        # The readers, each with their own order of presentations.
        for number, (name, token) in enumerate(tokens.items(), 1):
            session.add(
                Reader(reader_id=number, name=name, token_hash=hash_token(token),
                       expires_at=now(days=settings.valid_days), revoked_at=None, consented_at=None, finished_at=None)
            )  # fmt: skip
            session.flush()
            rng = derive_rng(settings.seed, "reader", number)
            twice = draw_repeats({c: cells[c] for c in case_ids["main"]}, repeats=settings.repeats, rng=rng)
            order = [("practice", case_ids["practice"][i], False) for i in rng.permutation(len(case_ids["practice"]))]
            order += [("main", *item) for item in reading_order(case_ids["main"], twice=twice, rng=rng)]
            session.add_all(
                Presentation(presentation_id=new_id(), reader_id=number, position=position, case_id=case_id, part=part,
                             is_repeat=is_repeat)
                for position, (part, case_id, is_repeat) in enumerate(order)
            )  # fmt: skip
