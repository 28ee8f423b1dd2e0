"""Distances between categories: trees of saddles against SciPy and by hand, expectations against random pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import cdist, squareform

from nbutils.categories import category_distances, class_means, neighbor_confusion, saddle_distances, saddle_linkage
from nbutils.graph import NeighborGraph
from nbutils.hierarchy import METHODS, cophenetic_distances, peak_distances, peak_linkage
from nbutils.peaks import Topography


def landscape(saddles: dict[tuple[int, int], float], c: int, labels=(), floor=0.0) -> Topography:
    """Peaks of the heights 10, 9.9, 9.8 ... with these saddles."""
    pairs = np.array(list(saddles), int).reshape(-1, 2)
    heights, points = np.array(list(saddles.values()), float), np.zeros(len(pairs), int)
    return Topography(np.array(labels, int), np.arange(c), 10 - 0.1 * np.arange(c), pairs, points, heights, floor)


def random_landscape(seed: int, c: int = 8, share: float = 0.4, labels=()) -> Topography:
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for b in range(c) for a in range(b) if rng.random() < share]
    return landscape({pair: rng.uniform(1, 9) for pair in pairs}, c, labels)


CHAIN = landscape({(0, 1): 8, (1, 2): 6, (2, 3): 7}, 5)  # and 4 touches none


def test_the_three_choices_by_hand():
    np.testing.assert_array_equal(saddle_distances(CHAIN, "minimax"), peak_distances(CHAIN))
    constant = saddle_distances(CHAIN, "constant")
    expected = np.full((5, 5), 10.0)
    np.fill_diagonal(expected, 0)
    for (a, b), drop in {(0, 1): 2, (1, 2): 4, (2, 3): 3}.items():
        expected[a, b] = expected[b, a] = drop
    np.testing.assert_array_equal(constant, expected)
    apart = saddle_distances(CHAIN, "adjacent")
    np.testing.assert_array_equal(np.where(np.isnan(apart), 10, apart), expected)


def test_the_tree_of_adjacent_peaks_by_hand():
    # 0 1 join at 2 and 2 3 at 3; of the four pairs across only 1 2 touch, at 4; 4 joins at the floor.
    for method in METHODS:
        tree = saddle_linkage(CHAIN, method, "adjacent")
        np.testing.assert_allclose(tree[:, 2], [2, 3, 4, 10])
        np.testing.assert_array_equal(tree[:, 3], [2, 2, 4, 5])
    # With the constant the mean of the four pairs across is (4 + 3 x 10) / 4.
    np.testing.assert_allclose(saddle_linkage(CHAIN, "average", "constant")[:, 2], [2, 3, 8.5, 10])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(4))
def test_where_all_peaks_touch_all_choices_are_scipys_tree(method, seed):
    full = random_landscape(seed, share=1)
    expected = linkage(squareform(peak_distances(full)), method)
    for apart in ("minimax", "constant", "adjacent"):
        np.testing.assert_allclose(saddle_linkage(full, method, apart), expected)
    np.testing.assert_array_equal(peak_linkage(full, method), expected)


@pytest.mark.parametrize("seed", range(6))
def test_single_linkage_is_the_same_by_all_choices(seed):
    some = random_landscape(seed)
    trees = [
        cophenetic_distances(saddle_linkage(some, "single", apart)) for apart in ("minimax", "constant", "adjacent")
    ]
    np.testing.assert_allclose(trees[0], trees[1])
    np.testing.assert_allclose(trees[0], trees[2])


@pytest.mark.parametrize("seed", range(6))
def test_the_mean_of_adjacent_pairs_by_definition(seed):
    """Each height is the mean over the pairs across that touch, or the floor's where none does."""
    some = random_landscape(seed, 9, 0.35)
    apart = saddle_distances(some, "adjacent")
    tree = saddle_linkage(some, "average", "adjacent")
    members = {i: [i] for i in range(9)}
    assert (np.diff(tree[:, 2]) >= -1e-12).all()
    for step, (a, b, height, size) in enumerate(tree):
        block = apart[np.ix_(members[int(a)], members[int(b)])]
        assert height == pytest.approx(10 if np.isnan(block).all() else np.nanmean(block))
        for x in members:  # no other two groups were nearer
            for y in members:
                if x < y and not np.isnan(other := apart[np.ix_(members[x], members[y])]).all():
                    assert np.nanmean(other) >= height - 1e-12
        members[9 + step] = members.pop(int(a)) + members.pop(int(b))
        assert len(members[9 + step]) == size


# --- categories


def test_category_distances_by_hand():
    # Category 0 on peak 0, category 1 half on peak 0 and half on peak 1, category 2 on peak 4 with one in the halo.
    flat = landscape({(0, 1): 8, (1, 2): 6, (2, 3): 7}, 5, [0, 0, 0, 1, 4, -1])
    labels = [0, 0, 1, 1, 2, 2]
    expected = [[0, 1, 10], [1, 0, 10], [10, 10, 0]]
    np.testing.assert_allclose(category_distances(flat, labels, None), expected)
    np.testing.assert_allclose(category_distances(flat, labels, "single"), expected)
    # Two random points of category 1 are 1 apart on average: half of it is taken off.
    expected = [[0, 0.5, 10], [0.5, 0, 9.5], [10, 9.5, 0]]
    np.testing.assert_allclose(category_distances(flat, labels, None, centred=True), expected)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_category_distances_are_means_over_pairs_of_points(method):
    rng = np.random.default_rng(0)
    labels, peaks = rng.integers(0, 4, 80), rng.integers(0, 6, 80)
    some = random_landscape(2, 6, 0.6, peaks)
    between = peak_distances(some) if method is None else cophenetic_distances(peak_linkage(some, method))
    points = between[peaks][:, peaks]
    found = category_distances(some, labels, method)
    for a in range(4):
        for b in range(4):
            expected = 0 if a == b else points[labels == a][:, labels == b].mean()
            assert found[a, b] == pytest.approx(expected)


