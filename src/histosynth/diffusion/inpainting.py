"""Inpainting: part of an image is kept, the rest drawn anew so that it fits (RePaint, Lugmayr et al. 2022).

After each ancestral step to time s the known pixels are replaced by what the process makes of them,
x_s = α_s x_0 + σ_s ε. That alone fits the unknown pixels to known ones that are noisier than they will be, and comes
too late to mend it: on a Gaussian the unknown mean follows the known value six tenths of the way. So each step is taken
several times over, going back up by fresh noise, q(x_t | x_s), in between: a Markov chain at that noise level, in which
both parts come to agree. The more often, the nearer the draws come to the model's own conditional distribution
(`tests/diffusion/test_inpainting.py` says how near). Going back over several steps at once, as RePaint does, came less
near at equal cost.

It needs no gradient of the denoiser and no training of its own.
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
        denoise: the denoiser under the label wanted.
        schedule: its process.
        image: (B, 3, S, S) in [-1, 1]; what it holds at unknown pixels does not matter.
        known: boolean, (B, 1, S, S) or whatever broadcasts to the images: the pixels to keep.
        steps: steps from noise to image.
        draw: gives fresh standard normal noise of the images' shape.
        repeats: how often each step is taken; 1 is replacement alone. It costs `steps * repeats` evaluations.

    Returns:
        (B, 3, S, S), its known pixels those of `image` to the bit.
    """
    times = schedule.times(steps).to(image)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    x = (alpha[0] * image + sigma[0] * draw()).where(known, sigma[0] * draw())
    for i in range(steps):
        j = i + 1
        fades = alpha[i] / alpha[j]
        added = sigma[i] ** 2 - (fades * sigma[j]) ** 2  # variance that the process adds on the way from s to t
        share = added / sigma[i] ** 2
        for repeat in range(repeats):
            if repeat:
                x = fades * x + added.sqrt() * draw()
            clean = denoise(x, times[i]).clean
            x = fades * (sigma[j] / sigma[i]) ** 2 * x + alpha[j] * share * clean
            if j < steps:
                x = x + sigma[j] * share.sqrt() * draw()
                x = (alpha[j] * image + sigma[j] * draw()).where(known, x)
            else:
                x = image.where(known, x)
    return x
