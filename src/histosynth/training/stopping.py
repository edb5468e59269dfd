"""Early ends of training: a signal, or the limit of hours.

Schedulers announce the end of a job by SIGTERM, people by Ctrl-C (SIGINT). After the first signal, the loop saves at
the end of the current step; a second signal of either kind ends the process at once.
"""

import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from accelerate import Accelerator

from histosynth.training.launch import sum_numbers

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopCondition:
    """The condition that ends training after a step, equal on all processes.

    Args:
        accelerator: the processes.
        hours: limit for the run over all calls, 0 for none.
        seconds: duration of earlier calls.

    Attributes:
        signum: the signal that arrived on any process; 0 for none.
    """

    def __init__(self, accelerator: Accelerator, *, hours: float, seconds: float) -> None:
        self.accelerator, self.signum = accelerator, 0
        self._limit, self._started = 3600 * hours, time.monotonic() - seconds
        self._received, self._handlers = 0, dict[int, Any]()

    @property
    def seconds(self) -> float:
        """Duration of the run, over all calls."""
        return time.monotonic() - self._started

    def should_stop(self) -> bool:
        """Return whether training has to end now."""
        timed_out = bool(self._limit) and self.seconds >= self._limit
        if self.accelerator.num_processes == 1:
            self.signum = self._received
            return timed_out or self.signum > 0
        flags = [number == self._received for number in _SIGNALS]
        flags.append(timed_out and self.accelerator.is_main_process)
        *counts, timed_out_count = sum_numbers(self.accelerator, list(map(int, flags)))
        self.signum = next((int(number) for number, count in zip(_SIGNALS, counts, strict=True) if count), 0)
        return bool(timed_out_count) or self.signum > 0

    def __enter__(self) -> "StopCondition":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if self.accelerator.is_main_process:
            name = signal.Signals(number).name
            print(f"histosynth: {name}: saving after this step; repeat to end at once", file=sys.stderr, flush=True)
