"""Nucleation, category by category: which have condensed onto a peak of their own, and which share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .contingency import category_counts, checked_numbers
from .graph import NeighborGraph
from .nulls import PermutationTest, permuted_labels
from .semantics import Cut, cut_length


@dataclass(frozen=True, eq=False)
class Condensation:
    """How far each category has gathered on one peak.

    Attributes
    ----------
    peak : (c,) int, the peak that holds most of the category, of equal ones the densest; -1 if no peak holds any of it
    share : (c,) share of the category's points, those in the halo included, that lie on it; NaN without points
    purity : (c,) share of that peak's points that are of the category; NaN where `peak` is -1
    size : (c,) int, number of points of the category
    """

    peak: np.ndarray
    share: np.ndarray
    purity: np.ndarray
    size: np.ndarray

    @property
    def condensed(self) -> np.ndarray:
        """(c,) bool: over half of the category lies on one peak, of which it is over half."""
        return (self.share > 0.5) & (self.purity > 0.5)


def condensation(peak_labels: ArrayLike, labels: ArrayLike, c: int | None = None) -> Condensation:
    """Where most of each category lies, and how much of that peak it is.

    Parameters
    ----------
    peak_labels : (n,) int, the peak of each point, as in ``Topography.labels``; -1 in the halo.
    labels : (n,) int, the category of each point, 0 ... c - 1.
    c : number of categories, by default the largest label plus one.

    Raises
    ------
    ValueError
        As `category_counts` does.
    """
    counts = category_counts(peak_labels, labels, c)
    size = np.bincount(np.asarray(labels), minlength=len(counts))
    peak = counts.argmax(1)
    most = counts.max(1)
    return Condensation(
        np.where(most > 0, peak, -1),
        np.divide(most, size, out=np.full(len(size), np.nan), where=size > 0),
        np.divide(most, counts.sum(0)[peak], out=np.full(len(size), np.nan), where=most > 0),
        size,
    )


def condensed(peak_labels: ArrayLike, labels: ArrayLike, c: int | None = None) -> np.ndarray:
    """(c,) bool, whether over half of a category lies on one peak of which it is over half; see `condensation`."""
    return condensation(peak_labels, labels, c).condensed


def category_overlap(graph: NeighborGraph, labels: ArrayLike, k: int = 30, c: int | None = None) -> np.ndarray:
    """(c,) mean share of the first `k` neighbours of a category's points that are of it too; NaN without points.

    `overlap.label_overlap` is the mean of these, weighted by the sizes of the categories. A category of m points can
    reach no more than (m - 1) / k.

    Raises
    ------
    TypeError, ValueError
        If there is not one label for each point, or the graph holds fewer than `k` neighbours.
    """
    k = graph.check_k(k)
    labels = checked_numbers("labels", labels, graph.n)
    own = (labels[graph.indices[:, :k]] == labels[:, None]).sum(1)
    c = int(labels.max()) + 1 if c is None else c
    size = np.bincount(labels, minlength=c)
    return np.divide(np.bincount(labels, own, c), k * size, out=np.full(len(size), np.nan), where=size > 0)


def kin(peak_labels: ArrayLike, labels: ArrayLike, c: int | None = None) -> np.ndarray:
    """(q, 2) int, the pairs of categories that share a peak: over half of either category lies on it.

    Each pair once, the lower category first, in order. A category that has no more than half on any peak has no kin.

    Raises
    ------
    ValueError
        As `category_counts` does.
    """
    where = condensation(peak_labels, labels, c)
    home = np.where(where.share > 0.5, where.peak, -1)
    return np.argwhere(np.triu((home[:, None] == home) & (home >= 0), 1))


def kin_null(
    pairs: np.ndarray,
    cuts: Sequence[Cut],
    permutations: int = 500,
    random_state: int | np.random.Generator | None = None,
) -> PermutationTest:
    """How many pairs of kin are of the same family, for each cut; tested against families of random categories.

    For pairs of categories that all have a group, chance expects a share of them that is the share of all pairs of
    categories that are together; `PermutationTest.expected` comes near it.

    Parameters
    ----------
    pairs : (q, 2) int, as made by `kin`; without pairs all counts are 0.
    cuts : m cuts of the categories. A pair with a category that has no group (-1) is not of one family.

    Returns
    -------
    PermutationTest
        `statistic` is (m,), counts; `nulls.permuted_labels` says what a permutation keeps.

    Raises
    ------
    TypeError, ValueError
        If `pairs` are not pairs of categories of `cuts`, or as `permuted_labels` does.
    """
    pairs = np.asarray(pairs)
    c = cut_length(cuts)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(f"pairs must be (q, 2) integers, as kin returns them, not {pairs.dtype} {pairs.shape}")
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < c:
        raise ValueError(f"pairs must be of the {c} categories of cuts, 0 ... {c - 1}: give kin the same labels")
    a, b = pairs.T

    def together(groups: np.ndarray) -> np.ndarray:
        return ((groups[..., a] == groups[..., b]) & (groups[..., a] >= 0)).sum(-1)

    permuted = permuted_labels(cuts, permutations, random_state)
    return PermutationTest(
        np.array([together(cut.labels) for cut in cuts]), np.stack([together(groups) for groups in permuted], axis=-1)
    )
