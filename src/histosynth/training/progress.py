"""How far is a run? Read from its files alone, while it trains, here or on another machine, or long after."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from histosynth.rundir import read_manifest
from histosynth.training.log import read_stats
from histosynth.training.run import KIND

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """What `histosynth watch` shows.

    Attributes:
        run: its directory.
        status: `running`, `stopped` or `finished`, as the run wrote it last.
        images: seen, by the last line of the log.
        total_images: to see.
        loss: the last one logged; None before the first.
        losses: mean losses of up to 40 equal parts of the log.
        images_per_second: of the last call.
        seconds_left: at that rate, 0 when finished; None where it is not known.
        checkpoint: the newest state; None before the first.
        samples: the newest sample grid.
        figures: what checkups found last, by name, with the lowest so far.
        last: the last line of the log, all of it.
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
    """How far the run in that directory is.

    Raises:
        HistosynthError: it is no run.
    """
    manifest, stats = read_manifest(run, kind=KIND), read_stats(run)
    last, losses = stats[-1] if stats else {}, [line["loss"] for line in stats]
    parts = min(columns, len(losses))
    cuts = [round(n * len(losses) / parts) for n in range(parts + 1)] if parts else []
    images, total, rate = (
        last.get("images", manifest["images"]),
        manifest["total_images"],
        last.get("images_per_second"),
    )
    left = max(total - images, 0) / rate if rate else None
    found = {name: [line[name] for line in stats if name in line] for name in ("frechet",)}
    return RunProgress(
        run=run,
        status=manifest["status"],
        images=images,
        total_images=total,
        loss=last.get("loss"),
        losses=tuple(sum(losses[a:b]) / (b - a) for a, b in pairwise(cuts)),
        images_per_second=rate,
        seconds_left=0.0 if manifest["status"] == "finished" else left,
        checkpoint=max((run / "state").glob("state-*.pt"), default=None),
        samples=max((run / "samples").glob("*.png"), default=None),
        metrics={name: (values[-1], min(values)) for name, values in found.items() if values},
        last=last,
    )


def sparkline(values: tuple[float, ...]) -> str:
    """Values as a row of bars, the lowest lowest."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((value - low) / step)] for value in values)


def progress_text(found: RunProgress) -> str:
    """For people, a fact a line."""
    share = 100 * found.images / max(found.total_images, 1)
    lines = [f"{found.run}: {found.status}, {found.images:,} of {found.total_images:,} images ({share:.1f} %)"]
    if found.loss is not None:
        lines.append(f"loss        {found.loss:.4f}  {sparkline(found.losses)}")
    if "px" in found.last:  # a GAN
        lines.append("growth      {px} px, alpha {alpha:.2f}".format(**found.last))
        lines.append(
            "scores      real {score_real:.3f}, fake {score_fake:.3f}, penalty {penalty:.3f}".format(**found.last)
        )
        lines.append("diversity   {diversity:.2f} of that of real patches".format(**found.last))
    if found.images_per_second:
        left = "" if found.seconds_left is None else f", {_duration(found.seconds_left)} left"
        lines.append(f"rate        {found.images_per_second:.1f} images a second{left}")
    lines += [f"{name:<10}  {last:.4g}, lowest {low:.4g}" for name, (last, low) in found.metrics.items()]
    lines.append(f"checkpoint  {found.checkpoint or 'none yet'}")
    lines.append(f"samples     {found.samples or 'none yet'}")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60:02d} min"
