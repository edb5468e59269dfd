"""Growth: the schedule of Karras et al., and the fade of real images."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histosynth.config import GanSettings
from histosynth.errors import HistosynthError
from histosynth.gan.growth import Growth, final_level, full_size_at, growth_at, real_images_at
from histosynth.gan.layers import upsample


@pytest.mark.parametrize(
    ("thousands", "px", "alpha"),
    [
        (0, 4, 1), (599, 4, 1), (600, 8, 0), (900, 8, 0.5), (1199, 8, 599 / 600), (1200, 8, 1), (1799, 8, 1),
        (1800, 16, 0), (2400, 16, 1), (6600, 128, 1), (5700, 128, 0.5), (5399, 64, 1), (90_000, 128, 1),
    ],
)  # fmt: skip
def test_default_schedule_is_that_of_karras_et_al(thousands: int, px: int, alpha: float) -> None:
    """4 px for 600,000 images; each further level is faded in over 600,000 images and trained for as many."""
    growth = growth_at(thousands * 1000, GanSettings(), image_px=128)
    assert (growth.px, growth.alpha) == (px, pytest.approx(alpha))
    assert full_size_at(GanSettings(), image_px=128) == 6_000_000


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 400))
def test_growth_never_decreases_nor_exceeds_the_fade_rate(stable: int, fade: int, seen: int) -> None:
    gan = GanSettings(stable_images=stable, fade_images=fade)
    before, after = (growth_at(images, gan, image_px=32) for images in (seen, seen + 1))
    assert (before.level, before.alpha) <= (after.level, after.alpha)
    assert after.level - before.level <= 1
    if after.level > before.level:
        assert before.alpha == 1
        assert after.alpha == (0 if fade else 1)
    elif fade:
        assert after.alpha - before.alpha <= 1 / fade + 1e-9
    assert growth_at(full_size_at(gan, image_px=32), gan, image_px=32).level == 3


@pytest.mark.parametrize("px", [2, 3, 12, 48, 100])
def test_side_that_doubling_does_not_reach_is_an_error(px: int) -> None:
    with pytest.raises(
        HistosynthError, match=f"cannot generate {px}-px patches; extract them with patches.patch_px = 16, 32"
    ):
        final_level(px)


def test_real_images_fade_from_the_upsampled_smaller_image() -> None:
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    small, large = real_images_at(x, Growth(1)), real_images_at(x, Growth(2))
    assert (small.shape[-1], large.shape[-1]) == (8, 16)
    torch.testing.assert_close(real_images_at(x, Growth(2, 0.0)), upsample(small))
    torch.testing.assert_close(real_images_at(x, Growth(2, 0.25)), 0.75 * upsample(small) + 0.25 * large)
    assert torch.equal(real_images_at(x, Growth(3)), x)
    torch.testing.assert_close(small.mean((2, 3)), x.mean((2, 3)))
