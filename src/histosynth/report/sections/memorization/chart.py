"""The picture of an audit: each synthetic patch beside the training patch that it is most like, and what differs."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.copies import Copy, LoadImages, apply_symmetry
from histosynth.store.contact_sheet import grid
from histosynth.store.png import encode_png

_GAIN = 3  # a difference of 85 of 255 is black


def pair_images(pairs: Sequence[Copy], *, fake: LoadImages, train: LoadImages) -> NDArray[np.uint8]:
    """The pictures of each pair, (N, 3, H, W, 3): synthetic, training turned to agree, difference (white: none).

    Args:
        pairs: at least one, such as `Audit.closest`.
        fake: gives synthetic patches (N, H, W, 3) by their rows.
        train: gives training patches of the same size.
    """
    made = fake(np.array([pair.fake_row for pair in pairs]))
    taken = train(np.array([pair.train_row for pair in pairs]))
    taken = np.concatenate([apply_symmetry(taken[[i]], pair.symmetry) for i, pair in enumerate(pairs)])
    return np.stack([made, taken, _difference(made, taken)], axis=1)


def pair_sheet(pairs: Sequence[Copy], *, fake: LoadImages, train: LoadImages, mark: Mapping[str, str]) -> bytes:
    """PNG of `pair_images`, one row a pair, in the given order.

    `mark` are the texts of the PNG, which shows synthetic patches (`Store.mark`).
    """
    images = pair_images(pairs, fake=fake, train=train)
    return encode_png(grid(images.reshape(-1, *images.shape[2:]), columns=3), mark)


def _difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest difference of a channel, in gray; a copy that is moved by a pixel leaves outlines."""
    apart = np.abs(a.astype(np.int16) - b).max(axis=3, keepdims=True)
    shown: NDArray[np.uint8] = (255 - np.minimum(_GAIN * apart, 255)).astype(np.uint8).repeat(3, axis=3)
    return shown
