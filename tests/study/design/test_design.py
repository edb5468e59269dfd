"""Balance, spread over patients and reading orders, tested as properties for all sizes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histosynth.errors import HistosynthError
from histosynth.study.design.design import (
    REAL,
    all_cells,
    derive_rng,
    draw_repeats,
    interleave_groups,
    main_quota,
    max_balanced_cases,
    practice_quota,
    reading_order,
)

LABELS = st.integers(1, 5).map(lambda n: [f"genotype {i}" for i in range(n)])
GENERATORS = st.integers(1, 4).map(lambda n: [f"model {i}" for i in range(n)])
SEEDS = st.integers(0, 2**32)


@given(st.integers(2, 400), LABELS, GENERATORS)
def test_main_cases_are_balanced_or_the_error_names_valid_numbers(cases, labels, generators):
    try:
        quota = main_quota(cases, labels=labels, generators=generators)
    except HistosynthError as error:
        named = [int(word) for word in str(error).rpartition("such as ")[2].split(" or ")]
        assert named
        assert all(main_quota(n, labels=labels, generators=generators) for n in named)
        assert min(abs(n - cases) for n in named) < 2 * len(labels) * len(generators)
        return
    assert sum(quota.values()) == cases
    assert sum(n for (_, source), n in quota.items() if source == REAL) * 2 == cases
    for label in labels:
        assert sum(n for (cell_label, _), n in quota.items() if cell_label == label) * len(labels) == cases
        assert quota[label, REAL] * 2 * len(labels) == cases
    assert len({n for (_, source), n in quota.items() if source != REAL}) == 1


@given(st.integers(0, 40).map(lambda n: 2 * n), LABELS, GENERATORS, SEEDS)
def test_practice_is_half_real_and_equal_over_cells_up_to_one(cases, labels, generators, seed):
    quota = practice_quota(cases, labels=labels, generators=generators, rng=np.random.default_rng(seed))
    for real in (True, False):
        side = [n for (_, source), n in quota.items() if (source == REAL) == real]
        assert sum(side) == cases // 2
        assert max(side) - min(side) <= 1


@given(st.data(), LABELS, GENERATORS)
def test_the_largest_balanced_number_fits_and_one_unit_more_does_not(data, labels, generators):
    cells = all_cells(labels, generators)
    available = {cell: data.draw(st.integers(0, 60)) for cell in cells}
    practice = {cell: data.draw(st.integers(0, 3)) for cell in cells}
    most = max_balanced_cases(available, practice=practice, labels=labels, generators=generators)

    def fits(cases):
        quota = main_quota(cases, labels=labels, generators=generators)
        return all(quota[cell] + practice[cell] <= available[cell] for cell in cells)

    assert not most or fits(most)
    assert not fits(most + 2 * len(labels) * len(generators))


@given(st.lists(st.sampled_from("ABCDE"), max_size=60), SEEDS)
def test_any_first_n_are_spread_over_patients(groups, seed):
    order = interleave_groups(groups, rng=np.random.default_rng(seed))
    assert sorted(order) == list(range(len(groups)))
    left, taken = Counter(groups), Counter(dict.fromkeys(groups, 0))
    for item in order:
        taken[groups[item]] += 1
        left[groups[item]] -= 1
        unfinished = [taken[g] for g in taken if left[g]]
        assert not unfinished or max(taken.values()) - min(unfinished) <= 1


def test_each_patch_of_a_patient_is_equally_likely_to_come_first():
    first = Counter(interleave_groups("AAAB", rng=np.random.default_rng(seed))[0] for seed in range(4000))
    assert first[3] / 4000 == pytest.approx(1 / 2, abs=0.03)  # the only item of B
    assert all(first[i] / 4000 == pytest.approx(1 / 6, abs=0.03) for i in range(3))


@given(st.integers(4, 120), st.data(), SEEDS)
def test_orders_contain_each_case_once_and_repeats_far_apart(cases, data, seed):
    rng = np.random.default_rng(seed)
    repeats = data.draw(st.integers(0, cases // 4)) * 2
    names = list(range(cases))
    twice = rng.permutation(cases)[:repeats].tolist()
    order = reading_order(names, twice=twice, rng=rng)
    assert sorted(case for case, is_repeat in order if not is_repeat) == names
    assert sorted(case for case, is_repeat in order if is_repeat) == sorted(twice)
    positions = {(case, is_repeat): i for i, (case, is_repeat) in enumerate(order)}
    gaps = [positions[case, True] - positions[case, False] for case in twice]
    assert not gaps or min(gaps) > len(order) // 3


def test_too_many_repeats_are_rejected_with_the_largest_valid_number():
    with pytest.raises(HistosynthError, match="pass --repeats of at most 10"):
        reading_order(list(range(20)), twice=list(range(12)), rng=np.random.default_rng(0))
    reading_order(list(range(20)), twice=list(range(10)), rng=np.random.default_rng(0))


@given(LABELS, GENERATORS, st.integers(1, 3), SEEDS)
def test_repeats_are_half_real_and_spread_over_cells(labels, generators, each, seed):
    quota = main_quota(2 * len(labels) * len(generators) * each, labels=labels, generators=generators)
    cells = {(cell, i): cell for cell, n in quota.items() for i in range(n)}
    twice = draw_repeats(cells, repeats=2 * (len(cells) // 4), rng=np.random.default_rng(seed))
    assert len(set(twice)) == len(twice) == 2 * (len(cells) // 4)
    for real in (True, False):
        counts = Counter({cell: 0 for cell in quota if (cell[1] == REAL) == real})
        counts.update(cells[case] for case in twice if (cells[case][1] == REAL) == real)
        assert counts.total() == len(cells) // 4
        assert max(counts.values()) - min(counts.values()) <= 1


def test_every_position_is_equally_likely_to_be_real():
    """Over many readers, each position of the session holds real tissue half of the time."""
    cells = {i: ("a", REAL if i % 2 else "model") for i in range(12)}
    share = np.zeros(16)
    for reader in range(2000):
        rng = derive_rng(3, "reader", reader)
        order = reading_order(list(cells), twice=draw_repeats(cells, repeats=4, rng=rng), rng=rng)
        share += [cells[case][1] == REAL for case, _ in order]
    assert np.abs(share / 2000 - 0.5).max() < 0.045  # four standard deviations


def test_each_draw_has_its_own_random_generator():
    draws = [derive_rng(*key).random() for key in ((0, "a"), (0, "b"), (1, "a"), (0, "a", "b"), (0, None), (0, "None"))]
    assert len(set(draws)) == len(draws)
    assert derive_rng(0, "a").random() == draws[0]
