"""The nearest-neighbour density: the formula, its known bias and scatter, and what it must refuse."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import polygamma, psi
from scipy.stats import multivariate_normal

from nbutils.datasets import manifold
from nbutils.density import Density, knn_density, log_unit_ball
from nbutils.dimension import Dimension, twonn
from nbutils.neighbors import NeighborGraph, knn_graph


def test_by_hand():
    # Four points on a line at 0, 1, 3, 7. With k = 2 the radii are 3, 2, 3, 6; V_1 = 2.
    density = knn_density(knn_graph(np.array([[0.0], [1], [3], [7]]), 3), dimension=1, k=2)
    np.testing.assert_allclose(np.exp(density.log_density), [2 / (4 * 2 * r) for r in (3, 2, 3, 6)], rtol=1e-6)
    np.testing.assert_allclose(density.error, 1 / math.sqrt(2))
    assert density.k.tolist() == [2, 2, 2, 2]


def test_unit_balls():
    volumes = [2, math.pi, 4 / 3 * math.pi, math.pi**2 / 2]
    np.testing.assert_allclose([math.exp(log_unit_ball(d)) for d in (1, 2, 3, 4)], volumes)
    # Recurrence V_d = V_{d-2} 2 pi / d, where the volume itself would underflow.
    assert log_unit_ball(1000) == pytest.approx(log_unit_ball(998) + math.log(2 * math.pi / 1000))


@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("d", [1, 2])
def test_uniform_on_a_torus(d, k):
    # The share of the volume 1 within r_k is distributed as Beta(k, n - k): its logarithm has the mean
    # psi(k) - psi(n) and the variance psi'(k) - psi'(n). So log rho is too high by log k - psi(k), about 1 / 2k.
    n = 2000
    logs = np.array([knn_density(knn_graph(manifold("torus", n, d, seed=seed), k), d, k).log_density
                     for seed in range(8)])
    bias = math.log(k) - psi(k) + psi(n) - math.log(n)
    # Points that share neighbours share errors, so the error of the mean is taken from the seeds; bends in the
    # torus shorten the longest radii used here (k = 30, d = 2: 0.07) by 1 %.
    error = logs.mean(1).std(ddof=1) / math.sqrt(len(logs))
    bend = d * (math.sqrt(k / n / math.pi) * math.pi) ** 2 / 6 if d == 2 else 0
    assert abs(logs.mean() - bias) < 4 * error + bend
    assert logs.std() == pytest.approx(math.sqrt(polygamma(1, k) - polygamma(1, n)), rel=0.06)
    if k >= 5:
        assert logs.std() == pytest.approx(1 / math.sqrt(k), rel=0.15)


@pytest.mark.parametrize("d, bias", [(2, 0.02), (5, 0.12)])
def test_a_gaussian_in_the_bulk(d, bias):
    # Where the density curves, the ball averages over slopes: in d = 5 its radius is half a deviation.
    x = manifold("gaussian", 4000, d, seed=3)
    truth = multivariate_normal(np.zeros(d)).logpdf(x)
    bulk = (x**2).sum(1) < d  # the inner half, roughly
    density = knn_density(knn_graph(x, 30), d, 30)
    off = density.log_density[bulk] - truth[bulk]
    assert abs(off.mean()) < bias + 0.03
    assert off.std() == pytest.approx(1 / math.sqrt(30), rel=0.2)


@settings(max_examples=30, deadline=None)
@given(log_scale=st.floats(-5, 5), d=st.floats(0.5, 50), seed=st.integers(0, 1000))
def test_scaling_shifts_by_its_volume(log_scale, d, seed):
    x = np.random.default_rng(seed).normal(size=(30, 3))
    before, after = (knn_density(knn_graph(y, 6), d, 5).log_density for y in (x, x * 10**log_scale))
    np.testing.assert_allclose(after, before - d * log_scale * math.log(10), rtol=1e-5, atol=1e-5 * d)


def test_four_hundred_dimensions_do_not_overflow():
    # 1e3 ** 400 and 1e-3 ** 400 are outside float64, but not outside Decimal. V_400 = pi^200 / 200!.
    unit_ball = Decimal(math.pi) ** 200 / math.factorial(200)
    for scale in (1e-3, 1e3):
        graph = knn_graph(scale * np.random.default_rng(0).normal(size=(60, 400)), 30)
        exact = [float((30 / (60 * unit_ball * Decimal(float(r[29])) ** 400)).ln()) for r in graph.distances]
        np.testing.assert_allclose(knn_density(graph, 400.0, 30).log_density, exact, rtol=1e-12)


def test_the_dimension_can_be_an_estimate_or_a_number():
    graph = knn_graph(manifold("cube", 300, 2, seed=0), 10)
    estimate = twonn(graph)
    np.testing.assert_array_equal(knn_density(graph, estimate, 10).log_density,
                                  knn_density(graph, estimate.value, 10).log_density)
    np.testing.assert_array_equal(knn_density(graph, np.float32(2), 10).log_density,
                                  knn_density(graph, 2, 10).log_density)


@pytest.mark.parametrize("dimension", [0, -1, math.nan, math.inf, Dimension(math.nan, 0, 0, 0)])
def test_a_bad_dimension_is_refused(dimension):
    with pytest.raises(ValueError, match="dimension"):
        knn_density(knn_graph(np.random.default_rng(0).normal(size=(20, 2)), 5), dimension, 5)


def test_duplicates_up_to_k_are_refused_and_fewer_are_not():
    x = np.random.default_rng(0).normal(size=(40, 2))
    x[1:4] = x[0]  # each of four equal points has three duplicates
    graph = knn_graph(x, 5)
    with pytest.raises(ValueError, match=r"4 points have k or more exact duplicates.*np\.unique"):
        knn_density(graph, 2, 3)
    assert np.isfinite(knn_density(graph, 2, 4).log_density).all()


@pytest.mark.parametrize("k", [0, 6])
def test_more_neighbours_than_the_graph_holds_are_refused(k):
    with pytest.raises(ValueError, match=r"k must be a whole number in 1 \.\.\. 5"):
        knn_density(knn_graph(np.random.default_rng(0).normal(size=(20, 2)), 5), 2, k)


def test_only_the_first_k_neighbours_count():
    graph = knn_graph(np.random.default_rng(0).normal(size=(50, 2)), 20)
    short = NeighborGraph(graph.distances[:, :7], graph.indices[:, :7])
    np.testing.assert_array_equal(knn_density(graph, 2, 7).log_density, knn_density(short, 2, 7).log_density)


def test_a_density_of_unequal_or_infinite_parts_is_refused():
    good, k = np.zeros(3), np.ones(3, int)
    for bad in [(good[:2], good, k), (good, good[:2], k), (good, good, k[:2]), (good[:, None], good[:, None], k)]:
        with pytest.raises(ValueError, match="shape"):
            Density(*bad)
    for bad in [(np.array([0, math.nan, 0]), good, k), (good, np.array([0, math.inf, 0]), k)]:
        with pytest.raises(ValueError, match="finite"):
            Density(*bad)
