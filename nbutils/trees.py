"""How well a tree, or a matrix of distances, tells families apart: dendrogram purity and odd-one-out triplets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import is_monotonic, is_valid_linkage

from .contingency import checked_numbers
from .hierarchy import cophenetic_distances

TIE = 1e-9  # heights that differ by less than this share of the largest are the same height


def dendrogram_purity(tree: np.ndarray, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """How pure the smallest subtree is that holds two leaves of the same label, on average over all such pairs.

    1 if each label has a subtree of its own. Chance is not 0, but above 1 / g for g equally frequent labels: compare
    with permuted labels (`nulls.permuted_labels`). Where three or more branches join at one height, they join
    at once: which two a linkage matrix happens to join first does not count. A single label gives 1.

    Source: Heller and Ghahramani (2005), computed over all pairs.

    Parameters
    ----------
    tree : (c - 1, 4) SciPy linkage matrix; (0, 4) for a single leaf.
    labels : (c,) int, the label of each leaf. A leaf of label -1 is left out of every subtree.
    weights : (c,) int, how many points of its label a leaf stands for, by default 1. Two points of one leaf are a pair
        too, and their subtree is the leaf.

    Raises
    ------
    ValueError
        If lengths do not fit, a weight is below 1, no two points share a label, or `tree` is no linkage matrix or
        one whose heights fall, as by the methods "centroid" and "median".
    """
    labels = checked_numbers("labels", labels, least=-1)
    weights = checked_numbers("weights", np.ones(len(labels), int) if weights is None else weights, len(labels), 1)
    counts = np.zeros((len(labels), labels.max() + 1), dtype=int)
    inside = np.flatnonzero(labels >= 0)
    counts[inside, labels[inside]] = weights[inside]
    return mixed_purity(tree, counts)


def mixed_purity(tree: np.ndarray, counts: np.ndarray) -> float:
    """`dendrogram_purity` of a tree whose leaves hold points of several labels, as peaks do; over pairs of points.

    Parameters
    ----------
    counts : (c, g) int, the number of points of each label at each leaf: for peaks, the transposed `category_counts`.

    Raises
    ------
    ValueError
        As `dendrogram_purity` does.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(
            f"counts must be a table of whole numbers, leaves by labels, not {counts.dtype} {counts.shape}"
        )
    c = len(counts)
    tree = checked_tree(tree, c)
    # All nodes, first the leaves, and the number of pairs of points that have their smallest subtree there.
    below = np.zeros((2 * c - 1, counts.shape[1]))
    below[:c] = counts
    pairs = below * (below - 1) / 2
    for node, (a, b) in enumerate(tree[:, :2].astype(int), start=c):
        below[node] = below[a] + below[b]
        pairs[node] = below[a] * below[b]
    # Of nodes that are joined at their own height, the topmost is the subtree.
    whole = np.arange(2 * c - 1)
    level = np.cumsum(np.diff(tree[:, 2], prepend=0) > TIE * tree[:, 2].max(initial=0))
    for parent in range(2 * c - 2, c - 1, -1):
        for child in tree[parent - c, :2].astype(int):
            if child >= c and level[child - c] == level[parent - c]:
                whole[child] = whole[parent]
    size = below.sum(1)[whole, None]
    purity = np.divide(below[whole], size, out=np.zeros_like(below), where=size > 0)
    if not pairs.sum():
        raise ValueError("labels: no two points share one, so there is no pair to average over; use coarser labels")
    return float((pairs * purity).sum() / pairs.sum())


def checked_tree(tree: np.ndarray, c: int) -> np.ndarray:
    """`tree` as floats; ValueError unless it is a linkage matrix of `c` leaves whose heights do not fall."""
    tree = np.asarray(tree, dtype=float)
    if tree.shape != (c - 1, 4):
        raise ValueError(f"tree must be a linkage matrix ({c - 1}, 4) of the {c} leaves, not {tree.shape}")
    if c > 1 and not (np.isfinite(tree).all() and is_valid_linkage(tree) and is_monotonic(tree)):
        raise ValueError("tree must be a SciPy linkage matrix of finite heights that do not fall")
    return tree


