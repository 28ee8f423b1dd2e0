"""Exercises of chapter 7, on peaks and WordNet."""

from __future__ import annotations

from itertools import combinations

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
    a, b = pairs.T
    every = np.triu_indices(len(families), 1)
    return (families[a] == families[b]).mean() - (families[every[0]] == families[every[1]]).mean()


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


def share(pairs: np.ndarray, families: np.ndarray) -> float:
    return float((families[pairs[:, 0]] == families[pairs[:, 1]]).mean())


def frequencies(families: np.ndarray) -> np.ndarray:
    return np.unique(families, return_counts=True)[1] / len(families)


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
            share(pairs, families) / (share(pairs, families) - above_chance(pairs, families))
        ),
        "that is the share by chance alone": lambda pairs, families: (
            share(pairs, families) - above_chance(pairs, families)
        ),
        "that is chance minus the share; take it the other way round": lambda pairs, families: (
            -above_chance(pairs, families)
        ),
        "those are numbers of pairs, not shares": lambda pairs, families: len(pairs) * above_chance(pairs, families),
        "compare the families of the two categories, not their numbers": lambda pairs, families: (
            (pairs[:, 0] == pairs[:, 1]).mean() - (share(pairs, families) - above_chance(pairs, families))
        ),
        "chance is a share of all pairs of categories, not only of those that have kin": lambda pairs, families: (
            share(pairs, families)
            - np.mean([families[a] == families[b] for a, b in combinations(np.unique(pairs).tolist(), 2)])
        ),
        "a pair by chance is of one family if both are: the share of the largest family is not enough": (
            lambda pairs, families: share(pairs, families) - frequencies(families).max()
        ),
    },
    tolerance=1e-6,
)

# --- 7.3


def purity_of(tree: np.ndarray, families: np.ndarray) -> float:
    return float(np.mean([pure for pure, *_ in joined(tree, families)]))


def joined(tree: np.ndarray, families: np.ndarray) -> list[tuple[float, int, int]]:
    """For each pair of one family: the purity of its smallest subtree, the number of that subtree, and its family."""
    below = [[leaf] for leaf in range(len(families))]
    found = []
    for a, b in tree[:, :2].astype(int):
        below.append(below[a] + below[b])
        for i in below[a]:
            for j in below[b]:
                if families[i] == families[j]:
                    found.append((float(np.mean(families[below[-1]] == families[i])), len(below) - 1, int(families[i])))
    return found


def trees() -> Cases:
    rng = np.random.default_rng(73)
    small = linkage(np.array([[0.0], [1.0], [3.0], [7.0], [15.0]]), "average")
    families = rng.choice([0, 1, 4], 14, p=[0.5, 0.3, 0.2])
    return {
        "five leaves, two families that are subtrees": (small, np.array([0, 0, 0, 1, 1])),
        "five leaves, two mixed families": (small, np.array([0, 1, 0, 1, 0])),
        "14 leaves, three families": (linkage(rng.normal(size=(14, 2)) + families[:, None], "average"), families),
    }


def over(groups: list, values: list[float]) -> float:
    """The mean over groups of the mean in each."""
    return float(
        np.mean([np.mean([v for g, v in zip(groups, values, strict=True) if g == one]) for one in set(groups)])
    )


def leaves(tree: np.ndarray) -> list[list[int]]:
    """The leaves below every node."""
    below = [[leaf] for leaf in range(len(tree) + 1)]
    for a, b in tree[:, :2].astype(int):
        below.append(below[a] + below[b])
    return below


def majority(families: np.ndarray) -> float:
    return float(frequencies(families).max())


def with_every_pair(tree: np.ndarray, families: np.ndarray) -> float:
    below, found = leaves(tree), []
    for node, (a, b) in enumerate(tree[:, :2].astype(int), start=len(families)):
        found += [np.mean(families[below[node]] == families[i]) for i in below[a] for j in below[b]]
    return float(np.mean(found))


def with_leaves(tree: np.ndarray, families: np.ndarray) -> float:
    found = [pure for pure, *_ in joined(tree, families)]
    return float(np.mean(found + [1.0] * len(families)))


def without_the_pair(tree: np.ndarray, families: np.ndarray) -> float:
    below, found = leaves(tree), []
    for _, node, family in joined(tree, families):
        inside = (families[below[node]] == family).sum() - 2
        found.append(inside / max(1, len(below[node]) - 2))
    return float(np.mean(found))


