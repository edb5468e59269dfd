"""Effect of "morphology prioritization": loss and share of the gradient by noise level, under each weighting.

One trained network receives real training patches at noise levels drawn as in training. Only the loss weights differ
between the lines. The bands are decades of the signal-to-noise ratio; the three stages are those of Choi et al. 2022
(coarse features, content, clean-up of imperceptible noise).

    .venv/bin/python benchmarks/model/noise_levels.py --store STORE --run RUN [--times 1000] [--figure PNG] [--quick]

RUN is a run of a discrete process, such as `runs/objectives/uniform-0/run` of `objectives.py`. The script takes six
minutes on one core. It draws the figure of docs/how-to/objectives.md and prints the shares of the stages. The last line
is JSON: `ratio` is the share of the gradient from content under P2 (gamma = 1) divided by that under the uniform loss;
`low` and `high` are the values of the two halves of the noise levels.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histosynth.config import load_settings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.denoiser import Denoiser
from histosynth.diffusion.diagnose import STAGES, NoiseBandStatistics, loss_by_noise_level
from histosynth.store.store import Store
from histosynth.training.checkpoint import find_weights, load_denoiser
from histosynth.training.data.dataset import PatchDataset

WEIGHTINGS = {
    "uniform": ("weighting=uniform",),
    "P2, γ = 0.5": ("weighting=p2", "p2_gamma=0.5"),
    "P2, γ = 1": ("weighting=p2", "p2_gamma=1.0"),
    "min-SNR, γ = 5": ("weighting=min_snr",),
}
COLORS = ("#444444", "#c26a9d", "#7a3b8f", "#2f7f79")
DECADES = [(10.0**low, 10.0 ** (low + 1)) for low in range(-4, 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--times", type=int, default=1000, help="number of noise levels")
    parser.add_argument("--figure", type=Path, help="path of the figure")
    parser.add_argument("--quick", action="store_true", help="under a minute; only shows that the script runs")
    options = parser.parse_args()
    # Networks, patches and noise levels
    count = 128 if options.quick else options.times
    denoisers = {name: _weighted(options.run, overrides) for name, overrides in WEIGHTINGS.items()}
    x0, label = PatchDataset(Store(options.store)).batch(0, min(count, 1024), seed=0)
    times = denoisers["uniform"].draw_times(count, generator=torch.Generator().manual_seed(0))

    def measure(denoiser: Denoiser, bands: list[tuple[float, float]], at: torch.Tensor) -> NoiseBandStatistics:
        generator = torch.Generator().manual_seed(1)
        return loss_by_noise_level(denoiser, x0, label, times=at, generator=generator, bands=bands)

    # Table and figure
    stages = list(STAGES.values())
    shares = {name: measure(denoiser, stages, times).gradient_share for name, denoiser in denoisers.items()}
    print(f"| share of the gradient | {' | '.join(STAGES)} |\n| --- |{' --- |' * len(STAGES)}")
    for name, share in shares.items():
        print(f"| {name} | {' | '.join(f'{value:.0%}' for value in share.tolist())} |")
    if options.figure:
        figure({name: measure(denoiser, DECADES, times) for name, denoiser in denoisers.items()}).savefig(
            options.figure, dpi=110, metadata={"Software": None}
        )
    # Ratio
    content = list(STAGES).index("content")
    halves = [
        [measure(denoisers[name], stages, half).gradient_share[content].item() for half in (times[::2], times[1::2])]
        for name in ("P2, γ = 1", "uniform")
    ]
    ratios = [p2 / uniform for p2, uniform in zip(*halves, strict=True)]
    result = {
        "name": "noise_levels",
        "ratio": round((shares["P2, γ = 1"][content] / shares["uniform"][content]).item(), 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "unit": "share of the gradient at 0.01 <= SNR < 1, P2 (gamma = 1) over uniform",
    }
    print(json.dumps(result, ensure_ascii=False))


def _weighted(run: Path, overrides: tuple[str, ...]) -> Denoiser:
    """Load the network of the run with another weighting."""
    trained, origin = load_denoiser(find_weights(run))
    settings = load_settings(origin.settings, overrides=[f"diffusion.{setting}" for setting in overrides])
    denoiser = build_denoiser(settings.model, settings.diffusion, image_px=origin.image_px, labels=len(origin.labels))
    denoiser.load_state_dict(trained.state_dict())
    return denoiser


def figure(statistics: dict[str, NoiseBandStatistics]) -> Figure:
    """Draw the loss of the network and the share of the gradient under each weighting, over the decades of SNR."""
    chart = Figure(figsize=(8, 5.2), layout="constrained")
    upper, lower = chart.subplots(2, sharex=True)
    x = [math.log10(low) + 0.5 for low, _ in DECADES]
    upper.semilogy(x, next(iter(statistics.values())).unweighted, color="#444444", marker="o", markersize=4)
    upper.set_ylabel("square error of the noise")
    for (name, bands), color in zip(statistics.items(), COLORS, strict=True):
        lower.plot(x, 100 * bands.gradient_share, label=name, color=color, marker="o", markersize=4)
    lower.set(
        xlabel="noise        log10 of the signal-to-noise ratio        nearly clean", ylabel="gradient, %", ylim=0
    )
    lower.legend(frameon=False, fontsize=9)
    for axes in (upper, lower):
        _mark_content(axes)
        axes.spines[["top", "right"]].set_visible(False)
    for name, (low, high) in STAGES.items():
        left, right = (math.log10(min(max(edge, 1e-4), 1e4)) for edge in (low, high))
        upper.text((left + right) / 2, 1.02, name, ha="center", va="bottom", transform=upper.get_xaxis_transform())
    return chart


def _mark_content(axes: Axes) -> None:
    axes.axvspan(math.log10(STAGES["content"][0]), math.log10(STAGES["content"][1]), color="#7a3b8f", alpha=0.08, lw=0)


if __name__ == "__main__":
    main()
