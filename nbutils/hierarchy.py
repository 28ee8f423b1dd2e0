"""The tree and the map of the peaks, and how well a tree agrees with another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from .peaks import Topography

METHODS = ("single", "average", "weighted")


def peak_distances(topography: Topography) -> np.ndarray:
    """(c, c) distances between peaks: how far one must come down from the top to get from one to the other.

    The distance of two peaks is the highest log density of all minus that of their saddle. Two peaks that do not
    touch are as far as the best way through the others: its lowest saddle, as high as can be. Where there is no way,
    the saddle counts as low as the least dense point.

    Source: Doimo et al. (2020), for peaks that touch; the way through the others is our reading, since
    the paper does not say what it did with the rest.
    """
    top = topography.log_density.max()
    direct = top - topography.saddles
    reach = np.where(np.isnan(direct), np.inf, direct)
    np.fill_diagonal(reach, 0)
    for middle in range(len(reach)):
        np.minimum(reach, np.maximum(reach[:, middle, None], reach[None, middle]), out=reach)
    reach = np.minimum(reach, top - topography.floor)
    return np.where(np.isnan(direct), reach, direct) * ~np.eye(len(reach), dtype=bool)


def dendrogram(topography: Topography, method: str = "average") -> np.ndarray:
    """The peaks joined into a tree by their saddles: a SciPy linkage matrix (c - 1, 4).

    ``"single"`` joins at the highest saddle between two groups of peaks: the order in which islands join when the
    sea falls, but groups grow by chaining. ``"average"`` (UPGMA) joins at the mean distance of all pairs across;
    ``"weighted"`` (WPGMA) weighs the two last joined halves alike.

    Raises
    ------
    ValueError
        If there are fewer than two peaks, or `method` is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, not {method!r}")
    if topography.n_peaks < 2:
        raise ValueError("topography has a single peak: a tree needs at least two")
    return linkage(squareform(peak_distances(topography), checks=False), method)


def peak_map(topography: Topography) -> np.ndarray:
    """(c, 2) a map on which peaks joined by high saddles lie close: kernel PCA of their distances.

    With the distances D of `peak_distances` and their mean s over all pairs, the kernel is K = exp(-2 D^2 / s^2). It
    is centred; the coordinates are its two leading eigenvectors, each times the root of its eigenvalue.

    An eigenvector has no sign of its own: here the entry of largest magnitude is positive, of equally large ones the
    first. Where the two leading eigenvalues are equal, as for three peaks equally far apart, the map is fixed only up
    to a rotation. A direction whose eigenvalue is not positive is 0 for all peaks.

    Source: Doimo et al. (2020) for the kernel; that s leaves out the zeros of the diagonal is our reading.

    Raises
    ------
    ValueError
        If there are fewer than three peaks.
    """
    if (c := topography.n_peaks) < 3:
        raise ValueError(f"topography has {c} peaks: a map needs at least three; a smaller z keeps more")
    distances = peak_distances(topography)
    scale = distances.sum() / (c * (c - 1)) or 1.0
    kernel = np.exp(-2 * (distances / scale) ** 2)
    kernel -= kernel.mean(0)
    kernel -= kernel.mean(1, keepdims=True)
    value, vector = np.linalg.eigh(kernel)
    value, vector = value[:-3:-1], vector[:, :-3:-1]
    size = np.abs(vector)
    # Equal magnitudes are equal only up to rounding, and a sign must not hang on that.
    first = (size > (1 - 1e-9) * size.max(0)).argmax(0)
    return vector * np.sign(vector[first, [0, 1]]) * np.sqrt(np.maximum(value, 0))


@dataclass(frozen=True)
class PeakClasses:
    """What the peaks are made of.

    Attributes
    ----------
    label : (c,) int, the most frequent label among the points of each peak
    share : (c,) its share of these points
    size : (c,) number of points
    """

    label: np.ndarray
    share: np.ndarray
    size: np.ndarray


def peak_classes(topography: Topography, labels: np.ndarray) -> PeakClasses:
    """The most frequent label of each peak, of equally frequent ones the first in sorted order.

    Raises
    ------
    ValueError
        If there is not one label for each point, or a peak has no points, all of them in the halo.
    """
    labels = np.asarray(labels)
    if labels.shape != topography.labels.shape:
        raise ValueError(f"labels must have the shape {topography.labels.shape}, not {labels.shape}")
    names, number = np.unique(labels, return_inverse=True)
    counts = np.zeros((topography.n_peaks, len(names)), dtype=int)
    inside = topography.labels >= 0
    np.add.at(counts, (topography.labels[inside], number[inside]), 1)
    size = counts.sum(1)
    if not size.all():
        raise ValueError(
            f"topography: peaks {np.flatnonzero(size == 0).tolist()} have no points, so no label is "
            "their most frequent one; leave these peaks out"
        )
    return PeakClasses(names[counts.argmax(1)], counts.max(1) / size, size)


@dataclass(frozen=True)
class Agreement:
    """How two matrices of distances between the same things agree.

    Attributes
    ----------
    correlation : Spearman's rank correlation over all pairs
    p_value : share of random renamings of the things that agree at least as well, counting the one observed
    null : (permutations,) correlations of the random renamings
    """

    correlation: float
    p_value: float
    null: np.ndarray


def tree_distances(tree: np.ndarray) -> np.ndarray:
    """(c, c) height at which each pair joins in a SciPy linkage matrix (cophenetic distances)."""
    return squareform(cophenet(tree))


def compare(a: np.ndarray, b: np.ndarray, permutations: int = 9999, seed: int = 0) -> Agreement:
    """Mantel test: the rank correlation of two distance matrices, and how often renaming the rows does as well.

    Pairs of distances that share a thing are not independent, so the p-value of an ordinary correlation would be
    far too small; renaming the things of one matrix keeps that dependence.

    Source: Mantel (1967).

    Parameters
    ----------
    a, b : (c, c) symmetric distances between the same c >= 4 things in the same order.

    Raises
    ------
    ValueError
        If the shapes differ, there are fewer than 4 things, a value is not finite, a matrix is not symmetric, or
        all its distances are equal.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim != 2 or a.shape != a.T.shape or a.shape != b.shape or len(a) < 4:
        raise ValueError(f"a and b must be (c, c) with the same c >= 4, not {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a and b must be finite: give pairs without a distance one, or leave the thing out")
    if not (np.allclose(a, a.T) and np.allclose(b, b.T)):
        raise ValueError("a and b must be symmetric: the distance of two things is one number")
    upper = np.triu_indices(len(a), 1)

    def ranks(x: np.ndarray) -> np.ndarray:
        rank = rankdata(x[upper])
        rank -= rank.mean()
        norm = np.linalg.norm(rank)
        if norm == 0:
            raise ValueError("all distances of a or of b are equal: there is no order to compare")
        return squareform(rank / norm)

    ranks_a, ranks_b = ranks(a), ranks(b)[upper]
    rng = np.random.default_rng(seed)
    observed = float(ranks_a[upper] @ ranks_b)
    null = np.empty(permutations)
    for i in range(permutations):
        order = rng.permutation(len(a))
        null[i] = ranks_a[order[upper[0]], order[upper[1]]] @ ranks_b
    # A renaming can give the observed value again up to rounding: count it as one that does as well.
    p_value = (1 + (null >= observed - 1e-12).sum()) / (permutations + 1)
    return Agreement(observed, float(p_value), null)
