"""Exercises of chapter 7, on peaks and WordNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, rankdata

from ..neighbors import knn_graph
from ..peaks import Topography, topography
from ..synthetic import gaussian_mixture
from .exercise import Cases, Exercise

# --- 7.1


def survivors(small: Topography, large: Topography) -> list[int]:
    return [list(small.peaks).index(top) for top in large.peaks]


def seas() -> Cases:
    def world(seed: int) -> tuple[Topography, Topography]:
        rng = np.random.default_rng(seed)
        x, _ = gaussian_mixture(500, rng.uniform(0, 14, (8, 2)), rng.uniform(0.6, 1.2, 8).tolist(), None, seed)
        graph = knn_graph(x, 15)
        return topography(graph, 15, 0.5), topography(graph, 15, 2.5)

    few, many = world(7), world(8)
    return {"one landscape": few, "another landscape": many, "a landscape and itself": (few[0], few[0])}


SURVIVORS = Exercise(
    "7.1",
    survivors,
    seas,
    {
        "the peaks that survive are not simply the first ones: look for their tops": lambda small, large: list(
            range(large.n_peaks)
        ),
        "those are the points at the tops; asked are the numbers of the peaks that have them": lambda small, large: (
            large.peaks
        ),
        "the peaks that survive are not simply the largest: look for their tops": lambda small, large: np.argsort(
            -np.bincount(small.labels), kind="stable"
        )[: large.n_peaks],
        "peaks are counted from 0": lambda small, large: np.add(survivors(small, large), 1),
        "compare the points at the tops, not the log densities in order": lambda small, large: np.argsort(
            small.peak_log_density
        )[: large.n_peaks],
    },
)

# --- 7.2


def above_chance(pairs: np.ndarray, families: np.ndarray) -> float:
    return share(pairs, families) - by_chance(families)


def share(pairs: np.ndarray, families: np.ndarray) -> float:
    return float((families[pairs[:, 0]] == families[pairs[:, 1]]).mean())


def by_chance(families: np.ndarray) -> float:
    return share(np.transpose(np.triu_indices(len(families), 1)), families)


def kin_pairs() -> Cases:
    rng = np.random.default_rng(72)

    def world(families: np.ndarray, chance: float) -> tuple[np.ndarray, np.ndarray]:
        every = np.argwhere(np.triu(np.ones((len(families),) * 2), 1))
        alike = families[every[:, 0]] == families[every[:, 1]]
        some = (rng.random(len(every)) < np.where(alike, 0.5, chance)) & (every[:, 0] > 3)  # the first have no kin
        return every[some], families

    return {
        "four categories and two pairs": (np.array([[0, 1], [1, 3]]), np.array([0, 0, 1, 1])),
        "30 categories in families of unequal size": world(rng.choice([2, 5, 6, 9], 30, p=[0.5, 0.3, 0.1, 0.1]), 0.1),
        "kin that are rarely of one family": world(rng.integers(0, 3, 20), 0.9),
    }


ABOVE = Exercise(
    "7.2",
    above_chance,
    kin_pairs,
    {
        "chance was not taken off": share,
        "of the pairs that chance has, a category and itself are none": lambda pairs, families: (
            share(pairs, families) - (families[:, None] == families).mean()
        ),
        "families are not equally large, so chance is not one over their number": lambda pairs, families: (
            share(pairs, families) - 1 / len(set(families))
        ),
        "that is the ratio of the two shares; asked is their difference": lambda pairs, families: (
            share(pairs, families) / by_chance(families)
        ),
        "that is the share by chance alone": lambda pairs, families: by_chance(families),
        "that is chance minus the share; take it the other way round": lambda pairs, families: (
            by_chance(families) - share(pairs, families)
        ),
        "those are numbers of pairs, not shares": lambda pairs, families: len(pairs) * above_chance(pairs, families),
        "compare the families of the two categories, not their numbers": lambda pairs, families: (
            (pairs[:, 0] == pairs[:, 1]).mean() - by_chance(families)
        ),
        "chance is a share of all pairs of categories, not only of those that have kin": lambda pairs, families: (
            share(pairs, families) - by_chance(families[np.unique(pairs)])
        ),
        "a pair by chance is of one family if both are: the share of the largest family is not enough": (
            lambda pairs, families: share(pairs, families) - majority(families)
        ),
    },
    tolerance=1e-6,
)


def majority(families: np.ndarray) -> float:
    """The share of the most frequent family."""
    return float(np.unique(families, return_counts=True)[1].max() / len(families))


# --- 7.3


class Pair(NamedTuple):
    """Two leaves of a tree: the number of their smallest subtree, the families in it, and their own families."""

    node: int
    inside: np.ndarray
    one: int
    other: int

    @property
    def kin(self) -> bool:
        return self.one == self.other

    @property
    def purity(self) -> float:
        return float((self.inside == self.one).mean())


def leaf_pairs(tree: np.ndarray, families: np.ndarray) -> list[Pair]:
    below, found = [[leaf] for leaf in range(len(families))], []
    for a, b in tree[:, :2].astype(int):
        below.append(below[a] + below[b])
        inside = families[below[-1]]
        found += [Pair(len(below) - 1, inside, int(families[i]), int(families[j])) for i in below[a] for j in below[b]]
    return found


def purity_of(tree: np.ndarray, families: np.ndarray) -> float:
    return float(np.mean([pair.purity for pair in leaf_pairs(tree, families) if pair.kin]))


def trees() -> Cases:
    rng = np.random.default_rng(73)
    small = linkage(np.array([[0.0], [1.0], [3.0], [7.0], [15.0]]), "average")
    families = rng.choice([0, 1, 4], 14, p=[0.5, 0.3, 0.2])
    return {
        "five leaves, two families that are subtrees": (small, np.array([0, 0, 0, 1, 1])),
        "five leaves, two mixed families": (small, np.array([0, 1, 0, 1, 0])),
        "14 leaves, three families": (linkage(rng.normal(size=(14, 2)) + families[:, None], "average"), families),
    }


def mean_of(value: Callable, group: Callable = lambda pair: 0, chosen: Callable = lambda pair: pair.kin) -> Callable:
    """The mean over groups of the mean of a value of the chosen pairs in each."""

    def answer(tree: np.ndarray, families: np.ndarray) -> float:
        groups: dict[int, list[float]] = {}
        for pair in filter(chosen, leaf_pairs(tree, families)):
            groups.setdefault(group(pair), []).append(value(pair))
        return float(np.mean([np.mean(values) for values in groups.values()]))

    return answer


def with_leaves(tree: np.ndarray, families: np.ndarray) -> float:
    return float(np.mean([pair.purity for pair in leaf_pairs(tree, families) if pair.kin] + [1.0] * len(families)))


def in_the_whole_tree(tree: np.ndarray, families: np.ndarray) -> float:
    return float(np.mean([(families == pair.one).mean() for pair in leaf_pairs(tree, families) if pair.kin]))


PURITY = Exercise(
    "7.3",
    purity_of,
    trees,
    {
        "the mean is over pairs of leaves, not over subtrees": mean_of(lambda p: p.purity, lambda p: p.node),
        "the mean is over all pairs at once, not family by family": mean_of(lambda p: p.purity, lambda p: p.one),
        "the purity of a subtree is the share of the pair's own family, not of the most frequent one": mean_of(
            lambda p: majority(p.inside)
        ),
        "only pairs of one family count": mean_of(lambda p: p.purity, chosen=lambda p: True),
        "a leaf and itself are no pair": with_leaves,
        "the two leaves of the pair belong to their subtree: count them": mean_of(
            lambda p: ((p.inside == p.one).sum() - 2) / max(1, len(p.inside) - 2)
        ),
        "that is the whole tree; take the smallest subtree that holds both leaves": in_the_whole_tree,
        "that is the mean share of the most frequent family in each subtree; asked is a mean over pairs": mean_of(
            lambda p: majority(p.inside), lambda p: p.node, chosen=lambda p: True
        ),
        "that is the smallest purity; asked is the mean": lambda tree, families: min(
            pair.purity for pair in leaf_pairs(tree, families) if pair.kin
        ),
    },
)

# --- 7.4


def score(near: float, other: float, another: float) -> float:
    distances = [near, other, another]
    return 0 if near > min(distances) else 1 / distances.count(near)


def triplets() -> Cases:
    rng = np.random.default_rng(74)
    return {
        "a near pair that is nearest": tuple(np.sort(rng.random(3))),
        "a near pair that ties with the second": (1.0, 1.0, 3.0),
        "a near pair that ties with the third": (1.0, 3.0, 1.0),
        "three equal distances": (2.0, 2.0, 2.0),
        "a near pair behind two that tie": (2.0, 1.0, 1.0),
        "a near pair between the others": (2.0, 1.0, 3.0),
        "a near pair between the others, which are swapped": (2.0, 3.0, 1.0),
        "a near pair that is farthest": (4.0, 3.0, 1.0),
        "a near pair that ties with one that is not the nearest": (3.0, 3.0, 1.0),
        "a near pair that is nearest, while the others tie": (1.0, 4.0, 4.0),
    }


SCORE = Exercise(
    "7.4",
    score,
    triplets,
    {
        "a tie counts as right: it has to share the point": lambda near, other, another: float(
            near <= min(other, another)
        ),
        "a tie counts as wrong: it has to share the point": lambda near, other, another: float(
            near < min(other, another)
        ),
        "a tie of all three is worth 1/3, not 1/2": lambda near, other, another: (
            0.5 if near == min(other, another) else float(near < min(other, another))
        ),
        "the third distance is not used": lambda near, other, another: (
            0 if near > other else 1 / 2 if near == other else 1
        ),
        "the second distance is not used": lambda near, other, another: (
            0 if near > another else 1 / 2 if near == another else 1
        ),
        "a tie counts only if it is for the smallest distance": lambda near, other, another: (
            1 if near < min(other, another) else [0, 1 / 2, 1 / 3][(near == other) + (near == another)]
        ),
        "the near pair has to have the smallest distance, not the largest": lambda near, other, another: (
            0 if near < max(other, another) else 1 / [near, other, another].count(near)
        ),
        "the near pair has to be no farther than both others, not than one of them": lambda near, other, another: (
            0 if near > max(other, another) else 1 / [near, other, another].count(near)
        ),
        "of three numbers that tie, the smallest were counted even if the near pair is not among them": (
            lambda near, other, another: 1 / [near, other, another].count(min(near, other, another))
        ),
        "ties of the two others were counted too": lambda near, other, another: (
            0 if near > min(other, another) else 1 / (4 - len({near, other, another}))
        ),
    },
)

# --- 7.5


def renamed(a: np.ndarray, b: np.ndarray, order: np.ndarray) -> float:
    return correlated(a[np.ix_(order, order)], b)


def correlated(a: np.ndarray, b: np.ndarray, ranks: Callable = rankdata, diagonal: int = 1) -> float:
    """The correlation of the ranks of two matrices over the pairs above a diagonal."""
    pairs = np.triu_indices(len(a), diagonal)
    return float(np.corrcoef(ranks(a[pairs]), ranks(b[pairs]))[0, 1])


def once_renamed(formula: Callable) -> Callable:
    """An answer from `a` in the new order and `b`."""
    return lambda a, b, order: formula(a[np.ix_(order, order)], b)


def matrices() -> Cases:
    rng = np.random.default_rng(75)

    def world(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 3))
        return squareform(pdist(x) ** 3), np.round(squareform(pdist(x + 0.4 * rng.normal(size=(n, 3)))), 1)

    return {
        "nine things in their own order": (*world(9), np.arange(9)),
        "nine things renamed": (*world(9), rng.permutation(9)),
        "20 things of which three change places": (*world(20), np.r_[2, 0, 1, 3:20]),
    }


def shuffled_pairs(a: np.ndarray, b: np.ndarray, order: np.ndarray) -> float:
    mixed = a[np.triu_indices(len(a), 1)]
    mixed[: len(order)] = mixed[order]
    return float(np.corrcoef(rankdata(mixed), rankdata(b[np.triu_indices(len(a), 1)]))[0, 1])


RENAMED = Exercise(
    "7.5",
    renamed,
    matrices,
    {
        "that correlates the distances themselves: take their ranks": once_renamed(
            lambda a, b: correlated(a, b, lambda distances: distances)
        ),
        "only the rows were taken in the new order: change rows and columns together": lambda a, b, order: correlated(
            a[order], b
        ),
        "only the columns were taken in the new order: change rows and columns together": (
            lambda a, b, order: correlated(a[:, order], b)
        ),
        "the order was not used, or for both: only a is taken in the new order": lambda a, b, order: correlated(a, b),
        "the things of b were renamed instead of those of a": lambda a, b, order: renamed(b, a, order),
        "the diagonal was counted: a thing and itself are no pair": once_renamed(
            lambda a, b: correlated(a, b, diagonal=0)
        ),
        "the whole matrices were ranked, with their diagonals": once_renamed(
            lambda a, b: float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
        ),
        "only one of the two was ranked": once_renamed(
            lambda a, b: float(np.corrcoef(rankdata(squareform(a, checks=False)), squareform(b))[0, 1])
        ),
        "that is Kendall's correlation; asked is the ordinary one, of the ranks": once_renamed(
            lambda a, b: kendalltau(squareform(a, checks=False), squareform(b)).statistic
        ),
        "equal distances share a rank: argsort gives them different ones, rankdata does not": once_renamed(
            lambda a, b: correlated(a, b, lambda distances: distances.argsort(kind="stable").argsort())
        ),
        "the pairs were put in a new order instead of the things": shuffled_pairs,
    },
)

EXERCISES = (SURVIVORS, ABOVE, PURITY, SCORE, RENAMED)
