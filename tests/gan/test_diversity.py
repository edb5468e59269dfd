"""Detection of mode collapse: distances computed by hand, and diversity of collapsed images."""

import numpy as np
import pytest
import torch

from histosynth.gan.diversity import DiversityMonitor, pair_distances


def test_distances_by_hand() -> None:
    """In a group with labels 0 0 1 0, pairs (0, 1), (0, 3), (1, 3) count: gray levels 0, 3, 9, 1 differ by 3, 1, 2."""
    x = torch.tensor([0.0, 3.0, 9.0, 1.0]).view(4, 1, 1, 1).expand(4, 3, 16, 16)
    label = torch.tensor([0, 0, 1, 0])
    assert pair_distances(x, label, labels=2).tolist() == pytest.approx([6, 0])
    assert pair_distances(torch.cat([x, 2 * x]), label.repeat(2), labels=2).tolist() == pytest.approx([18, 0])
    assert pair_distances(x, 2 - label, labels=3).tolist() == pytest.approx([0, 0, 6])


def test_pixel_noise_does_not_hide_a_collapse() -> None:
    """Images that differ only by noise of single pixels: at 32 px, 16 pixels are averaged to one."""
    noise = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    distance = pair_distances(noise, torch.zeros(4, dtype=torch.long), labels=1).item() / 6
    assert distance == pytest.approx(2**0.5 / 4, rel=0.1)  # √2 between two images, a quarter of it after averaging


def test_ratios_per_label_are_running_means() -> None:
    diversity = DiversityMonitor(labels=2)
    diversity.update(fake=np.zeros(2), real=np.ones(2), batch=10)
    assert diversity.ratios.tolist() == [1, 1]  # in the first half-life
    for _ in range(300):
        diversity.update(fake=np.array([4.0, 1.0]), real=np.array([2.0, 1.0]), batch=100)
    assert diversity.ratios.tolist() == pytest.approx([2, 1])
    diversity.update(fake=np.zeros(2), real=np.zeros(2), batch=10)  # no two images of one label
    assert diversity.ratios.tolist() == pytest.approx([2, 1])
    for _ in range(300):
        diversity.update(fake=np.array([0.2, 1.0]), real=np.array([2.0, 1.0]), batch=100)
    assert diversity.ratios.tolist() == pytest.approx([0.1, 1], rel=0.05)
    other = DiversityMonitor(labels=2)
    other.load(diversity.state())
    assert other.ratios.tolist() == diversity.ratios.tolist()
