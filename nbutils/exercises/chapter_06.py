"""Exercises of chapter 6, on the peaks and the categories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import rand_score

from ..graph import NeighborGraph
from ..neighbors import knn_graph
from ..peaks import topography
from ..semantics import Cut, agreement_by_depth
from ..synthetic import gaussian_mixture
from .exercise import Cases, Exercise

# --- 6.1


def pairs(*groupings: np.ndarray) -> float:
    """The number of pairs that are together in all groupings."""
    sizes = np.unique(np.stack(groupings), axis=1, return_counts=True)[1]
    return float((sizes * (sizes - 1) / 2).sum())


def parts(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float, float]:
    """The numbers of pairs that the index is made of: in both, in the first, in the second, and all."""
    n = len(first)
    return pairs(first, second), pairs(first), pairs(second), n * (n - 1) / 2


def rand_index(first: np.ndarray, second: np.ndarray) -> float:
    both, p, q, every = parts(first, second)
    return (both - p * q / every) / ((p + q) / 2 - p * q / every)


def groupings() -> Cases:
    rng = np.random.default_rng(61)
    first = rng.integers(0, 5, 200)
    return {
        "five points": (np.array([0, 0, 1, 1, 1]), np.array([4, 4, 4, 2, 2])),
        "200 points in five groups": (first, np.where(rng.random(200) < 0.6, first, rng.integers(0, 9, 200))),
        "groups of unequal sizes": (rng.geometric(0.4, 300), rng.geometric(0.6, 300)),
    }


def with_parts(formula):  # type: ignore[no-untyped-def]
    return lambda first, second: formula(*parts(first, second))


def with_squares(first: np.ndarray, second: np.ndarray) -> float:
    squares = [(np.unique(np.stack(g), axis=1, return_counts=True)[1] ** 2).sum() for g in ([first, second], [first])]
    both, p, q, every = *squares, (np.unique(second, return_counts=True)[1] ** 2).sum(), len(first) ** 2
    return (both - p * q / every) / ((p + q) / 2 - p * q / every)


RAND = Exercise(
    "6.1",
    rand_index,
    groupings,
    {
        "chance was not taken off: subtract e above and below the line": with_parts(lambda a, p, q, n: 2 * a / (p + q)),
        "chance was taken off above the line only": with_parts(lambda a, p, q, n: (a - p * q / n) / ((p + q) / 2)),
        "chance was taken off below the line only": with_parts(lambda a, p, q, n: a / ((p + q) / 2 - p * q / n)),
        "the half before p + q is missing": with_parts(lambda a, p, q, n: (a - p * q / n) / (p + q - p * q / n)),
        "the denominator needs parentheses": with_parts(lambda a, p, q, n: (a - p * q / n) / (p + q) / 2 - p * q / n),
        "the largest possible index is taken from the mean of p and q, not from the larger": with_parts(
            lambda a, p, q, n: (a - p * q / n) / (max(p, q) - p * q / n)
        ),
        "the largest possible index is taken from the mean of p and q, not from the smaller": with_parts(
            lambda a, p, q, n: (a - p * q / n) / (min(p, q) - p * q / n)
        ),
        "a group of m points has m (m - 1) / 2 pairs, not m squared": with_squares,
        "N is the number of pairs, n (n - 1) / 2, not of points": lambda first, second: (
            (pairs(first, second) - (e := pairs(first) * pairs(second) / len(first)))
            / ((pairs(first) + pairs(second)) / 2 - e)
        ),
        "N is the number of pairs, n (n - 1) / 2, not half of n squared": lambda first, second: (
            (pairs(first, second) - (e := pairs(first) * pairs(second) / (len(first) ** 2 / 2)))
            / ((pairs(first) + pairs(second)) / 2 - e)
        ),
        "the pairs of the groups were counted twice, and all pairs once": with_parts(
            lambda a, p, q, n: (2 * a - 4 * p * q / n) / (p + q - 4 * p * q / n)
        ),
        "that is the share of pairs on which the groupings agree, not yet compared with chance": rand_score,
    },
)

# --- 6.2


def peaks_of_some(x: np.ndarray, rows: np.ndarray, k: int) -> int:
    return topography(knn_graph(x[rows], k), k).n_peaks


def clouds() -> Cases:
    rng = np.random.default_rng(62)
    two, _ = gaussian_mixture(400, np.array([[0, 0], [8, 0]]), 1.0, [0.85, 0.15], 0)
    many, _ = gaussian_mixture(
        700, np.random.default_rng([62, 3]).uniform(0, 9, (12, 2)) * [1, 3], np.linspace(0.5, 1, 12).tolist(), None, 3
    )
    # An island of 11 points has a peak if no neighbour is outside of it, one of 10 points has none.
    islands = rng.normal(size=(221, 2)) + np.repeat([[0, 0], [0, 200], [0, 400]], [200, 11, 10], axis=0)
    four, _ = gaussian_mixture(600, np.array([[0, 0], [9, 0], [0, 9], [9, 9]]), 1.0, [0.7, 0.15, 0.1, 0.05], 1)
    return {
        "all points of two hills": (two, np.arange(400), 15),
        "every eighth point of two hills": (two, np.arange(0, 400, 8), 15),
        "a random third of four hills": (four, rng.permutation(600)[:200], 10),
        "the largest of four hills alone": (four, np.flatnonzero((four < 4.5).all(axis=1)), 15),
        "all points of four hills, with larger neighbourhoods": (four, np.arange(600), 60),
        "some points of twelve hills": (many, np.arange(450), 10),
        "a hill and two islands": (islands, np.arange(221), 10),
    }


SOME = Exercise(
    "6.2",
    peaks_of_some,
    clouds,
    {
        "all points were used: choose x[rows] first": lambda x, rows, k: topography(knn_graph(x, k), k).n_peaks,
        "the neighbours were searched among all points, and the rows chosen afterwards": lambda x, rows, k: len(
            set(topography(knn_graph(x, k), k).labels[rows])
        ),
        "the density does not use k neighbours: pass k to topography too": lambda x, rows, k: (
            topography(knn_graph(x[rows], max(k, 30)), min(30, len(rows) - 1)).n_peaks
        ),
        "the argument k is not used: the density has 15 neighbours in every case": lambda x, rows, k: (
            topography(knn_graph(x[rows], 15), 15).n_peaks
        ),
        "those are all candidates: a peak has to stand out, with z = 1.65": lambda x, rows, k: (
            topography(knn_graph(x[rows], k), k, 0).n_peaks
        ),
        "a peak has to stand out by 1.65 errors, not by one": lambda x, rows, k: (
            topography(knn_graph(x[rows], k), k, 1).n_peaks
        ),
        "the points are taken as they are, and not scaled": lambda x, rows, k: (
            topography(knn_graph(x[rows] / x[rows].std(axis=0), k), k).n_peaks
        ),
        "that is the largest number of a peak; peaks are counted from 0": lambda x, rows, k: int(
            topography(knn_graph(x[rows], k), k).labels.max()
        ),
        "rows says which points to take, not only how many": lambda x, rows, k: (
            topography(knn_graph(x[: len(rows)], k), k).n_peaks
        ),
    },
)

# --- 6.3


def honest_p(observed: np.ndarray, permuted: np.ndarray) -> float:
    return (1 + (permuted.max(axis=1) >= observed.max()).sum()) / (1 + len(permuted))


def permutations() -> Cases:
    rng = np.random.default_rng(63)
    tied = rng.integers(0, 9, (60, 4)).astype(float)
    return {
        "two layers and four permutations": (np.array([1.0, 3]), np.array([[3.0, 0], [0, 2], [0, 4], [2, 1]])),
        "nine layers of noise": (rng.normal(size=9), rng.normal(size=(200, 9))),
        "values that are often equal": (np.array([2.0, 8, 5, 1]), tied),
        "layers of unequal spread": (np.array([0.1, 6, 5]), rng.normal(size=(300, 3)) * [1, 4, 1]),
    }


HONEST = Exercise(
    "6.3",
    honest_p,
    permutations,
    {
        "the observation itself was not counted among the permutations": lambda observed, permuted: (
            permuted.max(axis=1) >= observed.max()
        ).mean(),
        "the observation was counted among all permutations, but not among those that reach it": (
            lambda observed, permuted: (permuted.max(axis=1) >= observed.max()).sum() / (1 + len(permuted))
        ),
        "the observation was counted among those that reach it, but not among all permutations": (
            lambda observed, permuted: (1 + (permuted.max(axis=1) >= observed.max()).sum()) / len(permuted)
        ),
        "that is the p-value of the best layer alone: a permutation may choose its best layer too": (
            lambda observed, permuted: (
                (1 + (permuted[:, observed.argmax()] >= observed.max()).sum()) / (1 + len(permuted))
            )
        ),
        "that is the smallest of the p-values of single layers: a permutation may choose its best layer too": (
            lambda observed, permuted: ((1 + (permuted >= observed).sum(axis=0)) / (1 + len(permuted))).min()
        ),
        "a permutation that gives just the observed value reaches it: use >=": lambda observed, permuted: (
            (1 + (permuted.max(axis=1) > observed.max()).sum()) / (1 + len(permuted))
        ),
        "compare with the largest observed value, not layer by layer": lambda observed, permuted: (
            (1 + (permuted >= observed).any(axis=1).sum()) / (1 + len(permuted))
        ),
        "the maximum was taken over the permutations instead of the layers: use axis=1": lambda observed, permuted: (
            (1 + (permuted.max(axis=0) >= observed.max()).sum()) / (1 + len(permuted))
        ),
        "every value of a permutation was counted: take the largest of each first": lambda observed, permuted: (
            (1 + (permuted >= observed.max()).sum()) / (1 + permuted.size)
        ),
        "that is the share of permutations that do not reach the observation": lambda observed, permuted: (
            (1 + (permuted.max(axis=1) < observed.max()).sum()) / (1 + len(permuted))
        ),
        "the mean over the layers was compared, not the largest value": lambda observed, permuted: (
            (1 + (permuted.mean(axis=1) >= observed.mean()).sum()) / (1 + len(permuted))
        ),
        "the p-value of the best layer was multiplied by the number of layers; take the maximum of each permutation": (
            lambda observed, permuted: min(
                1.0,
                permuted.shape[1]
                * (1 + (permuted[:, observed.argmax()] >= observed.max()).sum())
                / (1 + len(permuted)),
            )
        ),
    },
)

# --- 6.4


def best_cut(graph: NeighborGraph, labels: np.ndarray, cuts: Sequence[Cut], k: int) -> int:
    return int(np.argmax(agreement_by_depth(topography(graph, k).labels, labels, cuts)))


def nested() -> Cases:
    """Eight categories in four families in two kingdoms, near or far from one another."""
    cuts = [
        Cut(np.arange(8) // 4, ("a", "b")),
        Cut(np.arange(8) % 4, tuple("abcd")),
        Cut(np.arange(8) // 2, tuple("abcd")),
        Cut.of_categories("abcdefgh"),
    ]

    def world(apart: float, seed: int) -> tuple[NeighborGraph, np.ndarray]:
        c = np.arange(8)
        centres = np.column_stack([40 * (c // 4), 14 * (c // 2 % 2), apart * (c % 2)])
        x, labels = gaussian_mixture(640, centres, 1.0, None, seed)
        return knn_graph(x, 100), labels

    near, far = world(1.0, 1), world(9.0, 2)
    rng, c = np.random.default_rng(64), np.arange(8)
    close, labels = gaussian_mixture(640, np.column_stack([6 * (c // 4), 4 * (c // 2 % 2), 2 * (c % 2)]), 1.0, None, 1)
    mixed = knn_graph(close, 60), np.where(rng.random(640) < 0.35, rng.integers(0, 8, 640), labels)
    return {
        "categories that overlap": (*near, cuts, 20),
        "categories far apart": (*far, cuts, 20),
        "categories far apart, with larger neighbourhoods": (*far, cuts, 100),
        "categories far apart, and the cuts in reverse": (*far, cuts[::-1], 20),
        "categories of which a third has a wrong label": (*mixed, [cuts[i] for i in (1, 2, 0, 3)], 20),
    }


BEST = Exercise(
    "6.4",
    best_cut,
    nested,
    {
        "the argument k is not used: pass it to topography": lambda graph, labels, cuts, k: best_cut(
            graph, labels, cuts, 30
        ),
        "that is the cut with the worst agreement": lambda graph, labels, cuts, k: int(
            np.argmin(agreement_by_depth(topography(graph, k).labels, labels, cuts))
        ),
        "that is the largest agreement; asked is the place of the cut that has it": lambda graph, labels, cuts, k: max(
            agreement_by_depth(topography(graph, k).labels, labels, cuts)
        ),
        "that is the cut with the number of groups nearest to that of the peaks": lambda graph, labels, cuts, k: int(
            np.argmin([abs(len(cut.names) - topography(graph, k).n_peaks) for cut in cuts])
        ),
        "that is the share of pairs on which both agree, from which chance was not taken off": (
            lambda graph, labels, cuts, k: int(
                np.argmax([rand_score(cut.labels[labels], topography(graph, k).labels) for cut in cuts])
            )
        ),
        "places are counted from 0": lambda graph, labels, cuts, k: best_cut(graph, labels, cuts, k) + 1,
    },
)

# --- 6.5


def what_and_where(contents: np.ndarray, positions: np.ndarray) -> np.ndarray:
    n = len(contents)
    out = np.zeros((n, 9, 4))
    out[np.arange(n), positions] = contents
    return out


def photographs() -> Cases:
    rng = np.random.default_rng(65)
    return {
        "three photographs": (np.arange(1.0, 13).reshape(3, 4), np.array([8, 0, 4])),
        "40 photographs": (rng.normal(size=(40, 4)), rng.integers(0, 9, 40)),
    }


def in_every_photograph(contents: np.ndarray, positions: np.ndarray) -> np.ndarray:
    out = np.zeros((len(contents), 9, 4))
    out[:, positions] = contents
    return out


WHERE = Exercise(
    "6.5",
    what_and_where,
    photographs,
    {
        "each content was written into every photograph: use np.arange(n) for the rows": in_every_photograph,
        "the content stands at every position instead of one": lambda contents, positions: np.repeat(
            contents[:, None], 9, axis=1
        ),
        "positions are counted from 0 here: nothing is to be subtracted": lambda contents, positions: what_and_where(
            contents, positions - 1
        ),
        "the position was marked with ones instead of the content": lambda contents, positions: what_and_where(
            np.ones_like(contents), positions
        ),
        "the content was written at the place of its row, not of its position": lambda contents, positions: (
            what_and_where(contents, np.arange(len(contents)) % 9)
        ),
    },
)

EXERCISES = (RAND, SOME, HONEST, BEST, WHERE)
