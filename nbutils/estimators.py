"""The dimension and the density peaks as scikit-learn estimators. All that they do is done by the other modules."""

from __future__ import annotations

import warnings
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_scalar

from .density import Density, adaptive_k, knn_density, pak, positive_dimension
from .dimension import twonn
from .graph import NeighborGraph
from .neighbors import knn_graph
from .peaks import find_peaks

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before scikit-learn 1.6 it was a method

    def validate_data(estimator: BaseEstimator, X: ArrayLike, **checks: object) -> np.ndarray:
        return estimator._validate_data(X, **checks)


# Whatever is neither becomes float64: the neighbours need real numbers in the machine's own byte order.
DTYPES = (np.float64, np.float32)
DENSITIES = ("knn", "kstar", "pak")


class DensityPeaks(ClusterMixin, BaseEstimator):
    """Clusters are the peaks of the density that stand out from their saddles; their number is found, not given.

    The steps, each a function of this package: `neighbors.knn_graph`, `dimension.twonn`, a density of
    `nbutils.density`, `peaks.find_peaks`. There is no `predict`: as in `sklearn.cluster.DBSCAN`, a new point would
    change the density that the clusters are made of.

    Parameters
    ----------
    k : int, default=30
        Neighbours of each point, for ``density="knn"``. On data of k points or fewer it is lowered to n - 1, with a
        warning: all points are then neighbours of one another, and there is a single cluster.
    density : {"knn", "kstar", "pak"}, default="knn"
        The same k for all points (`density.knn_density`), as in the paper; k chosen for each point
        (`density.adaptive_k`); or that with a slope (`density.pak`), the least biased. The two last need many points:
        their k is large wherever no test tells neighbours apart.
    dimension : float, default=None
        The intrinsic dimension. By default it is estimated with `dimension.twonn`.
    z : float, default=1.65
        How many errors a peak must stand above its saddles.
    halo : bool, default=False
        Label points that are less dense than the highest saddle of their peak -1.
    n_neighbors : int, default=100
        For ``density="kstar"`` and ``"pak"``, the most neighbours of a point that are looked at, at least 5. On data
        of n_neighbors points or fewer: all others.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        The cluster of each point, the one with the densest peak first; -1 in the halo.
    peaks_ : ndarray of shape (n_clusters,)
        The point at the top of each cluster.
    dimension_ : float
        The dimension, given or estimated.
    density_ : nbutils.density.Density
        Log density of each point, its error, and the neighbours used.
    topography_ : nbutils.peaks.Topography
        Peaks and saddles: what `nbutils.hierarchy` makes trees and maps of.
    graph_ : nbutils.neighbors.NeighborGraph
        The neighbours.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where `X` has names that are all strings.

    See Also
    --------
    nbutils.peaks.find_peaks : what a peak is, and the source.

    Examples
    --------
    >>> import numpy as np
    >>> from nbutils.estimators import DensityPeaks
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(10, 1, (200, 2))])
    >>> found = DensityPeaks().fit(X)
    >>> np.bincount(found.labels_).tolist()
    [300, 200]
    >>> round(found.dimension_)
    2
    """

    def __init__(
        self,
        k: int = 30,
        density: str = "knn",
        dimension: float | None = None,
        z: float = 1.65,
        halo: bool = False,
        n_neighbors: int = 100,
    ):
        self.k = k
        self.density = density
        self.dimension = dimension
        self.z = z
        self.halo = halo
        self.n_neighbors = n_neighbors

    def fit(self, X: ArrayLike, y: None = None) -> DensityPeaks:
        """Find the peaks of `X`, an array (n_samples, n_features) of at least two rows; `y` is ignored.

        Raises
        ------
        TypeError, ValueError
            If `X` is not a finite dense array, a parameter is out of its range, or a point has so many exact
            duplicates, or `X` so few distinct points, that there is no density or no dimension to estimate.
        """
        if self.density not in DENSITIES:
            raise ValueError(f"density must be one of {DENSITIES}, not {self.density!r}")
        check_scalar(self.k, "k", Integral, min_val=1)
        check_scalar(self.n_neighbors, "n_neighbors", Integral, min_val=5)
        X = validate_data(self, X, dtype=DTYPES, ensure_min_samples=2)

        others = len(X) - 1
        if self.density == "knn" and self.k > others:
            warnings.warn(
                f"k={self.k} is lowered to n - 1 = {others}: all points are neighbours of one another, which "
                "leaves a single cluster; use a smaller k",
                stacklevel=2,
            )
        reach = min(self.k if self.density == "knn" else self.n_neighbors, others)
        graph = knn_graph(X, min(max(reach, 2), others))  # the dimension takes two neighbours even if k is 1
        self.dimension_ = twonn(graph).value if self.dimension is None else positive_dimension(self.dimension)
        self.graph_ = graph.truncate(reach)
        self.density_ = self._estimate(self.graph_)
        self.topography_ = find_peaks(self.graph_, self.density_, self.z, self.halo)
        self.labels_, self.peaks_ = self.topography_.labels, self.topography_.peaks
        return self

    def _estimate(self, graph: NeighborGraph) -> Density:
        if self.density == "pak":
            return pak(graph, self.dimension_)
        k = adaptive_k(graph, self.dimension_) if self.density == "kstar" else graph.k
        return knn_density(graph, self.dimension_, k)


class TwoNN(BaseEstimator):
    """The intrinsic dimension, from the distances of each point to its first and second neighbour.

    Parameters
    ----------
    fraction : float, default=0.9
        The share of the ratios that the line is fitted to, the lowest.
    form : {"fit", "likelihood"}, default="fit"
        The slope of a line, or the maximum of the likelihood over all ratios.

    Attributes
    ----------
    dimension_ : float
        The estimate.
    dimension_error_ : float
        Its standard error.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where `X` has names that are all strings.

    See Also
    --------
    nbutils.dimension.twonn : the method, its two forms, their bias, and the source.

    Examples
    --------
    >>> import numpy as np
    >>> from nbutils.estimators import TwoNN
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 50))
    >>> found = TwoNN().fit(X)
    >>> found.n_features_in_, round(found.dimension_)
    (50, 3)
    """

    def __init__(self, fraction: float = 0.9, form: str = "fit"):
        self.fraction = fraction
        self.form = form

    def fit(self, X: ArrayLike, y: None = None) -> TwoNN:
        """Estimate the dimension of `X`, an array (n_samples, n_features) of at least three rows; `y` is ignored.

        Raises
        ------
        TypeError, ValueError
            If `X` is not a finite dense array, a parameter is out of its range, or `X` has too few distinct points.
        """
        X = validate_data(self, X, dtype=DTYPES, ensure_min_samples=3)
        found = twonn(knn_graph(X, 2), self.fraction, self.form)
        self.dimension_, self.dimension_error_ = found.value, found.error
        return self
