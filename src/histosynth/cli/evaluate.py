"""`histosynth evaluate`: measure synthetic against real patches, and write a report."""

import sys
from pathlib import Path
from typing import Any

import click

from histosynth.cli.options import device_option, json_option, print_result, quiet_option, settings_options
from histosynth.config import load_settings

COPIES_FOUND = 3
"""Exit code if synthetic patches are near copies of training patches; mistakes exit with 2."""
_COLUMNS = ("n", "FD held-out", "FD train", "FD real-real", "precision", "recall")
_PAIRS = ("fake_vs_held_out", "fake_vs_train", "train_vs_held_out")


@click.command()
@click.option("--real", required=True, type=click.Path(path_type=Path), help="Patch store with real patches.")
@click.option("--fake", required=True, type=click.Path(path_type=Path), help="Sample store with synthetic patches.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The report; an older one is replaced.")
@click.option("--extractor", help="Feature extractor: inception, dinov2, timm:MODEL … Overrides evaluate.extractor.")
@click.option("--weights", help="Weights file of the extractor. Overrides evaluate.weights.")
@click.option("--cache", help="Directory in which features are cached, or off. Overrides evaluate.cache.")
@settings_options
@device_option
@quiet_option
@json_option
def command(
    real: Path,
    fake: Path,
    out: Path,
    extractor: str | None,
    weights: str | None,
    cache: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure synthetic against real patches, per label and overall, and write a report.

    The main results compare synthetic patches with those of held-out patients. Those of training patients, and the
    distance between both real sides, are reported too. All sides of a comparison have the same number of patches.

    If synthetic patches are near copies of training patches, the exit code is 3, after the report is written and
    everything is printed.

    \b
      histosynth evaluate --real stores/lgg --fake samples/lgg --out reports/lgg
    """
    settings = load_settings(config, overrides=overrides).evaluate
    options = {"extractor": extractor, "weights": weights, "cache": cache}
    settings = settings.model_copy(update={key: value for key, value in options.items() if value is not None})
    from histosynth.report.build import PAGE, evaluate
    from histosynth.store.store import Store

    report = evaluate(real=Store(real), fake=Store(fake), out=out, settings=settings, device=device, progress=not quiet)
    text = "\n".join(
        [
            f"{report['extractor']['name']} features",
            "",
            _table(report),
            "",
            *report["verdict"],
            *(f"! {c['text']}" for c in report["cautions"]),
        ]
    )
    print_result(report, f"{text}\n\nreport   {out / PAGE}", as_json=as_json)
    if report.get("memorization", {}).get("copies"):
        sys.exit(COPIES_FOUND)


def _table(report: dict[str, Any]) -> str:
    """Return the results against held-out patients, or against training patients if none is held out."""
    rows = {"overall": report["overall"], **report["labels"]}
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{title:>14}" for title in _COLUMNS)]
    for name, row in rows.items():
        main = row["fake_vs_held_out"] if row["fake_vs_held_out"]["n"] else row["fake_vs_train"]
        cells = [f"{main['n']:,}"]
        cells += [_cell(row[pair], "frechet_distance", ".1f") for pair in _PAIRS]
        cells += [_cell(main, share, ".2f") for share in ("precision", "recall")]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def _cell(comparison: dict[str, Any], key: str, form: str) -> str:
    return comparison["note"] or format(comparison["measures"][key]["value"], form)
