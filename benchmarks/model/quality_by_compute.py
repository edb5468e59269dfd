"""Quality of samples against the compute of training: our diffusion models, our GAN and two peers at equal time.

Each contender (`contenders.py`) trains a class-conditional model on the same 32-px patches of real tissue
(`small_budget.py`) for the same processor time on one thread, its start included. Short runs first measure how many
images fit, so that other work on the machine changes no result later. All generate equal numbers of patches, which
`histosynth evaluate` measures with EfficientNet-Lite0, with real patches as the floor.

    .venv/bin/python benchmarks/model/quality_by_compute.py --data DIR [--tissue colon] [--out DIR] [--minutes 1 4 15]
        [--seeds 0 1] [--only NAME …] [--autoguidance 1.5] [--samplers ddpm/schedule …] [--per-label 150] [--jobs 1]
        [--rates] [--figure PNG] [--sheet PNG] [--quick]

NAME is a contender, or one of its tries as in `--only "progan: lr 4e-3"`; settings are chosen on colon, by the
distance to held-out patches, and reported on the other two tissues. What is done is not done again: interrupt and rerun
at will, and rerun on an idle machine with `--rates` first. `--figure` draws distance and recall against minutes,
`--sheet` patches of each contender at each budget. The last line is JSON: `ratio` is the Fréchet distance to held-out
patches of `small` divided by that of the best peer, after the longest time that both have; `low` and `high` are the
extremes over the classes.
"""

import argparse
import io
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from contenders import CONTENDERS, PEERS, images_in, split_name, train
from numpy.typing import NDArray
from PIL import Image
from small_budget import TISSUES, make_store, report_results, run_verb, set_options

from histosynth.store.contact_sheet import contact_sheet
from histosynth.store.png import synthetic_mark, with_texts
from histosynth.store.store import Store

COLUMNS = ("images", "train", "held-out", "precision", "recall", "color", "nuclei")
GUIDED = ("small", "without mixture")
"""Contenders with early weights, for autoguidance."""
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tissue", choices=TISSUES, default="osteosarcoma")
    parser.add_argument("--out", type=Path, default=Path("runs/quality-by-compute"))
    parser.add_argument("--minutes", nargs="+", type=float, default=[1, 4, 15, 30], help="of processor time, each")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of training")
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--autoguidance", nargs="*", type=float, default=[1.5], metavar="W")
    parser.add_argument("--samplers", nargs="*", default=[], metavar="SAMPLER/SPACING", help="beside the default")
    parser.add_argument("--per-label", type=int, default=150)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--rates", action="store_true", help="only measure images per second, on an idle machine")
    parser.add_argument("--figure", type=Path, help="PNG of distance and recall against minutes")
    parser.add_argument("--sheet", type=Path, help="PNG with patches of each contender at each budget")
    parser.add_argument("--quick", action="store_true", help="under a minute: shows that it runs, nothing else")
    options = parser.parse_args()
    if options.quick:
        options.out, options.minutes, options.per_label = Path(f"{options.out}-quick"), [0.0], 4
        options.only = ["small", PEERS[0]]
        shutil.rmtree(options.out, ignore_errors=True)
    settings, store = make_store(options.data, options.out, tissue=options.tissue, quick=options.quick)
    if options.rates:
        for name in options.only:
            images_in(name, 1, out=options.out, settings=settings, store=store)
        print((options.out / "rates.json").read_text())
        return
    jobs = [(minutes, seed, name) for minutes in options.minutes for seed in options.seeds for name in options.only]
    with ThreadPoolExecutor(options.jobs) as pool:
        measured = pool.map(lambda job: _measure(*job, settings=settings, store=store, options=options), jobs)
        rows = [row for rows in measured for row in rows]
    # Table, pictures
    print(f"| | minutes | seed | {' | '.join(COLUMNS)} |\n| --- |{' --- |' * (len(COLUMNS) + 2)}")
    for row in rows:
        cells = " | ".join(_cell(row[column]) for column in COLUMNS)
        print(f"| {row['title']} | {row['minutes']:g} | {row['seed']} | {cells} |")
    print(f"real training patches to held-out ones: {rows[0]['floor']:.1f}; n = {rows[0]['n']:.0f} per side")
    if options.figure:
        _draw_curves(rows, options.figure)
    if options.sheet:
        _draw_sheet(rows, Store(store), options.sheet)
    print(json.dumps(_result(rows, Store(store).labels), ensure_ascii=False))


