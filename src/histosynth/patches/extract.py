"""From slides, outlines and labels to a patch store: plan, extract each slide in its own process, write the manifest.

A slide is either done or not: its part is complete when it is renamed into place, and carries a fingerprint of all its
inputs. Rerunning the command keeps finished parts and resumes. The manifest is written last and contains neither time
nor command line, so that an interrupted and resumed store has the same bytes as an uninterrupted one.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histosynth.cohort.labels import read_labels
from histosynth.cohort.mpp_table import read_mpp_table
from histosynth.cohort.split_table import read_split_table
from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.normalization.staining import MEDIAN_TARGET, StainNormalization, build_normalization
from histosynth.patches.cluster import require_cluster
from histosynth.patches.manifest import build_manifest
from histosynth.patches.plan import SkippedSlide, plan, require_no_bad_slides
from histosynth.patches.preview import PREVIEW, write_preview
from histosynth.patches.workers import run_jobs
from histosynth.rundir import MANIFEST, locks_output
from histosynth.slides.files import find_slides, slide_id_of
from histosynth.store.part import part_fingerprint, part_path, part_record
from histosynth.store.store import list_parts, write_manifest


@dataclass(frozen=True, kw_only=True)
class ExtractionResult:
    """Summary of what `extract` did."""

    store: Path
    preview: Path | None
    """The preview page, if one was requested."""
    patches: int
    slides_done: int
    slides_resumed: int
    """Slides of `slides_done` whose part existed already."""
    slides_remade: int
    """Existing parts that were replaced because their settings or inputs had changed."""
    slides_without_patch: tuple[str, ...]
    """Slides of `slides_done` on which every candidate region was rejected."""
    slides_skipped: Mapping[str, str]
    """Reason by slide id."""
    labels_without_slide: tuple[str, ...]
    genotype_aliases: Mapping[str, str]
    """LabelTable of the table that were replaced by the usual name of their genotype."""
    split_without_slide: tuple[str, ...]
    """Patients or slides of the split table that are not among these slides."""
    patches_by_label: Mapping[str, Mapping[str, int]]
    """Number of patches by label (`null` for unlabeled patches) and split."""
    rejected: Mapping[str, int]
    """Number of candidate regions that became no patch, by reason."""


@locks_output
def extract(
    slides: Sequence[Path],
    *,
    out: Path,
    settings: PatchSettings,
    outlines: Path | None = None,
    labels: Path | None = None,
    split_table: Path | None = None,
    mpp: float | None = None,
    mpp_table: Path | None = None,
    workers: int | None = None,
    dask: str | None = None,
    skip_bad_slides: bool = False,
    preview: bool = False,
    progress: bool = True,
) -> ExtractionResult:
    """Create a patch store, or resume one that was interrupted.

    Args:
        slides: slide files, or folders of them.
        out: directory of the store; created if absent.
        settings: placement, scaling, staining and split of the patches.
        outlines: folder of outline files, one per slide; None accepts tissue anywhere on the slide.
        labels: CSV of labels by slide or patient; None leaves every label null.
        split_table: CSV that assigns each patient (or slide) to `train` or `held_out`; None splits by hash.
        mpp: microns per pixel of the full resolution, used for slides that state none.
        mpp_table: CSV of microns per pixel by slide, which override those that slides state.
        workers: number of processes; None starts one per core. More than 1 requires a `__main__` guard in the caller's
            script.
        dask: address of the scheduler of a Dask cluster to use instead; its workers must share the disk that holds the
            slides and the store.
        skip_bad_slides: record an unusable slide in the manifest and continue, instead of raising.
        preview: also draw each slide with its accepted and rejected regions, and a page of all slides; otherwise an
            earlier preview of this store is deleted.
        progress: show progress bars on stderr.

    Raises:
        HistosynthError: invalid input (see the message), or no patch.
        OSError: the store cannot be written; finished parts remain, and the same call resumes.
    """
    # Read the inputs and check every slide, before anything is written.
    if dask is not None:
        require_cluster(dask, workers=workers)
    staining = _build_staining(settings)
    unusable: dict[str, str] = {}
    paths = {slide_id_of(path): path for path in find_slides(slides, unusable=unusable)}
    per_patient, aliases = settings.one_label_per_patient, settings.genotype_aliases
    table = read_labels(labels, one_label_per_patient=per_patient, aliases=aliases) if labels is not None else None
    splits = read_split_table(split_table) if split_table is not None else None
    if outlines is not None and not outlines.is_dir():
        raise HistosynthError(f"no folder of outlines '{outlines}'; check --outlines")
    require_own_parts(out, slide_ids={*paths, *unusable})
    mpp_by_slide = read_mpp_table(mpp_table) if mpp_table is not None else None
    planned = plan(
        paths,
        unusable=unusable,
        out=out,
        settings=settings,
        staining=staining,
        outlines=outlines,
        labels=table,
        split_table=splits,
        mpp=mpp,
        mpp_by_slide=mpp_by_slide,
        progress=progress,
    )
    if not skip_bad_slides:
        require_no_bad_slides(planned.skips)
    if not planned.jobs:
        raise HistosynthError(_no_slide_message(planned.skips))

    # Delete what is out of date: parts of other settings or inputs, the manifest, the preview.
    pending = [job for job in planned.jobs if part_fingerprint(job.part) != job.fingerprint]
    kept = {job.part for job in planned.jobs} - {job.part for job in pending}
    remade = sum(part not in kept for part in out.glob("part-*.parquet"))
    for stale in {out / MANIFEST, *out.glob("part-*.parquet")} - kept:
        stale.unlink(missing_ok=True)
    shutil.rmtree(out / PREVIEW, ignore_errors=True)

    # Extract the pending slides.
    skips = list(planned.skips)
    try:
        with closing(run_jobs(pending, workers=workers, dask=dask, progress=progress)) as finished:
            for job, error in finished:
                if error is not None and not skip_bad_slides:
                    raise error
                if error is not None:
                    skips.append(SkippedSlide(slide_id=job.slide_id, reason=str(error), bad=True))
    finally:
        for incomplete in out.glob(".*.tmp"):
            incomplete.unlink(missing_ok=True)

    # Write the manifest and the preview.
    skipped = {skip.slide_id: skip for skip in sorted(skips, key=lambda skip: skip.slide_id)}
    done = [job for job in planned.jobs if job.slide_id not in skipped]
    records = [part_record(job.part) for job in done]
    if not records:
        raise HistosynthError(_no_slide_message(skips))
    if not any(record["patches"] for record in records):
        raise HistosynthError(_no_patch_message(records))
    manifest = build_manifest(
        records,
        list(skipped.values()),
        settings=settings,
        staining=staining,
        outlined=outlines is not None,
        labels=table,
        split_table=splits,
        mpp=mpp,
        mpp_by_slide=mpp_by_slide,
    )
    write_manifest(out, manifest)
    page = write_preview(out, done, manifest=manifest, progress=progress) if preview else None
    return ExtractionResult(
        store=out,
        preview=page,
        patches=manifest["totals"]["patches"],
        slides_done=len(done),
        slides_resumed=len(kept),
        slides_remade=remade,
        slides_without_patch=tuple(record["slide_id"] for record in records if not record["patches"]),
        slides_skipped={slide_id: skip.full_reason for slide_id, skip in skipped.items()},
        labels_without_slide=tuple(manifest["labels_table"]["without_slide"]) if table else (),
        genotype_aliases=table.aliases if table else {},
        split_without_slide=tuple(manifest["split"].get("without_slide", ())),
        patches_by_label=manifest["labels"],
        rejected=manifest["totals"]["rejected"],
    )


def _build_staining(settings: PatchSettings) -> StainNormalization:
    """Return the stain normalization; errors must be raised before anything is written."""
    if settings.stain_target == MEDIAN_TARGET:
        raise HistosynthError(
            f"the stain target '{MEDIAN_TARGET}' needs the fits of all slides first; extract with --set "
            f"patches.stain=none, then run histosynth normalize STORE --out OUT --stain {settings.stain} "
            f"--stain-target {MEDIAN_TARGET}"
        )
    return build_normalization(
        settings.stain, target=settings.stain_target, per=settings.stain_per, fallback=settings.stain_fallback
    )


def require_own_parts(out: Path, *, slide_ids: set[str]) -> None:
    """Raise unless `out` is absent, empty, or a store whose parts all belong to these slides."""
    parts = {part.name for part in list_parts(out)}
    if foreign := sorted(parts - {part_path(out, slide_id).name for slide_id in slide_ids}):
        raise HistosynthError(
            f"the store {out} holds {len(foreign)} part(s) of slides that this command does not name, such as "
            f"{foreign[0]}; name those slides too, or choose another --out"
        )


def _no_slide_message(skips: Sequence[SkippedSlide]) -> str:
    reasons = Counter("unusable" if skip.bad else skip.reason for skip in skips)
    summary = ", ".join(f"{count} of {len(skips)}: {reason}" for reason, count in reasons.most_common())
    return (
        f"no usable slide is left ({summary}; the first is {skips[0].slide_id}: {skips[0].full_reason}); "
        "check that outlines and labels are named by slide id, which is the file name without its suffix"
    )


def _no_patch_message(records: Sequence[Mapping[str, Any]]) -> str:
    rejected = sum((Counter(record["rejected"]) for record in records), Counter[str]())
    summary = ", ".join(f"{count} {reason}" for reason, count in rejected.most_common() if count)
    return (
        f"no region became a patch on {len(records)} slide(s) ({summary or 'no candidate'}); "
        "lower patches.min_tumor, patches.min_tissue or patches.region_px, or inspect the regions with "
        "patches.quality=false"
    )
