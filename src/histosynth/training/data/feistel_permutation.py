"""A pseudorandom permutation without a table: the image of index i of n is computed from i and a key.

A Feistel network permutes the 4^h numbers of 2h bits whatever its round function is (Luby & Rackoff 1988, "How to
construct pseudorandom permutations"): (L, R) -> (R, L xor f_k(R)), here ten rounds with the mixing of splitmix64
(Steele, Lea & Flood 2014). To permute n <= 4^h of them, the network is applied again until the result is less than n
(cycle walking: Black & Rogaway 2002, "Ciphers with arbitrary finite domains"). As 4^(h-1) < n, this takes at most four
applications on average. A hundred million patches take no memory, and any position is reached directly. For up to a
thousand, NumPy's permutation is faster.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 10
_FEW = 1024  # up to this count, NumPy's own permutation takes less time than the network


def permute_indices(index: NDArray[np.int64], *, count: int, key: Sequence[int]) -> NDArray[np.int64]:
    """Return the images of these indices, 0 <= index < count, under the permutation of `count` with that key."""
    seed = np.random.SeedSequence(tuple(key))
    if count <= _FEW:
        return np.random.default_rng(seed).permutation(count)[index]
    half = np.uint64(-(-(count - 1).bit_length() // 2))
    rounds = seed.generate_state(_ROUNDS, np.uint64).astype(np.uint64)
    value = index.astype(np.uint64)
    walking = np.arange(len(value))
    while len(walking):
        value[walking] = _feistel(value[walking], half, rounds)
        walking = walking[value[walking] >= count]
    return value.astype(np.int64)


def _feistel(value: NDArray[np.uint64], half: np.uint64, rounds: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & mask
    for key in rounds:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return left << half | right


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the finalizer of splitmix64; arithmetic is modulo 2^64."""

    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
