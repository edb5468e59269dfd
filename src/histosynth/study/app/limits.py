"""How often one may ask: a bucket of tokens for each address or reader, in memory.

A bucket holds at most `burst` and fills at `per_second`. Kept in this process alone: a restart forgets it, and several
server processes allow that many times as much. Against 128 random bits either is far more than enough; the limits are
there so that guessing is seen, and costs the guesser more than the server.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

_MAX_KEYS = 10_000


class RateLimiter:
    """One bucket a key; those not used for longest are forgotten first."""

    def __init__(self, *, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when that was
        self._lock = Lock()

    def wait(self, key: str) -> float:
        """Seconds until one more is allowed; 0 if it is now. Takes nothing."""
        with self._lock:
            return self._missing(self._left(key))

    def take(self, key: str) -> float:
        """Take one and give 0; or take none, and give the seconds until one is allowed."""
        with self._lock:
            left = self._left(key)
            missing = self._missing(left)
            self._buckets[key] = (left if missing else left - 1, self._clock())
            self._buckets.move_to_end(key)
            if len(self._buckets) > _MAX_KEYS:
                self._buckets.popitem(last=False)
            return missing

    def _left(self, key: str) -> float:
        left, at = self._buckets.get(key, (float(self._burst), self._clock()))
        return min(self._burst, left + (self._clock() - at) * self._per_second)

    def _missing(self, left: float) -> float:
        return max(0.0, (1 - left) / self._per_second)


def network(address: str) -> str:
    """What counts as one address: of IPv6 the /64, within which anyone can have as many as wanted."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
