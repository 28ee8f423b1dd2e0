"""The intrinsic dimension and the density peaks as scikit-learn estimators, made of functions of the other modules."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin

from .density import Density, knn_density, kstar, pak, positive_dimension
from .dimension import twonn
from .graph import NeighborGraph, checked_integer
from .neighbors import knn_graph
from .peaks import find_peaks

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before scikit-learn 1.6 it was a method

    def validate_data(estimator: BaseEstimator, X: ArrayLike, **checks: object) -> np.ndarray:
        return estimator._validate_data(X, **checks)


# Any other type becomes float64: `knn_graph` needs real numbers in native byte order.
DTYPES = (np.float64, np.float32)
DENSITIES = ("knn", "kstar", "pak")


class DensityPeaks(ClusterMixin, BaseEstimator):
    """Density-peaks clustering, which finds the number of clusters by itself.

    A cluster is a peak of the density that stands out significantly from its saddles, with the points around it. The
    steps are `neighbors.knn_graph`, `dimension.twonn`, one of the functions of `nbutils.density`, and
    `peaks.find_peaks`. There is no `predict`, as in `sklearn.cluster.DBSCAN`: a new point would change the density.

    Parameters
    ----------
    n_neighbors : int, default=30
        For ``density="knn"``, the number of neighbours of each point, the point itself not counted. If there are only
        `n_neighbors` points or fewer, it is lowered to n - 1, with a warning: all points are then neighbours of one
        another, and there is a single cluster.
    density : {"knn", "kstar", "pak"}, default="knn"
        ``"knn"`` uses the same number of neighbours for all points, as in the paper (`density.knn_density`);
        ``"kstar"`` chooses the number for each point (`density.kstar`); ``"pak"`` also fits a slope of the density
        (`density.pak`), and has the least bias. The last two need many points, since they use many neighbours wherever
        no test tells their densities apart.
    dimension : float, default=None
        The intrinsic dimension. By default it is estimated with `dimension.twonn`.
    z : float, default=1.65
        By how many standard errors a peak must be higher than its saddles.
    halo : bool, default=False
        Whether points that are less dense than the highest saddle of their peak are labelled -1.
    max_neighbors : int, default=100
        For ``density="kstar"`` and ``"pak"``, the greatest number of neighbours of a point that is considered, at
        least 5. If there are only `max_neighbors` points or fewer, all others are considered.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        The cluster of each point, numbered from the densest peak on; -1 in the halo.
    peaks_ : ndarray of shape (n_clusters,)
        The point at the top of each cluster.
    dimension_ : float
        The dimension, given or estimated.
    density_ : nbutils.density.Density
        Log density of each point, its standard error, and the number of neighbours used.
    topography_ : nbutils.peaks.Topography
        Peaks and saddles, from which `nbutils.hierarchy` makes trees and maps.
    graph_ : nbutils.neighbors.NeighborGraph
        The neighbours.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where `X` has names that are all strings.

    See Also
    --------
    nbutils.peaks.find_peaks : the definition of a peak, and the source.

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
        n_neighbors: int = 30,
        density: str = "knn",
        dimension: float | None = None,
        z: float = 1.65,
        halo: bool = False,
        max_neighbors: int = 100,
    ):
        self.n_neighbors = n_neighbors
        self.density = density
        self.dimension = dimension
        self.z = z
        self.halo = halo
        self.max_neighbors = max_neighbors

    def fit(self, X: ArrayLike, y: None = None) -> DensityPeaks:
        """Find the peaks of `X`, an array (n_samples, n_features) of at least two rows; `y` is ignored.

        Raises
        ------
        TypeError, ValueError
            If `X` is not a finite dense array, a parameter is out of its range, or `X` has so many exact duplicates
            that there is no density or no dimension to estimate.
        """
        if self.density not in DENSITIES:
            raise ValueError(f"density must be one of {DENSITIES}, not {self.density!r}")
        n_neighbors = checked_integer("n_neighbors", self.n_neighbors, 1)
        max_neighbors = checked_integer("max_neighbors", self.max_neighbors, 5)
        x: np.ndarray = validate_data(self, X, dtype=DTYPES, ensure_min_samples=2)

        others = len(x) - 1
        if self.density == "knn" and n_neighbors > others:
            warnings.warn(
                f"n_neighbors={n_neighbors} is lowered to n - 1 = {others}: all points are neighbours of one another, "
                "which leaves a single cluster; use a smaller n_neighbors",
                stacklevel=2,
            )
        k = min(n_neighbors if self.density == "knn" else max_neighbors, others)
        graph = knn_graph(x, min(max(k, 2), others))  # the dimension takes two neighbours even if k is 1
        self.dimension_ = twonn(graph).value if self.dimension is None else positive_dimension(self.dimension)
        self.graph_ = graph.truncate(k)
        self.density_ = self._estimate(self.graph_)
        self.topography_ = find_peaks(self.graph_, self.density_, self.z, self.halo)
        self.labels_, self.peaks_ = self.topography_.labels, self.topography_.peaks
        return self

    def _estimate(self, graph: NeighborGraph) -> Density:
        if self.density == "pak":
            return pak(graph, self.dimension_)
        k = kstar(graph, self.dimension_) if self.density == "kstar" else graph.k
        return knn_density(graph, self.dimension_, k)


class TwoNN(BaseEstimator):
    """The intrinsic dimension from the ratio of the distances of each point to its second and its first neighbour.

    Parameters
    ----------
    fraction : float, default=0.9
        For ``method="fit"``, the share of the ratios, from the lowest on, to which the line is fitted.
    method : {"fit", "mle"}, default="fit"
        ``"fit"`` takes the slope of a line, ``"mle"`` the maximum-likelihood estimate from all ratios.

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
    nbutils.dimension.twonn : both methods, their bias, and the source.

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

    def __init__(self, fraction: float = 0.9, method: str = "fit"):
        self.fraction = fraction
        self.method = method

    def fit(self, X: ArrayLike, y: None = None) -> TwoNN:
        """Estimate the dimension of `X`, an array (n_samples, n_features) of at least three rows; `y` is ignored.

        Raises
        ------
        TypeError, ValueError
            If `X` is not a finite dense array, a parameter is out of its range, or `X` has too few distinct points.
        """
        X = validate_data(self, X, dtype=DTYPES, ensure_min_samples=3)
        found = twonn(knn_graph(X, 2), self.fraction, self.method)
        self.dimension_, self.dimension_error_ = found.value, found.error
        return self
