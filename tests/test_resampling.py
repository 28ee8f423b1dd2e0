"""Resampled graphs, against a new search among the kept points; errors against what is known of a mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from nbutils.graph import NeighborGraph
from nbutils.resampling import Resampled, corresponding_k, resample, resampled


def exact(x: np.ndarray, k: int) -> NeighborGraph:
    """The independent search: scikit-learn, by brute force; the data have no equal distances."""
    return NeighborGraph(*NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors())


def survivors(graph: NeighborGraph, drawn: list[int], k: int) -> list[int]:
    """Those of the drawn points that keep k neighbours among themselves."""
    kept = set(drawn)
    while few := {i for i in kept if len(kept.intersection(graph.indices[i].tolist())) < k}:
        kept -= few
    return sorted(kept)


@settings(max_examples=25, deadline=None)
@example(31330, (0.8, 17))  # none is left
@given(st.integers(0, 10**6), st.sampled_from([(0.8, 14), (0.8, 17), (0.5, 7), (0.9, 21)]))
def test_a_resample_is_a_new_search_among_the_kept_points(seed, choice):
    fraction, k = choice
    x = np.random.default_rng(seed).normal(size=(200, 3))
    graph = exact(x, 30)
    drawn = np.random.default_rng(seed).choice(200, round(fraction * 200), replace=False)
    rows = survivors(graph, drawn.tolist(), k)
    if len(drawn) - len(rows) > 0.9 * len(drawn):  # losses feed on themselves
        with pytest.raises(ValueError, match="take a smaller k"):
            resample(graph, fraction, k, seed, max_dropped=0.9)
        return
    part = resample(graph, fraction, k, seed, max_dropped=0.9)
    assert part.rows.tolist() == rows
    again = exact(x[part.rows], k)
    np.testing.assert_array_equal(part.graph.indices, again.indices)
    np.testing.assert_allclose(part.graph.distances, again.distances, rtol=1e-5)
    assert (np.diff(part.rows) > 0).all()
    assert len(part.rows) + part.dropped == round(fraction * 200)


def test_who_is_dropped_and_who_is_dropped_for_it():
    # Two groups of five that know each other only, and one drawn out of each: who has lost one of its four has three.
    five = np.array([[j for j in range(5) if j != i] for i in range(5)])
    indices = np.concatenate([five, five + 5])
    graph = NeighborGraph(np.tile(np.arange(1.0, 5), (10, 1)), indices)
    seen = set()
    for seed in range(30):
        part = resample(graph, 0.8, 3, seed, max_dropped=1 - 1e-9)
        out = sorted(set(range(10)) - set(part.rows.tolist()))
        seen.add(part.dropped)
        if part.dropped == 0:  # one missing from each group, so each point keeps three of its four
            assert [row // 5 for row in out] == [0, 1]
        else:  # two missing from one group: the remaining three keep two each, and go all
            assert part.dropped == 3 and out in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
            np.testing.assert_array_equal(part.graph.indices, five[:, :3])
    assert seen == {0, 3}
    assert all(resample(graph, 0.8, 3, s, 0.99).graph.k == 3 for s in range(5))


def test_a_cascade_goes_on_until_none_has_too_few():
    # A chain: point i has i + 1 as its only neighbour, the last two each other. Without the last, all fall.
    n = 12
    indices = np.r_[1:n, n - 2][:, None]
    graph = NeighborGraph(np.ones((n, 1)), indices)
    for seed in range(20):
        drawn = np.random.default_rng(seed).choice(n, 11, replace=False)
        left = int(next(iter(set(range(n)) - set(drawn.tolist()))))
        if left >= n - 2:
            with pytest.raises(ValueError, match="11 of the 11 drawn points"):
                resample(graph, 0.99 * 11 / n, 1, seed, 1.0)
        else:
            part = resample(graph, 0.99 * 11 / n, 1, seed, 1.0)
            np.testing.assert_array_equal(part.rows, np.arange(left + 1, n))
            assert part.dropped == left


def test_equal_distances_stay_in_the_order_of_the_points():
    x = np.array([[i, j] for i in range(7) for j in range(7)], dtype=float)
    order = np.argsort(((x[:, None] - x) ** 2).sum(-1) + 1e6 * np.eye(49), axis=1, kind="stable")[:, :30]
    graph = NeighborGraph(np.take_along_axis(np.sqrt(((x[:, None] - x) ** 2).sum(-1)), order, 1), order)
    part = resample(graph, 0.8, 12, 0)
    y = x[part.rows]
    d = ((y[:, None] - y) ** 2).sum(-1) + 1e6 * np.eye(len(y))
    np.testing.assert_array_equal(part.graph.indices, np.argsort(d, axis=1, kind="stable")[:, :12])


def test_the_same_seed_draws_the_same_points_of_each_layer():
    rng = np.random.default_rng(0)
    a, b = (exact(rng.normal(size=(150, 3)), 20) for _ in range(2))
    np.testing.assert_array_equal(resample(a, k=10, random_state=7).rows, resample(b, k=10, random_state=7).rows)
    assert (resample(a, k=10, random_state=7).rows != resample(a, k=10, random_state=8).rows).any()


def test_the_points_are_a_fair_draw():
    graph = exact(np.random.default_rng(0).normal(size=(60, 2)), 20)
    rng = np.random.default_rng(1)
    hits = np.zeros(60)
    for _ in range(400):
        hits[resample(graph, 0.8, 4, rng).rows] += 1
    assert np.abs(hits / 400 - 0.8).max() < 4.5 * np.sqrt(0.16 / 400)


def test_five_deviations_below_the_mean_hardly_any_is_dropped_and_near_it_losses_feed_on_themselves():
    """The advice of the docstring, for 20 groups of 60: at k = 20 many more are lost than have too few at first."""
    rng = np.random.default_rng(0)
    graph = exact(np.concatenate([rng.normal(size=(60, 3)) + 30 * rng.normal(size=3) for _ in range(20)]), 30)
    lost, first = [], []
    for seed in range(5):
        assert resample(graph, 0.8, 13, seed).dropped < 0.005 * 960
        drawn = np.isin(np.arange(1200), np.random.default_rng(seed).choice(1200, 960, replace=False))
        first.append((drawn[graph.indices[drawn]].sum(1) < 20).sum())
        lost.append(resample(graph, 0.8, 20, seed, 1.0).dropped)
        with pytest.raises(ValueError, match="take a smaller k"):
            resample(graph, 0.8, 20, seed)
    assert np.mean(lost) > 3 * np.mean(first), (lost, first)


@pytest.mark.parametrize(
    "k, fraction, full",
    [(12, 0.8, 15), (16, 0.8, 20), (27, 0.9, 30), (24, 0.8, 30), (18, 0.8, 23), (9, 0.9, 10), (3, 0.5, 6)],
)
def test_the_k_that_corresponds(k, fraction, full):
    assert corresponding_k(k, fraction) == full


def test_the_neighbours_that_correspond_reach_as_far():
    graph = exact(np.random.default_rng(0).uniform(size=(1500, 2)), 30)
    part = resample(graph, 0.8, 16, 0)
    reach = np.median(part.graph.distances[:, -1])
    assert reach == pytest.approx(np.median(graph.distances[:, 19]), rel=0.02)
    assert reach > 1.05 * np.median(graph.distances[:, 15])


def test_the_error_is_that_of_the_mean():
    """For a mean the standard error is known, s / sqrt(N); the scatter of the resamples alone is half of it."""
    rng = np.random.default_rng(0)
    value = rng.normal(size=500)
    graph = exact(rng.normal(size=(500, 2)), 20)
    result = resampled(lambda _, rows: value[rows].mean(), graph, k=4, repeats=400, random_state=0)
    assert result.whole == pytest.approx(value.mean())
    assert result.mean == pytest.approx(value.mean(), abs=0.01)
    assert result.std == pytest.approx(value.std() / np.sqrt(500) / 2, rel=0.12)
    assert result.error == pytest.approx(value.std() / np.sqrt(500), rel=0.12)
    assert result.fraction == pytest.approx(0.8) and (result.dropped == 0).all()


def test_a_statistic_is_compared_with_the_k_that_corresponds():
    graph = exact(np.random.default_rng(0).normal(size=(300, 3)), 30)
    seen = []

    def statistic(part: NeighborGraph, rows: np.ndarray) -> list[float]:
        seen.append((part.n, part.k, len(rows)))
        return [np.log(part.distances).mean(), float(len(rows))]

    result = resampled(statistic, graph, 0.8, 16, 5, 0)
    assert seen == [(300, 20, 300)] + [(240, 16, 240)] * 5
    assert result.values.shape == (5, 2) and result.mean.shape == result.std.shape == (2,)
    assert result.std[1] == 0 and result.whole[1] == 300
    again = resampled(statistic, graph, 0.8, 16, 5, 0)
    np.testing.assert_array_equal(result.values, again.values)
    assert len(np.unique(result.values[:, 0])) == 5


def test_mean_and_deviation_by_hand():
    result = Resampled(np.array(2.0), np.array([1.0, 3.0, 5.0]), 0.8, np.zeros(3, int))
    assert result.mean == 3 and result.std == 2 and result.error == pytest.approx(4)


def test_bad_input():
    graph = exact(np.random.default_rng(0).normal(size=(80, 2)), 20)
    for fraction in (0, 1, -0.5, 2, np.nan):
        with pytest.raises(ValueError, match=r"fraction=.* must lie between 0 and 1"):
            resample(graph, fraction, 4)
    with pytest.raises(ValueError, match=r"k=17 at fraction=0\.8 needs 21 stored neighbours but graph holds 20"):
        resample(graph, 0.8, 17)
    with pytest.raises(ValueError, match="k=0"):
        resample(graph, 0.8, 0)
    with pytest.raises(TypeError, match="k must be an integer"):
        resample(graph, 0.8, 4.0)
    with pytest.raises(ValueError, match=r"drawn points keep fewer.*take a smaller k"):
        resample(graph, 0.8, 16, 0)
    with pytest.raises(ValueError, match="repeats=1"):
        resampled(lambda g, rows: 0.0, graph, k=4, repeats=1)
