"""What will happen to each slide, found out before the first patch is cut: a job, or the reason why there is none.

All that is cheap is checked here for every slide (it opens, states its microns per pixel, is large enough, its
outline is valid and lies on it, it has one label), so that an error comes in the first seconds and not after hours.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from histosynth import __version__
from histosynth.cohort.labels import LabelAssignment, LabelTable, patient_id_of
from histosynth.cohort.split import check_split_settings, split_by_settings
from histosynth.cohort.split_table import SplitTable
from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.normalization.staining import StainNormalization
from histosynth.patches.extract_slide import Job, tumor_area
from histosynth.patches.region import region_extent
from histosynth.remote import file_name, open_binary
from histosynth.slides.annotations import find_outlines
from histosynth.slides.mpp import require_mpp
from histosynth.slides.open import open_slide
from histosynth.store.part import part_path

_HASHED_BYTES = 1 << 20
# These settings matter to a part through its label, split, cap and staining alone.
_COVERED_ELSEWHERE = {
    "held_out", "held_out_patients", "folds", "fold", "genotype_aliases", "cap", "cap_per_patient",
    "stain", "stain_target", "stain_per",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SkippedSlide:
    """A slide that yields no part. `bad`: something is wrong with it, and only --skip-bad-slides lets it pass."""

    slide_id: str
    reason: str
    bad: bool
    hint: str | None = None
    """What nearly would have done."""

    @property
    def full_reason(self) -> str:
        """The reason, with its hint."""
        return f"{self.reason}, but {self.hint}" if self.hint else self.reason

    @property
    def record(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"slide_id": self.slide_id, "status": "skipped", "reason": self.full_reason, "patches": 0}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Jobs and skips, each in the order of the slides."""

    jobs: tuple[Job, ...]
    skips: tuple[SkippedSlide, ...]


def plan(
    slides: Mapping[str, Path],
    *,
    out: Path,
    settings: PatchSettings,
    staining: StainNormalization,
    outlines: Path | None = None,
    labels: LabelTable | None = None,
    split_table: SplitTable | None = None,
    mpp: float | None = None,
    mpp_by_slide: Mapping[str, float] | None = None,
    progress: bool = False,
) -> Plan:
    """Check every slide, split the patients, and say what each part will be made from.

    Args:
        slides: path of each slide id.
        out: the store.
        settings: what to cut.
        staining: what is done to the colors.
        outlines: folder of outline files; None: tissue only.
        labels: the table of labels; None: no slide has one.
        split_table: the table of splits; None: as the settings say.
        mpp: microns per pixel where a slide states none.
        mpp_by_slide: microns per pixel that count whatever the slide states.
        progress: show a bar on stderr.
    """
    check_split_settings(settings, table=split_table is not None)
    sound: list[_UsableSlide] = []
    skips: list[SkippedSlide] = []
    for slide_id, path in tqdm(
        slides.items(), desc="checking", unit="slide", delay=1, leave=False, disable=not progress
    ):
        assigned = (
            labels.assign(slide_id) if labels else LabelAssignment(label=None, patient_id=patient_id_of(slide_id))
        )
        try:
            outline = find_outlines(outlines, slide_id) if outlines is not None else None
            if labels is not None and assigned.label is None:
                why, hint = f"no label in {labels.path.name}", labels.near_miss(slide_id)
                skips.append(SkippedSlide(slide_id=slide_id, reason=why, bad=False, hint=hint))
            elif outlines is not None and outline is None:
                skips.append(SkippedSlide(slide_id=slide_id, reason="no outline file", bad=False))
            else:
                override = (mpp_by_slide or {}).get(slide_id)
                found = _checked_mpp(path, slide_id, outline, settings=settings, mpp=mpp, override=override)
                sound.append(_UsableSlide(path=path, slide_id=slide_id, assigned=assigned, outline=outline, mpp=found))
        except HistosynthError as error:
            skips.append(SkippedSlide(slide_id=slide_id, reason=str(error), bad=True))
    split = _split(sound, settings, split_table, patients_of(slides, labels))
    caps = slide_caps({slide.slide_id: slide.assigned.patient_id for slide in sound}, settings)
    jobs = [
        _job(
            slide,
            split=split[slide.assigned.patient_id],
            cap=caps[slide.slide_id],
            out=out,
            settings=settings,
            staining=staining,
        )
        for slide in sound
    ]
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def patients_of(slide_ids: Iterable[str], labels: LabelTable | None) -> dict[str, str]:
    """The patient of each slide."""
    return {i: labels.assign(i).patient_id if labels else patient_id_of(i) for i in slide_ids}


