"""How alike two neighbourhoods are: between layers, and with the labels."""

from __future__ import annotations

import numpy as np

from .graph import NeighborGraph


def neighborhood_overlap(a: NeighborGraph, b: NeighborGraph, k: int = 30) -> float:
    """Mean share of the first k neighbours that a point has in both graphs, in [0, 1].

    Two unrelated spaces share k / (n - 1) by chance.

    Source: Doimo et al. (2020), chi^{l,m}.

    Raises
    ------
    ValueError
        If the graphs do not have the same number of points, or hold fewer than `k` neighbours.
    """
    if a.n != b.n:
        raise ValueError(f"a and b must be graphs of the same points, but have {a.n} and {b.n}")
    for graph in (a, b):
        graph.check_k(k)
    return sum(int(_shared(a.indices[rows, :k], b.indices[rows, :k]).sum()) for rows in _some(a.n)) / (a.n * k)


def _some(n: int) -> list[slice]:
    """Rows a few at a time, so that memory does not grow with the graph."""
    return [slice(start, start + 8192) for start in range(0, n, 8192)]


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Number of neighbours that each row of a has in common with the row of b."""
    # Sorted side by side, a neighbour of both stands next to itself: no row holds a neighbour twice.
    both = np.sort(np.concatenate([a, b], axis=1), axis=1)
    return (both[:, 1:] == both[:, :-1]).sum(1)


def label_overlap(graph: NeighborGraph, labels: np.ndarray, k: int = 30) -> float:
    """Mean share of the first k neighbours that have the point's own label, in [0, 1].

    For c equally frequent labels chance is about 1 / c; `chance_label_overlap` gives it exactly.

    Source: Doimo et al. (2020), chi^{l,gt}.

    Raises
    ------
    ValueError
        If there is not one label a point, or the graph holds fewer than `k` neighbours.
    """
    labels = checked_labels(labels, graph.n)
    graph.check_k(k)
    return sum(int((labels[graph.indices[rows, :k]] == labels[rows, None]).sum()) for rows in _some(graph.n)) / (
        graph.n * k
    )


def chance_label_overlap(labels: np.ndarray) -> float:
    """The overlap of labels that are shuffled: the chance that another random point has the same label.

    Raises
    ------
    ValueError
        If there are fewer than two labels.
    """
    labels = checked_labels(labels, len(labels))
    if len(labels) < 2:
        raise ValueError(f"labels must be those of at least two points, not {len(labels)}")
    counts = np.unique(labels, return_counts=True)[1].astype(float)
    n = counts.sum()
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def checked_labels(labels: np.ndarray, n: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise ValueError(f"labels must have one entry for each of the {n} points, but has the shape {labels.shape}")
    return labels
