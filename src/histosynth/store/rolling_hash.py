"""A hash of a sequence of images that can be joined from those of its pieces, so that each part can carry its own.

With a_i the SHA-256 of image i as a number, the polynomial sum of a_i B^(n-1-i) modulo the prime 2^255 - 19 (Karp &
Rabin 1987, "Efficient randomized pattern-matching algorithms"): that of two sequences one behind the other is
h_1 B^(n_2) + h_2. It tells data sets apart; it is no guard against somebody who wants two of the same hash.
"""

import hashlib
from collections.abc import Iterable

_PRIME = 2**255 - 19
_BASE = int.from_bytes(hashlib.sha256(b"histosynth").digest()) % _PRIME


def hash_sequence(images: Iterable[bytes]) -> int:
    """The hash of these images, each given by its SHA-256."""
    value = 0
    for digest in images:
        value = (value * _BASE + int.from_bytes(digest)) % _PRIME
    return value


def concatenate_hashes(first: int, second: int, *, images: int) -> int:
    """The hash of two sequences as one; `images` is the length of the second."""
    return (first * pow(_BASE, images, _PRIME) + second) % _PRIME
