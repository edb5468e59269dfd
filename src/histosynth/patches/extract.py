"""From slides, outlines and labels to a patch store: plan, cut each slide in a process of its own, then the manifest.

A slide is done or it is not: its part is renamed into place whole, and carries a fingerprint of all it was made from.
The same command run again keeps what is done and goes on; the manifest comes last and holds no clock and no command
line, so a store that was interrupted ends up with the same bytes as one that was not.
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
    """What `extract` did."""

    store: Path
    preview: Path | None
    """The page of previews, where one was asked for."""
    patches: int
    slides_done: int
    slides_resumed: int
    """Of `slides_done`, those whose part was there already."""
    slides_remade: int
    """Parts found that were made from other settings or inputs, and so were made anew."""
    slides_without_patch: tuple[str, ...]
    """Of `slides_done`, those on which every place of the grid was rejected."""
    slides_skipped: Mapping[str, str]
    """Reason by slide id."""
    labels_without_slide: tuple[str, ...]
    genotype_aliases: Mapping[str, str]
    """Labels of the table that were given the usual name of their genotype."""
    split_without_slide: tuple[str, ...]
    """Patients or slides of the split table that are not among these slides."""
    patches_by_label: Mapping[str, Mapping[str, int]]
    """Patches by label (`null` where there is none) and split."""
    rejected: Mapping[str, int]
    """Places of the grid that became no patch, by reason."""


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
    """Make a patch store, or finish one that was begun.

    Args:
        slides: slide files, or folders of them.
        out: directory of the store; made if absent.
        settings: what to cut.
        outlines: folder of outline files, one a slide; None takes tissue anywhere on the slide.
        labels: CSV of labels by slide or patient; None leaves every label null.
        split_table: CSV that says for each patient (or slide) `train` or `held_out`; None draws by hash.
        mpp: microns per pixel of the full resolution, used where a slide states none.
        mpp_table: CSV of microns per pixel by slide, which count whatever the slide states.
        workers: processes; None takes one a core. More than 1 needs the caller's script to guard `__main__`.
        dask: address of the scheduler of a Dask cluster that does it instead; slides and store lie on a disk it shares.
        skip_bad_slides: name an unusable slide in the manifest and go on, instead of raising.
        preview: also draw each slide with the places taken and left out, and a page of all slides; without it an
            earlier preview of this store goes.
        progress: show bars on stderr.

    Raises:
        HistosynthError: bad input (see the text), or nothing to cut.
        OSError: the store cannot be written; what is finished stays, and the same call goes on.
    """
    if dask is not None:
        require_cluster(dask, workers=workers)
    staining = _build_staining(settings)
    paths = {slide_id_of(path): path for path in find_slides(slides)}
    once, aliases = settings.one_label_per_patient, settings.genotype_aliases
    table = read_labels(labels, one_label_per_patient=once, aliases=aliases) if labels is not None else None
    splits = read_split_table(split_table) if split_table is not None else None
    if outlines is not None and not outlines.is_dir():
        raise HistosynthError(f"no folder of outlines '{outlines}'; check --outlines")
    require_own_parts(out, slide_ids=set(paths))
    mpp_by_slide = read_mpp_table(mpp_table) if mpp_table is not None else None
    planned = plan(
        paths,
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

    todo = [job for job in planned.jobs if part_fingerprint(job.part) != job.fingerprint]
    kept = {job.part for job in planned.jobs} - {job.part for job in todo}
    remade = sum(part not in kept for part in out.glob("part-*.parquet"))
    for stale in {out / MANIFEST, *out.glob("part-*.parquet")} - kept:
        stale.unlink(missing_ok=True)
    shutil.rmtree(out / PREVIEW, ignore_errors=True)  # it may show what the store will no longer be
    skips = list(planned.skips)
    try:
        with closing(run_jobs(todo, workers=workers, dask=dask, progress=progress)) as ended:
            for job, error in ended:
                if error is not None and not skip_bad_slides:
                    raise error
                if error is not None:
                    skips.append(SkippedSlide(slide_id=job.slide_id, reason=str(error), bad=True))
    finally:
        for torn in out.glob(".*.tmp"):
            torn.unlink(missing_ok=True)

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
        table=table,
        split_table=splits,
        mpp=mpp,
    )
    if mpp_by_slide is not None:
        manifest["mpp_table"] = {
            slide_id: mpp_by_slide[slide_id] for slide_id in sorted(set(paths) & set(mpp_by_slide))
        }
        manifest["mpp_table_without_slide"] = sorted(set(mpp_by_slide) - set(paths))
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
    """What is done to the colors; it must fail before anything is written."""
    if settings.stain_target == MEDIAN_TARGET:
        raise HistosynthError(
            f"the stain target '{MEDIAN_TARGET}' needs the fits of all slides first; cut with --set patches.stain="
            f"none, then run histosynth normalize STORE --out OUT --stain {settings.stain} --stain-target "
            f"{MEDIAN_TARGET}"
        )
    return build_normalization(settings.stain, target=settings.stain_target, per=settings.stain_per)


def require_own_parts(out: Path, *, slide_ids: set[str]) -> None:
    """Raise unless `out` is absent, empty, or a store whose every part belongs to one of these slides."""
    parts = {part.name for part in list_parts(out)}
    if unnamed := sorted(parts - {part_path(out, slide_id).name for slide_id in slide_ids}):
        raise HistosynthError(
            f"the store {out} holds {len(unnamed)} part(s) of slides that this command does not name, such as "
            f"{unnamed[0]}; name those slides too, or choose another --out"
        )


def _no_slide_message(skips: Sequence[SkippedSlide]) -> str:
    reasons = Counter("unusable" if skip.bad else skip.reason for skip in skips)
    told = ", ".join(f"{count} of {len(skips)}: {reason}" for reason, count in reasons.most_common())
    return (
        f"no slide is left to cut ({told}; the first is {skips[0].slide_id}: {skips[0].full_reason}); "
        "outlines and labels are found by slide id, the file name without its suffix"
    )


def _no_patch_message(records: Sequence[Mapping[str, Any]]) -> str:
    rejected = sum((Counter(record["rejected"]) for record in records), Counter[str]())
    told = ", ".join(f"{count} {reason}" for reason, count in rejected.most_common() if count)
    return (
        f"no region became a patch on {len(records)} slide(s) ({told or 'no candidate'}); "
        "lower patches.min_tumor, patches.min_tissue or patches.region_px, or set patches.quality=false and look"
    )
