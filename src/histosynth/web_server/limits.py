"""Rate limits in memory: one token bucket per address or visit.

A bucket holds at most `burst` tokens and is refilled at `per_second`. Buckets belong to this process: a restart empties
them, and several server processes together allow that many times as much. Against tokens of 128 random bits either is
far more than enough; the limits make guessing visible, and costlier for the attacker than for the server.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

_MAX_KEYS = 10_000


class RateLimiter:
    """One token bucket per key; the least recently used are discarded first."""

    def __init__(self, *, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, and at what time
        self._lock = Lock()

    def retry_after_s(self, key: str) -> float:
        """Return the seconds until the next token, 0 if there is one now. Takes none."""
        with self._lock:
            return self._wait_s(self._tokens(key))

    def take(self, key: str) -> float:
        """Take a token and return 0; or take none and return the seconds until the next one."""
        with self._lock:
            tokens = self._tokens(key)
            wait_s = self._wait_s(tokens)
            self._buckets[key] = (tokens if wait_s else tokens - 1, self._clock())
            self._buckets.move_to_end(key)
            if len(self._buckets) > _MAX_KEYS:
                self._buckets.popitem(last=False)
            return wait_s

    def _tokens(self, key: str) -> float:
        tokens, at = self._buckets.get(key, (float(self._burst), self._clock()))
        return min(self._burst, tokens + (self._clock() - at) * self._per_second)

    def _wait_s(self, tokens: float) -> float:
        return max(0.0, (1 - tokens) / self._per_second)


def network(address: str) -> str:
    """Return the network that shares one limit: the address itself, or the /64 of an IPv6 address.

    Anyone has as many addresses as they want within a /64.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
