"""Exercises of chapter 2, on neighbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import NeighborGraph
from ..neighbors import knn_graph
from ..overlap import label_overlap
from .exercise import Cases, Exercise

# --- 2.1


def unnamed(graph: NeighborGraph) -> float:
    return 1 - len(np.unique(graph.indices)) / graph.n


def clouds() -> Cases:
    rng = np.random.default_rng(21)
    return {
        "four points on a line": (knn_graph(np.array([[0.0], [1.0], [2.5], [10.0]]), 1),),
        "300 points and three neighbours": (knn_graph(rng.normal(size=(300, 6)), 3),),
        "200 points and eight neighbours": (knn_graph(rng.normal(size=(200, 40)), 8),),
    }


UNNAMED = Exercise(
    "2.1",
    unnamed,
    clouds,
    {
        "that is the share of points that are named": lambda graph: len(np.unique(graph.indices)) / graph.n,
        "divide by the number of points, not by that of all entries of the lists": lambda graph: (
            1 - len(np.unique(graph.indices)) / graph.indices.size
        ),
        "that is their number; asked is their share of all points": lambda graph: graph.n * unnamed(graph),
        "only the first neighbour of each point was looked at": lambda graph: unnamed(graph.truncate(1)),
        "only the last neighbour of each point was looked at": lambda graph: (
            1 - len(np.unique(graph.indices[:, -1])) / graph.n
        ),
        "those are the points that are named once": lambda graph: float(
            (np.bincount(graph.indices.ravel(), minlength=graph.n) == 1).mean()
        ),
        "a point that is named once is named": lambda graph: float(
            (np.bincount(graph.indices.ravel(), minlength=graph.n) <= 1).mean()
        ),
    },
)

# --- 2.2


def vote(graph: NeighborGraph, labels: np.ndarray) -> float:
    return float(np.mean([winner(row) == own for row, own in zip(labels[graph.indices], labels, strict=True)]))


def winner(row: np.ndarray) -> int:
    return int(np.bincount(row).argmax())


def electorates() -> Cases:
    rng = np.random.default_rng(22)
    labels = rng.integers(0, 4, 200)
    x = rng.normal(size=(200, 3)) + labels[:, None] * [0.8, 0, 0.3]
    return {
        "five points on a line": (
            knn_graph(np.array([[0.0], [1.0], [2.1], [5.0], [5.5]]), 3),
            np.array([0, 0, 0, 1, 1]),
        ),
        "200 points and five neighbours": (knn_graph(x, 5), labels),
        "200 points and four neighbours, with many ties": (knn_graph(x, 4), labels),
        "200 points and nine neighbours": (knn_graph(x, 9), labels),
    }


def elected(rule: Callable) -> Callable:
    """The share of points whose own label wins by a rule for (row of labels, own label)."""
    return lambda graph, labels: float(
        np.mean([rule(row, own) for row, own in zip(labels[graph.indices], labels, strict=True)])
    )


VOTE = Exercise(
    "2.2",
    vote,
    electorates,
    {
        "a point does not vote for itself: it is not in its own list": elected(
            lambda row, own: winner(np.append(row, own)) == own
        ),
        "the most frequent label wins, even with less than half of the votes": elected(
            lambda row, own: (row == own).sum() > len(row) / 2
        ),
        "of labels that tie the lower one wins, not the higher": elected(
            lambda row, own: np.flatnonzero(np.bincount(row) == np.bincount(row).max())[-1] == own
        ),
        "of labels that tie only the lower one wins; here the own label won every tie": elected(
            lambda row, own: (row == own).sum() == np.bincount(row).max()
        ),
        "of labels that tie the lower one wins; here the own label lost every tie": elected(
            lambda row, own: (row == own).sum() > max([(row == other).sum() for other in set(row) - {own}], default=0)
        ),
        "that is the overlap with the labels: first let each list elect one label": lambda graph, labels: label_overlap(
            graph, labels, graph.k
        ),
        "one neighbour with the label is not enough to win": elected(lambda row, own: (row == own).any()),
        "all neighbours vote, not only the nearest": elected(lambda row, own: row[0] == own),
        "of labels that tie the lower one wins, not the one that is nearer": elected(
            lambda row, own: max(row, key=lambda label: (row == label).sum()) == own
        ),
        "that is the number of points; asked is their share": lambda graph, labels: vote(graph, labels) * graph.n,
        "that is the share of points that are outvoted": lambda graph, labels: 1 - vote(graph, labels),
    },
)

# --- 2.3


def chance_spread(n: int, k: int, pairs: int) -> float:
    # What a simulation comes near: of k names out of n - 1 the number of hits is hypergeometric.
    # A single pair has no spread.
    return spread(n, k, n - 1) if pairs > 1 else 0.0


def spread(n: int, k: int, others: int) -> float:
    """The standard deviation of the overlap of n points that each name k of so many others."""
    hits = k * (k / others) * (1 - k / others) * (others - k) / max(others - 1, 1)
    return float(np.sqrt(hits / n) / k)


def logarithm(found: float, n: int, k: int, pairs: int) -> float:
    """The logarithm of the spread, that of a very small number where there is none or where it is undefined."""
    return float(np.log(np.nanmax([float(found), 1e-9])))


SPREAD = Exercise(
    "2.3",
    chance_spread,
    lambda: {
        "n = 100, k = 10 and 300 pairs": (100, 10, 300),
        "n = 40, k = 5 and 400 pairs": (40, 5, 400),
        "n = 4, k = 3 and 50 pairs, where each point names all others": (4, 3, 50),
        "n = 30, k = 6 and a single pair": (30, 6, 1),
    },
    {
        "a point must not name itself: it has n - 1 others to choose from": lambda n, k, pairs: spread(n, k, n),
        "the argument pairs is not used: a single pair has no spread": lambda n, k, pairs: spread(n, k, n - 1),
        "that is the variance; the standard deviation is its root": lambda n, k, pairs: chance_spread(n, k, pairs) ** 2,
        "that is the mean overlap; asked is the standard deviation": lambda n, k, pairs: k / (n - 1),
        "that is the standard error of the mean over the pairs": lambda n, k, pairs: (
            chance_spread(n, k, pairs) / np.sqrt(pairs)
        ),
        "the overlap is a share: divide the number of common neighbours by k": lambda n, k, pairs: (
            k * chance_spread(n, k, pairs)
        ),
        "the overlap is a share of the k neighbours, and not of all n points": lambda n, k, pairs: (
            k / n * chance_spread(n, k, pairs)
        ),
        "that is the spread over single points; take the mean over the points of each pair first": lambda n, k, pairs: (
            np.sqrt(n) * chance_spread(n, k, pairs)
        ),
        "all pairs are equal: draw each graph anew, with one generator for all": lambda n, k, pairs: 0.0,
    },
    tolerance=0.17,
    compared=logarithm,
)

# --- 2.4


def same_side(graph: NeighborGraph, things: np.ndarray, families: np.ndarray, flipped: np.ndarray) -> float:
    return sides(graph, things, families, flipped)


def sides(
    graph: NeighborGraph,
    things: np.ndarray,
    families: np.ndarray,
    flipped: np.ndarray,
    nearest: int = 15,
    shown: tuple[str, ...] = ("mammal", "bird", "fish"),
    weighted: bool = True,
) -> float:
    """The share of neighbours of the same thing that face the same way; every neighbour counts, or every picture."""
    near = graph.indices[:, :nearest]
    counted = (things[near] == things[:, None]) & np.isin(families, shown)[:, None]
    same = (flipped[near] == flipped[:, None]) & counted
    if weighted:
        return float(same.sum() / counted.sum())
    some = counted.any(axis=1)
    return float((same.sum(axis=1)[some] / counted.sum(axis=1)[some]).mean())


def drawn() -> Cases:
    names = np.array(["mammal", "mammal", "bird", "fish", "vehicle", "tree"])

    def world(seed: int, strength: float) -> tuple:
        rng = np.random.default_rng(seed)
        things, flipped = rng.integers(0, 6, 400), rng.choice([-1.0, 1.0], 400)
        x = rng.normal(size=(400, 3)) + np.column_stack([things, 0 * things, strength * flipped * (things < 5)])
        return knn_graph(x, 24), things, names[things], flipped

    _, things, families, flipped = world(3, 0.0)
    places = np.random.default_rng(3).normal(size=(400, 3)) + things[:, None]
    twins = np.concatenate([places, places + 0.01])
    return {
        "pictures that are told apart by their side": world(1, 1.0),
        "pictures that hardly are": world(2, 0.2),
        "pictures next to their mirror images": (
            knn_graph(twins, 24),
            np.tile(things, 2),
            np.tile(families, 2),
            np.concatenate([flipped, -flipped]),
        ),
    }


ALL = ("mammal", "bird", "fish", "vehicle", "tree")
SIDE = Exercise(
    "2.4",
    same_side,
    drawn,
    {
        "only neighbours that show the same thing count": lambda graph, things, families, flipped: sides(
            graph, 0 * things, families, flipped
        ),
        "neighbours have to show the same thing; the same family is not enough": (
            lambda graph, things, families, flipped: sides(
                graph, np.unique(families, return_inverse=True)[1], families, flipped
            )
        ),
        "only pictures of mammals, birds and fishes count": lambda graph, things, families, flipped: sides(
            graph, things, families, flipped, shown=ALL
        ),
        "only the 15 nearest count, and the graph holds more": lambda graph, things, families, flipped: sides(
            graph, things, families, flipped, graph.k
        ),
        "all neighbours count equally: do not take the mean of each picture first": (
            lambda graph, things, families, flipped: sides(graph, things, families, flipped, weighted=False)
        ),
        "that is the share that faces the other way": lambda graph, things, families, flipped: (
            1 - same_side(graph, things, families, flipped)
        ),
        "chance does not have to be taken off": lambda graph, things, families, flipped: (
            same_side(graph, things, families, flipped) - 0.5
        ),
        "a product is 1 or -1; ask whether the two are equal": lambda graph, things, families, flipped: (
            2 * same_side(graph, things, families, flipped) - 1
        ),
        "of which share? Divide by the neighbours that show the same thing, not by all": (
            lambda graph, things, families, flipped: (
                (flipped[graph.indices[:, :15]] == flipped[:, None])
                & (things[graph.indices[:, :15]] == things[:, None])
                & np.isin(families, ALL[:3])[:, None]
            ).mean()
        ),
        "mammals only were looked at": lambda graph, things, families, flipped: sides(
            graph, things, families, flipped, shown=ALL[:1]
        ),
    },
)

EXERCISES = (UNNAMED, VOTE, SPREAD, SIDE)
