"""The overlap of neighbourhoods between two layers, and with labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .graph import NeighborGraph


def neighborhood_overlap(a: NeighborGraph, b: NeighborGraph, k: int = 30) -> float:
    """Mean fraction of the first k neighbours of a point that are the same in both graphs, in [0, 1].

    Two independent spaces have an expected overlap of k / (n - 1).

    Source: Doimo et al. (2020), chi^{l,m}.

    Raises
    ------
    TypeError
        If `k` is not an integer.
    ValueError
        If the graphs do not have the same number of points, or hold fewer than `k` neighbours.
    """
    if a.n != b.n:
        raise ValueError(f"a and b must be graphs of the same points, but have {a.n} and {b.n}")
    for graph in (a, b):
        graph.check_k(k)
    return sum(int(_shared(a.indices[rows, :k], b.indices[rows, :k]).sum()) for rows in _some(a.n)) / (a.n * k)


def _some(n: int) -> list[slice]:
    """Slices of the rows, so that the memory for intermediate arrays does not grow with n."""
    return [slice(start, start + 8192) for start in range(0, n, 8192)]


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Number of neighbours that each row of a has in common with the same row of b."""
    # No row holds a neighbour twice, so equal entries that are adjacent after sorting are one from a and one from b.
    both = np.sort(np.concatenate([a, b], axis=1), axis=1)
    return (both[:, 1:] == both[:, :-1]).sum(1)


def label_overlap(graph: NeighborGraph, labels: Sequence | np.ndarray, k: int = 30) -> float:
    """Mean fraction of the first k neighbours of a point that have its label, in [0, 1].

    For c equally frequent labels the overlap expected by chance is about 1 / c; see `chance_label_overlap`.

    Source: Doimo et al. (2020), chi^{l,gt}.

    Parameters
    ----------
    labels : (n,) numbers or strings, the label of each point; an array, a list, or a column of a table. The numbers may
        have gaps.

    Raises
    ------
    TypeError
        If `k` is not an integer.
    ValueError
        If there is not one label for each point, one is missing (None, NaN), or the graph holds fewer than `k`
        neighbours.
    """
    labels = checked_labels(labels, graph.n)
    graph.check_k(k)
    return sum(int((labels[graph.indices[rows, :k]] == labels[rows, None]).sum()) for rows in _some(graph.n)) / (
        graph.n * k
    )


def chance_label_overlap(labels: Sequence | np.ndarray) -> float:
    """The expected overlap of randomly permuted labels: the probability that two random points have the same label.

    Raises
    ------
    ValueError
        If there are fewer than two labels, or one is missing.
    """
    labels = checked_labels(labels, len(labels))
    if len(labels) < 2:
        raise ValueError(f"labels must have at least two entries, not {len(labels)}")
    counts = np.unique(labels, return_counts=True)[1].astype(float)
    n = counts.sum()
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def checked_labels(labels: Sequence | np.ndarray, n: int) -> np.ndarray:
    """The labels as numbers from 0 on, equal where they are equal; ValueError unless there is one for each point."""
    # Of a list with NaN among strings NumPy would make strings, and "nan" one of them.
    labels = np.asarray(labels, object if isinstance(labels, (list, tuple)) else None)
    if labels.shape != (n,):
        raise ValueError(f"labels must have the shape ({n},), one entry for each point, not {labels.shape}")
    for i, label in enumerate(labels.tolist() if labels.dtype.kind in "Ofc" else ()):
        if is_missing(label):
            raise ValueError(f"labels[{i}] is {label}: leave out the points that have no label, or give them one")
    if labels.dtype != object:
        return np.unique(labels, return_inverse=True)[1]
    numbers: dict[object, int] = {}  # objects of several types cannot be sorted
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], int)


def is_missing(label: object) -> bool:
    """Whether a label is None, NaN or what pandas has for them, none of which is known to equal itself."""
    try:
        return bool(label is None or label != label)
    except TypeError:
        return True
