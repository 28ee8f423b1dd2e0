"""Condensed categories and kin, by hand, by plain loops, and against the share of all pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from nbutils.condensation import category_overlap, condensation, condensed, kin, kin_null
from nbutils.graph import NeighborGraph
from nbutils.overlap import label_overlap
from nbutils.semantics import Cut

#             0 condensed     | 1 and 2 share a peak  | 3 in halves | 4 in the halo
LABELS = [0, 0, 0, 0, 0] + [1] * 4 + [2] * 4 + [3] * 4 + [4, 4]
PEAKS = [0, 0, 0, 0, 2] + [1] * 4 + [1] * 3 + [2] + [2, 2, 3, 3] + [-1, -1]


def test_condensation_by_hand():
    found = condensation(PEAKS, LABELS)
    np.testing.assert_array_equal(found.peak, [0, 1, 1, 2, -1])
    np.testing.assert_allclose(found.share, [0.8, 1, 0.75, 0.5, 0])
    np.testing.assert_allclose(found.purity, [1, 4 / 7, 3 / 7, 0.5, np.nan])
    np.testing.assert_array_equal(found.size, [5, 4, 4, 4, 2])
    # 1 is over half of the peak that it shares; 3 is exactly half on one, which is not over half.
    np.testing.assert_array_equal(found.condensed, [True, True, False, False, False])
    np.testing.assert_array_equal(condensed(PEAKS, LABELS), found.condensed)


def test_a_category_without_points_is_not_condensed():
    found = condensation([0, 0, 1], [0, 0, 2], 4)
    np.testing.assert_array_equal(found.size, [2, 0, 1, 0])
    np.testing.assert_array_equal(found.condensed, [True, False, True, False])
    assert np.isnan(found.share[[1, 3]]).all() and np.isnan(found.purity[[1, 3]]).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_condensation_is_its_definition(seed, peaks):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, 60)
    peak_labels = np.where(rng.random(60) < 0.7, labels % peaks, rng.integers(-1, peaks, 60))
    peak_labels[0] = 0
    expected = [
        any(
            2 * ((labels == a) & (peak_labels == p)).sum() > max((labels == a).sum(), (peak_labels == p).sum())
            for p in range(peaks)
        )
        for a in range(6)
    ]
    np.testing.assert_array_equal(condensed(peak_labels, labels, 6), expected)
    # At most one category is condensed on a peak.
    found = condensation(peak_labels, labels, 6)
    home = found.peak[found.condensed]
    assert len(set(home.tolist())) == len(home)


def test_own_overlaps_average_to_the_overlap():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(200, 2)), rng.integers(0, 5, 200)
    x[labels == 3] += 5
    distances, indices = cKDTree(x).query(x, 11)
    graph = NeighborGraph(distances[:, 1:], indices[:, 1:])
    own = category_overlap(graph, labels, 10)
    sizes = np.bincount(labels)
    assert np.average(own, weights=sizes) == pytest.approx(label_overlap(graph, labels, 10))
    for a in range(5):
        rows = np.flatnonzero(labels == a)
        assert own[a] == pytest.approx(np.mean([labels[j] == a for i in rows for j in indices[i, 1:]]))
    assert own[3] > 0.9
    assert np.isnan(category_overlap(graph, labels, 10, 7)[5:]).all()


# --- kin


def test_kin_by_hand():
    np.testing.assert_array_equal(kin(PEAKS, LABELS), [[1, 2]])
    np.testing.assert_array_equal(kin([0, 0, 0, 0], [0, 1, 2, 2]), [[0, 1], [0, 2], [1, 2]])
    assert kin([0, 1], [0, 1]).shape == (0, 2)


def test_kin_expected_by_chance():
    """Each pair of categories is equally likely to be of one family: the share of all pairs that are."""
    pairs = np.array([[0, 1], [0, 2], [1, 2], [4, 5]])
    families = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    cuts = [Cut(families, tuple("abc")), Cut(np.zeros(8, int), ("all",)), Cut.of_categories("abcdefgh")]
    test = kin_null(pairs, cuts, 4000, 0)
    np.testing.assert_array_equal(test.statistic, [3, 4, 0])
    share = np.mean([families[a] == families[b] for a, b in combinations(range(8), 2)])
    assert test.expected[0] == pytest.approx(4 * share, abs=4 * test.null_distribution[:, 0].std() / np.sqrt(4000))
    np.testing.assert_array_equal(test.expected[1:], [4, 0])
    assert test.pvalue[1] == test.pvalue[2] == 1


def test_kin_with_none_are_of_no_family():
    cut = Cut(np.array([0, 0, -1, -1, 1, 1]), ("a", "b"))
    test = kin_null(np.array([[0, 1], [2, 3], [3, 4], [4, 5]]), [cut], 50, 0)
    assert test.statistic.tolist() == [2]
    # However the four that have a family are permuted, 0 1 and 4 5 are both right or both wrong.
    assert set(test.null_distribution.ravel().tolist()) == {0, 2}


def test_without_kin_there_is_nothing_to_find():
    test = kin_null(kin([0, 1, 2], [0, 1, 2]), [Cut(np.array([0, 0, 1]), ("a", "b"))], 20, 0)
    assert test.statistic.tolist() == [0] and test.pvalue.tolist() == [1]


def test_bad_input():
    cut = Cut.of_categories("abc")
    with pytest.raises(ValueError, match="peak_labels must have the shape"):
        condensation([0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="labels must be integers"):
        condensation([0, 1], [0.5, 1])
    with pytest.raises(ValueError, match="below the number of categories, 2"):
        kin([0, 0], [0, 2], 2)
    with pytest.raises(ValueError, match=r"pairs must be \(q, 2\) integers"):
        kin_null(np.array([0, 1]), [cut])
    with pytest.raises(ValueError, match="pairs must be of the 3 categories"):
        kin_null(np.array([[0, 3]]), [cut])
    graph = NeighborGraph(np.ones((3, 1)), np.array([[1], [2], [0]]))
    with pytest.raises(ValueError, match="k=30 must lie in"):
        category_overlap(graph, [0, 1, 1])
    with pytest.raises(ValueError, match="labels must have the shape"):
        category_overlap(graph, [0, 1], 1)
