"""Build the two networks from settings."""

from histosynth.config import GanSettings
from histosynth.gan.progan import Discriminator, Generator


def build_generator(gan: GanSettings, *, image_px: int, labels: int) -> Generator:
    """Build the generator that the settings describe, with newly initialized weights.

    Raises:
        HistosynthError: the image side cannot be reached by doubling 4 px.
    """
    return Generator(
        image_px=image_px, labels=labels, latent=gan.latent, width=gan.width, full_width_px=gan.full_width_px
    )


def build_discriminator(gan: GanSettings, *, image_px: int, labels: int) -> Discriminator:
    """Build the discriminator that the settings describe; see `build_generator`."""
    return Discriminator(image_px=image_px, labels=labels, width=gan.width, full_width_px=gan.full_width_px)
