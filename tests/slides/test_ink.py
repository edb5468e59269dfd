import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histosynth.slides.ink import is_ink

# Optical densities (natural logarithm) of marker strokes.
INKS = {"green": (1.3, 0.35, 0.9), "blue": (1.6, 0.8, 0.15), "red": (0.1, 1.3, 1.5), "black": (1.8, 1.8, 1.7)}
# Unit vectors of Ruifrok & Johnston (2001): hematoxylin, eosin.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


@given(st.tuples(st.floats(0, 3), st.floats(0, 3)))
def test_no_mixture_of_hematoxylin_and_eosin_is_ink(amounts: tuple[float, float]) -> None:
    assert not is_ink(np.array(amounts) @ STAINS)


@pytest.mark.parametrize("ink", INKS)
@given(strength=st.floats(0.7, 1.5), tissue=st.tuples(st.floats(0, 0.15), st.floats(0, 0.1)))
def test_ink_on_glass_and_pale_tissue_is_detected(ink: str, strength: float, tissue: tuple[float, float]) -> None:
    assert is_ink(strength * np.array(INKS[ink]) + np.array(tissue) @ STAINS)


def test_glass_is_not_ink_and_shapes_are_kept() -> None:
    assert not is_ink(np.zeros((4, 5, 3))).any()
    assert is_ink(np.zeros((4, 5, 3))).shape == (4, 5)
