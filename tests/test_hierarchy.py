"""Trees of peaks: distances by hand and by brute force, linkage against SciPy, and the level of the Mantel test."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kstest, spearmanr

from nbutils.hierarchy import (
    METHODS,
    cophenetic_distances,
    mantel,
    peak_classes,
    peak_distances,
    peak_linkage,
)
from nbutils.peaks import Topography

NONE = np.nan


def topography(heights, saddles, floor=-10.0, labels=()) -> Topography:
    """Peaks of these heights; the fields that no tree looks at are left empty."""
    c = len(heights)
    pairs = np.array([(a, b) for a in range(c) for b in range(a) if not np.isnan(saddles[a][b])], int).reshape(-1, 2)
    return Topography(
        np.array(labels, int),
        np.arange(c),
        np.array(heights, float),
        pairs,
        np.zeros(len(pairs), int),
        np.array(saddles, float)[tuple(pairs.T)],
        floor,
    )


def random_topography(seed: int, c: int = 8, share: float = 0.4) -> Topography:
    rng = np.random.default_rng(seed)
    heights = np.sort(rng.uniform(5, 10, c))[::-1]
    saddles = np.full((c, c), NONE)
    for a, b in zip(*np.triu_indices(c, 1), strict=True):
        if rng.random() < share:
            saddles[a, b] = saddles[b, a] = rng.uniform(0, heights[b])
    return topography(heights, saddles, floor=-1)


def test_distances_by_hand():
    # A chain 0 - 1 - 2 with saddles at 4 and 6, and a lonely 3. From the top at 10: 6 and 4 down; from 0 to 2 one
    # must go through 1, so as low as 4; to 3 down to the floor at -1.
    saddles = [[NONE, 4, NONE, NONE], [4, NONE, 6, NONE], [NONE, 6, NONE, NONE], [NONE] * 4]
    np.testing.assert_array_equal(
        peak_distances(topography([10, 9, 8, 7], saddles, floor=-1)),
        [[0, 6, 6, 11], [6, 0, 4, 11], [6, 4, 0, 11], [11, 11, 11, 0]],
    )


def test_peaks_that_touch_keep_their_own_saddle():
    # From 0 to 2 the way through 1 is higher, but they touch: theirs is the saddle at 1.
    saddles = [[NONE, 7, 1], [7, NONE, 6], [1, 6, NONE]]
    np.testing.assert_array_equal(peak_distances(topography([10, 9, 8], saddles)), [[0, 3, 9], [3, 0, 4], [9, 4, 0]])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.1, 0.7))
def test_peaks_that_do_not_touch_are_as_far_as_the_best_way(seed, share):
    peaks = random_topography(seed, 6, share)
    top = peaks.peak_log_density.max()
    graph = nx.Graph()
    graph.add_nodes_from(range(6))
    for a, b in zip(*np.nonzero(~np.isnan(peaks.saddles)), strict=True):
        graph.add_edge(int(a), int(b), drop=top - peaks.saddles[a, b])
    distances = peak_distances(peaks)
    np.testing.assert_array_equal(distances, distances.T)
    for a in range(6):
        for b in range(a):
            if graph.has_edge(a, b):
                expected = graph.edges[a, b]["drop"]
            else:
                ways = nx.all_simple_edge_paths(graph, a, b)
                expected = min(
                    (max(graph.edges[step]["drop"] for step in way) for way in ways), default=top - peaks.floor
                )
            assert distances[a, b] == expected


@pytest.mark.parametrize("method", METHODS)
def test_trees_are_those_of_scipy(method):
    peaks = random_topography(1)
    tree = peak_linkage(peaks, method)
    np.testing.assert_array_equal(tree, linkage(squareform(peak_distances(peaks)), method))
    np.testing.assert_array_equal(cophenetic_distances(tree), squareform(cophenet(tree)))
    assert tree.shape == (7, 4)


def test_the_three_methods_by_hand():
    # {0, 1} join at 1, then 2 joins them, then 3; distances of 3 to 0, 1, 2 are 6, 8, 10.
    drops = np.array([[0, 1, 2, 6], [1, 0, 4, 8], [2, 4, 0, 10], [6, 8, 10, 0]], float)
    saddles = np.where(np.eye(4, dtype=bool), NONE, 20 - drops)
    peaks = topography([20, 19.5, 19.2, 19.1], saddles)
    for method, heights in {"single": [1, 2, 6], "average": [1, 3, 8], "weighted": [1, 3, 8.5]}.items():
        np.testing.assert_allclose(peak_linkage(peaks, method)[:, 2], heights)


@pytest.mark.parametrize("seed", range(10))
def test_single_linkage_joins_where_the_sea_does(seed):
    peaks = random_topography(seed)
    reach = peak_distances(peaks)
    # Minimax over all ways, touching peaks included: the longest step of the way in the minimum spanning tree.
    tree = nx.minimum_spanning_tree(nx.from_numpy_array(reach))
    joined = cophenetic_distances(peak_linkage(peaks, "single"))
    for a in range(8):
        for b in range(a):
            way = nx.shortest_path(tree, a, b)
            assert joined[a, b] == max(reach[i, j] for i, j in pairwise(way))


def test_a_tree_needs_two_peaks_and_a_known_method():
    with pytest.raises(ValueError, match="at least two"):
        peak_linkage(topography([1], [[NONE]]))
    with pytest.raises(ValueError, match=r"method.*single.*ward"):
        peak_linkage(random_topography(0), "ward")


def distances(seed: int, c: int = 10) -> np.ndarray:
    return squareform(pdist(np.random.default_rng(seed).normal(size=(c, 3))))


def test_a_matrix_agrees_with_itself_and_nothing_by_chance():
    a = distances(0)
    agreement = mantel(a, a, permutations=199)
    assert agreement.statistic == pytest.approx(1)
    assert agreement.pvalue == 1 / 200
    assert agreement.null_distribution.shape == (199,)
    assert mantel(a, -a, permutations=199).statistic == pytest.approx(-1)
    assert mantel(a, -a, permutations=199).pvalue == 1


def test_permutations_that_change_nothing_count():
    # Two pairs: 8 of the 24 permutations give the same matrix, so p cannot be less than one third.
    a = np.full((4, 4), 2.0)
    a[[0, 1, 2, 3], [1, 0, 3, 2]] = 1
    np.fill_diagonal(a, 0)
    assert mantel(a, a, permutations=3000).pvalue == pytest.approx(1 / 3, abs=0.04)


def test_unrelated_trees_agree_as_often_as_chance_says():
    def unrelated(seed: int) -> np.ndarray:
        return cophenetic_distances(linkage(squareform(distances(seed, 12)), "average"))

    pairs = [(unrelated(2 * i), unrelated(2 * i + 1)) for i in range(300)]
    pvalues = [mantel(a, b, permutations=99, random_state=i).pvalue for i, (a, b) in enumerate(pairs)]
    assert kstest(pvalues, "uniform").pvalue > 0.01
    assert np.mean(np.array(pvalues) <= 0.05) < 0.08
    # The p-value of an ordinary correlation treats the pairs as independent, and rejects twice as often.
    naive = [spearmanr(squareform(a), squareform(b), alternative="greater").pvalue for a, b in pairs]
    assert np.mean(np.array(naive) <= 0.05) > 0.1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.booleans())
def test_the_correlation_is_spearmans(seed, ties):
    a, b = distances(seed), distances(seed + 1) + distances(seed)
    if ties:
        a, b = np.round(a), np.round(b)
    agreement = mantel(a, b, permutations=1)
    assert agreement.statistic == pytest.approx(spearmanr(squareform(a), squareform(b)).statistic)


def test_only_the_order_of_distances_counts():
    a, b = distances(0), distances(0) + 0.5 * distances(1)
    once = mantel(a, b, permutations=99)
    again = mantel(np.exp(a), b**3, permutations=99)
    assert again.statistic == pytest.approx(once.statistic)
    np.testing.assert_allclose(again.null_distribution, once.null_distribution)
    assert again.pvalue == once.pvalue


@pytest.mark.parametrize(
    "permutations, error", [(0, ValueError), (-1, ValueError), (9.0, TypeError), (True, TypeError)]
)
def test_a_number_of_permutations_that_is_none_is_refused(permutations, error):
    with pytest.raises(error, match="permutations"):
        mantel(distances(0), distances(1), permutations)


def test_a_generator_is_used_and_moves_on():
    a, b, rng = distances(0), distances(1), np.random.default_rng(3)
    first, second = mantel(a, b, 50, rng), mantel(a, b, 50, rng)
    np.testing.assert_array_equal(first.null_distribution, mantel(a, b, 50, random_state=3).null_distribution)
    assert (first.null_distribution != second.null_distribution).any()


def test_seeds_are_kept():
    a, b = distances(0), distances(1)
    np.testing.assert_array_equal(
        mantel(a, b, 50, random_state=3).null_distribution, mantel(a, b, 50, random_state=3).null_distribution
    )
    assert (
        mantel(a, b, 50, random_state=3).null_distribution != mantel(a, b, 50, random_state=4).null_distribution
    ).any()


def test_matrices_that_cannot_be_compared_are_refused():
    good = distances(0, 5)
    hole, lopsided, flat = good.copy(), good.copy(), 1 - np.eye(5)
    hole[0, 1] = hole[1, 0] = NONE
    lopsided[0, 1] += 1
    for bad, why in [
        (distances(0, 6), "same c"),
        (good[:4], "same c"),
        (good[0], "same c"),
        (hole, "finite"),
        (lopsided, "symmetric"),
        (flat, "distances that differ"),
    ]:
        with pytest.raises(ValueError, match=why):
            mantel(good, bad)
        with pytest.raises(ValueError, match=why):
            mantel(bad, good)
    with pytest.raises(ValueError, match="c >= 4"):
        mantel(distances(0, 3), distances(1, 3))


def classed(labels, c=2) -> Topography:
    return topography(np.arange(c)[::-1], np.full((c, c), NONE), labels=labels)


def test_what_the_peaks_are_made_of():
    found = peak_classes(classed([0, 0, 0, 1, 1, -1, 1, 1]), [7, 7, 3, 3, 5, 5, 3, 3])
    assert found.label.tolist() == [7, 3]
    np.testing.assert_allclose(found.share, [2 / 3, 3 / 4])
    assert found.size.tolist() == [3, 4]  # the point in the halo belongs to neither


def test_equally_frequent_labels_and_names():
    found = peak_classes(classed([0, 0, 1, 1, 1]), ["cat", "ant", "dog", "bee", "dog"])
    assert found.label.tolist() == ["ant", "dog"]
    np.testing.assert_allclose(found.share, [1 / 2, 2 / 3])


def test_a_peak_without_points_has_no_label():
    with pytest.raises(ValueError, match=r"peaks \[1\] are in the halo"):
        peak_classes(classed([0, 0, -1]), [1, 1, 2])


def test_one_label_for_each_point():
    with pytest.raises(ValueError, match=r"shape \(3,\), not \(2,\)"):
        peak_classes(classed([0, 0, 1]), [1, 1])
