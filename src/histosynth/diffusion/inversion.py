"""Inversion: from an image to the noise that a sampler would make it from, and back under another label.

Without fresh noise, x_t = α x_0 + σ ε follows the probability flow, along which image and noise are one to one (Song et
al. 2021, "Score-based generative modeling", eq. 13). With x̂ = E[x_0 | x_t] and ε̂ = (x_t - α x̂) / σ it reads

    d(x/α) / d(σ/α) = ε̂        or, the same curve,        d(x/σ) / d(α/σ) = x̂

and Heun's rule follows it either way: the first form holds where σ = 0 (ε̂ = 0 there: a density has a finite slope), the
second where α = 0. Walked from data to noise it gives the latent noise; walked back with the denoiser of another label
it gives the same layout under that label, x_0' = flow_b⁻¹(flow_a(x_0)) ("Dual diffusion implicit bridges", Su et al.
2023). Between Gaussian classes that is exact optimal transport: mean and covariance change, the quantile stays.

Why Heun and not DDIM: DDIM inversion takes the denoiser at the wrong end of each step, which for images shows (see
docs/how-to/edits.md); solving each step for its end by fixed-point iteration diverges where steps are few.
"""

from itertools import pairwise

from torch import Tensor

from histosynth.diffusion.samplers import Denoise
from histosynth.diffusion.schedule import Schedule


def invert(denoise: Denoise, schedule: Schedule, *, image: Tensor, steps: int, depth: float = 1.0) -> Tensor:
    """Walk from images up to noise.

    Args:
        denoise: the denoiser under the images' own labels, without clipping, which the way back could not undo.
        schedule: its process.
        image: (B, 3, S, S) in [-1, 1].
        steps: steps of the whole way; each costs two evaluations.
        depth: the share of the steps to walk, in (0, 1]; 1 is all the way.

    Returns:
        (B, 3, S, S): x_t at the time reached. At depth 1 divided by σ it is the `noise` of a sampler.
    """
    return integrate_flow(denoise, schedule, x=image, times=_times(schedule, steps, depth).flip(0))


def regenerate(denoise: Denoise, schedule: Schedule, *, latent: Tensor, steps: int, depth: float = 1.0) -> Tensor:
    """Walk back down from what `invert` gave at the same steps and depth, to images (B, 3, S, S)."""
    return integrate_flow(denoise, schedule, x=latent, times=_times(schedule, steps, depth))


def translate(
    source: Denoise, target: Denoise, schedule: Schedule, *, image: Tensor, steps: int, depth: float = 1.0
) -> Tensor:
    """The images as `target` would draw them: up under `source`, down under `target`. Less depth keeps more of them."""
    latent = invert(source, schedule, image=image, steps=steps, depth=depth)
    return regenerate(target, schedule, latent=latent, steps=steps, depth=depth)


def integrate_flow(denoise: Denoise, schedule: Schedule, *, x: Tensor, times: Tensor) -> Tensor:
    """Follow the probability flow through `times` (rising or falling) by Heun's rule, in the form that fits the step.

    A step down to the data is Euler's, which ends at x̂: any other would leave a share of the noise. A step up from the
    data is that one undone, to second order.
    """
    times = times.to(x)
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
        ahead = slopes(alpha[j] * clean + sigma[j] * noise, j)
        if max(sigma[i] - alpha[i], sigma[j] - alpha[j]) > 0:  # mostly noise
            x = sigma[j] / sigma[i] * x + (alpha[j] - sigma[j] * alpha[i] / sigma[i]) * (clean + ahead[0]) / 2
        else:
            x = alpha[j] / alpha[i] * x + (sigma[j] - alpha[j] * sigma[i] / alpha[i]) * (noise + ahead[1]) / 2
    return x


def _times(schedule: Schedule, steps: int, depth: float) -> Tensor:
    """The last `depth` of the times that a sampler visits, falling."""
    if not 0 < depth <= 1:
        raise ValueError(f"depth is {depth}; it lies above 0 and goes up to 1")
    return schedule.times(steps)[-max(round(depth * steps), 1) - 1 :]
