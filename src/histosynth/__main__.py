"""`histosynth` and `python -m histosynth`: the command line."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def _end_at_once(signum: int, frame: FrameType | None) -> NoReturn:
    """End while packages are imported, where nothing has been written and an exception would show their code."""
    print("histosynth: stopped; rerun the command to resume", file=sys.stderr, flush=True)
    os._exit(128 + signum)


def main() -> None:
    """Import the command line, and run it.

    Threads of OpenMP sleep while they wait for each other, unless the user chose otherwise. By default they spin, which
    on a machine with other work slows training down tenfold.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when PyTorch is imported
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as of a shell for a command in the background
            signal.signal(signum, _end_at_once)
    from histosynth.cli import main as run

    run()


if __name__ == "__main__":
    main()
