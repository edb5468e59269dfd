"""The eight symmetries of the square, by views and by a table of indices."""

import numpy as np
import torch

from histosynth.training.data.symmetries import COUNT, pixel_order, turn_into

IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 5, 5, 3), dtype=np.uint8)


def test_they_are_quarter_turns_and_their_mirror_images() -> None:
    turned = np.empty_like(IMAGES)
    turn_into(turned, IMAGES, range(COUNT))
    for number, (before, after) in enumerate(zip(torch.from_numpy(IMAGES), torch.from_numpy(turned), strict=True)):
        expected = torch.rot90(before, k=number % 4)
        assert torch.equal(after, expected.flip(1) if number >= 4 else expected)
    turn_into(turned, IMAGES[[0] * COUNT], range(COUNT))
    assert len({image.tobytes() for image in turned}) == COUNT


def test_the_table_moves_pixels_like_the_views() -> None:
    turned = np.empty_like(IMAGES)
    turn_into(turned, IMAGES, range(COUNT))
    by_table = IMAGES.reshape(COUNT, 25, 3)[np.arange(COUNT)[:, None], pixel_order(5).numpy()]
    assert (by_table.reshape(turned.shape) == turned).all()
