"""The public names of the package, and the cost of importing it."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import histosynth


@pytest.mark.parametrize("name", histosynth.__all__)
def test_public_names_can_be_loaded(name: str) -> None:
    assert getattr(histosynth, name)
    assert name in dir(histosynth)


def test_an_unknown_name_raises_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="histosynth' has no attribute 'nonsense'"):
        histosynth.nonsense  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    assert histosynth.__version__ == version("histosynth")


@pytest.mark.parametrize("code", ["import histosynth", "from histosynth import Settings, Store, load_settings"])
def test_importing_does_not_load_torch(code: str) -> None:
    program = f"import sys; {code}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
