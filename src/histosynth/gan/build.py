"""From settings to the two networks."""

from histosynth.config import GanSettings
from histosynth.gan.progan import Discriminator, Generator


def build_generator(gan: GanSettings, *, image_px: int, labels: int) -> Generator:
    """The generator that the settings describe, with fresh weights.

    Raises:
        HistosynthError: images of a side that growth by doubling does not reach.
    """
    return Generator(
        image_px=image_px, labels=labels, latent=gan.latent, width=gan.width, full_width_px=gan.full_width_px
    )


def build_discriminator(gan: GanSettings, *, image_px: int, labels: int) -> Discriminator:
    """The same for the discriminator."""
    return Discriminator(image_px=image_px, labels=labels, width=gan.width, full_width_px=gan.full_width_px)
