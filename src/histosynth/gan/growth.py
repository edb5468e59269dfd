"""How large the images are by now: a pure function of the images seen (Karras et al. 2018, appendix A).

Level 0 has 4 x 4 pixels, each further one twice as many a side. The first level trains for `stable` images; then each
next one is faded in over `fade` images and trains for `stable` more. Within a fade, with α from 0 to 1,

    image = (1 - α) · enlarged image of the level below + α · image of this level,

alike in the generator, the discriminator and the real images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from histosynth.config import GanSettings
from histosynth.errors import HistosynthError
from histosynth.gan.layers import downsample, upsample

BASE_PX = 4


@dataclass(frozen=True)
class Growth:
    """A state of growth: `alpha` is the share of the level's own image."""

    level: int
    alpha: float = 1.0

    @property
    def px(self) -> int:
        """Side of the images."""
        return BASE_PX << self.level


def final_level(image_px: int) -> int:
    """The level of full size.

    Raises:
        HistosynthError: it is not 4 times a power of two.
    """
    level = (image_px // BASE_PX).bit_length() - 1
    if level < 0 or BASE_PX << level != image_px:
        raise HistosynthError(
            f"a progan doubles the side from 4 px on, so it makes no {image_px}-px patches; cut them with "
            "patches.patch_px = 16, 32, 64, 128 or 256, or train a unet"
        )
    return level


def growth_at(seen: int, gan: GanSettings, *, image_px: int) -> Growth:
    """The growth after `seen` images."""
    level, within = divmod(seen, gan.stable_images + gan.fade_images)
    top = final_level(image_px)
    if level >= top:
        return Growth(top)
    if within < gan.stable_images:
        return Growth(level)
    return Growth(level + 1, (within - gan.stable_images) / gan.fade_images)


def full_size_at(gan: GanSettings, *, image_px: int) -> int:
    """Images after which it has its full size."""
    return final_level(image_px) * (gan.stable_images + gan.fade_images)


def real_images_at(x: Tensor, growth: Growth) -> Tensor:
    """Real images (B, 3, S, S) as this state of growth shows them: (B, 3, px, px), within a fade partly smoothed."""
    x = downsample(x, x.shape[-1] // growth.px)
    return x if growth.alpha == 1 else torch.lerp(upsample(downsample(x)), x, growth.alpha)
