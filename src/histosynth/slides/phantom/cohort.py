"""A cohort of phantoms on disk: pyramids, outlines, labels, and the truth beside them."""

import csv
import io
import json
import multiprocessing
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.rundir import atomic_write, write_json, write_text
from histosynth.slides.phantom.drawing import GENOTYPES, Phantom, draw
from histosynth.slides.phantom.nuclei import KINDS

TILE_PX = 256
_LEVELS = (1, 4, 16)
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Cohort:
    """Where a cohort lies."""

    slides: Path
    """Folder of `<slide_id>.tif`."""
    outlines: Path
    """Folder of `<slide_id>.geojson`."""
    labels: Path
    """CSV: slide_id, patient_id, label."""
    truth: Path
    """Folder of `<slide_id>.parquet` (nuclei, in level-0 pixels) and `<slide_id>.json` (stain, seed, section)."""


@dataclass(frozen=True)
class _Order:
    """One slide to draw."""

    slide_id: str
    genotype: str
    size_px: int
    mpp: float
    seed: tuple[int, int]


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
    """Draw one slide a patient, each genotype alike often, with outlines, labels and truth. Files there are replaced.

    Args:
        directory: made if absent.
        patients_per_genotype: number of slides of each genotype.
        size_px: width and height of each slide at full resolution.
        mpp: microns per pixel at full resolution.
        seed: with the slide's number, the only source of chance: the number of workers changes no byte.
        workers: processes; None takes one a core, 1 draws in this process.
        progress: show a bar on stderr.

    Raises:
        HistosynthError: no patient, or a slide too small to hold a tumor.
    """
    if patients_per_genotype < 1:
        raise HistosynthError(f"a cohort of {patients_per_genotype} patients a genotype is empty; ask for 1 at least")
    cohort = Cohort(directory / "slides", directory / "outlines", directory / "labels.csv", directory / "truth")
    for folder in (cohort.slides, cohort.outlines, cohort.truth):
        folder.mkdir(parents=True, exist_ok=True)
    orders = [
        _Order(f"PHAN-01-{n + 1:04d}-01Z-00-DX1", GENOTYPES[n % len(GENOTYPES)], size_px, mpp, (seed, n))
        for n in range(patients_per_genotype * len(GENOTYPES))
    ]
    processes = min(workers or os.cpu_count() or 1, len(orders))
    with tqdm(total=len(orders), desc="phantom slides", unit="slide", disable=not progress) as bar:
        for _ in _run(orders, cohort, processes):
            bar.update()
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["slide_id", "patient_id", "label"])
    rows.writerows([order.slide_id, order.slide_id[:12], order.genotype] for order in orders)
    write_text(cohort.labels, text.getvalue())
    return cohort


def _run(orders: list[_Order], cohort: Cohort, processes: int) -> Iterator[None]:
    if processes == 1:
        for order in orders:
            yield draw_slide(order, cohort)
        return
    # Spawned, not forked: the caller may hold the threads of a numerical library.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(draw_slide, orders, [cohort] * len(orders))


def draw_slide(order: _Order, cohort: Cohort) -> None:
    """Draw one slide and write its files."""
    rng = np.random.default_rng(np.random.SeedSequence(order.seed))
    phantom = draw(order.genotype, width_px=order.size_px, height_px=order.size_px, mpp=order.mpp, rng=rng)
    write_pyramid(cohort.slides / f"{order.slide_id}.tif", phantom.image, mpp=order.mpp)
    write_json(cohort.outlines / f"{order.slide_id}.geojson", outline_geojson(phantom.outline, name=order.slide_id))
    with atomic_write(cohort.truth / f"{order.slide_id}.parquet") as file:
        pq.write_table(nuclei_table(phantom), file)
    truth = {
        "slide_id": order.slide_id,
        "genotype": order.genotype,
        "mpp": order.mpp,
        "seed": list(order.seed),
        "stain": asdict(phantom.truth.stain),
        "section": phantom.truth.tissue.round(2).tolist(),
    }
    write_json(cohort.truth / f"{order.slide_id}.json", json.loads(json.dumps(truth)))


def write_pyramid(path: Path, image: NDArray[np.uint8], *, mpp: float) -> None:
    """Write (H, W, 3) as a tiled pyramid (levels 1, 4, 16; JPEG) that OpenSlide reads with its microns per pixel.

    The file carries no date and no program's name, so that equal pictures are equal files.
    """
    whole = Image.fromarray(image)
    with atomic_write(path) as file, tifffile.TiffWriter(file) as tiff:
        for downsample in _LEVELS:
            per_cm = 1e4 / (mpp * downsample)
            tiff.write(
                np.asarray(whole.reduce(downsample)) if downsample > 1 else image,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": _JPEG_QUALITY},
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=0 if downsample == 1 else 1,
                metadata=None,
                software=False,
            )


def outline_geojson(ring: NDArray[np.float64], *, name: str) -> dict[str, object]:
    """A ring (N, 2) as the FeatureCollection that QuPath writes for one annotation of class `Tumor`."""
    coordinates = ring.round(2).tolist()
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
                "geometry": {"type": "Polygon", "coordinates": [[*coordinates, coordinates[0]]]},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": "Tumor", "color": [200, 0, 0]},
                },
            }
        ],
    }


def nuclei_table(phantom: Phantom) -> pa.Table:
    """The nuclei of a phantom: x, y, radius, major, minor (level-0 px), eccentricity, angle (radians), kind."""
    cells = phantom.truth.nuclei
    major, minor = np.maximum(cells["major"], cells["minor"]), np.minimum(cells["major"], cells["minor"])
    return pa.table(
        {
            "x": cells["x"],
            "y": cells["y"],
            "radius": np.sqrt(major * minor),
            "major": major,
            "minor": minor,
            "eccentricity": np.sqrt(1.0 - (minor / major) ** 2),
            "angle": cells["angle"],
            "kind": pa.array([KINDS[kind] for kind in cells["kind"]]),
        }
    )