def test_centred_distances_are_squared_distances_of_means():
    """Peaks on a line, at squared distances: then what is left are the squared distances of the means."""
    rng = np.random.default_rng(0)
    position, labels = rng.normal(size=6), np.repeat(np.arange(3), 40)
    peaks = rng.integers(0, 6, 120)
    drops = (position[:, None] - position) ** 2
    saddles = {(a, b): 10 - drops[a, b] for b in range(6) for a in range(b)}
    flat = landscape(saddles, 6, peaks, floor=-100)
    means = np.array([position[peaks[labels == a]].mean() for a in range(3)])
    np.testing.assert_allclose(category_distances(flat, labels, None, centred=True), (means[:, None] - means) ** 2)


def test_a_single_peak_tells_nothing_apart():
    flat = landscape({}, 1, np.zeros(6, int))
    np.testing.assert_array_equal(category_distances(flat, [0, 0, 1, 1, 2, 2]), np.zeros((3, 3)))


def test_bad_landscapes():
    flat = landscape({(0, 1): 8}, 2, [0, 0, 1, -1])
    with pytest.raises(ValueError, match=r"categories \[2\] have no points outside the halo"):
        category_distances(flat, [0, 0, 1, 2])
    with pytest.raises(ValueError, match="peak_labels must have the shape"):
        category_distances(flat, [0, 0, 1])
    with pytest.raises(ValueError, match="method must be None or one of"):
        category_distances(flat, [0, 0, 1, 1], "centroid")
    with pytest.raises(ValueError, match="give a method"):
        category_distances(flat, [0, 0, 1, 1], None, "adjacent")
    with pytest.raises(ValueError, match="apart must be one of"):
        saddle_distances(flat, "far")
    with pytest.raises(ValueError, match="method must be one of"):
        saddle_linkage(flat, "ward")
    with pytest.raises(ValueError, match="at least two; a smaller z"):
        saddle_linkage(landscape({}, 1))


# --- baselines


def test_class_means(tmp_path):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(50, 2, 3)).astype(np.float16), np.arange(50) % 4
    expected = [x.reshape(50, -1)[labels == a].astype(float).mean(0) for a in range(4)]
    np.testing.assert_allclose(class_means(x, labels), expected)
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(
        class_means(np.load(tmp_path / "x.npy", mmap_mode="r"), labels), class_means(x, labels)
    )
    np.testing.assert_allclose(class_means([[1, 2], [3, 4]], [0, 0]), [[2, 3]])
    with pytest.raises(ValueError, match=r"labels must have the shape \(50,\)"):
        class_means(x, labels[:9])
    with pytest.raises(ValueError, match=r"categories \[1\] have no points; number"):
        class_means(x, labels * 2 // 2 + (labels == 1))
    x[4, 0, 0] = np.nan
    with pytest.raises(ValueError, match="x has NaN or infinite values in category 0"):
        class_means(x, labels)


def test_confusion_by_hand():
    indices = np.array([[1, 2], [0, 3], [3, 1], [2, 0], [5, 3], [4, 3]])
    graph = NeighborGraph(np.tile([1.0, 2.0], (6, 1)), indices)
    labels = [0, 0, 1, 1, 2, 2]
    # 0 has two neighbours in 1 and 1 two in 0; 2 has two in 1, and none has one in 2.
    np.testing.assert_allclose(neighbor_confusion(graph, labels, 2), [[0, 0, 1], [0, 0, 0.5], [1, 0.5, 0]])
    # By the first neighbour alone no two are confused.
    np.testing.assert_array_equal(neighbor_confusion(graph, labels, 1), 1 - np.eye(3))


def test_confusion_by_definition():
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(60, 2)), rng.integers(0, 4, 60)
    distances = cdist(x, x) + 99 * np.eye(60)
    order = np.argsort(distances, axis=1)[:, :10]
    graph = NeighborGraph(np.take_along_axis(distances, order, 1), order)
    chance = np.zeros((4, 4))
    for a in range(4):
        for b in range(4):
            if a != b:
                there = [[j in order[i] for j in np.flatnonzero(labels == b)] for i in np.flatnonzero(labels == a)]
                chance[a, b] = np.mean(there)
    chance = (chance + chance.T) / 2
    expected = (1 - chance / chance.max()) * (1 - np.eye(4))
    np.testing.assert_allclose(neighbor_confusion(graph, labels, 10), expected)


def test_bad_confusion():
    graph = NeighborGraph(np.ones((3, 1)), np.array([[1], [2], [0]]))
    with pytest.raises(ValueError, match="k=30 must lie in"):
        neighbor_confusion(graph, [0, 1, 1])
    with pytest.raises(ValueError, match="labels must have the shape"):
        neighbor_confusion(graph, [0, 1], 1)
    with pytest.raises(ValueError, match=r"categories \[1\] have no points"):
        neighbor_confusion(graph, [0, 2, 2], 1)
