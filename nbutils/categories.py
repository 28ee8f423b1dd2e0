"""How far apart categories are: by the peaks that they live on, and by ways that need no density.

Each gives what `trees.triplets` compares, a matrix of distances between the c categories; a tree of them is
``scipy.cluster.hierarchy.linkage(squareform(distances), "average")``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from .contingency import category_counts, checked_numbers
from .graph import NeighborGraph
from .hierarchy import METHODS, cophenetic_distances, peak_distances
from .peaks import Topography

APART = ("minimax", "constant", "adjacent")


def saddle_distances(topography: Topography, apart: str = "minimax") -> np.ndarray:
    """(c, c) distances between peaks, as `peak_distances`, with a choice for two that do not touch.

    Parameters
    ----------
    apart : ``"minimax"``, the minimax distance of `peak_distances`; ``"constant"``, one distance for all, the largest
        there can be, down to the least dense point (in the paper's code the constant lies lower still);
        ``"adjacent"``, NaN.

    Raises
    ------
    ValueError
        If `apart` is unknown.
    """
    if apart not in APART:
        raise ValueError(f"apart must be one of {APART}, not {apart!r}")
    if apart == "minimax":
        return peak_distances(topography)
    top = topography.peak_log_density.max()
    distances = top - topography.saddles
    if apart == "constant":
        distances[np.isnan(distances)] = top - topography.floor
    np.fill_diagonal(distances, 0)
    return distances


def saddle_linkage(topography: Topography, method: str = "average", apart: str = "minimax") -> np.ndarray:
    """Hierarchical clustering of the peaks by their saddles: `peak_linkage`, with a choice for peaks that do not touch.

    With ``"adjacent"`` the mean of two groups is that over their pairs that touch; groups without such a pair join
    last, at the height of the least dense point. For the method ``"single"`` all three choices give the same heights.

    Raises
    ------
    ValueError
        If there are fewer than two peaks, or `method` or `apart` is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, not {method!r}")
    if topography.n_peaks < 2:
        raise ValueError("topography has a single peak: a tree needs at least two; a smaller z keeps more")
    distances = saddle_distances(topography, apart)
    if apart == "adjacent":
        return _linkage_of_adjacent(distances, method, topography.peak_log_density.max() - topography.floor)
    return linkage(squareform(distances, checks=False), method)


def _linkage_of_adjacent(distances: np.ndarray, method: str, last: float) -> np.ndarray:
    """SciPy's linkage of distances of which some are NaN, and count in no mean; `last` joins what has none."""
    c = len(distances)
    known = ~np.isnan(distances) & ~np.eye(c, dtype=bool)
    weight = known.astype(float)
    distances = np.where(known, distances, np.inf)
    node, size = np.arange(c), np.ones(c)
    tree = np.empty((c - 1, 4))
    for step in range(c - 1):
        a, b = sorted(divmod(int(distances.argmin()), len(distances)))
        if a == b:
            b = a + 1  # no pair is left that touches: all distances are infinite, and the first is that of 0 and 0
        tree[step] = *sorted((node[a], node[b])), min(distances[a, b], last), size[a] + size[b]
        rows, share = distances[[a, b]], weight[[a, b]]
        if method == "single":
            joined = rows.min(0)
        else:
            part = share if method == "average" else (share > 0).astype(float)
            total = part.sum(0)
            joined = np.where(part > 0, part * np.where(part > 0, rows, 0), 0).sum(0) / np.where(total > 0, total, 1)
            joined[total == 0] = np.inf
        for matrix, row, itself in ((distances, joined, np.inf), (weight, share.sum(0), 0.0)):
            matrix[a] = matrix[:, a] = row
            matrix[a, a] = itself
        node[a], size[a] = c + step, size[a] + size[b]
        distances, weight = (np.delete(np.delete(x, b, 0), b, 1) for x in (distances, weight))
        node, size = np.delete(node, b), np.delete(size, b)
    return tree


def category_distances(
    topography: Topography,
    labels: ArrayLike,
    method: str | None = "average",
    apart: str = "minimax",
    centred: bool = False,
) -> np.ndarray:
    """(c, c) distances between categories by the peaks that they live on.

    The expected distance between a random point of one category and a random one of the other: the height at which
    their peaks join in `saddle_linkage`, 0 on the same peak. A category may live on many peaks, and a peak may be home
    to several; no threshold decides which. With a single peak all distances are 0. The diagonal is 0.

    Parameters
    ----------
    labels : (n,) int, the category of each point, 0 ... c - 1.
    method : that of the tree; None takes the distances of the saddles themselves.
    centred : subtract half of the expected distance within each category, as a distance between means does that is
        squared. By that a category that is spread over many peaks is not far from all others.

    Raises
    ------
    ValueError
        If `labels` does not fit, a category has no points outside the halo, `method` or `apart` is unknown, or
        ``"adjacent"`` is to do without a tree.
    """
    if method not in (None, *METHODS):
        raise ValueError(f"method must be None or one of {METHODS}, not {method!r}")
    if method is None and apart == "adjacent":
        raise ValueError('apart="adjacent" leaves pairs of peaks without a distance: give a method, which makes a tree')
    distances = saddle_distances(topography, apart)
    if method is not None and topography.n_peaks > 1:
        distances = cophenetic_distances(saddle_linkage(topography, method, apart))
    counts = category_counts(topography.labels, labels)
    share = np.zeros((len(counts), topography.n_peaks))
    share[:, : counts.shape[1]] = counts / _sizes(counts.sum(1), "outside the halo")[:, None]
    expected = share @ distances @ share.T
    if centred:
        within = np.diag(expected) / 2
        expected = np.maximum(expected - within - within[:, None], 0)
    expected = (expected + expected.T) / 2
    np.fill_diagonal(expected, 0)
    return expected


def class_means(x: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """(c, features) the mean of each category, in float64; read one category at a time, so `x` may be a memory map.

    ``squareform(pdist(class_means(x, labels)))`` are their distances; those of the rows of a classifier's
    matrix of weights are made in the same way.

    Parameters
    ----------
    x : (n, ...) array; all axes after the first are features.
    labels : (n,) int, the category of each point, 0 ... c - 1.

    Raises
    ------
    ValueError
        If there is not one label for each row, a category has no points, or a mean is not finite.
    """
    x = x if isinstance(x, np.ndarray) else np.asarray(x)
    labels = checked_numbers("labels", labels, len(x))
    sizes = _sizes(np.bincount(labels))
    means = np.stack([x[labels == a].reshape(sizes[a], -1).mean(0, dtype=np.float64) for a in range(len(sizes))])
    if not np.isfinite(means).all():
        raise ValueError(f"x has NaN or infinite values in category {np.argwhere(~np.isfinite(means))[0, 0]}: mend x")
    return means


def neighbor_confusion(graph: NeighborGraph, labels: ArrayLike, k: int = 30) -> np.ndarray:
    """(c, c) distances between categories, from how often their points are neighbours.

    The chance that a random point of b is among the first `k` neighbours of a random point of a, and the reverse, on
    average: this does not grow with the sizes of the categories. The distance is 1 less this chance, in units of that
    of the two most confused categories: 0 for these, 1 for two that are never neighbours.

    Raises
    ------
    TypeError, ValueError
        If there is not one label for each point, a category has no points, or the graph holds fewer than `k`
        neighbours.
    """
    k = graph.check_k(k)
    labels = checked_numbers("labels", labels, graph.n)
    sizes = _sizes(np.bincount(labels))
    c = len(sizes)
    counts = np.bincount((labels[:, None] * c + labels[graph.indices[:, :k]]).ravel(), minlength=c * c).reshape(c, c)
    chance = (counts + counts.T) / np.outer(sizes, sizes)
    np.fill_diagonal(chance, 0)
    distances = 1 - chance / (chance.max() or 1.0)
    np.fill_diagonal(distances, 0)
    return distances


def _sizes(sizes: np.ndarray, where: str = "") -> np.ndarray:
    if not sizes.all():
        empty = np.flatnonzero(sizes == 0).tolist()
        raise ValueError(f"labels: categories {empty} have no points {where}".rstrip() + "; number those that have")
    return sizes