PURITY = Exercise(
    "7.3",
    purity_of,
    trees,
    {
        "the mean is over pairs of leaves, not over subtrees": lambda tree, families: over(
            [node for _, node, _ in joined(tree, families)], [pure for pure, *_ in joined(tree, families)]
        ),
        "the mean is over all pairs at once, not family by family": lambda tree, families: over(
            [family for *_, family in joined(tree, families)], [pure for pure, *_ in joined(tree, families)]
        ),
        "the purity of a subtree is the share of the pair's own family, not of the most frequent one": (
            lambda tree, families: float(
                np.mean([majority(families[leaves(tree)[node]]) for _, node, _ in joined(tree, families)])
            )
        ),
        "only pairs of one family count": with_every_pair,
        "a leaf and itself are no pair": with_leaves,
        "the two leaves of the pair belong to their subtree: count them": without_the_pair,
        "that is the whole tree; take the smallest subtree that holds both leaves": lambda tree, families: float(
            np.mean([(families == family).mean() for *_, family in joined(tree, families)])
        ),
        "that is the mean share of the most frequent family in each subtree; asked is a mean over pairs": (
            lambda tree, families: float(
                np.mean([majority(families[inside]) for inside in leaves(tree)[len(families) :]])
            )
        ),
        "that is the smallest purity; asked is the mean": lambda tree, families: min(joined(tree, families))[0],
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


def correlated(a: np.ndarray, b: np.ndarray, diagonal: int = 1) -> float:
    """The rank correlation of two matrices over the pairs above a diagonal."""
    pairs = np.triu_indices(len(a), diagonal)
    return float(np.corrcoef(rankdata(a[pairs]), rankdata(b[pairs]))[0, 1])


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


def pearson(a: np.ndarray, b: np.ndarray, order: np.ndarray) -> float:
    pairs = np.triu_indices(len(a), 1)
    return float(np.corrcoef(a[np.ix_(order, order)][pairs], b[pairs])[0, 1])


def shuffled_pairs(a: np.ndarray, b: np.ndarray, order: np.ndarray) -> float:
    pairs = np.triu_indices(len(a), 1)
    mixed = a[pairs].copy()
    mixed[: len(order)] = mixed[order]
    return float(np.corrcoef(rankdata(mixed), rankdata(b[pairs]))[0, 1])


RENAMED = Exercise(
    "7.5",
    renamed,
    matrices,
    {
        "that correlates the distances themselves: take their ranks": pearson,
        "only the rows were taken in the new order: change rows and columns together": lambda a, b, order: correlated(
            a[order], b
        ),
        "only the columns were taken in the new order: change rows and columns together": (
            lambda a, b, order: correlated(a[:, order], b)
        ),
        "the order was not used": lambda a, b, order: correlated(a, b),
        "the things of b were renamed instead of those of a": lambda a, b, order: correlated(
            a, b[np.ix_(order, order)]
        ),
        "the diagonal was counted: a thing and itself are no pair": lambda a, b, order: correlated(
            a[np.ix_(order, order)], b, 0
        ),
        "the whole matrices were ranked, with their diagonals": lambda a, b, order: float(
            np.corrcoef(rankdata(a[np.ix_(order, order)]), rankdata(b))[0, 1]
        ),
        "only one of the two was ranked": lambda a, b, order: float(
            np.corrcoef(rankdata(a[np.ix_(order, order)][np.triu_indices(len(a), 1)]), b[np.triu_indices(len(a), 1)])[
                0, 1
            ]
        ),
        "that is Kendall's correlation; asked is the ordinary one, of the ranks": lambda a, b, order: (
            kendalltau(a[np.ix_(order, order)][np.triu_indices(len(a), 1)], b[np.triu_indices(len(a), 1)]).statistic
        ),
        "equal distances share a rank: argsort gives them different ones, rankdata does not": lambda a, b, order: float(
            np.corrcoef(
                a[np.ix_(order, order)][np.triu_indices(len(a), 1)].argsort(kind="stable").argsort(),
                b[np.triu_indices(len(a), 1)].argsort(kind="stable").argsort(),
            )[0, 1]
        ),
        "the pairs were put in a new order instead of the things": shuffled_pairs,
    },
)

EXERCISES = (SURVIVORS, ABOVE, PURITY, SCORE, RENAMED)
