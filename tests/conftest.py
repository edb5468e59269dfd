"""Fixtures that the tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

# One thread a test process: on small matrices more of them only wait for each other. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import pytest
from hypothesis import settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# The same examples in every run: a red test means a change, never luck. `--hypothesis-profile=default` searches anew.
settings.register_profile("histosynth", deadline=None, derandomize=True)
settings.load_profile("histosynth")


@pytest.fixture(scope="session", autouse=True)
def caches_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither features nor weights that lie in the user's cache decide a test, and none is left there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # whose fonts take seconds to list
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("TORCH_HOME", raising=False)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides and regions beside the repository; the test skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA
