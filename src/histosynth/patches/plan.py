"""Plan of an extraction: for every slide either a job, or the reason why it has none.

All cheap checks of every slide are made here, before the first patch is extracted: it opens, states its microns per
pixel and is large enough; its outline is valid and lies on it; it has one label. Errors thus appear within seconds and
not after hours.
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
from histosynth.patches.extract_slide import Job
from histosynth.patches.region import region_extent
from histosynth.patches.selection import tumor_area
from histosynth.remote import file_name, open_binary
from histosynth.slides.annotations import find_outlines
from histosynth.slides.dicom import other_files_of_series
from histosynth.slides.mpp import require_mpp
from histosynth.slides.open import open_slide
from histosynth.store.part import part_path

_HASHED_BYTES = 1 << 20
_MAX_ID_BYTES = 230  # file systems allow names of 255 bytes, and a part's name has a prefix and suffixes
# These settings affect a part only through its label, split, cap and staining, which are hashed themselves.
_COVERED_ELSEWHERE = {
    "held_out", "held_out_patients", "folds", "fold", "genotype_aliases", "cap", "cap_per_patient",
    "stain", "stain_target", "stain_per", "stain_fallback",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SkippedSlide:
    """A slide that yields no part. A `bad` slide is unusable and stops the command without --skip-bad-slides."""

    slide_id: str
    reason: str
    bad: bool
    hint: str | None = None
    """A near miss, such as a similar name in the table of labels."""

    @property
    def full_reason(self) -> str:
        """The reason, with the hint if there is one."""
        return f"{self.reason}, but {self.hint}" if self.hint else self.reason

    @property
    def record(self) -> dict[str, Any]:
        """Entry of the manifest."""
        return {"slide_id": self.slide_id, "status": "skipped", "reason": self.full_reason, "patches": 0}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Jobs and skipped slides, each in the order of the slides."""

    jobs: tuple[Job, ...]
    skips: tuple[SkippedSlide, ...]


def plan(
    slides: Mapping[str, Path],
    *,
    unusable: Mapping[str, str] | None = None,
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
    """Check every slide, split the patients, and determine the inputs of each part.

    Args:
        slides: path by slide id.
        unusable: reason by slide id, of slides that cannot be opened at all.
        out: the store.
        settings: placement, scaling and split of the patches.
        staining: stain normalization of the patches.
        outlines: folder of outline files; None: tissue only.
        labels: the table of labels; None: slides have no labels.
        split_table: the table of splits; None: the settings decide.
        mpp: microns per pixel of slides that state none.
        mpp_by_slide: microns per pixel that override those that slides state.
        progress: show a progress bar on stderr.
    """
    # Check every slide.
    check_split_settings(settings, table=split_table is not None)
    usable: list[_UsableSlide] = []
    skips = [SkippedSlide(slide_id=slide_id, reason=reason, bad=True) for slide_id, reason in (unusable or {}).items()]
    for slide_id, path in tqdm(
        slides.items(), desc="checking", unit="slide", delay=1, leave=False, disable=not progress
    ):
        assigned = (
            labels.assign(slide_id) if labels else LabelAssignment(label=None, patient_id=patient_id_of(slide_id))
        )
        try:
            _check_name(path, slide_id)
            outline = find_outlines(outlines, slide_id) if outlines is not None else None
            if labels is not None and assigned.label is None:
                reason, hint = f"no label in {labels.path.name}", labels.near_miss(slide_id)
                skips.append(SkippedSlide(slide_id=slide_id, reason=reason, bad=False, hint=hint))
            elif outlines is not None and outline is None:
                skips.append(SkippedSlide(slide_id=slide_id, reason="no outline file", bad=False))
            else:
                override = (mpp_by_slide or {}).get(slide_id)
                scale = _checked_mpp(path, slide_id, outline, settings=settings, mpp=mpp, override=override)
                usable.append(_UsableSlide(path=path, slide_id=slide_id, assigned=assigned, outline=outline, mpp=scale))
        except HistosynthError as error:
            skips.append(SkippedSlide(slide_id=slide_id, reason=str(error), bad=True))
    # Split the patients and divide the caps, then define the jobs.
    split = _split(usable, settings, split_table, patients_of([*slides, *(unusable or {})], labels))
    caps = slide_caps({slide.slide_id: slide.assigned.patient_id for slide in usable}, settings)
    other_files = other_files_of_series(slide.path for slide in usable)
    jobs = [
        _job(
            slide,
            other_files=other_files.get(slide.path, []),
            split=split[slide.assigned.patient_id],
            cap=caps[slide.slide_id],
            out=out,
            settings=settings,
            staining=staining,
        )
        for slide in usable
    ]
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def patients_of(slide_ids: Iterable[str], labels: LabelTable | None) -> dict[str, str]:
    """Return the patient of each slide."""
    return {i: labels.assign(i).patient_id if labels else patient_id_of(i) for i in slide_ids}


def _split(
    slides: "Sequence[_UsableSlide]",
    settings: PatchSettings,
    split_table: SplitTable | None,
    all_slides: Mapping[str, str],
) -> dict[str, str]:
    """Return the split of each patient of `slides`: from the table if there is one, else by the settings.

    `all_slides` holds the patient of every slide, also of skipped ones, since a table may name those.
    """
    labels: dict[str, set[str]] = {}
    for slide in slides:
        labels.setdefault(slide.assigned.patient_id, set()).add(slide.assigned.label or "")
    if split_table is not None:
        return split_table.assign(
            {slide.slide_id: slide.assigned.patient_id for slide in slides}, all_slides=all_slides
        )
    return split_by_settings(settings, {patient: "\0".join(sorted(names)) for patient, names in labels.items()})


@dataclass(frozen=True, kw_only=True)
class _UsableSlide:
    """A slide that passed all checks."""

    path: Path
    slide_id: str
    assigned: LabelAssignment
    outline: Path | None
    mpp: float


def _check_name(path: Path, slide_id: str) -> None:
    """Raise if the name of a slide cannot be written to the store."""
    if str(path) != str(path).encode("utf-8", "replace").decode():
        raise HistosynthError(f"slide {path} has a name that is not valid UTF-8; rename it")
    if len(slide_id.encode()) > _MAX_ID_BYTES:
        raise HistosynthError(
            f"slide {slide_id} has a name of {len(slide_id.encode())} bytes, more than {_MAX_ID_BYTES}; shorten it"
        )


def _checked_mpp(
    path: Path,
    slide_id: str,
    outline: Path | None,
    *,
    settings: PatchSettings,
    mpp: float | None,
    override: float | None,
) -> float:
    """Return the microns per pixel of a slide; raise if patches cannot be extracted from it."""
    with open_slide(path, mpp=mpp) as slide:
        scale = override or require_mpp(slide)
        try:
            extent = region_extent(settings, mpp=scale)
        except HistosynthError as error:
            raise HistosynthError(f"slide {slide_id}: {error}") from None
        if extent > min(slide.width_px, slide.height_px):
            raise HistosynthError(
                f"slide {slide_id} is {slide.width_px} x {slide.height_px} px, smaller than one region of {extent} x "
                f"{extent} px ({extent * scale:g} microns); lower patches.region_px, or leave the slide out"
            )
        tumor_area(slide, outline, mpp=scale, settings=settings)
    return scale


def slide_caps(patients: Mapping[str, str], settings: PatchSettings) -> dict[str, int]:
    """Return the maximum number of patches per slide, from the patient of each slide.

    The cap of a patient is divided evenly among the patient's slides; the remainder goes to the first slides by name. A
    slide that cannot fill its share leaves it unused, so that no slide waits for another.
    """
    of_patient: dict[str, list[str]] = {}
    for slide_id, patient_id in sorted(patients.items()):
        of_patient.setdefault(patient_id, []).append(slide_id)
    caps = dict.fromkeys(patients, settings.cap)
    if settings.cap_per_patient:
        for slide_ids in of_patient.values():
            share, remainder = divmod(settings.cap_per_patient, len(slide_ids))
            caps |= {name: min(settings.cap, share + (i < remainder)) for i, name in enumerate(slide_ids)}
    return caps


def _job(
    slide: _UsableSlide,
    *,
    other_files: Sequence[Path],
    split: str,
    cap: int,
    out: Path,
    settings: PatchSettings,
    staining: StainNormalization,
) -> Job:
    """Return the job, with the SHA-256 of all inputs of its part.

    A slide is represented by the size and the first and last MiB of each of its files: reading gigabytes to resume
    would cost more than it saves.
    """
    inputs = {
        "version": __version__,
        "settings": settings.model_dump(mode="json", exclude=_COVERED_ELSEWHERE),
        "staining": staining.to_dict(),
        "cap": cap,
        "slide": [slide.slide_id, file_name(slide.path), *map(_partial_hash, [slide.path, *other_files])],
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
        fingerprint=hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest(),
    )


def _partial_hash(path: Path) -> str:
    """Return the SHA-256 of the size, the first and the last MiB of a file."""
    with open_binary(path) as file:
        size = file.seek(0, 2)
        digest = hashlib.sha256(str(size).encode())
        for start in (0, max(0, size - _HASHED_BYTES)):
            file.seek(start)
            digest.update(file.read(_HASHED_BYTES))
    return digest.hexdigest()


def require_no_bad_slides(skips: Sequence[SkippedSlide]) -> None:
    """Raise the error of the first bad slide, with the ids of the others."""
    bad = [skip for skip in skips if skip.bad]
    if len(bad) == 1:
        raise HistosynthError(bad[0].reason)
    if bad:
        raise HistosynthError(
            f"{len(bad)} slides cannot be used, the first of them: {bad[0].reason} "
            f"(the others: {', '.join(skip.slide_id for skip in bad[1:6])}{' …' if len(bad) > 6 else ''}); "
            "fix them, or pass --skip-bad-slides to leave them out"
        )
