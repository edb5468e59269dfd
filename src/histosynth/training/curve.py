"""The loss curve of a run."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from histosynth.rundir import atomic_write


def save_loss_curve(path: Path, stats: list[dict[str, Any]]) -> None:
    """Plot loss and learning rate over images seen, from the lines of `stats.jsonl`, as a PNG.

    The loss axis is logarithmic unless the loss becomes negative, as that of a critic does.
    """

    images = [line["images"] for line in stats]
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    losses = [line["loss"] for line in stats]
    axes.plot(images, losses, color="#7a3b8f", linewidth=0.8, alpha=0.8)
    axes.set(xlabel="images seen", ylabel="loss", yscale="log" if min(losses) > 0 else "linear")
    rate = axes.twinx()
    rate.plot(images, [line["lr"] for line in stats], color="#888888", linewidth=0.8, linestyle="--")
    rate.set_ylabel("learning rate (dashed)")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)
