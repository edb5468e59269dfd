"""Inversion: find the noise from which a sampler would generate an image, and translate the image to another label.

Without added noise, x_t = α x_0 + σ ε follows the probability flow, a one-to-one map between images and noise (Song et
al. 2021, "Score-based generative modeling", eq. 13). With x̂ = E[x_0 | x_t] and ε̂ = (x_t - α x̂) / σ it has two
equivalent forms,

    d(x/α) / d(σ/α) = ε̂        and        d(x/σ) / d(α/σ) = x̂.

Heun's method integrates either form. The first is valid at σ = 0 (where ε̂ = 0, as the gradient of the density is
finite), the second at α = 0. From data to noise, the flow gives the latent noise. Integrated back with the denoiser of
another label it gives the same layout under that label, x_0' = flow_b⁻¹(flow_a(x_0)) ("Dual diffusion implicit
bridges", Su et al. 2023). Between Gaussian classes this is exact optimal transport: mean and covariance change,
quantiles do not.

DDIM inversion is less accurate: it evaluates the denoiser at the wrong end of each step, which is visible in images
(see docs/how-to/edits.md). Solving each step for its end point by fixed-point iteration diverges with few steps.
"""

from itertools import pairwise

from torch import Tensor

from histosynth.diffusion.samplers import Denoise
from histosynth.diffusion.schedule import Schedule


def invert(denoise: Denoise, schedule: Schedule, *, image: Tensor, steps: int, depth: float = 1.0) -> Tensor:
    """Integrate from images to noise.

    Args:
        denoise: the denoiser with the labels of the images, without clipping, which could not be inverted.
        schedule: its process.
        image: (B, 3, S, S) in [-1, 1].
        steps: steps from image to pure noise; each costs two evaluations.
        depth: fraction of the steps to take, in (0, 1]; 1 ends at pure noise.

    Returns:
        (B, 3, S, S): x_t at the time reached. At depth 1, x_t / σ is the `noise` argument of a sampler.
    """
    return integrate_flow(denoise, schedule, x=image, times=_times(schedule, steps, depth).flip(0))


def regenerate(denoise: Denoise, schedule: Schedule, *, latent: Tensor, steps: int, depth: float = 1.0) -> Tensor:
    """Integrate back to images (B, 3, S, S) from the result of `invert` with the same steps and depth."""
    return integrate_flow(denoise, schedule, x=latent, times=_times(schedule, steps, depth))


def translate(
    source: Denoise, target: Denoise, schedule: Schedule, *, image: Tensor, steps: int, depth: float = 1.0
) -> Tensor:
    """Translate images: to noise with `source`, back with `target`. A smaller depth preserves more of the images."""
    latent = invert(source, schedule, image=image, steps=steps, depth=depth)
    return regenerate(target, schedule, latent=latent, steps=steps, depth=depth)


def integrate_flow(denoise: Denoise, schedule: Schedule, *, x: Tensor, times: Tensor) -> Tensor:
    """Integrate the probability flow along `times` (increasing or decreasing) by Heun's method, in the form that fits.

    The step to the data is an Euler step, which ends at x̂; any other would leave some of the noise. The step from the
    data inverts it to second order.
    """
    times = times.to(x.dtype)  # on the CPU, where reading them does not wait for a GPU
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)

    def slopes(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        clean = denoise(x, times[k]).clean
        return clean, (x - alpha[k] * clean) / sigma[k]

    for i, j in pairwise(range(len(times))):
        if sigma[i] == 0:
            x = alpha[j] * x + sigma[j] * slopes(alpha[j] * x, j)[1]
            continue
        clean, noise = slopes(x, i)
        if sigma[j] == 0:
            x = clean
            continue
        end_clean, end_noise = slopes(alpha[j] * clean + sigma[j] * noise, j)
        if max(sigma[i] - alpha[i], sigma[j] - alpha[j]) > 0:  # mostly noise
            x = sigma[j] / sigma[i] * x + (alpha[j] - sigma[j] * alpha[i] / sigma[i]) * (clean + end_clean) / 2
        else:
            x = alpha[j] / alpha[i] * x + (sigma[j] - alpha[j] * sigma[i] / alpha[i]) * (noise + end_noise) / 2
    return x


def _times(schedule: Schedule, steps: int, depth: float) -> Tensor:
    """Return the last fraction `depth` of the times that a sampler visits, decreasing."""
    if not 0 < depth <= 1:
        raise ValueError(f"depth is {depth}; it must be above 0 and at most 1")
    return schedule.times(steps)[-max(round(depth * steps), 1) - 1 :]