def _split(
    slides: "Sequence[_UsableSlide]",
    settings: PatchSettings,
    split_table: SplitTable | None,
    everyone: Mapping[str, str],
) -> dict[str, str]:
    """The split of each patient of `slides`: of the table where there is one, else by the settings.

    `everyone` has the patient of each slide given, the skipped ones too: a table may name those.
    """
    groups: dict[str, set[str]] = {}
    for slide in slides:
        groups.setdefault(slide.assigned.patient_id, set()).add(slide.assigned.label or "")
    if split_table is not None:
        return split_table.assign({slide.slide_id: slide.assigned.patient_id for slide in slides}, all_slides=everyone)
    return split_by_settings(settings, {patient: "\0".join(sorted(found)) for patient, found in groups.items()})


@dataclass(frozen=True, kw_only=True)
class _UsableSlide:
    """A slide in which no fault was found."""

    path: Path
    slide_id: str
    assigned: LabelAssignment
    outline: Path | None
    mpp: float


def _checked_mpp(
    path: Path,
    slide_id: str,
    outline: Path | None,
    *,
    settings: PatchSettings,
    mpp: float | None,
    override: float | None,
) -> float:
    """Microns per pixel of a slide that can be cut; all that is wrong with it raises."""
    with open_slide(path, mpp=mpp) as slide:
        found = override or require_mpp(slide)
        try:
            extent = region_extent(settings, mpp=found)
        except HistosynthError as error:
            raise HistosynthError(f"slide {slide_id}: {error}") from None
        if extent > min(slide.width_px, slide.height_px):
            raise HistosynthError(
                f"slide {slide_id} is {slide.width_px} x {slide.height_px} px, smaller than one region of {extent} x "
                f"{extent} px ({extent * found:g} microns); lower patches.region_px, or leave the slide out"
            )
        tumor_area(slide, outline, mpp=found, settings=settings)
    return found


def slide_caps(patients: Mapping[str, str], settings: PatchSettings) -> dict[str, int]:
    """How many patches each slide may give, from the patient of each: its even share of the patient's cap at most.

    What does not divide goes to the first slides by name. A slide that cannot fill its share leaves it unused, so that
    no slide waits for another.
    """
    of_patient: dict[str, list[str]] = {}
    for slide_id, patient_id in sorted(patients.items()):
        of_patient.setdefault(patient_id, []).append(slide_id)
    caps = dict.fromkeys(patients, settings.cap)
    if settings.cap_per_patient:
        for slide_ids in of_patient.values():
            each, more = divmod(settings.cap_per_patient, len(slide_ids))
            caps |= {name: min(settings.cap, each + (i < more)) for i, name in enumerate(slide_ids)}
    return caps


def _job(
    slide: _UsableSlide, *, split: str, cap: int, out: Path, settings: PatchSettings, staining: StainNormalization
) -> Job:
    """The job, with the SHA-256 of all that its part depends on.

    Of a slide that is its size and its first and last MiB: reading gigabytes to resume would cost more than it saves.
    """
    made_from = {
        "version": __version__,
        "settings": settings.model_dump(mode="json", exclude=_COVERED_ELSEWHERE),
        "staining": staining.to_dict(),
        "cap": cap,
        "slide": [slide.slide_id, file_name(slide.path), _partial_hash(slide.path)],
        "outline": hashlib.sha256(slide.outline.read_bytes()).hexdigest() if slide.outline else None,
        "patient": [slide.assigned.patient_id, slide.assigned.label, split],
        "mpp": slide.mpp,
    }
    return Job(
        slide=slide.path,
        slide_id=slide.slide_id,
        patient_id=slide.assigned.patient_id,
        label=slide.assigned.label,
        split=split,
        mpp=slide.mpp,
        cap=cap,
        outline=slide.outline,
        settings=settings,
        staining=staining,
        part=part_path(out, slide.slide_id),
        fingerprint=hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest(),
    )


def _partial_hash(path: Path) -> str:
    with open_binary(path) as file:
        size = file.seek(0, 2)
        digest = hashlib.sha256(str(size).encode())
        for start in (0, max(0, size - _HASHED_BYTES)):
            file.seek(start)
            digest.update(file.read(_HASHED_BYTES))
    return digest.hexdigest()


def require_no_bad_slides(skips: Sequence[SkippedSlide]) -> None:
    """Raise the first bad slide's error, with the number of the others."""
    bad = [skip for skip in skips if skip.bad]
    if len(bad) == 1:
        raise HistosynthError(bad[0].reason)
    if bad:
        raise HistosynthError(
            f"{len(bad)} slides cannot be used, the first of them: {bad[0].reason} "
            f"(the others: {', '.join(skip.slide_id for skip in bad[1:6])}{' …' if len(bad) > 6 else ''}); "
            "mend them, or pass --skip-bad-slides to leave them out"
        )
