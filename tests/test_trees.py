"""Dendrogram purity and triplets, against their definitions in plain loops, higra, and planted trees."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from nbutils import wordnet
from nbutils.hierarchy import cophenetic_distances
from nbutils.trees import dendrogram_purity, mixed_purity, triplets

# ((0 1) (2 3)) (4 5), heights 1, 2, 3 and 5
PLANTED = np.array([[0, 1, 1, 2], [2, 3, 2, 2], [6, 7, 3, 4], [4, 5, 4, 2], [8, 9, 5, 6]], float)


def random_tree(seed: int, c: int = 9, method: str = "average", grid: int | None = None) -> np.ndarray:
    """On a grid of few values many heights are equal."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, grid, (c, 2)).astype(float) if grid else rng.normal(size=(c, 3))
    return linkage(x, method)


def purity_by_definition(tree: np.ndarray, labels: list[int]) -> float:
    """Over all pairs of leaves with a common label: its share of the leaves at most as far as they are apart."""
    labels = np.array(labels)
    distances = cophenetic_distances(tree)
    leaves = np.flatnonzero(labels >= 0)
    shares = []
    for i, j in combinations(leaves, 2):
        if labels[i] == labels[j]:
            inside = [leaf for leaf in leaves if distances[i, leaf] <= distances[i, j]]
            shares.append(np.mean(labels[inside] == labels[i]))
    return float(np.mean(shares))


def triplets_by_definition(candidate: np.ndarray, reference: np.ndarray) -> dict[float, list[float]]:
    """For each level the scores of its triplets, in plain loops."""
    scores: dict[float, list[float]] = {}
    for three in combinations(range(len(reference)), 3):
        pairs = list(combinations(three, 2))
        near = min(pairs, key=lambda pair: reference[pair])
        if sum(reference[pair] == reference[near] for pair in pairs) > 1:
            continue
        nearest = [pair for pair in pairs if candidate[pair] == min(candidate[p] for p in pairs)]
        scores.setdefault(reference[near], []).append((near in nearest) / len(nearest))
    return scores


# --- purity


def test_purity_by_hand():
    assert dendrogram_purity(PLANTED, [0, 0, 1, 1, 2, 2]) == 1
    assert dendrogram_purity(PLANTED, [0, 0, 0, 0, 1, 1]) == 1
    # Pairs 0-2 and 1-3 meet in the subtree of four, half of each label; 4-5 are pure.
    assert dendrogram_purity(PLANTED, [0, 1, 0, 1, 2, 2]) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert dendrogram_purity(PLANTED, [0, 1, 2, 3, 4, 0]) == pytest.approx(1 / 3)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["single", "average", "weighted", "complete"]),
    st.sampled_from([None, 2, 4]),
)
def test_purity_is_its_definition_with_ties_too(seed, method, grid):
    labels = np.random.default_rng(seed).integers(-1, 3, 9)
    labels[:2] = 0
    tree = random_tree(seed, 9, method, grid)
    assert dendrogram_purity(tree, labels) == pytest.approx(purity_by_definition(tree, labels))


# Made with higra 0.6.13, hg.dendrogram_purity, of the same trees.
HIGRA = [
    (12, 3, "average", 0.506015037593985),
    (30, 4, "single", 0.3640783727982328),
    (57, 9, "complete", 0.22583624003),
]


