import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histosynth.patches.spatial_order import slide_rng, spatially_balanced_order


def lattice(columns: int, rows: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=2).reshape(-1, 2).astype(np.int64) * 10


def order(corners: np.ndarray, *, seed: int = 0, slide_id: str = "S") -> np.ndarray:
    return spatially_balanced_order(corners, rng=slide_rng(seed, slide_id, "order"))


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), unique=True, max_size=200).map(
        lambda corners: np.array(corners, dtype=np.int64).reshape(-1, 2)
    ),
    st.integers(0, 5),
)
def test_order_is_a_reproducible_permutation(corners: np.ndarray, seed: int) -> None:
    rows = order(corners, seed=seed)
    assert sorted(rows) == list(range(len(corners)))
    np.testing.assert_array_equal(rows, order(corners, seed=seed))


@pytest.mark.parametrize("seed", range(5))
def test_every_prefix_is_evenly_spread_over_the_cells_of_a_square(seed: int) -> None:
    corners = lattice(32, 32)
    ordered = corners[order(corners, seed=seed)]
    for cells in (2, 4, 8, 16):
        cell = ordered // (320 // cells) @ [1, cells]
        counts = np.array([np.bincount(cell[:n], minlength=cells**2) for n in range(1, 1025)])
        n = np.arange(1, 1025)[:, None] / cells**2
        assert (np.abs(counts - n) < 1 + 1e-9).all()


def test_first_regions_lie_farther_apart_than_a_simple_random_sample() -> None:
    def nearest(corners: np.ndarray) -> float:
        distance = np.linalg.norm(corners[:, None] - corners[None], axis=2)
        return float(distance[~np.eye(len(corners), dtype=bool)].reshape(len(corners), -1).min(axis=1).mean())

    corners, rng = lattice(50, 40), np.random.default_rng(0)
    ours = np.mean([nearest(corners[order(corners, seed=seed)[:20]]) for seed in range(30)])
    simple = np.mean([nearest(corners[rng.permutation(2000)[:20]]) for _ in range(30)])
    assert ours > 1.15 * simple


@pytest.mark.parametrize(("columns", "rows", "cap"), [(10, 5, 10), (7, 7, 3), (13, 3, 20)])
def test_every_region_is_equally_likely(columns: int, rows: int, cap: int) -> None:
    corners, draws = lattice(columns, rows), 2000
    hits = np.bincount(
        np.concatenate([order(corners, seed=seed)[:cap] for seed in range(draws)]), minlength=len(corners)
    )
    share = cap / len(corners)
    # Binomial: five standard deviations, plus a margin for halves that differ by one.
    assert (np.abs(hits / draws - share) < 5 * np.sqrt(share * (1 - share) / draws) + 0.02 * share).all()


def test_slides_and_seeds_have_different_orders() -> None:
    corners = lattice(30, 30)
    firsts = {tuple(order(corners, seed=seed, slide_id=slide)[:5]) for seed in (0, 1) for slide in ("S", "T", "U")}
    assert len(firsts) == 6
