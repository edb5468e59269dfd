"""The cosine transform and its bands."""

import numpy as np
import pytest
import scipy.fft
import torch

from histosynth.diffusion.cosine_bands import band_edges, band_of_coefficient, cosine_basis


@pytest.mark.parametrize("size", [1, 2, 8, 32, 33])
def test_the_basis_is_orthonormal_and_scipys(size: int) -> None:
    basis = cosine_basis(size)
    torch.testing.assert_close(basis @ basis.T, torch.eye(size, dtype=torch.float64))
    np.testing.assert_allclose(basis.numpy(), scipy.fft.dct(np.eye(size), norm="ortho", axis=0), atol=1e-12)


def test_bands_cover_all_coefficients_once_and_hold_the_same_frequencies_at_every_size() -> None:
    assert band_edges(32) == [0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 32]
    assert band_edges(64) == [0, 1, 4, 6, 8, 10, 14, 18, 24, 32, 42, 64]
    assert band_edges(8) == [0, 1, 2, 3, 4, 5, 8]
    assert band_edges(1) == [0, 1]
    for size in (1, 2, 3, 8, 16, 32, 48, 64, 128):
        edges, band = band_edges(size), band_of_coefficient(size)
        assert edges == sorted(set(edges))
        assert edges[-1] == size
        assert torch.bincount(band).tolist() == np.diff(edges).tolist()
