"""A value is prepared one step ahead, by another thread."""

import threading

from histosynth.training.data.ahead import Ahead


def test_the_next_value_is_made_by_another_thread_before_it_is_asked_for() -> None:
    made = {position: threading.Event() for position in (0, 4, 8, 12, 20, 24)}
    threads: dict[int, threading.Thread] = {}

    def make(position: int) -> int:
        threads[position] = threading.current_thread()
        made[position].set()
        return -position

    ahead, here = Ahead(make, stride=4), threading.current_thread()
    for position in (0, 4, 8):
        assert ahead.take(position) == -position
        assert made[position + 4].wait(10)
        assert threads[position + 4] is not here
    assert ahead.take(20) == -20  # not the one that was prepared
    assert threads[20] is here
    assert made[24].wait(10)
