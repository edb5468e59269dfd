"""A hash of a sequence of images that follows from the hashes of its pieces, so that each part can store its own.

With a_i the SHA-256 of image i as a number, h = sum of a_i B^(n-1-i) modulo the prime 2^255 - 19 (Karp & Rabin 1987,
"Efficient randomized pattern-matching algorithms"). The hash of two concatenated sequences is h_1 B^(n_2) + h_2. It
distinguishes data sets; it does not protect against deliberate collisions.
"""

import hashlib
from collections.abc import Iterable

_PRIME = 2**255 - 19
_BASE = int.from_bytes(hashlib.sha256(b"histosynth").digest()) % _PRIME


def hash_sequence(digests: Iterable[bytes]) -> int:
    """Return the hash of a sequence of images, each represented by its SHA-256."""
    value = 0
    for digest in digests:
        value = (value * _BASE + int.from_bytes(digest)) % _PRIME
    return value


def concatenate_hashes(first: int, second: int, *, n_second: int) -> int:
    """Return the hash of two concatenated sequences; `n_second` is the length of the second."""
    return (first * pow(_BASE, n_second, _PRIME) + second) % _PRIME
