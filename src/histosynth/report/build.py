"""From two stores to a report: check, measure, draw, and put the directory in place once it is whole.

`OUT/report.html` (for people, self-contained), `OUT/report.json` (the same figures for machines, with their provenance)
and `OUT/figures/*.png`.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.config import EvaluateSettings
from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import FeatureExtractor, extractors
from histosynth.metrics.features import extract_features
from histosynth.patches.store import Store
from histosynth.report import figures as draw
from histosynth.report.comparison import Features, Figures, compare
from histosynth.report.page import Panel, render
from histosynth.report.sides import SEED, SIDE_TITLES, Plan, SideName, plan
from histosynth.report.words import cautions, median_mpp, verdict
from histosynth.rundir import provenance, write_json, write_text

KIND = "report"
SCHEMA_VERSION = 1
FACTS = "report.json"
PAGE = "report.html"


def evaluate(
    *,
    real: Store,
    fake: Store,
    out: Path,
    settings: EvaluateSettings,
    extractor: FeatureExtractor | None = None,
    device: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Compare synthetic with real patches and write the report to the directory `out`, over an older report if need be.

    Args:
        real: a patch store; its split by patient decides what is held out.
        fake: a sample store.
        out: the report's directory: absent, empty, or an older report.
        settings: the extractor, k, and the sizes of batch and grid.
        extractor: an instance to use in place of the one that the settings name.
        device: where the extractor runs (`None`: a GPU where there is one, else the CPU).
        progress: show a bar with images a second on standard error.

    Returns:
        The content of `report.json`.

    Raises:
        HistosynthError: the stores cannot be compared, or `out` holds something else.
    """
    check_stores(real, fake)
    check_out(out)
    the_plan = plan(real=real, fake=fake, neighbors=settings.neighbors)
    extractor = extractor or extractors[settings.extractor](device)
    features = _features(the_plan, extractor, batch=settings.batch, progress=progress)
    found = compare(the_plan, features, neighbors=settings.neighbors)
    said = verdict(found, extractor=extractor)
    hashes = {"real": real.content_hash(), "fake": fake.content_hash()}
    warned = cautions(the_plan, found, real_hash=hashes["real"], dimension=extractor.dimension)
    content = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "verdict": said,
        "cautions": [asdict(caution) for caution in warned],
        "sides": {
            s.name: {
                "patches": sum(map(len, s.rows.values())),
                "patients": s.patients(),
                "labels": {k: {"patches": len(r), "patients": s.patients(k)} for k, r in s.rows.items()},
            }
            for s in the_plan.sides.values()
        },  # fmt: skip
        **asdict(found),
        "extractor": {
            "name": extractor.name,
            "dimension": extractor.dimension,
            "weights_sha256": extractor.weights_sha256,
            "preprocessing": extractor.preprocessing,
        },  # fmt: skip
        "settings": {**settings.model_dump(), "subsample_seed": SEED},
        "stores": {"real": _describe(real, hashes["real"]), "fake": _describe(fake, hashes["fake"])},
        "provenance": provenance(),
    }
    panels = {label: _panels(the_plan, label, settings.grid) for label in the_plan.labels}
    page = render(
        title=", ".join(sorted(set(fake.column("source")))),
        verdict=said,
        cautions=warned,
        figures=found,
        panels=panels,
        extractor_title=extractor.title,
        neighbors=settings.neighbors,
        patch_px=real.patch_px,
        provenance=_summary(content),
    )
    with _replacing(out) as directory:
        (directory / "figures").mkdir()
        _write_figures(directory / "figures", the_plan, found, settings.grid)
        write_text(directory / PAGE, page)
        write_json(directory / FACTS, content)
    return content


def check_stores(real: Store, fake: Store) -> None:
    """Raises HistosynthError where the two stores cannot stand for real and synthetic patches of one kind."""
    made, tissue = Counter(fake.column("source")), Counter(real.column("source"))
    if made["real"] == len(fake):
        raise HistosynthError(f"--fake {fake.path} holds real patches only; swap --real and --fake?")
    if made["real"]:
        raise HistosynthError(f"--fake {fake.path} holds {made['real']} real patches among {len(fake)}; give a store of samples alone")  # fmt: skip
    if tissue["real"] < len(real):
        raise HistosynthError(f"--real {real.path} holds {len(real) - tissue['real']} synthetic patches among {len(real)}; give a store made by `histosynth patches`")  # fmt: skip
    if real.patch_px != fake.patch_px:
        raise HistosynthError(
            f"patch sizes differ: {real.patch_px} px in {real.path}, {fake.patch_px} px in {fake.path}; "
            f"make the real store with --set patches.patch_px={fake.patch_px}"
        )


