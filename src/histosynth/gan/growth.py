"""Progressive growth: the image size as a pure function of the images seen (Karras et al. 2018, appendix A).

Level 0 has 4 x 4 pixels; each further level doubles the side. The first level trains for `stable` images. Each further
level is faded in over `fade` images and then trains for `stable` more. During a fade, with α from 0 to 1,

    image = (1 - α) · upsampled image of the level below + α · image of this level,

in the generator, the discriminator and the real images.
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
    """A state of growth: `alpha` is the weight of the current level's image in the fade."""

    level: int
    alpha: float = 1.0

    @property
    def px(self) -> int:
        """Side of the images."""
        return BASE_PX << self.level


def final_level(image_px: int) -> int:
    """Return the level with the full image side.

    Raises:
        HistosynthError: the side is not 4 times a power of two.
    """
    level = (image_px // BASE_PX).bit_length() - 1
    if level < 0 or BASE_PX << level != image_px:
        raise HistosynthError(
            f"a progan grows from 4 px by doubling, so it cannot generate {image_px}-px patches; extract them with "
            "patches.patch_px = 16, 32, 64, 128 or 256, or train a unet"
        )
    return level


def growth_at(seen: int, gan: GanSettings, *, image_px: int) -> Growth:
    """Return the growth after `seen` images."""
    level, images = divmod(seen, gan.stable_images + gan.fade_images)
    final = final_level(image_px)
    if level >= final:
        return Growth(final)
    if images < gan.stable_images:
        return Growth(level)
    return Growth(level + 1, (images - gan.stable_images) / gan.fade_images)


def full_size_at(gan: GanSettings, *, image_px: int) -> int:
    """Return the number of images seen after which the full size is reached."""
    return final_level(image_px) * (gan.stable_images + gan.fade_images)


def real_images_at(x: Tensor, growth: Growth) -> Tensor:
    """Reduce real images (B, 3, S, S) to the current growth: (B, 3, px, px), partly smoothed during a fade."""
    x = downsample(x, x.shape[-1] // growth.px)
    return x if growth.alpha == 1 else torch.lerp(upsample(downsample(x)), x, growth.alpha)
