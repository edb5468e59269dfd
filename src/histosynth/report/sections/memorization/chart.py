"""The chart of the audit: each synthetic patch beside its most similar training patch, and their difference."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.copies import Copy, LoadImages
from histosynth.metrics.symmetries import apply_symmetry
from histosynth.store.contact_sheet import grid
from histosynth.store.png import encode_png

_GAIN = 3  # a difference of 85 of 255 is black


def pair_images(pairs: Sequence[Copy], *, fake: LoadImages, train: LoadImages) -> NDArray[np.uint8]:
    """Return three images per pair: synthetic patch, training patch in the same orientation, difference (white: none).

    Args:
        pairs: at least one, such as `MemorizationAudit.closest`.
        fake: loads synthetic patches (N, H, W, 3) by their rows.
        train: loads training patches of the same size.

    Returns:
        (N, 3, H, W, 3).
    """
    synthetic = fake(np.array([pair.fake_row for pair in pairs]))
    training = train(np.array([pair.train_row for pair in pairs]))
    training = np.concatenate([apply_symmetry(training[[i]], pair.symmetry) for i, pair in enumerate(pairs)])
    return np.stack([synthetic, training, _difference(synthetic, training)], axis=1)


def pair_sheet(pairs: Sequence[Copy], *, fake: LoadImages, train: LoadImages, mark: Mapping[str, str]) -> bytes:
    """Return a PNG of `pair_images`, one row per pair, in the given order.

    `mark` holds the texts of the PNG, which shows synthetic patches (`Store.mark`).
    """
    images = pair_images(pairs, fake=fake, train=train)
    return encode_png(grid(images.reshape(-1, *images.shape[2:]), columns=3), mark)


def _difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest difference over the channels, in gray; a copy shifted by a pixel leaves outlines."""
    difference = np.abs(a.astype(np.int16) - b).max(axis=3, keepdims=True)
    gray: NDArray[np.uint8] = (255 - np.minimum(_GAIN * difference, 255)).astype(np.uint8).repeat(3, axis=3)
    return gray
