"""A shuffled order that nobody has to hold: where index i of n goes is computed, from i and a key alone.

A Feistel network permutes the 4^h numbers of 2h bits whatever its round function is (Luby & Rackoff 1988, "How to
construct pseudorandom permutations"): (L, R) -> (R, L xor f_k(R)), here ten rounds with the mixing of splitmix64
(Steele, Lea & Flood 2014). To permute n <= 4^h of them, take the result again as input until it is less than n (cycle
walking: Black & Rogaway 2002, "Ciphers with arbitrary finite domains"); as 4^(h-1) < n, four turns do on average at
most. A million patches or a hundred million: no memory, and any place at once. A thousand are quicker drawn.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 10
_FEW = 1024  # up to so many, NumPy's own permutation takes less time than the network


def permute_indices(index: NDArray[np.int64], *, count: int, key: Sequence[int]) -> NDArray[np.int64]:
    """Where each of these indices, 0 <= index < count, goes in the permutation of `count` that the key names."""
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
    """The finalizer of splitmix64; arithmetic is modulo 2^64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
