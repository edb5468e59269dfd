"""Heun's rule on the probability-flow path: an Euler step, then the mean of the slopes at both its ends.

The path has two simple forms: dz/dρ = ε̂ with z = x/α, ρ = σ/α (Karras et al. 2022, alg. 1, where α = 1), and
dy/dγ = x̂_0 with y = x/σ, γ = α/σ. An Euler step is the same in both, that of ddim; Heun's is not. Each bends little at
the end where its variable is small, and is infinite at the other: so the second where noise outweighs signal, from pure
noise on, and the first below. (`benchmarks/model/sampler_errors.py`: in ten steps on Karras' own times this lowers the
error of the first alone from 0.325 to 0.270 on Gaussians, from 0.079 to 0.045 on a mixture; where α comes near 0 the
first alone fails.)
"""

from collections.abc import Callable

from torch import Tensor

from histosynth.diffusion.samplers.protocol import Denoise, samplers
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.diffusion.schedule import Schedule


@samplers.register("heun")
def heun(denoise: Denoise, schedule: Schedule, *, noise: Tensor, steps: int, draw: Callable[[], Tensor]) -> Tensor:
    """Two evaluations a step but the last."""
    grid = TimeGrid(schedule, steps, like=noise)
    x = grid.sigma[0] * noise
    for i in range(steps):
        clean = denoise(x, grid.times[i]).clean
        guess = grid.advance(x, clean, i)
        if i < grid.last:
            there = denoise(guess, grid.times[i + 1]).clean
            alpha, sigma, alpha_s, sigma_s = grid.alpha[i], grid.sigma[i], grid.alpha[i + 1], grid.sigma[i + 1]
            if sigma > alpha:
                guess = guess + (alpha_s - sigma_s * alpha / sigma) / 2 * (there - clean)
            else:
                turn = (guess - alpha_s * there) / sigma_s - (x - alpha * clean) / sigma
                guess = guess + (sigma_s - alpha_s * sigma / alpha) / 2 * turn
        x = guess
    return x
