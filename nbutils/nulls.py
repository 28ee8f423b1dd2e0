"""Permutation tests: how well peaks and families would agree if the families were made of random categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .contingency import adjusted_rand_of_squares, category_counts
from .graph import checked_integer
from .semantics import Cut, cut_length, grouped

ROUNDING = 1e-12  # a permutation that gives the observed value again may differ by this much, and counts as reaching it
ENTRIES = (
    4_000_000  # of the matrix that says which categories are together, for as many permutations as are done at once
)


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """Observed values of one or many statistics, and those of the permutations.

    Attributes
    ----------
    statistic : array of any shape, for instance (layers, depths)
    null_distribution : (permutations, *shape), the same for each permutation
    """

    statistic: np.ndarray
    null_distribution: np.ndarray

    @property
    def pvalue(self) -> np.ndarray:
        """Of each value by itself: (1 + number of permutations that reach it) / (1 + number of permutations)."""
        return _pvalue(self.statistic, self.null_distribution)

    @property
    def corrected_pvalue(self) -> np.ndarray:
        """Of each value as one of many: how often the largest of all standardised values of a permutation reaches it.

        Source: Westfall and Young (1993), single-step maxT.
        """
        scores = self.standardised()
        largest = scores.maximum().null_distribution
        return _pvalue(scores.statistic, largest.reshape(-1, *[1] * np.ndim(self.statistic)))

    @property
    def expected(self) -> np.ndarray:
        """The mean over the permutations."""
        return self.null_distribution.mean(0)

    def standardised(self) -> PermutationTest:
        """Each value as its distance from the mean, in standard deviations, both over permutations and observation.

        A value that is the same in all permutations is 0: families of one category each are not changed by any.
        """
        both = np.concatenate([np.asarray(self.statistic, dtype=float)[None], self.null_distribution])
        std = both.std(0)
        fixed = std < ROUNDING
        scores = np.where(fixed, 0, (both - both.mean(0)) / np.where(fixed, 1, std))
        return PermutationTest(scores[0], scores[1:])

    def maximum(self, axis: int | tuple[int, ...] | None = None) -> PermutationTest:
        """The test of the maximum over some axes of `statistic`, by default over all.

        Whoever picks the best of several layers, depths or thresholds must let chance pick the best too, so the
        maximum of each permutation is what the observed one is compared with. Values that differ in what chance expects
        should be standardised first: peaks that are single categories agree with any fine cut, whichever the families.
        """
        statistic = np.asarray(self.statistic)
        dimensions = statistic.ndim
        axes = tuple(range(dimensions)) if axis is None else tuple(int(a) % dimensions for a in np.atleast_1d(axis))
        return PermutationTest(statistic.max(axes), self.null_distribution.max(tuple(a + 1 for a in axes)))


def _pvalue(statistic: np.ndarray, null_distribution: np.ndarray) -> np.ndarray:
    return (1 + (null_distribution >= np.asarray(statistic) - ROUNDING).sum(0)) / (1 + len(null_distribution))


def permuted_labels(
    cuts: Sequence[Cut], permutations: int = 500, random_state: int | np.random.Generator | None = None
) -> list[np.ndarray]:
    """Families made of random categories: for each cut a (permutations, c) int array of groups.

    Every group keeps its number of categories, and a category without a group stays without. One permutation of the
    categories serves all cuts: nested cuts that leave out the same categories stay nested, so that a maximum over them
    can be taken within each permutation.

    Raises
    ------
    TypeError, ValueError
        If `permutations` is not an integer of at least 1, or the cuts are not of the same categories.
    """
    permutations = checked_integer("permutations", permutations, 1)
    c = cut_length(cuts)
    order = np.random.default_rng(random_state).permuted(np.tile(np.arange(c), (permutations, 1)), axis=1)
    permuted = []
    for cut in cuts:
        inside = np.flatnonzero(cut.labels >= 0)
        labels = np.full((permutations, c), -1)
        labels[:, inside] = cut.labels[inside][np.argsort(order[:, inside], axis=1)]
        permuted.append(labels)
    return permuted


def permutation_null(
    peak_labels: ArrayLike | Sequence[ArrayLike],
    labels: ArrayLike,
    cuts: Sequence[Cut],
    permutations: int = 500,
    random_state: int | np.random.Generator | None = None,
) -> PermutationTest:
    """Adjusted Rand index of peaks with cuts (`agreement_by_depth`), tested against families of random categories.

    The photographs of a category stay together, so the question is what families add to categories. Peaks made of
    whole categories agree with any families somewhat, more than a permutation of the photographs would say.

    Parameters
    ----------
    peak_labels : (n,) int, the peak of each point; or l of them, for as many layers or thresholds.
    labels : (n,) int, the category of each point, 0 ... c - 1.
    cuts : m cuts of the c categories.
    permutations : how many.
    random_state : seed or generator; the same integer gives the same permutations.

    Returns
    -------
    PermutationTest
        `statistic` is (m,), or (l, m) if several `peak_labels` were given.

    Raises
    ------
    TypeError, ValueError
        As `agreement_by_depth` and `permuted_labels` do.
    """
    layers: list = list(peak_labels)  # type: ignore[arg-type]
    if not layers:
        raise ValueError("peak_labels is empty: give the peak of each point, for one layer or several")
    if single := np.ndim(layers[0]) == 0:
        layers = [np.asarray(layers)]
    c = cut_length(cuts)
    tables = [category_counts(one, labels, c) for one in layers]
    # The squared counts of the groups are sums over pairs of categories that are together: of T T' for the table
    # T of categories and peaks, and of s s' for the sizes s of the categories. So a permutation costs c^2 pairs.
    pairs = np.array([table @ table.T for table in tables], dtype=float)
    sizes = np.array([np.outer(s, s) for s in (table.sum(1) for table in tables)], dtype=float)
    observed, null = [], []
    permuted = permuted_labels(cuts, permutations, random_state)
    for number, (cut, families) in enumerate(zip(cuts, permuted, strict=True)):
        for table in tables:
            grouped(table, cut, number)  # raises if there is nothing to agree with
        inside = np.flatnonzero(cut.labels >= 0)
        both, rows = (x[:, inside[:, None], inside].reshape(len(tables), -1) for x in (pairs, sizes))
        columns, n = both.sum(1), np.sqrt(rows.sum(1))
        found = []
        for some in _chunks(np.vstack([cut.labels, families])[:, inside]):
            together = (some[:, :, None] == some[:, None, :]).reshape(len(some), -1).astype(float)
            found.append(adjusted_rand_of_squares(together @ both.T, together @ rows.T, columns, n))
        values = np.concatenate(found)
        observed.append(values[0])
        null.append(values[1:])
    statistic, null_distribution = np.stack(observed, -1), np.stack(null, -1)
    if single:
        statistic, null_distribution = statistic[0], null_distribution[:, 0]
    return PermutationTest(statistic, null_distribution)


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    step = max(1, ENTRIES // rows.shape[1] ** 2)
    return [rows[start : start + step] for start in range(0, len(rows), step)]
