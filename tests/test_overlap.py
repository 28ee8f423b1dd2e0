"""Overlaps, against counts by hand and against chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbutils.graph import NeighborGraph
from nbutils.neighbors import knn_graph
from nbutils.overlap import chance_label_overlap, label_overlap, neighborhood_overlap


def graph_of(indices) -> NeighborGraph:
    indices = np.array(indices)
    return NeighborGraph(np.broadcast_to(np.arange(1.0, indices.shape[1] + 1), indices.shape), indices)


A = graph_of([[1, 2, 3], [0, 2, 3], [3, 0, 1], [2, 0, 1]])
B = graph_of([[2, 1, 3], [3, 2, 0], [0, 3, 1], [0, 1, 2]])


@pytest.mark.parametrize(
    "k, shared",
    [
        (1, 0),  # 1-2, 0-3, 3-0, 2-0
        (2, 2 + 1 + 2 + 1),  # {1,2}{2,1}, {0,2}{3,2}, {3,0}{0,3}, {2,0}{0,1}
        (3, 4 * 3),  # everyone
    ],
)
def test_neighborhood_overlap_by_hand(k, shared):
    assert neighborhood_overlap(A, B, k) == pytest.approx(shared / (4 * k))
    assert neighborhood_overlap(B, A, k) == neighborhood_overlap(A, B, k)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12))
def test_a_space_overlaps_with_itself_however_it_is_turned(seed, k):
    x = np.random.default_rng(seed).normal(size=(60, 4))
    turn = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(4, 4)))[0]
    graph = knn_graph(x, 12)
    assert neighborhood_overlap(graph, graph, k) == 1
    assert neighborhood_overlap(graph, knn_graph(7 * x @ turn, 12), k) == 1


def test_unrelated_spaces_overlap_by_chance():
    n, k = 400, 20
    spaces = [knn_graph(np.random.default_rng(seed).normal(size=(n, 3)), k) for seed in range(6)]
    found = [neighborhood_overlap(a, b, k) for i, a in enumerate(spaces) for b in spaces[:i]]
    # Each is a mean of n k trials of probability 0.05, so its standard deviation is near sqrt(0.05 / 8000) = 0.0024.
    assert np.mean(found) == pytest.approx(k / (n - 1), abs=0.002)


def test_k_is_30_by_default():
    graph = knn_graph(np.random.default_rng(0).normal(size=(100, 3)), 40)
    other = knn_graph(np.random.default_rng(1).normal(size=(100, 3)), 40)
    assert neighborhood_overlap(graph, other) == neighborhood_overlap(graph.truncate(30), other.truncate(30), 30)
    labels = np.arange(100) % 3
    assert label_overlap(graph, labels) == label_overlap(graph.truncate(30), labels, 30)


@pytest.mark.parametrize(
    "labels",
    [[0, 0, 1, 1], [-5, -5, 2, 2], [0.5, 0.5, 1.5, 1.5], ["ant", "ant", "bee", "bee"], [True, True, False, False]],
    ids=["int", "negative", "float", "str", "bool"],
)
@pytest.mark.parametrize("k, same", [(1, 4), (2, 1 + 1 + 1 + 1)])
def test_label_overlap_by_hand(labels, k, same):
    assert label_overlap(A, np.array(labels), k) == pytest.approx(same / (4 * k))
    assert label_overlap(A, labels, k) == pytest.approx(same / (4 * k))


def test_label_overlap_counts_the_neighbours_not_the_point():
    assert label_overlap(A, [0, 1, 2, 3], 3) == 0
    assert label_overlap(A, [7, 7, 7, 7], 3) == 1
    assert label_overlap(A, [0, 0, 0, 1], 1) == pytest.approx(2 / 4)  # 0-1 and 1-0; 2-3 and 3-2 differ


@pytest.mark.parametrize(
    "labels, chance",
    [
        ([0, 0, 1, 1], 1 / 3),
        ([0, 0, 0, 1], (3 * 2) / (4 * 3)),
        ([0, 1, 2, 3], 0),
        ([5, 5, 5], 1),
        (["a", "b", "a"], 1 / 3),
    ],
)
def test_chance_by_hand(labels, chance):
    assert chance_label_overlap(np.array(labels)) == pytest.approx(chance)
    assert chance_label_overlap(labels) == pytest.approx(chance)


def test_chance_is_what_permuted_labels_give():
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 300, p=[0.6, 0.2, 0.1, 0.1])
    graph = knn_graph(rng.normal(size=(300, 3)), 10)
    permuted = [label_overlap(graph, rng.permutation(labels), 10) for _ in range(200)]
    # Its own spread is about 0.01, so the mean of 200 is known to 0.001.
    assert np.mean(permuted) == pytest.approx(chance_label_overlap(labels), abs=0.004)


@pytest.mark.parametrize("k", [-1, 0, 4, 30])
def test_more_neighbours_than_there_are(k):
    for call in (lambda: neighborhood_overlap(A, B, k), lambda: label_overlap(A, [0, 0, 1, 1], k)):
        with pytest.raises(ValueError, match=f"k={k} must lie in 1 ... 3, the neighbours that this graph holds"):
            call()
    with pytest.raises(ValueError, match=r"k=3 must lie in 1 \.\.\. 2"):
        neighborhood_overlap(A, B.truncate(2), 3)


@pytest.mark.parametrize("k", [True, 2.0])
def test_a_number_of_neighbours_that_is_no_integer(k):
    for call in (lambda: neighborhood_overlap(A, B, k), lambda: label_overlap(A, [0, 0, 1, 1], k)):
        with pytest.raises(TypeError, match="k must be an integer"):
            call()


def test_graphs_of_other_points():
    other = knn_graph(np.random.default_rng(0).normal(size=(5, 2)), 3)
    with pytest.raises(ValueError, match="a and b must be graphs of the same points, but have 4 and 5"):
        neighborhood_overlap(A, other, 2)


class Column:
    """A column of a table as pandas has it: it becomes an array, and a number in brackets means a name."""

    def __init__(self, values):
        self.values = np.array(values, object)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        raise KeyError(key)

    def __array__(self, dtype=None, copy=None):
        return self.values.astype(dtype or object)


class Missing:
    """As pandas.NA: what is compared with it is unknown too, and an unknown is neither true nor false."""

    def __eq__(self, other):
        return self

    __ne__ = __eq__

    def __hash__(self):
        return 0

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: ["cat", "dog", "a bird"][labels],
        lambda labels: 1000 * labels - 7,
        lambda labels: labels / 3,
        lambda labels: [None, "dog", 3][labels] or "none",
    ],
    ids=["strings", "gaps in the numbers", "fractions", "of several types"],
)
@pytest.mark.parametrize("kind", [list, np.array, Column], ids=["list", "array", "column of a table"])
def test_what_labels_are_does_not_matter(kind, change):
    n, rng = 60, np.random.default_rng(0)
    graph, labels = knn_graph(rng.normal(size=(n, 2)), 8), rng.integers(0, 3, n)
    changed = kind([change(int(label)) for label in labels])
    assert label_overlap(graph, changed, 8) == label_overlap(graph, labels, 8)
    assert chance_label_overlap(changed) == chance_label_overlap(labels)


@pytest.mark.parametrize(
    "kind", [list, lambda values: np.array(values, object), Column], ids=["list", "array", "column"]
)
@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.float32("nan"), Missing()], ids=["None", "nan", "float32 nan", "of a class"]
)
def test_labels_that_are_missing(kind, missing):
    for labels in (["a", "b", missing, "a"], [1, 2, missing, 1]):
        for call in (lambda given: label_overlap(A, given, 2), chance_label_overlap):
            with pytest.raises(ValueError, match=r"labels\[2\] is .*: leave out the points that have no label"):
                call(kind(labels))


def test_labels_of_another_length():
    for labels in ([0, 1, 2], np.zeros((4, 1)), 3, [0, 1, 2, 3, 4]):
        with pytest.raises(ValueError, match=r"labels must have the shape \(4,\)"):
            label_overlap(A, labels, 2)
    for labels in ([], [1]):
        with pytest.raises(ValueError, match="labels must have at least two entries"):
            chance_label_overlap(labels)


def test_overlaps_of_more_points_than_are_compared_at_a_time():
    # Blocks of 8,192 rows, and the last is not full. Overlaps differ from row to row, so each must meet its own.
    n, k, rng = 2 * 8192 + 100, 3, np.random.default_rng(0)
    offsets = rng.permuted(np.tile(np.arange(1, 7), (2 * n, 1)), axis=1)[:, :k]
    offsets[:n:5] = offsets[n::5]
    a, b = (np.arange(n)[:, None] + part for part in (offsets[:n], offsets[n:]))
    a, b = a % n, b % n
    shared = (a[:, :, None] == b[:, None, :]).any(2)
    assert neighborhood_overlap(graph_of(a), graph_of(b), k) == pytest.approx(shared.mean(), rel=1e-12)
    labels = np.arange(n) // 7
    labels[n // 2 :] = rng.integers(0, 3, n - n // 2)
    own = np.array([[labels[j] == labels[i] for j in row] for i, row in enumerate(a)])
    assert label_overlap(graph_of(a), labels, k) == pytest.approx(own.mean(), rel=1e-12)
