"""Inpainting: keep part of an image and redraw the rest so that both agree (RePaint, Lugmayr et al. 2022).

After each ancestral step to time s, the known pixels are replaced by a noisy version of the given image,
x_s = α_s x_0 + σ_s ε. Replacement alone is biased: the unknown pixels adapt to known pixels that are noisier than at
the end, and later steps cannot correct this. On a Gaussian the mean of the unknown pixel moves only 0.6 of the correct
distance. Therefore each step is repeated, with new noise q(x_t | x_s) in between. This is a Markov chain at one noise
level, in which both parts converge to agreement. With more repeats, the result approaches the model's conditional
distribution (measured in `tests/diffusion/test_inpainting.py`). Going back over several steps at once, as in RePaint,
was less accurate at equal cost.

The method needs neither gradients of the denoiser nor additional training.
"""

from collections.abc import Callable

from torch import Tensor

from histosynth.diffusion.samplers import Denoise
from histosynth.diffusion.schedule import Schedule


def inpaint(
    denoise: Denoise,
    schedule: Schedule,
    *,
    image: Tensor,
    known: Tensor,
    steps: int,
    draw: Callable[[], Tensor],
    repeats: int = 10,
) -> Tensor:
    """Draw the unknown pixels.

    Args:
        denoise: the denoiser with the target label.
        schedule: its process.
        image: (B, 3, S, S) in [-1, 1]; values at unknown pixels are ignored.
        known: boolean, (B, 1, S, S) or broadcastable to the images: the pixels to keep.
        steps: steps from noise to image.
        draw: returns new standard normal noise of the images' shape.
        repeats: number of times that each step is taken; 1 is replacement alone. The cost is `steps * repeats`
            evaluations.

    Returns:
        (B, 3, S, S); the known pixels equal those of `image` exactly.
    """
    times = schedule.times(steps).to(image.dtype)  # on the CPU, where reading them does not wait for a GPU
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    x = (alpha[0] * image + sigma[0] * draw()).where(known, sigma[0] * draw())
    for i in range(steps):
        j = i + 1
        signal_ratio = alpha[i] / alpha[j]
        added_variance = sigma[i] ** 2 - (signal_ratio * sigma[j]) ** 2  # added by the process from s to t
        added_share = added_variance / sigma[i] ** 2
        for repeat in range(repeats):
            # Back up to the noise level of this step
            if repeat:
                x = signal_ratio * x + added_variance.sqrt() * draw()
            # Ancestral step down
            clean = denoise(x, times[i]).clean
            x = signal_ratio * (sigma[j] / sigma[i]) ** 2 * x + alpha[j] * added_share * clean
            # Replace the known pixels
            if j < steps:
                x = x + sigma[j] * added_share.sqrt() * draw()
                x = (alpha[j] * image + sigma[j] * draw()).where(known, x)
            else:
                x = image.where(known, x)
    return x