def check_out(out: Path) -> None:
    """Raises HistosynthError where `out` holds something that is no report: that is never overwritten."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        kind = json.loads((out / FACTS).read_text("utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        kind = None
    if kind != KIND:
        raise HistosynthError(f"--out {out} exists and is no report; give a new or an empty directory")


def _features(the_plan: Plan, extractor: FeatureExtractor, *, batch: int, progress: bool) -> Features:
    wanted = {
        (name, label): side.rows[label][: the_plan.n[label]]
        for name, side in the_plan.sides.items()
        for label in the_plan.labels
        if the_plan.n[label] and the_plan.usable(name, label)
    }
    total = sum(map(len, wanted.values()))
    features: dict[SideName, dict[str, NDArray[np.float32]]] = {name: {} for name in the_plan.sides}
    with tqdm(total=total, desc="features", unit="image", disable=not progress) as bar:
        for (name, label), rows in wanted.items():
            store = the_plan.sides[name].store
            features[name][label] = extract_features(store, rows, extractor=extractor, batch=batch, progress=bar)
    return features


def _panels(the_plan: Plan, label: str, count: int) -> list[Panel]:
    """The first few patches of each side, held-out first, in the order in which they enter the figures."""
    panels = []
    for name, side in the_plan.sides.items():
        rows = side.rows[label][:count]
        images = side.store.images(rows)
        panels.append(
            Panel(
                side=SIDE_TITLES[name],
                synthetic=name == "fake",
                count=len(side.rows[label]),
                patients=side.patients(label),
                images=[
                    draw.patch_png(image, synthetic=_statement(side.store) if name == "fake" else None)
                    for image in images
                ],
                names=[side.store.column("patch_id")[row] for row in rows],
            )
        )
    return panels


def _statement(fake: Store) -> str:
    sources = ", ".join(sorted(set(fake.column("source"))))
    return f"Synthetic histology, no patient's tissue: made by the generative model {sources} with histosynth"


def _write_figures(directory: Path, the_plan: Plan, found: Figures, count: int) -> None:
    rows = {"Overall": found.overall, **(found.labels if len(found.labels) > 1 else {})}
    (directory / "distances.png").write_bytes(draw.distance_chart(rows))
    if found.matrices:
        (directory / "labels.png").write_bytes(draw.matrix_chart(found.matrices))
    for name, side in the_plan.sides.items():
        for label, order in side.rows.items():
            if len(order):
                sheet = draw.grid(side.store.images(order[:count]), columns=6)
                png = draw.patch_png(sheet, synthetic=_statement(side.store) if name == "fake" else None)
                (directory / f"{name}-{_file_name(label)}.png").write_bytes(png)


def _file_name(label: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in label)


def _describe(store: Store, content_hash: str) -> dict[str, Any]:
    return {
        "path": str(store.path),
        "sha256": content_hash,
        "patches": len(store),
        "patch_px": store.patch_px,
        "mpp": median_mpp(store),
        "sources": sorted(set(store.column("source"))),
        "manifest": {key: value for key, value in store.manifest.items() if key != "slides"},
    }


def _summary(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The provenance as tables of names and short values, for the foot of the page."""
    tables = {}
    for key, title in (("real", "Real patches"), ("fake", "Synthetic patches")):
        facts = content["stores"][key]
        made = facts["manifest"].get("made_with") or facts["manifest"].get("settings") or {}
        tables[title] = {"store": facts["path"], "SHA-256": facts["sha256"], "patches": f"{facts['patches']:,} of {facts['patch_px']} px"}  # fmt: skip
        tables[title] |= {"microns per pixel": f"{facts['mpp']:.3g}" if facts["mpp"] else "not stated"}
        tables[title] |= {name.replace("_", " "): value for name, value in made.items()}
    measured = {"extractor": content["extractor"]["name"], "weights SHA-256": content["extractor"]["weights_sha256"]}
    measured |= {"preprocessing": content["extractor"]["preprocessing"]}
    tables["Measures"] = measured | {name.replace("_", " "): value for name, value in content["settings"].items()}
    made = content["provenance"]
    tables["Program"] = {"command": " ".join(made["argv"]), "revision": made["git_revision"] or "installed package"}
    tables["Program"] |= {"versions": ", ".join(f"{k} {v}" for k, v in made["versions"].items())}
    tables["Program"] |= {"machine": f"{made['platform']}, {made['cpus']} CPUs"}
    return tables


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A temporary directory beside `out` that takes its place once all in it is written."""
    temporary, old = (out.with_name(f".{out.name}.{tail}") for tail in ("tmp", "old"))
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if out.exists():
            out.replace(old)
        temporary.replace(out)
    finally:
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)
