"""Patches as training batches: decoded once, drawn in an order that depends on the seed and the position alone."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histosynth.errors import HistosynthError
from histosynth.patches.store import Store


class PatchDataset:
    """The labeled patches of one split, held in memory as bytes (128 px: 49 kB each).

    Args:
        store: the patch store.
        split: `train`, `held_out`, or `all`.
        balance: show every label equally often. No patch is left out: those of a rare label come round more often.

    Raises:
        HistosynthError: no labeled patch in that split.
    """

    def __init__(self, store: Store, *, split: str = "train", balance: bool = False) -> None:
        rows = store.select(split=None if split == "all" else split)
        names = store.column("label")
        self.rows = np.array([row for row in rows if names[row] is not None], dtype=np.int64)
        if not len(self.rows):
            raise HistosynthError(
                f"{store.path} has no labeled patch of split '{split}'; give `patches` a table of --labels, "
                "or check patches.held_out"
            )
        self.labels = sorted({names[row] for row in self.rows})
        number = {name: i for i, name in enumerate(self.labels)}
        self.targets = torch.tensor([number[names[row]] for row in self.rows])
        names = store.column("patch_id")
        self._ids = [str(names[row]) for row in self.rows]
        self.images = store.images(self.rows)  # (N, S, S, 3) uint8
        everything = np.arange(len(self.rows))
        self._pools = [everything]
        if balance:
            self._pools = [everything[self.targets.numpy() == label] for label in range(len(self.labels))]
        self._orders: dict[int, tuple[tuple[int, int], NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_px(self) -> int:
        """Side of a patch."""
        return int(self.images.shape[1])

    def batch(self, start: int, size: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """The images number `start` to `start + size` of an endless shuffled sequence.

        Each pass over the data has an order of its own, drawn from the seed and the number of the pass, so any position
        can be reached without going through those before it.

        Returns:
            Images (size, 3, S, S) in [-1, 1], and label numbers (size,).
        """
        rows = np.array([self._row(position, seed) for position in range(start, start + size)])
        return to_tensor(self.images[rows]), self.targets[torch.from_numpy(rows)]

    def ids(self, start: int, size: int, *, seed: int) -> list[str]:
        """The patch ids of that batch."""
        return [self._ids[self._row(position, seed)] for position in range(start, start + size)]

    def _row(self, position: int, seed: int) -> int:
        """The image at a position: the pools (one, or one a label) take turns, each shuffled anew for each pass."""
        place, pool = divmod(position, len(self._pools))
        turn, place = divmod(place, len(self._pools[pool]))
        if self._orders.get(pool, (None,))[0] != (turn, seed):
            key = (seed, turn, pool) if pool else (seed, turn)
            self._orders[pool] = (turn, seed), np.random.default_rng(key).permutation(self._pools[pool])
        return int(self._orders[pool][1][place])


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) bytes -> (N, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1


def to_bytes(x: Tensor) -> NDArray[np.uint8]:
    """(N, 3, H, W) in [-1, 1] (clipped to it) -> (N, H, W, 3) bytes, rounded to the nearest."""
    scaled = (x.detach().float().clamp(-1, 1) + 1) * 127.5
    image: NDArray[np.uint8] = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return image


def random_symmetry(x: Tensor, *, generator: torch.Generator) -> Tensor:
    """Flip and turn each image of (N, C, S, S) at random: one of the eight symmetries of the square."""
    choices = torch.randint(8, (len(x),), generator=generator).tolist()
    turned = [torch.rot90(image, k=choice % 4, dims=(1, 2)) for image, choice in zip(x, choices, strict=True)]
    return torch.stack([i.flip(2) if c >= 4 else i for i, c in zip(turned, choices, strict=True)])
