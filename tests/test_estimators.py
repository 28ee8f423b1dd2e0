"""The estimators pass scikit-learn's own checks, and give the results of the functions that they are made of."""

from __future__ import annotations

import doctest
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from nbutils import estimators
from nbutils.density import knn_density, kstar, pak
from nbutils.dimension import gride, twonn
from nbutils.estimators import DensityPeaks, TwoNN
from nbutils.hierarchy import peak_linkage
from nbutils.neighbors import knn_graph
from nbutils.peaks import find_peaks

# The only check excluded, for some of the estimators: `check_clustering` asks for three clusters among 50 points. With
# 30 neighbours, or as many as k* allows, the neighbours of a point reach far beyond its own cluster of 17 points.
TOO_FEW_POINTS = "check_clustering"


@pytest.mark.filterwarnings("ignore:n_neighbors=30 is lowered")
@parametrize_with_checks(
    [
        DensityPeaks(n_neighbors=5),
        DensityPeaks(n_neighbors=5, halo=True),
        DensityPeaks(n_neighbors=5, dimension=2.5),
        DensityPeaks(density="pak", max_neighbors=10),
        DensityPeaks(density="kstar", max_neighbors=10),
        TwoNN(),
        TwoNN(method="mle"),
        DensityPeaks(),
        DensityPeaks(density="pak"),
        DensityPeaks(density="kstar"),
    ]
)
def test_the_checks_of_scikit_learn(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it scikit-learn skips its check of array namespaces
    if check.func.__name__ == TOO_FEW_POINTS and neighbors_seen(estimator) > 17:
        with pytest.raises(AssertionError):
            check(estimator)
        fifty = StandardScaler().fit_transform(make_blobs(n_samples=50, random_state=1)[0])
        assert clone(estimator).fit(fifty).topography_.n_peaks == 1
    else:
        check(estimator)


def neighbors_seen(estimator: DensityPeaks) -> int:
    return estimator.n_neighbors if estimator.density == "knn" else estimator.max_neighbors


def three_clusters(n: int = 600, apart: float = 9) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians in 4 dimensions, and which of them each point is of; `apart` is in standard deviations."""
    rng = np.random.default_rng(0)
    truth = np.arange(n) % 3
    return rng.normal(size=(n, 4)) + apart * np.eye(3, 4)[truth], truth


PLAIN = {
    "knn": lambda graph, d: knn_density(graph, d, 12),
    "kstar": lambda graph, d: knn_density(graph, d, kstar(graph, d)),
    "pak": pak,
}


@pytest.mark.parametrize("dimension", [None, 3.3])
@pytest.mark.parametrize("halo", [False, True])
@pytest.mark.parametrize("density", PLAIN)
def test_density_peaks_are_those_of_the_plain_functions(density, halo, dimension):
    x = three_clusters(apart=4)[0]  # so near one another that they have saddles, without which no halo
    estimator = DensityPeaks(12, density, dimension, z=1.1, halo=halo, max_neighbors=40)
    found = estimator.fit(x)
    graph = knn_graph(x, 12 if density == "knn" else 40)
    d = dimension or twonn(graph).value
    estimate = PLAIN[density](graph, d)
    topography = find_peaks(graph, estimate, z=1.1, halo=halo)
    assert found.dimension_ == d
    np.testing.assert_array_equal(found.graph_.indices, graph.indices)
    np.testing.assert_array_equal(found.density_.log_density, estimate.log_density)
    np.testing.assert_array_equal(found.density_.k, estimate.k)
    np.testing.assert_array_equal(found.labels_, topography.labels)
    np.testing.assert_array_equal(found.peaks_, topography.peaks)
    np.testing.assert_array_equal(found.topography_.saddles, topography.saddles)
    assert (found.labels_ == -1).any() == halo


def test_dimensions_are_those_of_the_plain_functions():
    x, _ = three_clusters()
    graph = knn_graph(x, 2)
    for fraction, method in ((0.9, "fit"), (0.6, "fit"), (0.9, "mle")):
        found, plain = TwoNN(fraction, method).fit(x), twonn(graph, fraction, method)
        assert (found.dimension_, found.dimension_error_) == (plain.value, plain.error)
    assert TwoNN(method="mle").fit(x).dimension_ == pytest.approx(gride(graph).value[0])


def test_the_defaults_are_those_of_the_paper():
    x, _ = three_clusters()
    graph = knn_graph(x, 30)
    plain = find_peaks(graph, knn_density(graph, twonn(graph, 0.9), 30), z=1.65, halo=False)
    np.testing.assert_array_equal(DensityPeaks().fit_predict(x), plain.labels)
    assert TwoNN().fit(x).dimension_ == twonn(graph, 0.9).value


@pytest.mark.parametrize("density", PLAIN)
def test_separate_gaussians_are_recovered(density):
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], [500, 300])
    x = rng.normal(size=(800, 5))
    x[truth == 1, 0] += 10
    labels = DensityPeaks(density=density).fit_predict(x)
    # Not a point in the wrong one: 5 standard deviations lie between.
    assert adjusted_rand_score(truth, labels) == 1


def test_in_a_pipeline():
    x, truth = three_clusters()
    stretched = x * [1, 1e-3, 1e-3, 1] + [0, 0, 0, 100]
    pipeline = make_pipeline(StandardScaler(), DensityPeaks(n_neighbors=15))
    labels = pipeline.fit_predict(stretched)
    scaled = StandardScaler().fit_transform(stretched)
    np.testing.assert_array_equal(labels, DensityPeaks(n_neighbors=15).fit_predict(scaled))
    assert adjusted_rand_score(truth, labels) > 0.99
    # Without the scaler two features are too flat to tell two of the three apart.
    assert adjusted_rand_score(truth, DensityPeaks(n_neighbors=15).fit_predict(stretched)) < 0.9
    assert peak_linkage(pipeline[-1].topography_).shape == (2, 4)
    assert make_pipeline(StandardScaler(), TwoNN()).fit(stretched)[-1].dimension_ == pytest.approx(4, abs=0.8)


def test_parameters_are_set_read_and_cloned():
    x, _ = three_clusters(90)
    first = DensityPeaks(n_neighbors=7, density="pak", dimension=2.0, z=3.0, halo=True, max_neighbors=20)
    parameters = {"n_neighbors": 7, "density": "pak", "dimension": 2.0, "z": 3.0, "halo": True, "max_neighbors": 20}
    assert first.get_params() == parameters
    copy = clone(first.fit(x))
    assert copy.get_params() == parameters and not hasattr(copy, "labels_")
    assert DensityPeaks().set_params(**parameters).get_params() == parameters
    # What was set counts, not what was there at the start.
    np.testing.assert_array_equal(first.set_params(z=0.0).fit_predict(x), clone(first).fit_predict(x))
    assert TwoNN().set_params(fraction=0.5, method="mle").get_params() == {"fraction": 0.5, "method": "mle"}
    with pytest.raises(ValueError, match="Invalid parameter"):
        TwoNN().set_params(k=3)


def test_a_fitted_estimator_survives_pickling():
    x, _ = three_clusters(120)
    found = DensityPeaks(n_neighbors=10).fit(x)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.labels_, found.labels_)
    np.testing.assert_array_equal(again.graph_.distances, found.graph_.distances)


def test_a_k_that_the_data_do_not_have():
    x, _ = three_clusters(24)
    with pytest.warns(UserWarning, match="n_neighbors=30 is lowered to n - 1 = 23.*smaller n_neighbors"):
        found = DensityPeaks().fit(x)
    assert found.graph_.k == 23 and (found.density_.k == 23).all() and not found.labels_.any()
    assert DensityPeaks(n_neighbors=23).fit(x).graph_.k == 23  # without a warning, which would be an error here
    assert DensityPeaks(density="pak").fit(x).graph_.k == 23


def test_the_fewest_points_that_have_an_answer():
    two = np.array([[0.0], [1.0]])
    assert DensityPeaks(n_neighbors=1, dimension=1).fit(two).labels_.tolist() == [0, 0]
    with pytest.raises(ValueError, match="graph"):
        DensityPeaks(n_neighbors=1).fit(two)  # there is no second neighbour
    for estimator in (DensityPeaks(n_neighbors=1, dimension=1), TwoNN()):
        with pytest.raises(ValueError, match="1 sample"):
            estimator.fit(two[:1])
    with pytest.raises(ValueError, match="at least 5"):
        DensityPeaks(density="pak", dimension=1).fit(np.arange(5.0)[:, None])


def test_one_neighbor_is_enough_for_peaks_though_not_for_the_dimension():
    x, _ = three_clusters(90)
    found = DensityPeaks(n_neighbors=1).fit(x)
    assert found.graph_.k == 1
    assert found.dimension_ == twonn(knn_graph(x, 2)).value


def test_duplicates():
    x, truth = three_clusters()
    with pytest.raises(ValueError, match="0 distinct points"):
        DensityPeaks().fit(np.r_[x, x])  # no point has a ratio of distances left
    twice = DensityPeaks(dimension=4).fit_predict(np.r_[x, x])
    np.testing.assert_array_equal(twice[:600], twice[600:])
    assert adjusted_rand_score(truth, twice[:600]) > 0.99
    crowd = np.r_[x, np.repeat(x[:1], 40, axis=0)]
    with pytest.raises(ValueError, match=r"41 points have k or more exact duplicates.*np\.unique"):
        DensityPeaks().fit(crowd)
    assert adjusted_rand_score(truth, DensityPeaks(n_neighbors=60).fit_predict(crowd)[:600]) > 0.9
    for estimator in (DensityPeaks(n_neighbors=5), TwoNN(), TwoNN(method="mle")):
        with pytest.raises(ValueError, match="graph"):
            estimator.fit(np.ones((50, 3)))


def test_a_constant_feature_changes_nothing():
    x, _ = three_clusters()
    wide = np.c_[x, np.full(len(x), 7.0)]
    np.testing.assert_array_equal(DensityPeaks().fit_predict(wide), DensityPeaks().fit_predict(x))
    assert TwoNN().fit(wide).dimension_ == TwoNN().fit(x).dimension_


def test_any_real_numbers_will_do():
    x = np.random.default_rng(0).integers(0, 1000, (200, 3))
    expected = DensityPeaks().fit_predict(x)
    for kind in (np.uint16, ">i4", np.float32, ">f8", object):
        np.testing.assert_array_equal(DensityPeaks().fit_predict(x.astype(kind)), expected)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        ({"density": "kde"}, ValueError, r"density must be one of .*'pak'.*not 'kde'"),
        ({"n_neighbors": 0}, ValueError, "n_neighbors=0 must be at least 1"),
        ({"n_neighbors": 2.5}, TypeError, "n_neighbors must be an integer, not 2.5"),
        ({"n_neighbors": True}, TypeError, "n_neighbors must be an integer, not True"),
        ({"max_neighbors": 4}, ValueError, "max_neighbors=4 must be at least 5"),
        ({"max_neighbors": 50.0}, TypeError, "max_neighbors must be an integer, not 50.0"),
        ({"dimension": 0}, ValueError, "dimension=0.0 must be a positive number"),
        ({"z": -1}, ValueError, "z=-1 must not be negative"),
    ],
)
def test_parameters_out_of_range(wrong, error, message):
    x, _ = three_clusters(90)
    with pytest.raises(error, match=message):
        DensityPeaks(**wrong).fit(x)


def test_parameters_of_twonn_out_of_range():
    x, _ = three_clusters(90)
    with pytest.raises(ValueError, match=r"method must be .*'mle'.*not 'likelihood'"):
        TwoNN(method="likelihood").fit(x)
    with pytest.raises(ValueError, match="fraction=90 must lie in"):
        TwoNN(fraction=90).fit(x)


def test_values_that_are_no_numbers():
    x, _ = three_clusters(90)
    for value in (np.nan, np.inf):
        x[3, 1] = value
        for estimator in (DensityPeaks(n_neighbors=5), TwoNN()):
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                estimator.fit(x)


def test_the_examples_run():
    assert doctest.testmod(estimators).attempted > 8
    assert doctest.testmod(estimators).failed == 0
