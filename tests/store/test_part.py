"""A part is written completely or not at all."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from histosynth.store.part import part_path


@pytest.mark.parametrize(
    ("limit", "exit_code"),
    [("resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))", errno.EFBIG), ("KILL", -signal.SIGKILL)],
)
def test_a_full_disk_or_a_kill_leaves_no_part(tmp_path: Path, limit: str, exit_code: int) -> None:
    program = f"""
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from histosynth.store import part
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def patches():
    for n in range(9):
        if n == 8:
            {"os.kill(os.getpid(), signal.SIGKILL)" if limit == "KILL" else limit}
        image = np.random.default_rng(n).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        yield part.Patch(patch_id=str(n), image=image, source="real")
try:
    part.write_part(Path(sys.argv[1]), patches(), fingerprint="f")
except OSError as error:
    sys.exit(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", program, str(part_path(tmp_path, "s"))], check=False)
    assert done.returncode == exit_code
    assert list(tmp_path.iterdir()) == []
