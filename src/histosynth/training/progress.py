"""Progress of a run, read from its files only: during training, from another machine, or afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from histosynth.training.log import read_stats
from histosynth.training.run import read_run_manifest
from histosynth.training.saved_states import saved_states

_SLOWEST = 0.01  # images per second; the log rounds slower rates to 0
_OF_GAN = {"px", "alpha", "score_real", "score_fake", "penalty", "diversity"}
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """Progress as `histosynth watch` shows it.

    Attributes:
        run: directory of the run.
        status: `running`, `stopped` or `finished`, as last written by the run.
        images: images seen, by the last line of the log.
        total_images: images to train on.
        loss: the last logged loss; None before the first.
        losses: mean losses of up to 40 equal parts of the log.
        images_per_second: rate of the last call.
        seconds_left: time left at that rate, 0 when finished; None if it is not known.
        checkpoint: the newest state; None before the first.
        samples: the newest sample grid.
        metrics: latest and lowest value of each periodic metric, by name.
        last: the last line of the log.
    """

    run: Path
    status: str
    images: int
    total_images: int
    loss: float | None
    losses: tuple[float, ...]
    images_per_second: float | None
    seconds_left: float | None
    checkpoint: Path | None
    samples: Path | None
    metrics: dict[str, tuple[float, float]]
    last: dict[str, float]


def read_progress(run: Path, *, columns: int = 40) -> RunProgress:
    """Read the progress of the run in a directory.

    Raises:
        HistosynthError: the directory is not a run.
    """
    # Loss curve, in equal parts.
    manifest, stats = read_run_manifest(run), read_stats(run)
    last, losses = stats[-1] if stats else {}, [line["loss"] for line in stats]
    parts = min(columns, len(losses))
    cuts = [round(n * len(losses) / parts) for n in range(parts + 1)] if parts else []
    # Time left, and metrics.
    images, total = last.get("images", manifest.images), manifest.total_images
    rate = last.get("images_per_second")
    left = max(total - images, 0) / rate if rate and rate >= _SLOWEST else None
    logged = {name: [line[name] for line in stats if name in line] for name in ("frechet",)}
    return RunProgress(
        run=run,
        status=manifest.status,
        images=images,
        total_images=total,
        loss=last.get("loss"),
        losses=tuple(sum(losses[a:b]) / (b - a) for a, b in pairwise(cuts)),
        images_per_second=rate,
        seconds_left=0.0 if manifest.status == "finished" else left,
        checkpoint=max(saved_states(run / "state"), default=None),
        samples=max((run / "samples").glob("*.png"), default=None),
        metrics={name: (values[-1], min(values)) for name, values in logged.items() if values},
        last=last,
    )


def sparkline(values: tuple[float, ...]) -> str:
    """Return values as a row of bars whose heights span their range."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((value - low) / step)] for value in values)


def progress_text(progress: RunProgress) -> str:
    """Return the progress as text, one fact per line."""
    share = 100 * progress.images / max(progress.total_images, 1)
    lines = [
        f"{progress.run}: {progress.status}, {progress.images:,} of {progress.total_images:,} images ({share:.1f} %)"
    ]
    if progress.loss is not None:
        lines.append(f"loss        {progress.loss:.4f}  {sparkline(progress.losses)}")
    if progress.last.keys() >= _OF_GAN:
        lines.append("growth      {px} px, alpha {alpha:.2f}".format(**progress.last))
        lines.append(
            "scores      real {score_real:.3f}, fake {score_fake:.3f}, penalty {penalty:.3f}".format(**progress.last)
        )
        lines.append("diversity   {diversity:.2f} of the diversity of real patches".format(**progress.last))
    if progress.images_per_second:
        left = "" if progress.seconds_left is None else f", {_duration(progress.seconds_left)} left"
        lines.append(f"rate        {progress.images_per_second:.1f} images/s{_work(progress.last)}{left}")
    lines += [f"{name:<10}  {last:.4g}, lowest {low:.4g}" for name, (last, low) in progress.metrics.items()]
    lines.append(f"checkpoint  {progress.checkpoint or 'none yet'}")
    lines.append(f"samples     {progress.samples or 'none yet'}")
    return "\n".join(lines)


def _work(last: Mapping[str, float]) -> str:
    """Return the throughput of a run on GPUs as text (`throughput`)."""
    if "tflops" not in last:
        return ""
    share = f" ({100 * last['share_of_peak']:.1f} % of its peak)" if "share_of_peak" in last else ""
    return f", {last['tflops']:.1f} TFLOP/s per GPU{share}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60:02d} min"
