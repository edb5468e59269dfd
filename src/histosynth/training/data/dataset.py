"""Patches as training batches, in an order that depends only on the seed and the position.

The order takes no memory: the patch at any position of an endless sequence is computed (`feistel_permutation`,
`label_schedule`), so that a resumed run, or one rank of many, can start at any position. Pixels come from memory, from
a file of decoded patches (`pixel_cache`), or from the store on demand; they are equal in all three cases.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histosynth.config import TrainSettings
from histosynth.errors import HistosynthError, did_you_mean
from histosynth.store.store import Store
from histosynth.store.threads import available_cores
from histosynth.training.data.feistel_permutation import permute_indices
from histosynth.training.data.label_schedule import LabelSchedule
from histosynth.training.data.pixel_cache import PixelCache, default_directory, file_bytes, space_problem

_IN_MEMORY = 1 << 28  # up to this many bytes, pixels are kept in memory rather than in a file


class PatchDataset:
    """The labeled patches of one split.

    Args:
        store: the patch store.
        split: `train`, `held_out`, or `all`.
        balance: show every label equally often. No patch is left out: patches of a rare label recur more often.
        weights: relative frequency of these labels; 2 shows a label twice as often.
        cache: `auto`, a directory, or `off`; see `train.cache`.
        cache_gb: disk space for decoded patches.
        workers: threads that read and decode; 0 for one per core, at most 16.
        progress: show a progress bar while patches are decoded.

    Attributes:
        labels: names of the labels, sorted.
        rows: rows of the store, grouped by label.
        pixel_source: where pixels come from: `memory`, the path of the file of decoded patches, or `the store`.

    Raises:
        HistosynthError: no labeled patch in that split, a weight for a label without patches, or a `cache` directory
            without enough space.
    """

    def __init__(
        self,
        store: Store,
        *,
        split: str = "train",
        balance: bool = False,
        weights: Mapping[str, float] | None = None,
        cache: str = "auto",
        cache_gb: float = 100.0,
        workers: int = 0,
        progress: bool = False,
    ) -> None:
        names, codes = store.codes("label")
        keep = store.select(split=None if split == "all" else split)
        keep = keep[codes[keep] >= 0].astype(np.min_scalar_type(len(store)))
        if not len(keep):
            raise HistosynthError(
                f"{store.path} has no labeled patch of split '{split}'; pass a table to `patches --labels`, "
                "or check patches.held_out"
            )
        counts = np.bincount(codes[keep], minlength=len(names))
        self.labels = [name for name, count in zip(names, counts, strict=True) if count]
        self.rows = keep[np.argsort(codes[keep], kind="stable")]
        self._ends = np.cumsum(counts[counts > 0])
        self._schedule = self._label_schedule(balance, weights or {})
        self.store, self._workers = store, workers or min(available_cores(), 16)
        self.image_px = store.patch_px
        self.pixel_source, self._read = self._pixels(cache, cache_gb, progress)

    @classmethod
    def of(cls, store: Store, settings: TrainSettings, *, progress: bool = False) -> "PatchDataset":
        """Return the data set that these settings train on."""
        return cls(
            store,
            split=settings.split,
            balance=settings.balance,
            weights=settings.weights,
            cache=settings.cache,
            cache_gb=settings.cache_gb,
            workers=settings.workers,
            progress=progress,
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def patients(self) -> int:
        """The number of patients."""
        codes = self.store.codes("patient_id")[1][self.rows]
        return len(np.unique(codes[codes >= 0]))

    def batch(self, start: int, size: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return the images `start` to `start + size` of an endless shuffled sequence.

        Each pass over the data has its own order, drawn from the seed and the number of the pass, so that any position
        is reached without visiting those before it.

        Args:
            start: position of the first image.
            size: number of images.
            seed: seed of the order.

        Returns:
            Images (size, 3, S, S) in [-1, 1], and label indices (size,).
        """
        index = self.order(start, size, seed=seed)
        return to_tensor(self.pixels(index)), torch.from_numpy(self.label_at(index))

    def ids(self, start: int, size: int, *, seed: int) -> list[str]:
        """Return the patch ids of that batch; this reads the whole column."""
        names = self.store.column("patch_id")
        return [str(names[row]) for row in self.rows[self.order(start, size, seed=seed)]]

    def order(self, start: int, size: int, *, seed: int) -> NDArray[np.int64]:
        """Return the indices into `rows` of the positions from `start` on: (size,)."""
        positions = np.arange(start, start + size)
        if self._schedule is None:
            return _permuted_passes(positions, count=len(self.rows), key=(seed,))
        indices = np.empty(size, np.int64)
        labels, before = self._schedule.at(positions)
        for label in np.unique(labels):
            first = int(self._ends[label - 1]) if label else 0
            mask = labels == label
            indices[mask] = first + _permuted_passes(
                before[mask], count=int(self._ends[label]) - first, key=(seed, int(label))
            )
        return indices

    def label_at(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the labels of these indices into `rows`."""
        return np.searchsorted(self._ends, index, side="right")

    def pixels(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the patches of these indices into `rows`: (size, S, S, 3)."""
        return self._read(self.rows[index].astype(np.int64))

    def _label_schedule(self, balance: bool, weights: Mapping[str, float]) -> LabelSchedule | None:
        """Return the schedule of labels; None if labels occur as often as they have patches."""
        for name in weights:
            if name not in self.labels:
                raise HistosynthError(
                    f"train.weights names the label '{name}', which has no patch to train on"
                    f"{did_you_mean(name, self.labels)}; the labels are {', '.join(self.labels)}"
                )
        if not balance and not weights:
            return None
        counts = np.diff(self._ends, prepend=0)
        return LabelSchedule(
            [weights.get(n, 1.0) * (1 if balance else c) for n, c in zip(self.labels, counts, strict=True)]
        )

    def _pixels(
        self, cache: str, cache_gb: float, progress: bool
    ) -> tuple[str, Callable[[NDArray[np.int64]], NDArray[np.uint8]]]:
        """Return the source of the pixels, and a function that reads rows from it."""
        size = file_bytes(self.store, image_px=self.image_px)
        directory = default_directory() if cache == "auto" else Path(cache)
        if cache == "auto" and size <= _IN_MEMORY:
            images = self.store.images(np.arange(len(self.store)), threads=self._workers)
            return "memory", lambda rows: images[rows]
        problem = space_problem(size, directory=directory, limit_gb=cache_gb) if cache == "auto" else None
        if problem is not None:
            warnings.warn(f"patches are decoded again in each step: {problem}", stacklevel=3)
        if cache == "off" or problem is not None:
            return "the store", lambda rows: self.store.images(rows, threads=self._workers)
        pixels = PixelCache(
            self.store, directory=directory, image_px=self.image_px, limit_gb=cache_gb, progress=progress
        )
        return str(pixels.path), pixels.read


def _permuted_passes(index: NDArray[np.int64], *, count: int, key: tuple[int, ...]) -> NDArray[np.int64]:
    """Return indices below `count` for an endless sequence of passes, each a permutation of its own."""
    pass_, place = np.divmod(index, count)
    for number in np.unique(pass_):
        mask = pass_ == number
        place[mask] = permute_indices(place[mask], count=count, key=(*key, int(number)))
    return place


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Convert bytes (N, H, W, 3) to float32 (N, 3, H, W) in [-1, 1]."""
    return from_bytes(torch.from_numpy(images))


def from_bytes(pixels: Tensor) -> Tensor:
    """Convert bytes (N, H, W, 3) on any device to float32 (N, 3, H, W) in [-1, 1], channels innermost in memory."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def to_bytes(x: Tensor) -> NDArray[np.uint8]:
    """Convert (N, 3, H, W), clipped to [-1, 1], to bytes (N, H, W, 3), rounded to the nearest."""
    scaled = (x.detach().float().clamp(-1, 1) + 1) * 127.5
    image: NDArray[np.uint8] = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return image
