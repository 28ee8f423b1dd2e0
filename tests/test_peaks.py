"""The search for peaks against a slow implementation of the definition, and properties of every topography."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from nbutils.density import Density, knn_density
from nbutils.graph import NeighborGraph
from nbutils.neighbors import knn_graph
from nbutils.peaks import HALO, Topography, at_levels, density_rank, find_peaks, uphill
from nbutils.synthetic import gaussian_mixture, manifold

ORACLE_CASES = 1200


class Oracle:
    """Density peaks as defined (d'Errico et al. 2021): loops, dense matrices, O(C^3) merging.

    Of equal densities the lower index counts as the higher one, of equal pairs of peaks the first, and of equal
    saddles a peak keeps its own.
    """

    def __init__(self, graph: NeighborGraph, density: Density, z: float):
        n, height, error, k = graph.n, density.log_density, density.error, density.k
        near = [[int(j) for j in row] for row in graph.indices]
        g = [height[i] - error[i] for i in range(n)]

        def above(i: int, j: int) -> bool:
            return g[i] > g[j] or (g[i] == g[j] and i < j)

        putative = [i for i in range(n) if not any(above(j, i) for j in near[i][: k[i]])]
        centres = [c for c in putative if not any(above(p, c) and c in near[p][: k[p]] for p in range(n))]
        downhill = sorted(range(n), key=lambda i: (-g[i], i))
        centres = [i for i in downhill if i in centres]
        self.dropped = len(putative) - len(centres)
        self.orphans = 0

        label = [-1] * n
        for c, i in enumerate(centres):
            label[i] = c
        for i in downhill:
            if label[i] < 0:
                label[i] = next((label[j] for j in near[i] if label[j] >= 0), -1)
            if label[i] < 0:  # the rule of find_peaks for a point without a denser neighbour
                self.orphans += 1
                who = [p for p in range(n) if above(p, i) and i in near[p][: k[p]]]
                label[i] = label[min(who, key=lambda p: (graph.distances[p, near[p].index(i)], p))]

        count = len(centres)
        saddle = [[-1] * count for _ in range(count)]
        for i in downhill:
            if i in centres:  # it would be its own saddle
                continue
            c = label[i]
            across = next((j for j in near[i][: k[i]] if label[j] != c), None)
            if across is None:
                continue
            back = next((j for j in near[across] if label[j] == c), i)
            if back == i and saddle[c][label[across]] < 0:
                saddle[c][label[across]] = saddle[label[across]][c] = i

        alive = list(range(count))
        while True:
            worst = None
            for a in alive:
                for b in alive:
                    s = saddle[a][b]
                    if (
                        a < b
                        and s >= 0
                        and any(height[p] - height[s] < z * (error[p] + error[s]) for p in (centres[a], centres[b]))
                    ):
                        if worst is None or height[s] > height[saddle[worst[0]][worst[1]]]:
                            worst = a, b
            if worst is None:
                break
            a, b = worst
            s = saddle[a][b]
            rise = {c: height[centres[c]] - height[s] for c in worst}
            noise = {c: error[centres[c]] + error[s] for c in worst}
            keep, lose = (a, b) if rise[a] * noise[b] >= rise[b] * noise[a] else (b, a)
            alive.remove(lose)
            label = [keep if one == lose else one for one in label]
            for third in alive:
                s, own = saddle[lose][third], saddle[keep][third]
                if third != keep and s >= 0 and (own < 0 or height[s] > height[own]):
                    saddle[keep][third] = saddle[third][keep] = s

        alive.sort(key=lambda c: (-height[centres[c]], c))
        self.labels = np.array([alive.index(one) for one in label])
        self.peaks = np.array([centres[c] for c in alive])
        self.candidates = count
        self.saddles = np.full((len(alive), len(alive)), math.nan)
        for a, old_a in enumerate(alive):
            for b, old_b in enumerate(alive):
                if a != b and saddle[old_a][old_b] >= 0:
                    self.saddles[a, b] = height[saddle[old_a][old_b]]
        self.halo = self.labels.copy()
        for i in range(n):
            shores = [s for s in self.saddles[self.labels[i]] if not math.isnan(s)]
            if shores and height[i] < max(shores):
                self.halo[i] = HALO


def cloud(rng: np.random.Generator, n: int) -> np.ndarray:
    kind, d = rng.integers(4), int(rng.integers(1, 4))
    if kind == 0:
        return rng.normal(size=(n, d)) + 5 * rng.integers(-1, 2, size=(n, d))
    if kind == 1:
        return rng.uniform(size=(n, d))
    if kind == 2:
        return rng.integers(0, 5, size=(n, d)).astype(float)  # a lattice: ties and duplicates
    x = rng.normal(size=(n, d))
    x[rng.integers(n, size=n // 5)] = x[rng.integers(n, size=n // 5)]
    return x


def some_graph(rng: np.random.Generator, n: int) -> NeighborGraph:
    k = int(rng.integers(1, min(n, 16)))
    if rng.random() < 0.15:  # neighbours of nothing in space, as an approximate search may give
        rows = [rng.permutation(np.delete(np.arange(n), i))[:k] for i in range(n)]
        return NeighborGraph(np.sort(rng.integers(1, 6, size=(n, k)), axis=1), np.array(rows))
    x = cloud(rng, n)
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return NeighborGraph(np.take_along_axis(distances, order, 1), order)


def some_density(rng: np.random.Generator, graph: NeighborGraph) -> Density:
    kind, n = rng.integers(4), graph.n
    if kind == 0:  # that of one k, below what the graph holds or not
        k = np.full(n, rng.integers(1, graph.k + 1))
    else:
        k = rng.integers(1, graph.k + 1, size=n)
    if kind <= 1:
        radius = np.maximum(graph.distances[np.arange(n), k - 1], 0.1).astype(float)
        return Density(np.log(k) - 2 * np.log(radius), k**-0.5, k)
    if kind == 2:
        return Density(rng.normal(size=n), rng.exponential(0.5, size=n), k)
    return Density(rng.integers(0, 4, size=n).astype(float), rng.integers(0, 3, size=n) / 4, k)


@pytest.mark.parametrize("start", range(0, ORACLE_CASES, ORACLE_CASES // 4))
def test_the_same_as_the_slow_implementation(start):
    merged = dropped = orphans = 0
    for seed in range(start, start + ORACLE_CASES // 4):
        rng = np.random.default_rng(seed)
        graph = some_graph(rng, int(rng.integers(2, 80)))
        density = some_density(rng, graph)
        z = float(rng.choice([0, 0.3, 1, 1.65, 3]))
        oracle, found = Oracle(graph, density, z), find_peaks(graph, density, z)
        np.testing.assert_array_equal(found.peaks, oracle.peaks, err_msg=f"{seed=}")
        np.testing.assert_array_equal(found.labels, oracle.labels, err_msg=f"{seed=}")
        np.testing.assert_array_equal(found.saddles, oracle.saddles, err_msg=f"{seed=}")
        halo = find_peaks(graph, density, z, halo=True)
        np.testing.assert_array_equal(halo.labels, oracle.halo, err_msg=f"{seed=}")
        merged += oracle.candidates > found.n_peaks > 1
        dropped += oracle.dropped > 0
        orphans += oracle.orphans > 0
    # The random cases must reach every branch.
    assert min(merged, dropped, orphans) >= 10


def test_the_same_as_the_slow_implementation_where_there_are_many_peaks():
    for seed in range(6):
        x = np.random.default_rng(seed).uniform(size=(700, 2))
        graph = knn_graph(x, 12)
        density = knn_density(graph, 2, 8)
        for z in (0, 0.5, 1.65):
            oracle, found = Oracle(graph, density, z), find_peaks(graph, density, z)
            np.testing.assert_array_equal(found.labels, oracle.labels)
            np.testing.assert_array_equal(found.saddles, oracle.saddles)


def authors_way(
    graph: NeighborGraph, density: Density, z: float, own: bool = True, early: bool = True
) -> tuple[np.ndarray, np.ndarray, float]:
    """The peaks as the code of Doimo et al. finds them, for one k: labels, all saddles, and the constant among them.

    A candidate may be its own border point (`own`), the search back stops before the last stored neighbour (`early`),
    peaks that do not touch have one constant saddle below the floor, and of two peaks the denser survives.
    """
    n, height, error, k = graph.n, density.log_density, density.error, density.k
    near, constant = graph.indices.tolist(), height.min() - 1
    order = sorted(range(n), key=lambda i: (-height[i], i))
    place = {i: p for p, i in enumerate(order)}
    top, label = [], {}
    for i in order:
        above = [j for j in near[i][: k[i]] if place[j] < place[i]]
        label[i] = label[above[0]] if above else i
        top += [] if above else [i]
    saddle = {(a, b): constant for a in top for b in top if a != b}
    error_there = {}
    for i in range(n):
        a = label[i]
        across = [j for j in near[i][: k[i]] if label[j] != a]
        if not across or (i in top and not own):
            continue
        same = [j for j in (near[across[0]][:-1] if early else near[across[0]]) if label[j] == a]
        b = label[across[0]]
        if (not same or same[0] == i) and height[i] > saddle[a, b]:
            saddle[a, b] = saddle[b, a] = height[i]
            error_there[a, b] = error_there[b, a] = error[i]
    while True:
        weak = [
            (saddle[a, b], -place[a], -place[b])
            for a, b in saddle
            if place[a] < place[b]
            and saddle[a, b] > constant
            and any(height[c] - saddle[a, b] < z * (error[c] + error_there[a, b]) for c in (a, b))
        ]
        if not weak:
            break
        a, b = (order[-p] for p in max(weak)[1:])
        label = {i: a if c == b else c for i, c in label.items()}
        top.remove(b)
        for c in top:
            if c != a and saddle[b, c] > saddle[a, c]:
                saddle[a, c] = saddle[c, a] = saddle[b, c]
                error_there[a, c] = error_there[c, a] = error_there[b, c]
        saddle = {pair: value for pair, value in saddle.items() if b not in pair}
    matrix = np.array([[math.nan if a == b else saddle[a, b] for b in top] for a in top])
    return np.array([top.index(label[i]) for i in range(n)]), matrix.reshape(len(top), len(top)), constant


def test_the_authors_borders_and_their_constant_saddle():
    seen = {"own": 0, "early": 0, "apart": 0}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        # Heights without ties, and errors of one k.
        graph = knn_graph(rng.normal(size=(70, 3)) + 3 * rng.integers(0, 3, size=(70, 1)), int(rng.integers(3, 8)))
        k = int(rng.integers(3, graph.k + 1))
        height = knn_density(graph, 3, k).log_density + 1e-3 * rng.random(70)
        density, z = Density(height, np.full(70, k**-0.5), np.full(70, k)), float(rng.choice([0, 0.5, 1]))
        labels, saddles, constant = authors_way(graph, density, z)
        found = find_peaks(graph, density, z, authors_borders=True)
        np.testing.assert_array_equal(found.labels, labels, err_msg=f"{seed=}")
        touch, between = ~np.isnan(found.saddles), ~np.eye(found.n_peaks, dtype=bool)
        np.testing.assert_array_equal(found.saddles[touch], saddles[touch])
        # The constant merges nothing, and is lower than every saddle: those pairs have one distance, the largest.
        assert (saddles[between & ~touch] == constant).all() and (found.saddles[touch] > constant).all()
        seen["apart"] += (between & ~touch).any()

        usual = find_peaks(graph, density, z)
        np.testing.assert_array_equal(usual.labels, authors_way(graph, density, z, own=False, early=False)[0])
        for part in ({"own": True, "early": False}, {"own": False, "early": True}):
            other, its_saddles, constant = authors_way(graph, density, z, **part)
            same = np.array_equal(other, usual.labels) and np.array_equal(
                np.where(its_saddles == constant, np.nan, its_saddles), usual.saddles, equal_nan=True
            )
            seen["own" if part["own"] else "early"] += not same
    # Either difference alone changes peaks or saddles in some of the cases.
    assert min(seen.values()) >= 5, seen


def random_density(seed: int, n: int = 150, k: int = 10) -> tuple[NeighborGraph, Density]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) + 4 * rng.integers(0, 2, size=(n, 2)) * (rng.random() < 0.6)
    graph = knn_graph(x, k)
    return graph, knn_density(graph, 2, k)


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, z=st.floats(0, 4), halo=st.booleans())
def test_properties_of_every_topography(seed, z, halo):
    graph, density = random_density(seed)
    found = find_peaks(graph, density, z, halo)
    c = np.arange(found.n_peaks)
    np.testing.assert_array_equal(found.labels[found.peaks], c)
    assert set(found.labels) - {HALO} == set(c)
    np.testing.assert_array_equal(found.peak_log_density, density.log_density[found.peaks])
    assert (np.diff(found.peak_log_density) <= 0).all()
    # No point is denser than its peak.
    inside = found.labels >= 0
    assert (density.log_density[inside] <= found.peak_log_density[found.labels[inside]]).all()

    np.testing.assert_array_equal(found.saddles, found.saddles.T)
    np.testing.assert_array_equal(found.saddle_points, found.saddle_points.T)
    assert np.isnan(np.diag(found.saddles)).all()
    np.testing.assert_array_equal(np.isnan(found.saddles), found.saddle_points < 0)
    for a, b in np.argwhere(found.saddle_points >= 0):
        point = found.saddle_points[a, b]
        assert found.saddles[a, b] == density.log_density[point] >= found.floor
        assert found.peak_log_density[a] - found.saddles[a, b] >= z * (
            density.error[found.peaks[a]] + density.error[point]
        )
    # A saddle is a border: its point is in one of the two, and has the other among its neighbours.
    whole = find_peaks(graph, density, z).labels
    for a, b in np.argwhere(found.saddle_points >= 0):
        point = found.saddle_points[a, b]
        assert whole[point] in (a, b)
        assert ({a, b} - {whole[point]}).pop() in whole[graph.indices[point]]


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_a_higher_bar_never_leaves_more_peaks(seed):
    graph, density = random_density(seed, k=6)
    counts = [find_peaks(graph, density, z).n_peaks for z in (0, 0.2, 0.5, 0.8, 1, 1.3, 1.65, 2, 3, 5)]
    assert counts == sorted(counts, reverse=True)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_candidates_are_the_local_maxima(seed):
    graph, density = random_density(seed, k=6)
    height = density.log_density
    # With one k for all none is dropped for lying near a denser point. Mutual k-th neighbours have the same density:
    # there the lower index counts as the denser one.
    i, j = np.arange(graph.n)[:, None], graph.indices
    highest = np.flatnonzero(((height[i] > height[j]) | ((height[i] == height[j]) & (i < j))).all(1))
    parent = uphill(graph, density.k, density_rank(height - density.error))
    np.testing.assert_array_equal(np.flatnonzero(parent == np.arange(graph.n)), highest)
    # Without a bar each is a peak, but for those below a saddle of theirs: a border point belongs to one side only,
    # and may stand higher than the whole region on the other.
    assert set(find_peaks(graph, density, z=0).peaks) <= set(highest)


@pytest.mark.parametrize("halo", [False, True])
def test_many_levels_at_once_are_each_by_itself(halo):
    graph, density = random_density(0, k=6)
    levels = [0, 0.5, 1.65, 1.65, 3, 100]
    found = at_levels(graph, density, iter(levels), halo)
    assert len({topography.n_peaks for topography in found}) > 2
    for topography, z in zip(found, levels, strict=True):
        alone = find_peaks(graph, density, z, halo)
        for name in ("labels", "peaks", "peak_log_density", "pairs", "pair_points", "pair_saddles"):
            np.testing.assert_array_equal(getattr(topography, name), getattr(alone, name))
    with pytest.raises(ValueError, match="z=-1"):
        at_levels(graph, density, [1, -1])


@settings(max_examples=40, deadline=None)
@given(seed=seeds, z=st.sampled_from([0, 1, 1.65]))
def test_the_order_of_the_points_changes_only_their_numbers(seed, z):
    rng = np.random.default_rng(seed)
    graph = knn_graph(rng.normal(size=(100, 2)), 8)
    # Densities without ties; errors of their own.
    density = Density(rng.normal(size=100), rng.uniform(0.1, 0.5, size=100), rng.integers(3, 9, size=100))
    order = rng.permutation(100)  # the new point i is the old point order[i]
    new_name = np.argsort(order)
    shuffled = NeighborGraph(graph.distances[order], new_name[graph.indices[order]])
    before = find_peaks(graph, density, z)
    after = find_peaks(shuffled, Density(density.log_density[order], density.error[order], density.k[order]), z)
    np.testing.assert_array_equal(after.peaks, new_name[before.peaks])
    np.testing.assert_array_equal(after.labels, before.labels[order])
    np.testing.assert_array_equal(after.saddles, before.saddles)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, shift=st.integers(-500, 500))
def test_another_unit_of_length_moves_only_the_heights(seed, shift):
    # What a change of the unit does to log density. Multiples of 1/1024 keep the sums exact, ties included.
    graph, density = random_density(seed)
    height, error = (np.round(part * 1024) / 1024 for part in (density.log_density, density.error))
    before = find_peaks(graph, Density(height, error, density.k))
    after = find_peaks(graph, Density(height + shift, error, density.k))
    np.testing.assert_array_equal(after.labels, before.labels)
    np.testing.assert_array_equal(after.peaks, before.peaks)
    np.testing.assert_array_equal(after.saddles, before.saddles + shift)
    assert after.floor == before.floor + shift


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_the_halo_is_what_lies_below_the_highest_saddle(seed):
    graph, density = random_density(seed)
    whole, cut = find_peaks(graph, density, 0.5), find_peaks(graph, density, 0.5, halo=True)
    np.testing.assert_array_equal(cut.saddles, whole.saddles)
    for c in range(whole.n_peaks):
        own = whole.labels == c
        saddles = whole.saddles[c][~np.isnan(whole.saddles[c])]
        below = density.log_density[own] < saddles.max() if len(saddles) else np.zeros(own.sum(), bool)
        np.testing.assert_array_equal(cut.labels[own] == HALO, below)
        np.testing.assert_array_equal(cut.labels[own][~below], c)


def peaks_of(x: np.ndarray, k: int = 30, z: float = 1.65) -> Topography:
    graph = knn_graph(x, k)
    return find_peaks(graph, knn_density(graph, x.shape[1], k), z)


@pytest.mark.parametrize("d", [2, 5])
def test_one_gaussian_has_one_peak(d):
    counts = [peaks_of(manifold("gaussian", 1000, d, random_state=seed)).n_peaks for seed in range(10)]
    # Z = 1.65 lets chance pass now and then.
    assert counts.count(1) >= 8 and max(counts) <= 2


def test_a_mixture_has_as_many_peaks_as_means_and_near_them():
    means = np.array([[0, 0, 0], [8, 0, 0], [0, 8, 0], [0, 0, 8], [8, 8, 8]], float)
    x, truth = gaussian_mixture(2500, means, random_state=1)
    found = peaks_of(x)
    assert found.n_peaks == 5
    nearest = np.linalg.norm(means[:, None] - x[found.peaks], axis=2)
    assert sorted(nearest.argmin(1)) == list(range(5))
    assert nearest.min(1).max() < 1  # a deviation; the top of a Gaussian is flat
    assert (nearest.argmin(1)[truth] == found.labels).mean() > 0.99


def test_peaks_of_unequal_weight_and_width():
    x, _ = gaussian_mixture(3000, np.array([[0.0, 0], [6, 0], [0, 7]]), [0.5, 1, 1.5], [0.5, 0.2, 0.3], random_state=0)
    found = peaks_of(x)
    assert found.n_peaks == 3
    # Densest first: weight / width^2 is 2, 0.2, 0.13.
    np.testing.assert_allclose(x[found.peaks], [[0, 0], [6, 0], [0, 7]], atol=1)


def test_clusters_apart_have_no_saddle():
    x, truth = gaussian_mixture(300, np.array([[0.0, 0], [1000, 0], [0, 1000]]), random_state=0)
    found = peaks_of(x, z=3)
    assert found.n_peaks == 3
    assert np.isnan(found.saddles).all()
    assert (found.saddle_points == -1).all()
    assert len(set(zip(found.labels, truth, strict=True))) == 3
    # Without saddles there is no halo.
    graph = knn_graph(x, 30)
    np.testing.assert_array_equal(find_peaks(graph, knn_density(graph, 2), 3, halo=True).labels, found.labels)


def test_two_points():
    found = peaks_of(np.array([[0.0, 0], [1, 1]]), k=1)
    assert found.n_peaks == 1
    assert found.peaks.tolist() == [0]
    assert found.labels.tolist() == [0, 0]
    assert found.saddles.shape == (1, 1) and np.isnan(found.saddles[0, 0])


def test_a_peak_with_a_single_point():
    # On a line, each with one neighbour: 0 looks at 1, 1 and 2 at each other. 1 climbs 2, so 0 is alone. It is the only
    # point that looks across, but it is no saddle of itself: the two peaks do not touch, and nothing merges them.
    graph = knn_graph(np.array([[0.0], [1.5], [2.5]]), 1)
    density = Density(np.array([5.0, 1, 6]), np.full(3, 0.1), np.ones(3, int))
    found = find_peaks(graph, density, z=0, halo=True)
    assert found.peaks.tolist() == [2, 0]
    assert found.labels.tolist() == [1, 0, 0]
    assert np.isnan(found.saddles).all() and (found.saddle_points == -1).all()
    assert find_peaks(graph, density, z=100).peaks.tolist() == [2, 0]


def test_a_flat_density():
    graph = knn_graph(np.arange(30.0)[:, None], 2)
    flat = Density(np.zeros(30), np.full(30, 0.5), np.full(30, 2))
    found = find_peaks(graph, flat, z=1)
    assert found.n_peaks == 1
    assert found.peaks.tolist() == [0]
    np.testing.assert_array_equal(found.labels, 0)


def test_twenty_thousand_points_without_a_bar():
    x = np.random.default_rng(0).uniform(size=(20_000, 2))
    distances, indices = cKDTree(x).query(x, 11)
    graph = NeighborGraph(distances[:, 1:], indices[:, 1:])
    found = find_peaks(graph, knn_density(graph, 2, 10), z=0)
    assert found.n_peaks > 300
    assert (np.bincount(found.labels) > 0).all()


def test_saddles_of_many_peaks_are_a_list_until_a_matrix_is_asked_for():
    x = np.random.default_rng(0).uniform(size=(30_000, 2))
    distances, indices = cKDTree(x).query(x, 9)
    graph = NeighborGraph(distances[:, 1:], indices[:, 1:])
    density = knn_density(graph, 2, 8)
    tracemalloc.start()
    found = find_peaks(graph, density, z=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    c = found.n_peaks
    assert c > 1000 and len(found.pairs) < 5 * c
    assert peak < 40 * 8 * graph.n < 8 * 2 * c**2, "as much as a matrix takes"
    assert len(np.unique(found.pairs, axis=0)) == len(found.pairs) and (found.pairs[:, 0] < found.pairs[:, 1]).all()
    np.testing.assert_array_equal(found.pair_saddles, density.log_density[found.pair_points])
    a, b = np.nonzero(np.triu(~np.isnan(found.saddles)))
    assert set(zip(a, b, strict=True)) == set(map(tuple, found.pairs))
    np.testing.assert_array_equal(found.saddles[tuple(found.pairs.T)], found.pair_saddles)
    np.testing.assert_array_equal(found.saddle_points[tuple(found.pairs.T[::-1])], found.pair_points)


def test_bad_input_is_refused():
    graph, density = random_density(0)
    other = knn_graph(np.random.default_rng(0).normal(size=(50, 2)), 10)
    with pytest.raises(ValueError, match="150 points but graph has 50"):
        find_peaks(other, density)
    with pytest.raises(ValueError, match="10 neighbours but graph holds 5"):
        find_peaks(graph.truncate(5), density)
    with pytest.raises(ValueError, match="neighbours"):
        find_peaks(graph, Density(density.log_density, density.error, np.zeros(150, int)))
    for z in (-1, math.nan):
        with pytest.raises(ValueError, match="z="):
            find_peaks(graph, density, z)