def _measure(
    minutes: float, seed: int, name: str, *, settings: Path, store: Path, options: argparse.Namespace
) -> list[Row]:
    """Train, sample and evaluate, except for finished parts; one row per way of sampling."""
    folder: Path = options.out / f"{name}, {minutes:g} min, seed {seed}"
    record = folder / "trained.json"
    if not record.exists():
        images = images_in(name, minutes, out=options.out, settings=settings, store=store) if minutes else 64
        trained = train(name, images, seed, folder, settings=settings, store=store, per_label=options.per_label)
        record.write_text(json.dumps(trained))
    ways: dict[str, list[str]] = {"": []}
    if split_name(name)[0] in GUIDED:
        ways |= {f"autoguidance {weight:g}": [f"sample.autoguidance={weight}"] for weight in options.autoguidance}
        for way in options.samplers:
            sampler, spacing = way.split("/")
            ways[way.replace("/", " ")] = [f"sample.sampler={sampler}", f"sample.spacing={spacing}"]
    rows = []
    for way, sets in ways.items():
        samples, report = (folder / f"{kind} {way}".strip() for kind in ("samples", "report"))
        if not (report / "report.json").exists():
            if name.partition(": ")[0] not in PEERS:
                words = ["--out", str(samples), "--per-label", str(options.per_label), *set_options(sets)]
                run_verb("sample", str(folder / "run"), *words)
            sections = set_options(['evaluate.sections=["color", "morphology"]'])
            sides = ["--real", str(store), "--fake", str(samples), "--out", str(report)]
            run_verb("evaluate", *sides, "--config", str(settings), *sections)
        results = json.loads((report / "report.json").read_text())
        labels = {
            label: cells["fake_vs_held_out"]["measures"]["frechet_distance"]["value"]
            for label, cells in results["labels"].items()
        }
        title = f"{name}, {way}" if way else name
        about = {"title": title, "name": name, "minutes": minutes, "seed": seed, "samples": samples}
        rows.append({**about, **json.loads(record.read_text()), **report_results(results), "labels": labels})
    return rows


def _result(rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Any]:
    """Compare `small` with the best peer after the longest time that both have."""
    result: dict[str, Any] = {"name": "quality_by_compute"}
    ours = [row for row in rows if row["title"] == "small"]
    peers = [row for row in rows if row["name"] in PEERS]
    both = {row["minutes"] for row in ours} & {row["minutes"] for row in peers}
    if not both:
        return result | {"train": {f"{row['title']}, {row['minutes']:g} min": row["train"] for row in rows}}
    mine, best = (
        min((row for row in side if row["minutes"] == max(both)), key=lambda row: row["held-out"])
        for side in (ours, peers)
    )
    ratios = [mine["labels"][label] / best["labels"][label] for label in labels]
    return result | {
        "ratio": round(mine["held-out"] / best["held-out"], 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "unit": f"Fréchet distance to held-out patches after {max(both):g} min, small over {best['name']}",
    }


def _draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Draw distance, recall and precision against minutes; one line per contender through the mean of its seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    titles = list(dict.fromkeys(row["title"] for row in rows))
    for axes, (column, label) in zip(
        figure.subplots(1, 3),
        (("held-out", "Fréchet distance to held-out patches"), ("recall", "recall"), ("precision", "precision")),
        strict=True,
    ):
        for color, title in enumerate(titles):
            points: dict[float, list[float]] = {}
            for row in rows:
                if row["title"] == title:
                    points.setdefault(row["minutes"], []).append(row[column])
            minutes = sorted(points)
            means = [sum(points[minute]) / len(points[minute]) for minute in minutes]
            (line,) = axes.plot(minutes, means, "-", color=f"C{color}", label=title)
            for minute in minutes:
                axes.plot([minute] * len(points[minute]), points[minute], "o", color=line.get_color(), markersize=4)
        axes.set(xscale="log", xlabel="minutes of one core", title=label, ylim=(0, None))
        axes.set_xticks(
            sorted({row["minutes"] for row in rows}), [f"{row:g}" for row in sorted({r["minutes"] for r in rows})]
        )
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
        if column == "held-out":
            axes.axhline(rows[0]["floor"], color="0.6", linestyle=":", label="real training patches")
            handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=130)


def _draw_sheet(rows: Sequence[Row], real: Store, path: Path) -> None:
    """Draw five patches of each class, held-out ones first, then one line per contender and budget."""
    held_out = [row for label in real.labels for row in _spread(real.select(split="held_out", label=label), 5)]
    groups: dict[str, Any] = {"held-out patches (real)": real.images(held_out)} | {
        f"{row['title']}, {row['minutes']:g} min (synthetic)": _patches(Store(row["samples"]))
        for row in rows
        if row["seed"] == rows[0]["seed"]
    }
    sheet = Image.fromarray(contact_sheet(groups, columns=15, scale=2))
    buffer = io.BytesIO()
    sheet.quantize(192, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    path.write_bytes(with_texts(buffer.getvalue(), synthetic_mark(", ".join(dict.fromkeys(r["name"] for r in rows)))))


def _patches(store: Store) -> NDArray[np.uint8]:
    return store.images([row for label in store.labels for row in _spread(store.select(label=label), 5)])


def _spread(rows: Sequence[int], count: int) -> list[int]:
    """Return `count` of the rows at equal distances."""
    return [rows[i * len(rows) // count] for i in range(count)]


def _cell(value: float) -> str:
    return format(value, ",.0f" if value >= 1000 else ".1f" if value >= 10 else ".2f")


if __name__ == "__main__":
    main()
