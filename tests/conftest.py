"""Fixtures that the tests share."""

import os
from pathlib import Path

# One thread a test process: on small matrices more of them only wait for each other. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# The same examples in every run: a red test means a change, never luck. `--hypothesis-profile=default` searches anew.
settings.register_profile("histosynth", deadline=None, derandomize=True)
settings.load_profile("histosynth")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides and regions beside the repository; the test skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA
