"""Exercises of chapter 9, on a network of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..graph import NeighborGraph
from ..overlap import neighborhood_overlap
from .exercise import Cases, Exercise

Shapes = Mapping[str, tuple[int, ...]]

# --- 9.1


def gigabytes(shapes: Shapes, n: int) -> float:
    return 2 * n * sum(map(size, shapes.values())) / 1e9


def size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def networks() -> Cases:
    rng = np.random.default_rng(91)
    small = {"input": (3, 32, 32), "stem": (16, 16, 16), "pool": (48,), "logits": (10,)}
    random = {f"layer {i}": tuple(map(int, rng.integers(1, 60, d))) for i, d in enumerate((3, 3, 2, 3, 1, 1))}
    return {"a small network and 90,000 images": (small, 90_000), "random shapes and 1,234 images": (random, 1234)}


GIGABYTES = Exercise(
    "9.1",
    gigabytes,
    networks,
    {
        "a number takes two bytes here, not four": lambda shapes, n: 2 * gigabytes(shapes, n),
        "a number takes two bytes here, not eight": lambda shapes, n: 4 * gigabytes(shapes, n),
        "a number takes two bytes, not one": lambda shapes, n: gigabytes(shapes, n) / 2,
        "a gigabyte has 10^9 bytes here, not 2^30": lambda shapes, n: gigabytes(shapes, n) * 1e9 / 2**30,
        "those are megabytes": lambda shapes, n: gigabytes(shapes, n) * 1000,
        "those are bytes": lambda shapes, n: gigabytes(shapes, n) * 1e9,
        "that is for one image: n is not used": lambda shapes, n: gigabytes(shapes, 1),
        "the number of features is the product of the sides, not their sum": lambda shapes, n: (
            2 * n * sum(sum(shape) for shape in shapes.values()) / 1e9
        ),
        "only the channels were counted": lambda shapes, n: 2 * n * sum(shape[0] for shape in shapes.values()) / 1e9,
        "that is the largest layer alone": lambda shapes, n: 2 * n * max(map(size, shapes.values())) / 1e9,
        "that is the first layer alone": lambda shapes, n: 2 * n * size(next(iter(shapes.values()))) / 1e9,
        "that is the last layer alone": lambda shapes, n: 2 * n * size(list(shapes.values())[-1]) / 1e9,
        "that is the mean over the layers; asked is what all of them need": lambda shapes, n: (
            gigabytes(shapes, n) / len(shapes)
        ),
    },
)

# --- 9.2


def fitting(shapes: Shapes, n: int, budget: float) -> list[str]:
    return taken(shapes, n, budget, lambda shapes: sorted(shapes, key=lambda name: size(shapes[name])))


def taken(shapes: Shapes, n: int, budget: float, order: Callable, stop: bool = False, bytes_each: int = 2) -> list[str]:
    """The layers that are taken while there is room, tried in an order; in the order of the network."""
    chosen, used = set(), 0.0
    for name in order(shapes):
        need = bytes_each * n * size(shapes[name]) / 1e9
        if used + need <= budget:
            used += need
            chosen.add(name)
        elif stop:
            break
    return [name for name in shapes if name in chosen]


def budgets() -> Cases:
    layers = {"input": (3, 8, 8), "stem": (4, 5, 5), "block": (10, 3), "pool": (40,), "logits": (7,)}
    rng = np.random.default_rng(92)
    random = {f"layer {i}": (int(w),) for i, w in enumerate(rng.permutation(np.arange(5, 90, 7)))}
    return {
        "a budget that two large layers exceed": (layers, 500_000, 0.15),
        "a budget that three layers nearly use up": (layers, 500_000, 0.08),
        "a budget for all": (layers, 1000, 10.0),
        "random layers": (random, 1_000_000, 0.4),
        "three layers that use up the budget exactly": (
            {"input": (4,), "stem": (2, 1), "pool": (1,), "logits": (8,)},
            500_000_000,
            7.0,
        ),
        "two layers, of which 2 GB are not enough for both": ({"stem": (1, 1), "pool": (1, 1, 1)}, 520_000_000, 2.0),
    }


def in_order(shapes: Shapes, chosen: list[str]) -> list[str]:
    """Those that were chosen, in the order of the network."""
    return [name for name in shapes if name in chosen]


def by_size(shapes: Shapes) -> list[str]:
    return sorted(shapes, key=lambda name: size(shapes[name]))


FITTING = Exercise(
    "9.2",
    fitting,
    budgets,
    {
        "the names have to be in the order of the network, not by size": lambda shapes, n, budget: [
            name for name in by_size(shapes) if name in fitting(shapes, n, budget)
        ],
        "the layers have to fit together, not one by one": lambda shapes, n, budget: [
            name for name in shapes if 2 * n * size(shapes[name]) / 1e9 <= budget
        ],
        "taken in the order of the network, large layers leave no room: take the smallest first": (
            lambda shapes, n, budget: taken(shapes, n, budget, list)
        ),
        "after the first layer that does not fit, smaller ones may: take the smallest first": (
            lambda shapes, n, budget: taken(shapes, n, budget, list, stop=True)
        ),
        "the largest layers were taken first, which leaves room for few": lambda shapes, n, budget: taken(
            shapes, n, budget, lambda shapes: by_size(shapes)[::-1]
        ),
        "the last layers were taken first: take the smallest first": lambda shapes, n, budget: taken(
            shapes, n, budget, lambda shapes: list(shapes)[::-1]
        ),
        "a number takes two bytes here, not four": lambda shapes, n, budget: fitting(shapes, 2 * n, budget),
        "n images are to be stored, not one": lambda shapes, n, budget: fitting(shapes, 1, budget),
        "layers that use up the budget exactly fit: use <=": lambda shapes, n, budget: fitting(
            shapes, n, budget * (1 - 1e-9)
        ),
        "a gigabyte has 10^9 bytes here, not 2^30": lambda shapes, n, budget: fitting(shapes, n, budget * 2**30 / 1e9),
        "the last one that was taken does not fit any more: add first, then compare": lambda shapes, n, budget: (
            in_order(
                shapes,
                [
                    name
                    for place, name in enumerate(by_size(shapes))
                    if 2 * n * sum(size(shapes[smaller]) for smaller in by_size(shapes)[:place]) / 1e9 < budget
                ],
            )
        ),
        "those are the layers that do not fit": lambda shapes, n, budget: [
            name for name in shapes if name not in fitting(shapes, n, budget)
        ],
        "a layer is as large as the product of its sides, not as its channels": lambda shapes, n, budget: fitting(
            {name: shape[:1] for name, shape in shapes.items()}, n, budget
        ),
    },
)

# --- 9.3


def most_alike(graph: NeighborGraph, graphs: Mapping[str, NeighborGraph]) -> str:
    return nearest(lambda a, b: neighborhood_overlap(a, b, min(a.k, b.k, 30)))(graph, graphs)


def nearest(likeness: Callable) -> Callable:
    """The layer for which a likeness of two graphs is largest."""
    return lambda graph, graphs: max(graphs, key=lambda layer: likeness(graph, graphs[layer]))


def two_networks() -> Cases:
    def like(graph: NeighborGraph, rng: np.random.Generator, kept: int, in_order: bool) -> NeighborGraph:
        """A graph that keeps so many of the first names of each point, in their order or at the end."""
        n, k = graph.n, graph.k
        rows = []
        for i, row in enumerate(graph.indices):
            strangers = rng.permutation(np.setdiff1d(np.arange(n), [*row, i]))[: k - kept]
            old = row[:kept] if in_order else rng.permutation(row)[:kept]
            rows.append(np.r_[old, strangers] if in_order else rng.permutation(np.r_[old, strangers]))
        return NeighborGraph(np.sort(rng.random((n, k)) * rng.uniform(0.5, 3), axis=1), np.array(rows))

    def world(seed: int, k: int, kept: dict[str, tuple[int, bool]]) -> tuple:
        rng = np.random.default_rng([93, seed])
        order = rng.random((60, 60))
        np.fill_diagonal(order, np.inf)
        graph = NeighborGraph(np.sort(rng.random((60, k)), axis=1), order.argsort(axis=1)[:, :k])
        return graph, {layer: like(graph, rng, *how) for layer, how in kept.items()}

    return {
        "three layers and six neighbours": world(1, 6, {"stem": (1, True), "block": (5, False), "pool": (3, True)}),
        "four layers and ten neighbours": world(
            2, 10, {"input": (2, False), "block": (4, True), "pool": (7, False), "logits": (3, True)}
        ),
        "two layers and four neighbours": world(3, 4, {"pool": (3, True), "logits": (0, True)}),
        "three layers and five neighbours": world(4, 5, {"a": (0, True), "b": (2, True), "c": (4, False)}),
        **misleading(),
    }


def popularity(graph: NeighborGraph) -> np.ndarray:
    """How many lists name each point."""
    return np.bincount(graph.indices.ravel(), minlength=graph.n)


def misleading() -> Cases:
    """Layers that are most alike for some points only, at some places of the lists only, or in other ways."""
    rng = np.random.default_rng(94)
    n = 60
    # Neighbours are between 20 and 39, and strangers on both sides.
    names = np.array([rng.permutation(np.setdiff1d(np.arange(20, 40), i))[:6] for i in range(n)])
    low = np.array([rng.permutation(np.setdiff1d(np.arange(20), i))[:6] for i in range(n)])
    high = np.array([rng.permutation(np.setdiff1d(np.arange(40, n), i))[:6] for i in range(n)])

    def graph(indices: np.ndarray) -> NeighborGraph:
        return NeighborGraph(np.sort(rng.random(indices.shape), axis=1), indices)

    some = (np.arange(n) < 15)[:, None]
    moved = np.where((np.roll(names, 1, axis=0) == np.arange(n)[:, None]), 0, np.roll(names, 1, axis=0))
    ordered = np.sort(names, axis=1)
    return {
        "layers that are like some points only": (
            graph(names),
            {
                "stem": graph(np.where(some, names, high)),
                "block": graph(np.column_stack([high[:, :5], names[:, 5]])),
                "pool": graph(np.where(some, low, np.column_stack([names[:, :3], high[:, :3]]))),
                "logits": graph(moved),
            },
        ),
        "layers with the same neighbours in another order": (
            graph(names[:, :2]),
            {"pool": graph(np.column_stack([names[:, 0], high[:, 0]])), "logits": graph(names[:, 1::-1])},
        ),
        "layers with neighbours of higher and lower numbers": (
            graph(names),
            {
                "pool": graph(np.column_stack([ordered[:, :2], high[:, :4]])),
                "block": graph(np.column_stack([low[:, 0], ordered[:, :5]])),
            },
        ),
    }


ALIKE = Exercise(
    "9.3",
    most_alike,
    two_networks,
    {
        "that is the layer with the fewest neighbours in common": nearest(
            lambda a, b: -neighborhood_overlap(a, b, a.k)
        ),
        "a neighbour counts wherever it stands in the other list, not only at the same place": nearest(
            lambda a, b: (a.indices == b.indices).mean()
        ),
        "all neighbours count, also the last": nearest(lambda a, b: neighborhood_overlap(a, b, a.k - 1)),
        "all points count, not only one of them": nearest(lambda a, b: len(set(a.indices[0]) & set(b.indices[0]))),
        "neighbours have to be those of the same point; how often each is named does not matter": nearest(
            lambda a, b: np.corrcoef(popularity(a), popularity(b))[0, 1]
        ),
        "all neighbours count, not only the first": nearest(lambda a, b: neighborhood_overlap(a, b, 1)),
        "compare who the neighbours are, not how far": nearest(lambda a, b: -np.abs(a.distances - b.distances).mean()),
        "that is the last layer in every case": lambda graph, graphs: list(graphs)[-1],
        "that is the first layer in every case": lambda graph, graphs: next(iter(graphs)),
    },
)

EXERCISES = (GIGABYTES, FITTING, ALIKE)
