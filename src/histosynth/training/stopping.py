"""When training ends before its time: a signal, or the hours granted.

Schedulers announce the end of a job by SIGTERM, people by Ctrl-C (SIGINT). The first makes the loop save after the step
it is at; a second one of either ends the process at once.
"""

import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator

from histosynth.training.launch import sum_over_processes

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopCondition:
    """Says after each step whether training has to end, alike on all processes.

    Args:
        accelerator: the processes.
        hours: granted to the run, 0 for no limit.
        seconds: that it has taken before.

    Attributes:
        signum: the signal that came, on any process; 0 for none.
    """

    def __init__(self, accelerator: Accelerator, *, hours: float, seconds: float) -> None:
        self.accelerator, self.signum = accelerator, 0
        self._limit, self._began = 3600 * hours, time.monotonic() - seconds
        self._got, self._before = 0, dict[int, Any]()

    @property
    def seconds(self) -> float:
        """That the run has taken, in all its calls."""
        return time.monotonic() - self._began

    def should_stop(self) -> bool:
        """Whether to end now."""
        late = bool(self._limit) and self.seconds >= self._limit
        if self.accelerator.num_processes == 1:
            self.signum = self._got
            return late or self.signum > 0
        signals = torch.zeros(len(_SIGNALS) + 1, device=self.accelerator.device)
        signals[-1] = late and self.accelerator.is_main_process
        if self._got:
            signals[_SIGNALS.index(signal.Signals(self._got))] = 1
        *came, over = sum_over_processes(self.accelerator, signals).tolist()
        self.signum = next((int(number) for number, count in zip(_SIGNALS, came, strict=True) if count), 0)
        return bool(over) or self.signum > 0

    def __enter__(self) -> "StopCondition":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._got = number
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if self.accelerator.is_main_process:
            name = signal.Signals(number).name
            print(f"histosynth: {name}: saving after this step; once more ends it at once", file=sys.stderr, flush=True)
