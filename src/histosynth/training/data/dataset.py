"""Patches as training batches, in an order that depends on the seed and the position alone.

Nothing of the order is held: the patch at any position of an endless sequence is computed (`shuffle`, `turns`), so that
a resumed run, or one rank of many, begins wherever it is wanted. Pixels come from memory, from a file of decoded
patches (`pixel_cache`), or from the store as they are wanted, always the same.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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

_IN_MEMORY = 1 << 28  # bytes of pixels that are held rather than written to a file
_AHEAD = 64  # batches decoded ahead, at most
Batch = tuple[Tensor, Tensor]


class PatchDataset:
    """The labeled patches of one split.

    Args:
        store: the patch store.
        split: `train`, `held_out`, or `all`.
        balance: show every label equally often. No patch is left out: those of a rare label come round more often.
        weights: show these labels so many times as often as they would be.
        cache: `auto`, a directory, or `off`, as `train.cache` says.
        cache_gb: the most that decoded patches may take there.
        workers: threads that read and decode; 0: one a core, at most 16.
        progress: show a progress bar while patches are decoded.

    Attributes:
        labels: names, sorted; `targets` are numbers among them.
        rows: rows of the store, those of a label side by side.
        reading: where pixels come from, in words.

    Raises:
        HistosynthError: no labeled patch in that split, a weight for no label of it, or a `cache` without room.
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
                f"{store.path} has no labeled patch of split '{split}'; give `patches` a table of --labels, "
                "or check patches.held_out"
            )
        counts = np.bincount(codes[keep], minlength=len(names))
        self.labels = [name for name, count in zip(names, counts, strict=True) if count]
        self.rows = keep[np.argsort(codes[keep], kind="stable")]
        self._ends = np.cumsum(counts[counts > 0])
        self._schedule = self._shares(balance, weights or {})
        self.store, self._workers = store, workers or min(available_cores(), 16)
        self.image_px = store.patch_px
        self.pixel_source, self._read = self._pixels(cache, cache_gb, progress)
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="ahead")
        self._coming: dict[tuple[int, int, int], Future[Batch]] = {}

    @classmethod
    def of(cls, store: Store, settings: TrainSettings, *, progress: bool = False) -> "PatchDataset":
        """The patches that these settings train on."""
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
        """How many patients the patches are of."""
        codes = self.store.codes("patient_id")[1][self.rows]
        return len(np.unique(codes[codes >= 0]))

    def batch(self, start: int, size: int, *, seed: int, stride: int | None = None) -> Batch:
        """The images number `start` to `start + size` of an endless shuffled sequence.

        Each pass over the data has an order of its own, drawn from the seed and the number of the pass, so any position
        can be reached without going through those before it. A rank of many asks for its slice of the batch.

        Args:
            start: position of the first.
            size: how many.
            seed: names the order.
            stride: the next batch that this caller will ask for begins so much later, and is made meanwhile: the number
                of images of a step on all ranks together. None: nothing is made ahead.

        Returns:
            Images (size, 3, S, S) in [-1, 1], and label numbers (size,).
        """
        coming = self._coming.pop((start, size, seed), None)
        if stride is not None:
            while len(self._coming) >= _AHEAD:
                self._coming.pop(next(iter(self._coming))).cancel()
            after = (start + stride, size, seed)
            self._coming[after] = self._pool.submit(self._make, *after)
        return coming.result() if coming else self._make(start, size, seed)

    def ids(self, start: int, size: int, *, seed: int) -> list[str]:
        """The patch ids of that batch; reads the column of all of them."""
        names = self.store.column("patch_id")
        return [str(names[row]) for row in self.rows[self.order(start, size, seed=seed)]]

    def order(self, start: int, size: int, *, seed: int) -> NDArray[np.int64]:
        """Which of `rows` stand at the positions from `start` on: (size,), places in `rows`."""
        positions = np.arange(start, start + size)
        if self._schedule is None:
            return _permuted_passes(positions, count=len(self.rows), key=(seed,))
        places = np.empty(size, np.int64)
        labels, before = self._schedule.at(positions)
        for label in np.unique(labels):
            first = int(self._ends[label - 1]) if label else 0
            here = labels == label
            places[here] = first + _permuted_passes(
                before[here], count=int(self._ends[label]) - first, key=(seed, int(label))
            )
        return places

    def _make(self, start: int, size: int, seed: int) -> Batch:
        places = self.order(start, size, seed=seed)
        labels = np.searchsorted(self._ends, places, side="right")
        return to_tensor(self._read(self.rows[places].astype(np.int64))), torch.from_numpy(labels)

    def _shares(self, balance: bool, weights: Mapping[str, float]) -> LabelSchedule | None:
        """Turns of the labels; None: as often as there are patches of each."""
        for name in weights:
            if name not in self.labels:
                raise HistosynthError(
                    f"train.weights names the label '{name}', of which there is no patch to train on"
                    f"{did_you_mean(name, self.labels)}; there are: {', '.join(self.labels)}"
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
        """Where pixels come from, and how to get some."""
        size = file_bytes(self.store, image_px=self.image_px)
        directory = default_directory() if cache == "auto" else Path(cache)
        if cache == "auto" and size <= _IN_MEMORY:
            images = self.store.images(np.arange(len(self.store)), threads=self._workers)
            return "memory", lambda rows: images[rows]
        why = space_problem(size, directory=directory, limit_gb=cache_gb) if cache == "auto" else None
        if why is not None:
            warnings.warn(f"patches are decoded anew for each step: {why}", stacklevel=3)
        if cache == "off" or why is not None:
            return "the store", lambda rows: self.store.images(rows, threads=self._workers)
        kept = PixelCache(self.store, directory=directory, image_px=self.image_px, limit_gb=cache_gb, progress=progress)
        return str(kept.path), kept.read


def _permuted_passes(index: NDArray[np.int64], *, count: int, key: tuple[int, ...]) -> NDArray[np.int64]:
    """Pass after pass through `count` things, each pass in an order of its own."""
    turn, place = np.divmod(index, count)
    for one in np.unique(turn):
        here = turn == one
        place[here] = permute_indices(place[here], count=count, key=(*key, int(one)))
    return place


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) bytes -> (N, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1


def to_bytes(x: Tensor) -> NDArray[np.uint8]:
    """(N, 3, H, W) in [-1, 1] (clipped to it) -> (N, H, W, 3) bytes, rounded to the nearest."""
    scaled = (x.detach().float().clamp(-1, 1) + 1) * 127.5
    image: NDArray[np.uint8] = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return image


def random_symmetry(x: Tensor, *, generators: Sequence[torch.Generator]) -> Tensor:
    """Flip and turn each image of (N, C, S, S) by its own generator: one of the eight symmetries of the square."""
    choices = [int(torch.randint(8, (), generator=generator)) for generator in generators]
    turned = [torch.rot90(image, k=choice % 4, dims=(1, 2)) for image, choice in zip(x, choices, strict=True)]
    return torch.stack([i.flip(2) if c >= 4 else i for i, c in zip(turned, choices, strict=True)])
