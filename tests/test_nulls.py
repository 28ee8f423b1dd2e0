"""Families of random categories: against the index of scikit-learn, one permutation at a time, and by all orders."""

from __future__ import annotations

from itertools import permutations as orders

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import adjusted_rand_score

from nbutils.nulls import PermutationTest, permutation_null, permuted_labels
from nbutils.semantics import Cut, agreement_by_depth

COARSE = Cut(np.array([0, 0, 0, 0, 1, 1, 1, 1]), ("a", "b"))
FINE = Cut(np.array([0, 0, 1, 1, 2, 2, 3, 3]), tuple("abcd"))
PARTLY = Cut(np.array([0, -1, 0, 1, -1, 1, 1, -1]), ("a", "b"))
CUTS = [COARSE, FINE, PARTLY]


def landscapes(seed=0, n=400, layers=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 8, n)
    # Each category mostly on the peak of its family, so that families matter.
    peaks = [np.where(rng.random(n) < 0.6, labels // 2, rng.integers(-1, 5, n)) for _ in range(layers)]
    return peaks, labels


def test_the_null_is_the_index_of_scikit_learn_for_each_permutation():
    peaks, labels = landscapes()
    test = permutation_null(peaks, labels, CUTS, 20, random_state=3)
    assert test.statistic.shape == (3, 3) and test.null_distribution.shape == (20, 3, 3)
    for m, families in enumerate(permuted_labels(CUTS, 20, random_state=3)):
        for layer, peak in enumerate(peaks):
            for number, of in enumerate(families):
                keep = (peak >= 0) & (of[labels] >= 0)
                expected = adjusted_rand_score(of[labels][keep], peak[keep])
                assert test.null_distribution[number, layer, m] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(test.statistic, [agreement_by_depth(p, labels, CUTS) for p in peaks], atol=1e-12)


def test_the_null_is_that_of_all_orders():
    """With 6 categories in groups of 2, 2 and 2 all 720 orders can be tried; the p-value must be near their share."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(6), 20)
    peaks = np.where(rng.random(120) < 0.3, labels // 2, rng.integers(0, 3, 120))
    of = np.array([0, 0, 1, 1, 2, 2])
    cut = Cut(of, tuple("abc"))
    exact = np.array([adjusted_rand_score(of[list(order)][labels], peaks) for order in orders(range(6))])
    test = permutation_null(peaks, labels, [cut], 4000, 0)
    assert test.statistic.shape == (1,)
    share = (exact >= exact[0] - 1e-12).mean()
    assert test.pvalue[0] == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4000) + 1e-3)
    assert test.expected[0] == pytest.approx(exact.mean(), abs=4 * exact.std() / np.sqrt(4000))
    np.testing.assert_allclose(np.unique(test.null_distribution.round(9)), np.unique(exact.round(9)))


def test_permutations_keep_sizes_and_nesting_and_leave_out_who_is_left_out():
    coarse, fine, partly = permuted_labels(CUTS, 200, 0)
    for cut, families in zip(CUTS, (coarse, fine, partly), strict=True):
        assert families.shape == (200, 8)
        assert all(sorted(row) == sorted(cut.labels) for row in families.tolist())
    np.testing.assert_array_equal(partly < 0, np.tile(PARTLY.labels < 0, (200, 1)))
    np.testing.assert_array_equal(fine // 2, coarse)  # nested as FINE is in COARSE
    # Every category is equally often in every group.
    assert np.abs((coarse == 0).mean(0) - 0.5).max() < 4 * np.sqrt(0.25 / 200)
    inside = PARTLY.labels >= 0
    assert np.abs((partly[:, inside] == 0).mean(0) - 0.4).max() < 4 * np.sqrt(0.24 / 200)


def test_random_state_is_a_seed_or_a_generator():
    peaks, labels = landscapes()
    a, b = (permutation_null(peaks, labels, CUTS, 9, 5).null_distribution for _ in range(2))
    np.testing.assert_array_equal(a, b)
    c = permutation_null(peaks, labels, CUTS, 9, np.random.default_rng(5)).null_distribution
    np.testing.assert_array_equal(a, c)
    rng = np.random.default_rng(5)
    first, second = (permutation_null(peaks, labels, CUTS, 9, rng).null_distribution for _ in range(2))
    assert (first != second).any()


def test_p_values_by_hand():
    test = PermutationTest(np.array([3.0, 0.0]), np.array([[1.0, 0.0], [3.0, 1.0], [2.0, -1.0], [4.0, 2.0]]))
    np.testing.assert_allclose(test.pvalue, [3 / 5, 4 / 5])
    np.testing.assert_allclose(test.expected, [2.5, 0.5])
    largest = test.maximum()
    assert largest.statistic == 3
    np.testing.assert_array_equal(largest.null_distribution, [1, 3, 2, 4])
    assert largest.pvalue == 3 / 5


def test_the_maximum_is_taken_over_the_same_axes_in_the_null():
    peaks, labels = landscapes()
    test = permutation_null(peaks, labels, CUTS, 30, 0)
    for axis, numpys in [(0, (1,)), (1, (2,)), (-1, (2,)), ((0, 1), (1, 2)), (None, (1, 2))]:
        one = test.maximum(axis)
        np.testing.assert_array_equal(one.statistic, test.statistic.max(axis))
        np.testing.assert_array_equal(one.null_distribution, test.null_distribution.max(numpys))
    # What is the best of many is easier to reach than each by itself.
    scores = test.standardised()
    assert (test.corrected_pvalue >= test.pvalue - 1e-12).all()
    assert test.corrected_pvalue.min() == pytest.approx(scores.maximum().pvalue)


def test_standardised_values_leave_each_p_value_and_do_not_move_what_cannot_vary():
    peaks, labels = landscapes()
    alone = Cut.of_categories("abcdefgh")
    test = permutation_null(peaks, labels, [COARSE, alone], 50, 0)
    scores = test.standardised()
    np.testing.assert_array_equal(scores.pvalue, test.pvalue)
    # Groups of one category each are the same however they are permuted.
    np.testing.assert_allclose(test.null_distribution[:, :, 1], np.tile(test.statistic[:, 1], (50, 1)))
    assert (test.pvalue[:, 1] == 1).all() and (scores.null_distribution[:, :, 1] == 0).all()
    assert (test.maximum((0, 1)).pvalue == 1) and scores.maximum().pvalue < 1


def test_under_the_null_p_values_are_uniform():
    """Families that have nothing to do with the peaks: each by itself, and the largest of nine."""
    rng = np.random.default_rng(0)
    one, largest = [], []
    for _ in range(150):
        labels = np.repeat(np.arange(8), 12)
        peaks = [rng.integers(0, 4, 8)[labels] for _ in range(3)]
        peaks = [np.where(rng.random(96) < 0.3, rng.integers(0, 4, 96), peak) for peak in peaks]
        cuts = [Cut(rng.permutation(cut.labels), cut.names) for cut in CUTS]
        test = permutation_null(peaks, labels, cuts, 39, rng)
        one.append(test.pvalue[0, 0])
        largest.append(test.standardised().maximum().pvalue)
    assert np.mean(np.array(one) <= 0.1) == pytest.approx(0.1, abs=0.08)
    assert kstest(largest, "uniform").pvalue > 0.001
    assert np.mean(np.array(largest) <= 0.1) < 0.2


def test_families_that_are_the_peaks_are_found():
    labels = np.repeat(np.arange(8), 20)
    test = permutation_null(labels // 2, labels, [FINE], 200, 0)
    assert test.statistic[0] == 1 and test.pvalue[0] < 0.05
    # A single peak agrees with nothing, in each permutation.
    flat = permutation_null(np.zeros(160, int), labels, [FINE], 20, 0)
    assert flat.statistic[0] == 0 and flat.pvalue[0] == 1


def test_in_several_pieces_the_null_is_the_same(monkeypatch):
    peaks, labels = landscapes()
    whole = permutation_null(peaks, labels, CUTS, 30, 0)
    monkeypatch.setattr("nbutils.nulls.ENTRIES", 100)
    np.testing.assert_array_equal(
        permutation_null(peaks, labels, CUTS, 30, 0).null_distribution, whole.null_distribution
    )


def test_bad_input():
    peaks, labels = landscapes()
    with pytest.raises(ValueError, match="permutations=0"):
        permutation_null(peaks, labels, CUTS, 0)
    with pytest.raises(TypeError, match="permutations must be an integer"):
        permuted_labels(CUTS, 10.0)
    with pytest.raises(ValueError, match="peak_labels is empty"):
        permutation_null([], labels, CUTS)
    with pytest.raises(ValueError, match="peak_labels must have the shape"):
        permutation_null([peaks[0], peaks[1][:9]], labels, CUTS)
    with pytest.raises(ValueError, match="cuts must be"):
        permutation_null(peaks, labels, [])
    with pytest.raises(ValueError, match=r"cuts\[1\] has 1 group"):
        permutation_null(peaks, labels, [FINE, Cut(np.zeros(8, int), ("all",))])
