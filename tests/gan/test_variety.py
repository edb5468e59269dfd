"""The alarm for collapsed modes: distances by hand, and what they are of collapsed images."""

import pytest
import torch

from histosynth.gan.variety import Variety, distances


def test_distances_by_hand() -> None:
    """Of a group with labels 0 0 1 0, pairs (0, 1), (0, 3), (1, 3) count: gray levels 0, 3, 9, 1 differ by 3, 1, 2."""
    x = torch.tensor([0.0, 3.0, 9.0, 1.0]).view(4, 1, 1, 1).expand(4, 3, 16, 16)
    label = torch.tensor([0, 0, 1, 0])
    assert distances(x, label).item() == pytest.approx(6)
    assert distances(torch.cat([x, 2 * x]), label.repeat(2)).item() == pytest.approx(18)


def test_fine_grain_does_not_hide_a_collapse() -> None:
    """Images alike but for noise of single pixels: of 32 px, 16 are averaged to one."""
    noise = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = distances(noise, torch.zeros(4)).item() / 6
    assert found == pytest.approx(2**0.5 / 4, rel=0.1)  # √2 between two, a quarter of it after averaging


def test_the_ratio_forgets_what_is_old() -> None:
    variety = Variety(halflife=100)
    assert variety.ratio == 1.0
    for _ in range(50):
        variety.update(fake=4.0, real=2.0, batch=10)
    assert variety.ratio == pytest.approx(2)
    variety.update(fake=0.0, real=0.0, batch=10)  # no two images of one label
    assert variety.ratio == pytest.approx(2)
    for _ in range(100):
        variety.update(fake=0.2, real=2.0, batch=10)
    assert variety.ratio == pytest.approx(0.1, rel=0.05)
    other = Variety(halflife=100)
    other.load(variety.state())
    assert other.ratio == variety.ratio
