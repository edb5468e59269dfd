"""A cohort of phantoms on disk: slides, outlines, labels, and their truth."""

import csv
import io
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.rundir import atomic_write, write_json, write_text
from histosynth.slides.phantom.drawing import GENOTYPES, draw_phantom
from histosynth.slides.phantom.files import nuclei_table, outline_geojson, write_pyramid


@dataclass(frozen=True)
class Cohort:
    """Paths of a cohort."""

    slides: Path
    """Folder of `<slide_id>.tif`."""
    outlines: Path
    """Folder of `<slide_id>.geojson`."""
    labels: Path
    """CSV: slide_id, patient_id, label."""
    truth: Path
    """Folder of `<slide_id>.parquet` (nuclei, in level-0 pixels) and `<slide_id>.json` (stain, seed, section)."""

    @classmethod
    def at(cls, directory: Path) -> "Cohort":
        """Return the cohort in `directory`, whose folders are created if absent."""
        cohort = cls(directory / "slides", directory / "outlines", directory / "labels.csv", directory / "truth")
        for folder in (cohort.slides, cohort.outlines, cohort.truth):
            folder.mkdir(parents=True, exist_ok=True)
        return cohort


def draw_cohort(
    directory: Path,
    *,
    patients_per_genotype: int = 4,
    size_px: int = 2048,
    mpp: float = 0.5,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Cohort:
    """Draw one slide per patient, equally many per genotype, with outlines, labels and truth; replace existing files.

    Args:
        directory: created if absent.
        patients_per_genotype: number of slides per genotype.
        size_px: width and height of each slide at full resolution.
        mpp: microns per pixel at full resolution.
        seed: together with the number of the slide, the only source of randomness; the number of workers has no effect.
        workers: number of processes; None starts one per core, 1 uses this process.
        progress: show a progress bar on stderr.

    Raises:
        HistosynthError: no patient, or slides too small for a tumor.
    """
    if patients_per_genotype < 1:
        raise HistosynthError(f"a cohort of {patients_per_genotype} patients per genotype is empty; use at least 1")
    cohort = Cohort.at(directory)
    count = patients_per_genotype * len(GENOTYPES)
    genotypes = {f"PHAN-01-{n + 1:04d}-01Z-00-DX1": GENOTYPES[n % len(GENOTYPES)] for n in range(count)}
    tasks = [
        partial(draw_slide, cohort, slide_id=name, genotype=genotype, size_px=size_px, mpp=mpp, seed=(seed, number))
        for number, (name, genotype) in enumerate(genotypes.items())
    ]
    with tqdm(total=count, desc="phantom slides", unit="slide", disable=not progress) as bar:
        for _ in _results_as_completed(tasks, min(workers or os.cpu_count() or 1, count)):
            bar.update()
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["slide_id", "patient_id", "label"])
    rows.writerows([name, name[:12], genotype] for name, genotype in genotypes.items())
    write_text(cohort.labels, text.getvalue())
    return cohort


def draw_slide(
    cohort: Cohort, *, slide_id: str, genotype: str, size_px: int, mpp: float, seed: tuple[int, ...]
) -> Path:
    """Draw one square slide into `cohort`, with its outline and its truth; return the path of the slide."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    phantom = draw_phantom(genotype, width_px=size_px, height_px=size_px, mpp=mpp, rng=rng)
    write_json(cohort.outlines / f"{slide_id}.geojson", outline_geojson(phantom.outline, name=slide_id))
    with atomic_write(cohort.truth / f"{slide_id}.parquet") as file:
        pq.write_table(nuclei_table(phantom.truth.nuclei), file)
    truth = {
        "slide_id": slide_id,
        "genotype": genotype,
        "mpp": mpp,
        "seed": list(seed),
        "stain": asdict(phantom.truth.stain),
        "section": phantom.truth.section.round(2).tolist(),
    }
    write_json(cohort.truth / f"{slide_id}.json", truth)
    path = cohort.slides / f"{slide_id}.tif"
    write_pyramid(path, phantom.image, mpp=mpp)
    return path


def _results_as_completed(tasks: Sequence[Callable[[], Path]], processes: int) -> Iterator[Path]:
    """Yield the results as they are completed; a single process is this one."""
    if processes == 1:
        for task in tasks:
            yield task()
        return
    # Spawned, not forked: the caller may hold the threads of a numerical library.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(task) for task in tasks]):
            yield future.result()