@dataclass(frozen=True, eq=False)
class Triplets:
    """How often the odd one out of three is the right one.

    Attributes
    ----------
    level : (l,) distances at which the near pair of a triplet meets in the reference, ascending: fine to coarse
    accuracy : (l,) share of the triplets of each level that are right, ties counted as by a guess; chance is 1/3
    tied : (l,) share of the triplets in which the nearest pair is not unique
    count : (l,) int, number of triplets
    """

    level: np.ndarray
    accuracy: np.ndarray
    tied: np.ndarray
    count: np.ndarray

    @property
    def overall(self) -> float:
        """Share of all triplets that are right."""
        return float(np.average(self.accuracy, weights=self.count))


def triplets(candidate: np.ndarray, reference: np.ndarray) -> Triplets:
    """Odd-one-out accuracy of a tree or of distances, over all triplets that the reference resolves.

    Three things are resolved if one pair is strictly nearer than both others; the third is the odd one out. The
    candidate is right if the same pair is its nearest. If that pair shares this place with one other it scores 1/2,
    with both 1/3: what a guess among them would. So a candidate that says nothing scores 1/3.

    Parameters
    ----------
    candidate : (c, c) distances of c >= 3 things, or a SciPy linkage matrix (c - 1, 4), which stands for the heights
        at which they join.
    reference : (c, c) distances, for instance `wordnet.hypernym_distances`.

    Raises
    ------
    ValueError
        If there are fewer than three things, shapes do not fit, a distance is not finite, a matrix is not symmetric,
        or the reference resolves no triplet.
    """
    units = np.asarray(reference, dtype=float)
    reference = _checked_distances("reference", reference, np.shape(reference)[:1] * 2)
    c = len(reference)
    if c < 3:
        raise ValueError(f"reference is of {c} things: an odd one out takes at least three")
    if np.shape(candidate) == (c - 1, 4):
        candidate = cophenetic_distances(checked_tree(candidate, c))
    candidate = _checked_distances("candidate", candidate, (c, c))

    _, first, number = np.unique(reference, return_index=True, return_inverse=True)
    level, number = units.ravel()[first], number.reshape(c, c)
    right, ties, count = np.zeros((3, len(level)))
    # Each triplet has one near pair (i, j), and is met once: with i < j and any third.
    for i in range(c - 1):
        j, third = np.nonzero(
            (reference[i, i + 1 :, None] < reference[i]) & (reference[i, i + 1 :, None] < reference[i + 1 :])
        )
        j += i + 1
        near = candidate[i, j]
        others = candidate[i, third], candidate[j, third]
        equal = sum((near == other).astype(int) for other in others)
        best = (near <= others[0]) & (near <= others[1])
        nearest = np.minimum(near, np.minimum(*others))
        met = number[i, j]
        right += np.bincount(met, best / (1 + equal), len(level))
        ties += np.bincount(met, (near == nearest).astype(int) + sum(o == nearest for o in others) > 1, len(level))
        count += np.bincount(met, minlength=len(level))
    if not count.any():
        raise ValueError("reference resolves no triplet: of no three things is one pair nearer than both others")
    some = count > 0
    return Triplets(level[some], right[some] / count[some], ties[some] / count[some], count[some].astype(int))


def _checked_distances(name: str, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    x = np.asarray(x, dtype=float)
    if x.shape != shape or x.ndim != 2:
        raise ValueError(f"{name} must be a matrix of distances {shape}, not {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite: give pairs without a distance one, or leave the thing out")
    if not np.allclose(x, x.T):
        raise ValueError(f"{name} must be symmetric: the distance of two things is one number")
    # Distances that are equal but for rounding are ties. Halving makes both halves of the matrix the same.
    scale = np.abs(x).max(initial=0) or 1.0
    return np.round((x / scale + x.T / scale) / 2, 9)