@pytest.mark.parametrize("seed, case", enumerate(HIGRA))
def test_purity_is_that_of_higra(seed, case):
    c, g, method, expected = case
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(c, 3))
    assert dendrogram_purity(linkage(x, method), rng.integers(0, g, c)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_weight_is_so_many_leaves(seed):
    """The oracle expands each leaf into its points, at height 0."""
    rng = np.random.default_rng(seed)
    weights, labels = rng.integers(1, 4, 7), rng.integers(0, 3, 7)
    tree = random_tree(seed, 7)
    point = np.repeat(np.arange(7), weights)
    distances = cophenetic_distances(tree)[point][:, point]
    expanded = linkage(squareform(distances), "single")
    expected = purity_by_definition(expanded, labels[point])
    assert dendrogram_purity(tree, labels, weights) == pytest.approx(expected)
    assert dendrogram_purity(tree, labels, np.ones(7, int)) == pytest.approx(dendrogram_purity(tree, labels))


@pytest.mark.parametrize("seed", range(5))
def test_leaves_that_hold_several_labels_by_definition(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (6, 3))
    counts[:, 0] += 1
    tree = random_tree(seed, 6)
    distances = cophenetic_distances(tree)
    points = [(leaf, label) for leaf in range(6) for label in range(3) for _ in range(counts[leaf, label])]
    shares = []
    for (i, a), (j, b) in combinations(points, 2):
        if a == b:
            inside = [label for leaf, label in points if distances[i, leaf] <= distances[i, j]]
            shares.append(inside.count(a) / len(inside))
    assert mixed_purity(tree, counts) == pytest.approx(np.mean(shares))


def test_purity_does_not_hang_on_the_order_of_equal_heights():
    flat = [
        np.array([[0, 1, 1, 2], [2, 4, 1, 3], [3, 5, 1, 4]], float),
        np.array([[2, 3, 1, 2], [0, 1, 1, 2], [4, 5, 1, 4]], float),
    ]
    for labels, expected in [([0, 0, 1, 1], 0.5), ([0, 0, 0, 1], 0.75)]:
        for tree in flat:
            assert dendrogram_purity(tree, labels) == expected


def test_one_label_and_one_leaf():
    assert dendrogram_purity(random_tree(0), np.zeros(9, int)) == 1
    assert dendrogram_purity(np.empty((0, 4)), [0], [5]) == 1
    assert mixed_purity(np.empty((0, 4)), np.array([[3, 1]])) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="no two points share"):
        dendrogram_purity(np.empty((0, 4)), [0])


def test_bad_input_of_purity():
    with pytest.raises(ValueError, match="no two points share"):
        dendrogram_purity(PLANTED, np.arange(6))
    with pytest.raises(ValueError, match=r"tree must be a linkage matrix \(4, 4\) of the 5 leaves"):
        dendrogram_purity(PLANTED, [0, 0, 1, 1, 2])
    with pytest.raises(ValueError, match=r"weights must have the shape \(6,\)"):
        dendrogram_purity(PLANTED, [0, 0, 1, 1, 2, 2], [1, 2])
    with pytest.raises(ValueError, match="weights must be at least 1"):
        dendrogram_purity(PLANTED, [0, 0, 1, 1, 2, 2], [1, 1, 1, 1, 1, 0])
    with pytest.raises(ValueError, match="labels must be integers"):
        dendrogram_purity(PLANTED, [0, 0, 1, 1, 2, np.nan])
    with pytest.raises(ValueError, match="table of whole numbers"):
        mixed_purity(PLANTED, np.ones((6, 2)))
    broken = PLANTED.copy()
    broken[1, 2] = np.nan
    with pytest.raises(ValueError, match="finite heights that do not fall"):
        dendrogram_purity(broken, [0, 0, 1, 1, 2, 2])
    falling = PLANTED.copy()
    falling[4, 2] = 2.5
    with pytest.raises(ValueError, match="finite heights that do not fall"):
        dendrogram_purity(falling, [0, 0, 1, 1, 2, 2])


# --- triplets


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 9), st.sampled_from([2, 3, 6, 1000]), st.sampled_from([2, 4, 1000]))
def test_triplets_are_their_definition_with_ties_too(seed, c, values, levels):
    rng = np.random.default_rng(seed)
    candidate, reference = (np.triu(rng.integers(1, top + 1, (c, c)), 1).astype(float) for top in (values, levels))
    candidate, reference = candidate + candidate.T, reference + reference.T
    expected = triplets_by_definition(candidate, reference)
    if not expected:
        with pytest.raises(ValueError, match="resolves no triplet"):
            triplets(candidate, reference)
        return
    found = triplets(candidate, reference)
    np.testing.assert_array_equal(found.level, sorted(expected))
    np.testing.assert_array_equal(found.count, [len(expected[level]) for level in found.level])
    np.testing.assert_allclose(found.accuracy, [np.mean(expected[level]) for level in found.level])
    every = np.concatenate(list(expected.values()))
    assert found.overall == pytest.approx(every.mean())
    assert (found.tied * found.count).sum() == pytest.approx(
        ((every > 0) & (every < 1)).sum() + _lost_ties(candidate, reference)
    )


