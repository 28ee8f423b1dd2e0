"""The tree of the peaks, and the agreement of two trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from .graph import checked_integer
from .peaks import Topography

METHODS = ("single", "average", "weighted")


def peak_distances(topography: Topography) -> np.ndarray:
    """(c, c) distances between peaks: the log density of the highest peak minus that of the saddle between the two.

    Two peaks that do not touch have no saddle of their own. They get the minimax distance: of all paths over other
    peaks take the one whose lowest saddle is highest, and use that saddle. If there is no path, the log density of the
    least dense point is used instead.

    Source: Doimo et al. (2020), who define the distance for peaks that touch and say nothing of the others. Their
    released code gives all pairs that do not touch one constant saddle below the lowest log density, so all these pairs
    are at the same distance, the largest. The minimax distance, which keeps the order of the saddles, is our choice;
    `categories.saddle_distances` offers both.
    """
    top = topography.peak_log_density.max()
    direct = top - topography.saddles
    reach = np.where(np.isnan(direct), np.inf, direct)
    np.fill_diagonal(reach, 0)
    for middle in range(len(reach)):
        np.minimum(reach, np.maximum(reach[:, middle, None], reach[None, middle]), out=reach)
    reach = np.minimum(reach, top - topography.floor)
    return np.where(np.isnan(direct), reach, direct) * ~np.eye(len(reach), dtype=bool)


def peak_linkage(topography: Topography, method: str = "average") -> np.ndarray:
    """Hierarchical clustering of the peaks by their saddles: a SciPy linkage matrix (c - 1, 4).

    ``"single"`` joins two groups of peaks at their highest saddle, in the order in which islands join when the sea
    falls; its groups tend to grow by chaining. ``"average"`` (UPGMA) joins them at the mean distance over all pairs of
    peaks, one from each group; ``"weighted"`` (WPGMA) gives equal weights to the two subgroups that were joined last.

    Raises
    ------
    ValueError
        If there are fewer than two peaks, or `method` is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, not {method!r}")
    if topography.n_peaks < 2:
        raise ValueError("topography has a single peak: a tree needs at least two; a smaller z keeps more")
    return linkage(squareform(peak_distances(topography), checks=False), method)


@dataclass(frozen=True)
class PeakClasses:
    """The most frequent label of each peak.

    Attributes
    ----------
    label : (c,) the most frequent label among the points of each peak
    share : (c,) fraction of these points that have this label
    size : (c,) int, number of points
    """

    label: np.ndarray
    share: np.ndarray
    size: np.ndarray


def peak_classes(topography: Topography, labels: np.ndarray) -> PeakClasses:
    """The most frequent label of each peak; of equally frequent ones, the first in sorted order.

    Points in the halo are not counted.

    Parameters
    ----------
    labels : (n,) numbers or strings, the label of each point.

    Raises
    ------
    ValueError
        If there is not one label for each point, or all points of a peak are in the halo.
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
            f"topography: all points of the peaks {np.flatnonzero(size == 0).tolist()} are in the halo, so they have "
            "no most frequent label; find the peaks with halo=False"
        )
    return PeakClasses(names[counts.argmax(1)], counts.max(1) / size, size)


@dataclass(frozen=True)
class MantelResult:
    """The result of a Mantel test.

    Attributes
    ----------
    statistic : Spearman's rank correlation of the two matrices over all pairs
    pvalue : fraction of the permutations, including the identity, whose correlation is at least as large
    null_distribution : (permutations,) correlations under random permutations
    """

    statistic: float
    pvalue: float
    null_distribution: np.ndarray


def cophenetic_distances(tree: np.ndarray) -> np.ndarray:
    """(c, c) cophenetic distances of a SciPy linkage matrix: the height at which each pair of leaves is joined."""
    return squareform(cophenet(tree))


def mantel(
    a: np.ndarray, b: np.ndarray, permutations: int = 9999, random_state: int | np.random.Generator = 0
) -> MantelResult:
    """Mantel test: the rank correlation of two distance matrices, with a one-sided permutation test.

    Distances that have an item in common are not independent, so the p-value of an ordinary correlation would be far
    too small. Permuting the rows and columns of one matrix together preserves this dependence.

    Source: Mantel (1967).

    Parameters
    ----------
    a, b : (c, c) symmetric distances between the same c >= 4 items, in the same order.
    permutations : number of random permutations.
    random_state : seed of the permutations, or a generator.

    Raises
    ------
    TypeError
        If `permutations` is not an integer.
    ValueError
        If the shapes differ, there are fewer than 4 items, a value is not finite, a matrix is not symmetric, all
        distances of a matrix are equal, or `permutations` is not positive.
    """
    permutations = checked_integer("permutations", permutations, 1)
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim != 2 or a.shape != a.T.shape or a.shape != b.shape or len(a) < 4:
        raise ValueError(f"a and b must be (c, c) with the same c >= 4, not {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a and b must be finite: leave out the items that have no distance to another")
    if not (np.allclose(a, a.T) and np.allclose(b, b.T)):
        raise ValueError("a and b must be symmetric, as distances are; for example, use (a + a.T) / 2")
    upper = np.triu_indices(len(a), 1)

    def ranks(x: np.ndarray) -> np.ndarray:
        rank = rankdata(x[upper])
        rank -= rank.mean()
        norm = np.linalg.norm(rank)
        if norm == 0:
            raise ValueError("a and b must each have distances that differ: the rank correlation is not defined")
        return squareform(rank / norm)

    ranks_a, ranks_b = ranks(a), ranks(b)[upper]
    rng = np.random.default_rng(random_state)
    observed = float(ranks_a[upper] @ ranks_b)
    null = np.empty(permutations)
    for i in range(permutations):
        order = rng.permutation(len(a))
        null[i] = ranks_a[order[upper[0]], order[upper[1]]] @ ranks_b
    # A permutation that gives the observed value up to rounding counts as at least as large.
    pvalue = (1 + (null >= observed - 1e-12).sum()) / (permutations + 1)
    return MantelResult(observed, float(pvalue), null)
