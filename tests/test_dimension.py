"""TwoNN and Gride: the formulas, what they should give on manifolds of known dimension, and what they must refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from nbutils.decimation import decimate
from nbutils.dimension import gride, log_ratios, twonn
from nbutils.graph import NeighborGraph
from nbutils.neighbors import knn_graph
from nbutils.synthetic import manifold

# Mean over 30 seeds (1000 ... 1029) of TwoNN on 1000 points, as a share of the true dimension. Made once with SciPy's
# k-d tree and a separate NumPy formula, without nbutils.dimension. Up to d = 2 the bias drowns in the scatter. Above,
# the edge of the cube and the thin tail of the Gaussian reach half of the points: their shells have less room than
# r^d, so the ratios grow and d falls (Facco et al. 2017 show the same for cubes). The sphere has no edge, and falls
# less: its cap is smaller than a flat disc of the same radius.
SHARE = {
    "cube": {1: 1.010, 2: 0.990, 5: 0.930, 10: 0.842},
    "sphere": {1: 1.002, 2: 1.003, 5: 0.991, 10: 0.926},
    "gaussian": {1: 1.004, 2: 1.006, 5: 1.008, 10: 0.946},
}
SCATTER = 1.4  # largest ratio of the scatter over seeds to d / sqrt(n used) in that simulation; see below why not 1


def graph_of(distances: np.ndarray) -> NeighborGraph:
    """A graph with these distances to neighbours whose names do not matter."""
    n, k = distances.shape
    return NeighborGraph(distances, (np.arange(n)[:, None] + 1 + np.arange(k)) % n)


def by_hand(distances: np.ndarray, fraction: float) -> float:
    log_mu = sorted(math.log(float(r[1]) / float(r[0])) for r in distances if r[0] > 0)
    total = len(log_mu)
    xy = xx = 0.0
    for i in range(1, total + 1):
        if i <= fraction * total and i < total:
            xy += log_mu[i - 1] * -math.log(1 - i / total)
            xx += log_mu[i - 1] ** 2
    return xy / xx


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(10, 60),
    fraction=st.sampled_from([0.5, 0.75, 0.9, 1.0]),
    duplicates=st.integers(0, 4),
)
def test_the_formula_by_hand(seed, n, fraction, duplicates):
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.exponential(size=(n, 3)), axis=1).astype(np.float32)
    distances[:duplicates, 0] = 0
    estimate = twonn(graph_of(distances), fraction)
    assert estimate.value == pytest.approx(by_hand(distances, fraction), rel=1e-9)
    assert estimate.n_duplicates == duplicates
    assert estimate.n == min(math.floor(fraction * (n - duplicates)), n - duplicates - 1)
    assert estimate.error == pytest.approx(estimate.value / math.sqrt(estimate.n))
    assert "np." not in repr(estimate)  # a cell may end on it


def test_ratios_of_the_asked_neighbours():
    distances = np.array([[1, 2, 8], [0, 3, 6], [2, 2, 6], [0, 0, 5]], dtype=np.float32)
    ratios, left_out = log_ratios(graph_of(distances), near=1, far=3)
    np.testing.assert_allclose(ratios, np.log([8, 3]))
    assert left_out == 2
    ratios, left_out = log_ratios(graph_of(distances), near=2, far=3)
    np.testing.assert_allclose(ratios, np.log([4, 2, 3]))
    assert left_out == 1


@pytest.mark.parametrize("d", [1, 2, 5, 10])
@pytest.mark.parametrize("kind", SHARE)
def test_known_dimensions_within_the_known_bias(kind, d):
    runs = [twonn(knn_graph(manifold(kind, 1000, d, random_state=seed), 2)) for seed in range(4)]
    mean = np.mean([run.value for run in runs])
    # The error of a mean of 4, and of the reference, a mean of 30.
    error = SCATTER * runs[0].error * math.sqrt(1 / 4 + 1 / 30)
    assert abs(mean - SHARE[kind][d] * d) < 3.5 * error
    assert abs(mean - d) < (0.08 if d <= 2 else 0.2) * d


def test_more_points_bring_less_bias():
    # The layer that feels the edge is r_2 deep, and r_2 goes down only with n^(-1/d): a slow cure. From longer runs:
    # 8.05 +- 0.08 with 100 points (200 seeds), 8.67 +- 0.06 with 4000 (12 seeds).
    few, many = (
        np.mean([twonn(knn_graph(manifold("cube", n, 10, random_state=seed), 2)).value for seed in range(seeds)])
        for n, seeds in ((100, 60), (2500, 4))
    )
    assert few + 0.2 < many < 9.5


def test_the_ambient_space_does_not_count():
    flat = manifold("cube", 500, 3, random_state=1)
    folded = manifold("cube", 500, 3, ambient=50, random_state=1)
    assert flat.shape[1] == 3 and folded.shape[1] == 50
    assert twonn(knn_graph(folded, 2)).value == pytest.approx(twonn(knn_graph(flat, 2)).value, rel=1e-3)


def test_the_error_is_the_scatter_over_seeds():
    # It is that of independent ratios. Those of neighbours are not (two mutual neighbours share r_1), so the scatter
    # is larger, by 1.1 to 1.4 where this was simulated: the error may be short by that much, and no more.
    for kind, d in [("sphere", 2), ("cube", 5)]:
        runs = [twonn(knn_graph(manifold(kind, 400, d, random_state=seed), 2)) for seed in range(40)]
        scatter = np.std([run.value for run in runs], ddof=1)
        assert 0.8 < scatter / np.mean([run.error for run in runs]) < 1.7


def test_duplicates_are_left_out_and_counted():
    x = manifold("cube", 2000, 3, random_state=0)
    clean = twonn(knn_graph(x, 2))
    estimate = twonn(knn_graph(np.concatenate([x, x[:100]]), 2))
    assert clean.n_duplicates == 0
    assert estimate.n_duplicates == 200
    # Were they kept, 3 would become 2.1; were those kept whose two nearest are twins, it would rise by 0.13. What is
    # left changes because other points are used.
    assert estimate.value == pytest.approx(clean.value, abs=0.5 * clean.error)


def test_points_whose_two_neighbours_are_duplicates_are_left_out():
    # 0 and 1 are twins, 2 sees both at the same distance; 3 has two different neighbours equally far, and stays.
    distances = np.array([[0, 3], [0, 3], [3, 3], [2, 2], [1, 2]], dtype=np.float32)
    indices = np.array([[1, 2], [0, 2], [0, 1], [2, 4], [3, 2]])
    ratios, duplicates = log_ratios(NeighborGraph(distances, indices))
    np.testing.assert_allclose(ratios, [0, math.log(2)])
    assert duplicates == 2


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), log_scale=st.floats(-6, 6), shift=st.floats(-3, 3))
def test_moving_turning_and_scaling_change_nothing(seed, log_scale, shift):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 4))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    before, after = (twonn(knn_graph(y, 2)) for y in (x, 10**log_scale * (x @ turn + shift)))
    assert after.value == pytest.approx(before.value, rel=1e-4)
    assert after.n == before.n


@pytest.mark.parametrize("spacing", [1, 0.1])
@pytest.mark.parametrize("fraction", [0.9, 1.0])
@pytest.mark.parametrize("d", [1, 2])
def test_a_lattice_is_refused(d, fraction, spacing):
    axes = np.meshgrid(*[np.arange(40)] * d)
    # With a spacing of 0.1, single precision leaves distances that are equal only up to rounding.
    x = (np.stack(axes, -1).reshape(-1, d) * spacing).astype(np.float32)
    with pytest.raises(ValueError, match="lattice"):
        twonn(knn_graph(x, 2), fraction)


def test_nothing_but_duplicates_is_refused():
    with pytest.raises(ValueError, match=r"graph has 0 distinct points.*too few"):
        twonn(knn_graph(np.zeros((10, 3)), 4))


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="too few"):
        twonn(knn_graph(np.random.default_rng(0).normal(size=(3, 2)), 2))


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, math.nan, math.inf])
def test_a_fraction_outside_its_range_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        twonn(graph_of(np.tile([1.0, 2.0], (10, 1))), fraction)


def test_one_neighbour_is_too_few():
    with pytest.raises(ValueError, match=r"k=2.*knn_graph"):
        twonn(graph_of(np.ones((10, 1))))


@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_the_likelihood_by_hand(fraction):
    distances = np.sort(np.random.default_rng(1).exponential(size=(50, 2)), axis=1).astype(np.float32)
    distances[:3, 0] = 0
    estimate = twonn(graph_of(distances), fraction, method="mle")  # all ratios, whatever the fraction
    expected = 46 / sum(math.log(float(far) / float(near)) for near, far in distances[3:])
    assert estimate.value == pytest.approx(expected, rel=1e-9)
    assert estimate.error == pytest.approx(expected / math.sqrt(47))
    assert (estimate.n, estimate.n_duplicates) == (47, 3)


def test_the_likelihood_is_unbiased_where_its_assumption_holds():
    # 1/u^(1/d) with uniform u has the distribution 1 - mu^-d. (N - 1) / sum(log mu) has the mean d; N / sum(log mu)
    # would have d N / (N - 1), 11 % more here.
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(2000):
        mu = rng.uniform(size=10) ** (-1 / 4)
        runs.append(twonn(graph_of(np.stack([np.ones(10), mu], 1)), method="mle").value)
    assert np.mean(runs) == pytest.approx(4, abs=4 * np.std(runs) / math.sqrt(len(runs)))


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="method must be 'fit' or 'mle'"):
        twonn(graph_of(np.tile([1.0, 2.0], (10, 1))), method="ml")


def gride_by_hand(distances: np.ndarray, near: int) -> tuple[float, float]:
    """Maximum of the log likelihood, with N - 1 before log d, and the inverse root of -d2/dd2 of that with N."""
    far = 2 * near
    log_mu = [math.log(float(r[far - 1])) - math.log(float(r[near - 1])) for r in distances if r[near - 1] > 0]

    def minus(log_d: float, count: int) -> float:
        d = math.exp(log_d)
        rest = sum((far - near - 1) * math.log(math.expm1(d * x)) - (far - 1) * d * x for x in log_mu)
        return -count * log_d - rest

    n = len(log_mu)
    log_d = minimize_scalar(
        lambda y: minus(y, n - 1), bounds=(math.log(0.01), math.log(1000)), method="bounded", options={"xatol": 1e-10}
    ).x
    information = n + sum(
        (far - near - 1)
        * (math.exp(log_d) * x) ** 2
        * math.exp(-math.exp(log_d) * x)
        / (1 - math.exp(-math.exp(log_d) * x)) ** 2
        for x in log_mu
    )
    return math.exp(log_d), math.exp(log_d) / math.sqrt(information)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(20, 60), d=st.sampled_from([0.5, 1, 3, 20, 300]))
def test_gride_maximises_the_likelihood(seed, n, d):
    rng = np.random.default_rng(seed)
    # Balls of equal volume in d dimensions, so that mu scatters as the dimension would have it.
    distances = np.cumsum(rng.exponential(size=(n, 19)), axis=1) ** (1 / d)
    distances[0, 0] = 0
    graph = graph_of(distances.astype(np.float32))
    found = gride(graph)
    assert found.far.tolist() == [2, 4, 8, 16]
    for value, error, scale, far in zip(found.value, found.error, found.scale, found.far, strict=True):
        expected, expected_error = gride_by_hand(graph.distances, far // 2)
        assert value == pytest.approx(expected, rel=1e-6)
        assert error == pytest.approx(expected_error, rel=1e-5)
        assert scale == pytest.approx(graph.distances[:, far - 1].mean(), rel=1e-5)


def test_gride_starts_with_the_likelihood_of_twonn():
    graph = knn_graph(manifold("sphere", 500, 3, random_state=0), 9)
    first = gride(graph)
    assert first.far.tolist() == [2, 4, 8]
    two = twonn(graph, method="mle")
    assert first.value[0] == pytest.approx(two.value, rel=1e-9)
    assert first.error[0] == pytest.approx(two.error, rel=1e-9)


# Mean over 20 seeds (1000 ... 1019) of the dimension by Gride as a share of the true one, from 1000 points and at the
# neighbours 2, 8 and 32. The bias of TwoNN grows with the scale: more points feel the edge of the cube and the tail of
# the Gaussian. A torus is the other way round: it has no edge, but in 10 ambient dimensions it bends, and its
# distances are chords, shorter than the way along the surface. So far neighbours are nearer than they should be.
GRIDE = {
    ("cube", 2): (0.986, 0.974, 0.955),
    ("cube", 5): (0.916, 0.896, 0.849),
    ("sphere", 2): (0.998, 0.995, 1.004),
    ("sphere", 5): (1.002, 0.975, 0.945),
    ("gaussian", 2): (1.000, 1.015, 1.022),
    ("gaussian", 5): (1.010, 1.000, 0.966),
    ("gaussian", 10): (0.949, 0.907, 0.834),
    ("torus", 2): (0.996, 0.998, 1.020),
    ("torus", 5): (1.030, 1.105, 1.239),
}


@pytest.mark.parametrize("kind, d", GRIDE)
def test_gride_on_known_dimensions_within_the_known_bias(kind, d):
    runs = [gride(knn_graph(manifold(kind, 1000, d, random_state=seed), 32)) for seed in range(4)]
    mean = np.mean([run.value for run in runs], 0)[[0, 2, 4]]
    # Neighbours share neighbours, so over seeds Gride scatters up to twice its error, which takes all as independent.
    error = 2 * runs[0].error[[0, 2, 4]] * math.sqrt(1 / 4 + 1 / 20)
    assert (np.abs(mean - np.array(GRIDE[kind, d]) * d) < 3.5 * error).all()


def test_a_swiss_roll_has_two_dimensions_until_the_sheets_are_in_reach():
    rng = np.random.default_rng(0)
    angle, height = 1.5 * np.pi * (1 + 2 * rng.uniform(size=4000)), 21 * rng.uniform(size=4000)
    found = gride(knn_graph(np.stack([angle * np.cos(angle), height, angle * np.sin(angle)], 1), 256))
    near = found.scale < 4  # the sheets are 2 pi apart
    assert near.sum() >= 5
    assert (np.abs(found.value[near] - 2) < 0.12).all()
    assert found.value[-1] > found.value[-2] + 0.1


def test_a_noisy_line_is_a_line_from_afar():
    rng = np.random.default_rng(0)
    x = np.concatenate([100 * rng.uniform(size=(3000, 1)), 0.1 * rng.normal(size=(3000, 2))], 1)
    found = gride(knn_graph(x, 256))
    assert found.value[0] == pytest.approx(3, abs=0.2)
    assert found.value[-1] == pytest.approx(1, abs=0.03)
    assert (np.diff(found.value) < 0).all() and (np.diff(found.scale) > 0).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), log_scale=st.floats(-6, 6))
def test_gride_depends_on_neither_names_nor_place_nor_units(seed, log_scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 4))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    before, after = (gride(knn_graph(y, 16)) for y in (x, 10**log_scale * (x @ turn)[rng.permutation(60)] + 1e-3))
    np.testing.assert_allclose(after.value, before.value, rtol=1e-4)
    np.testing.assert_allclose(after.error, before.error, rtol=1e-4)
    np.testing.assert_allclose(after.scale, before.scale * 10**log_scale, rtol=1e-4)


@pytest.mark.parametrize("spacing", [1, 0.1])
def test_gride_refuses_a_lattice(spacing):
    # With 0.1 rounding alone made the neighbours 1 and 2 unequal, and d two million.
    x = np.stack(np.meshgrid(*[np.arange(40)] * 2), -1).reshape(-1, 2) * spacing
    with pytest.raises(ValueError, match=r"neighbours 1 and 2 .* lattice"):
        gride(knn_graph(x.astype(np.float32), 16))


def test_gride_takes_some_ties_and_duplicates():
    x = manifold("cube", 1000, 3, random_state=0)
    clean = gride(knn_graph(x, 16)).value
    found = gride(knn_graph(np.concatenate([x, x[:50]]), 16))
    # At n = 1 twins are left out. Further on they count themselves in, 2 of 4 neighbours are really 1 of 3: d falls by
    # 0.17, three errors, where a tenth of the points has a twin, and by less from farther away.
    off = np.abs(found.value - clean)
    assert off[0] < 0.05 and off.max() < 0.3 and off[3] < 0.05
    tied = np.sort(np.random.default_rng(0).integers(1, 30, size=(200, 16)), axis=1)
    assert np.isfinite(gride(graph_of(tied)).value).all()


def test_gride_refuses_what_has_no_dimension():
    with pytest.raises(ValueError, match=r"k=2.*knn_graph"):
        gride(graph_of(np.ones((10, 1))))
    with pytest.raises(ValueError, match=r"k=2.*knn_graph"):
        gride(knn_graph(np.array([[0.0], [1.0]]), 1))
    with pytest.raises(ValueError, match="too few points"):
        gride(knn_graph(np.zeros((30, 2)), 8))


def test_decimation_is_twonn_of_subsamples():
    x = manifold("sphere", 400, 2, random_state=0)
    found = decimate(x, [100, 400], repeats=3)
    whole = twonn(knn_graph(x, 2))
    assert found.value[1] == pytest.approx(whole.value, rel=1e-9)  # all points, whatever the subsample
    assert found.error[1] == pytest.approx(0, abs=1e-9)
    assert found.value[0] == pytest.approx(2, abs=3.5 * 1.4 * 2 / math.sqrt(90 * 3))
    # r_2 goes with n^(-1/2) in two dimensions.
    assert found.scale[0] / found.scale[1] == pytest.approx(2, rel=0.1)
    again = decimate(x, [100, 400], repeats=3)
    np.testing.assert_array_equal(found.value, again.value)
    assert decimate(x, [100], repeats=3, random_state=1).value[0] != found.value[0]


def test_decimation_sees_noise_only_from_near():
    rng = np.random.default_rng(0)
    x = np.concatenate([100 * rng.uniform(size=(3000, 1)), 0.1 * rng.normal(size=(3000, 2))], 1)
    found = decimate(x, [100, 3000], repeats=4)
    assert found.value[0] < 1.6 and found.value[1] > 2.5
    assert found.scale[0] > found.scale[1]


@pytest.mark.parametrize("sizes", [[4], [10, 51]])
def test_decimation_to_more_points_than_there_are_is_refused(sizes):
    with pytest.raises(ValueError, match=r"sizes=(4|51) must lie in 5 \.\.\. 50"):
        decimate(np.random.default_rng(0).normal(size=(50, 2)), sizes)
