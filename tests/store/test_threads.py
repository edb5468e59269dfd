"""Threads process a few items at a time and keep their order."""

import time

from histosynth.store.threads import map_in_threads


def test_results_keep_their_order_and_few_items_are_in_flight() -> None:
    taken = []

    def items() -> object:
        for n in range(1000):
            taken.append(n)
            yield n

    def work(n: int) -> int:
        time.sleep(0.001 if n % 3 else 0.003)
        return n * n

    for n, result in enumerate(map_in_threads(work, items(), threads=4)):
        assert result == n * n
        assert len(taken) <= n + 1 + 2 * 4
    assert len(taken) == 1000
