"""Exact errors of samplers: the reasons for `sample.spacing = "angle"` and for the two forms of Heun's method.

Two kinds of data have a denoiser in closed form, so that only the error of the sampler is measured:

- spectrum: Gaussians of standard deviation 0.01 to 1, like the frequencies of an image; the error is the mean
  |log(std of the samples / std of the data)|, exact.
- mixture: eight narrow modes, ±0.5 ± 0.15 ± 0.05, each of standard deviation 0.012; the error is the Wasserstein
  distance of 1999 samples from quantiles of the noise to the quantiles of the data.

    .venv/bin/python benchmarks/model/sampler_errors.py [--quick]            # three minutes on one core, no data needed

`--quick` uses two of the processes and one root. The last line is JSON: both errors by process, times and sampler. The
results may not apply to a trained network, for which the Fréchet distance of samples is decisive.
"""

import argparse
import json
import math

import torch
from torch import Tensor

from histosynth.diffusion import spacing
from histosynth.diffusion.denoiser import Prediction
from histosynth.diffusion.samplers import Denoise, Sampler, ddim, ddpm, dpmpp_2m, dpmpp_2m_sde, heun
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.diffusion.schedule import RectifiedFlow, Schedule, VarianceExploding, cosine, linear, zero_terminal_snr
from histosynth.diffusion.spacing import RespacedSchedule

PROCESSES: dict[str, Schedule] = {
    "linear": linear(1000),
    "cosine": cosine(1000),
    "zero terminal SNR": zero_terminal_snr(linear(1000)),
    "flow": RectifiedFlow(),
    "edm": VarianceExploding(),
}
STDS = torch.logspace(-2, 0, 16, dtype=torch.float64).reshape(-1, 1, 1, 1)
CENTERS = torch.tensor([a * 0.5 + b * 0.15 + c * 0.05 for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]).double()
WIDTH = 0.012
QUANTILES = ((torch.arange(1999) + 0.5) / 1999).double()


def spectrum(schedule: Schedule) -> Denoise:
    def denoise(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return Prediction(STDS**2 * alpha * x / (alpha**2 * STDS**2 + sigma**2))

    return denoise


def mixture(schedule: Schedule) -> Denoise:
    def denoise(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        variance = alpha**2 * WIDTH**2 + sigma**2
        difference = x[..., None] - alpha * CENTERS
        weights = torch.softmax(-(difference**2) / (2 * variance), dim=-1)
        return Prediction((weights * (CENTERS + WIDTH**2 * alpha * difference / variance)).sum(-1))

    return denoise


def heun_one_form(denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: object) -> Tensor:
    """Sample by Heun's method in the form z = x/α, ρ = σ/α only, as in Karras et al. 2022."""
    grid = TimeGrid(schedule, steps, like=noise)
    x = grid.sigma[0] * noise
    for i in range(steps):
        clean = denoise(x, grid.times[i]).clean
        end = grid.advance(x, clean, i)
        if i < grid.last:
            end_clean = denoise(end, grid.times[i + 1]).clean
            end_slope = (end - grid.alpha[i + 1] * end_clean) / grid.sigma[i + 1]
            change = end_slope - (x - grid.alpha[i] * clean) / grid.sigma[i]
            end = end + (grid.sigma[i + 1] - grid.alpha[i + 1] * grid.sigma[i] / grid.alpha[i]) / 2 * change
        x = end
    return x


Row = dict[str, tuple[Sampler, int]]
REFERENCE: Row = {"ddpm 250": (ddpm, 250)}
ROW: Row = {
    "ddpm 20": (ddpm, 20),
    "ddim 20": (ddim, 20),
    "2M 20": (dpmpp_2m, 20),
    "2M SDE 20": (dpmpp_2m_sde, 20),
    "2M 10": (dpmpp_2m, 10),
    "Heun 10": (heun, 10),
}
FORMS: Row = {"Heun 10, one form": (heun_one_form, 10), "Heun 10": (heun, 10)}


def spectrum_error(sampler: Sampler, process: Schedule, times: Schedule, steps: int) -> float:
    """Compute the error on the spectrum. The result is linear in each noise: one run for each noise drawn."""
    one, zero = torch.ones_like(STDS), torch.zeros_like(STDS)
    variance = sampler(spectrum(process), times, noise=one, steps=steps, draw=lambda: zero) ** 2
    for later in range(steps - 1 if sampler in (ddpm, dpmpp_2m_sde) else 0):
        indices = iter(range(steps))
        samples = sampler(
            spectrum(process),
            times,
            noise=zero,
            steps=steps,
            draw=lambda n=later, i=indices: one if next(i) == n else zero,
        )
        variance = variance + samples**2
    return (variance.sqrt() / STDS).log().abs().mean().item()


def mixture_error(sampler: Sampler, process: Schedule, times: Schedule, steps: int) -> float:
    noise = torch.special.ndtri(QUANTILES).reshape(-1, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)

    def draw() -> Tensor:
        return torch.randn(noise.shape, dtype=torch.float64, generator=generator)

    x = sampler(mixture(process), times, noise=noise, steps=steps, draw=draw).flatten().sort().values
    grid = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    cumulative = torch.special.ndtr((grid[:, None] - CENTERS) / WIDTH).mean(1)
    return (x - grid[torch.searchsorted(cumulative, QUANTILES).clamp(max=len(grid) - 1)]).abs().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two processes, one root")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    names, roots = (["linear", "edm"], (4,)) if quick else (list(PROCESSES), (1, 2, 3, 4, 7, 20))
    results: dict[str, dict[str, dict[str, tuple[float, float]]]] = {name: {} for name in names}

    # Measurement
    def cells(name: str, row: Row, *, root: int | None = None) -> str:
        """Measure and format a row of samplers, with the times of the process or with angle spacing."""
        process = times = PROCESSES[name]
        if root:
            spacing._ROOT, times = root, RespacedSchedule(process)
        errors = {
            column: (spectrum_error(sampler, process, times, steps), mixture_error(sampler, process, times, steps))
            for column, (sampler, steps) in row.items()
        }
        results[name].setdefault(f"angle, root {root}" if root else "schedule", {}).update(errors)
        return " | ".join(f"{a:.3f} / {b:.4f}" for a, b in errors.values())

    # Tables
    print("error on spectrum / mixture, for ddpm with 250 steps and the times of the process:")
    for name in names:
        print(f"  {name}: {cells(name, REFERENCE)}")
    print(f"\n| process | times | {' | '.join(ROW)} |")
    for name in names:
        print(f"| {name} | schedule | {cells(name, ROW)} |")
        for root in roots:
            print(f"| {name} | angle, root {root} | {cells(name, ROW, root=root)} |", flush=True)
    print("\nHeun, 10 steps, one form / two forms, with the times of the process and with angle spacing:")
    for name in names:
        start = PROCESSES[name].alpha(PROCESSES[name].times(1)[:1].double()).item()
        if not math.isclose(start, 0):
            print(f"  {name}: {cells(name, FORMS)};  {cells(name, FORMS, root=4)}")
    print(json.dumps({"name": "sampler_errors", "errors": results}))


if __name__ == "__main__":
    main()