def _lost_ties(candidate: np.ndarray, reference: np.ndarray) -> int:
    """Triplets in which two pairs are nearest alike, and neither is the right one."""
    lost = 0
    for three in combinations(range(len(reference)), 3):
        pairs = sorted(combinations(three, 2), key=lambda pair: reference[pair])
        near, *others = pairs
        if reference[near] < reference[others[0]]:
            lost += candidate[others[0]] == candidate[others[1]] < candidate[near]
    return lost


def test_a_planted_tree_knows_itself():
    found = triplets(PLANTED, cophenetic_distances(PLANTED))
    assert found.overall == 1 and (found.tied == 0).all() and (found.accuracy == 1).all()
    # By hand: 0 1 with each of four others; 2 3 too; the four pairs across with 4 and 5; and 4 5 with each of four.
    np.testing.assert_array_equal(found.level, [1, 2, 3, 4])
    np.testing.assert_array_equal(found.count, [4, 4, 8, 4])


def test_a_swap_by_hand():
    reference = cophenetic_distances(PLANTED)
    order = [0, 2, 1, 3, 4, 5]  # now 0 and 2 are near, and 1 and 3
    found = triplets(reference[order][:, order], reference)
    # Level 1, near pair 0 1: wrong with 2 and 3, and right with 4 and 5, since all four meet below 5. Level 2 likewise.
    np.testing.assert_allclose(found.accuracy, [0.5, 0.5, 1, 1])


def test_what_says_nothing_scores_a_third_and_so_does_chance():
    ids = wordnet.imagenet_ids()[::25]
    reference = wordnet.hypernym_distances(wordnet.load(), ids)
    nothing = triplets(np.ones((40, 40)) - np.eye(40), reference)
    np.testing.assert_allclose(nothing.accuracy, 1 / 3)
    assert (nothing.tied == 1).all()
    rng = np.random.default_rng(0)
    chance = []
    for _ in range(60):
        order = rng.permutation(40)
        chance.append(triplets(reference[order][:, order], reference).overall)
    assert np.mean(chance) == pytest.approx(1 / 3, abs=4 * np.std(chance) / np.sqrt(60))
    assert set(nothing.level) <= set(reference.ravel())  # levels are in the unit of the reference


@pytest.mark.parametrize("method", ["single", "average", "weighted"])
def test_a_tree_stands_for_its_heights(method):
    tree = random_tree(3, 12, method)
    reference = cophenetic_distances(random_tree(4, 12))
    a, b = triplets(tree, reference), triplets(cophenetic_distances(tree), reference)
    np.testing.assert_array_equal(a.accuracy, b.accuracy)


def test_only_the_order_of_distances_counts_and_rounding_makes_no_order():
    rng = np.random.default_rng(0)
    x = squareform(rng.random(45))
    reference = squareform(rng.random(45))
    np.testing.assert_array_equal(triplets(x, reference).accuracy, triplets(7 * x**2, reference).accuracy)
    ones = np.ones((10, 10)) - np.eye(10)
    noise = squareform(rng.normal(size=45)) * 1e-14
    np.testing.assert_allclose(triplets(ones + noise, reference).accuracy, 1 / 3)


def test_bad_input_of_triplets():
    reference = cophenetic_distances(PLANTED)
    with pytest.raises(ValueError, match="at least three"):
        triplets(np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"candidate must be a matrix of distances \(6, 6\)"):
        triplets(np.zeros((5, 5)), reference)
    with pytest.raises(ValueError, match="reference must be a matrix of distances"):
        triplets(reference, np.arange(6.0))
    bad = reference.copy()
    bad[0, 1] = bad[1, 0] = np.nan
    with pytest.raises(ValueError, match="candidate must be finite"):
        triplets(bad, reference)
    with pytest.raises(ValueError, match="reference must be finite"):
        triplets(reference, bad)
    lopsided = reference.copy()
    lopsided[0, 1] += 1
    with pytest.raises(ValueError, match="candidate must be symmetric"):
        triplets(lopsided, reference)
    with pytest.raises(ValueError, match="resolves no triplet"):
        triplets(reference, np.ones((6, 6)) - np.eye(6))
