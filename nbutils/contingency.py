"""How often each category lies on each peak, and what follows from these counts alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def checked_numbers(name: str, values: ArrayLike, n: int | None = None, least: int = 0) -> np.ndarray:
    """`values` as an (n,) integer array; ValueError unless they are integers of at least `least`, `n` of them."""
    array = np.asarray(values)
    if array.ndim != 1 or not len(array) or (n is not None and len(array) != n):
        wanted = "(n,) with n >= 1" if n is None else f"({n},)"
        raise ValueError(f"{name} must have the shape {wanted}, one entry for each, not {array.shape}")
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be integers, not {array.dtype}: np.unique({name}, return_inverse=True)[1] numbers names"
        )
    if array.min() < least:
        raise ValueError(f"{name} must be at least {least}, but contains {array.min()}")
    return array.astype(np.int64)


def category_counts(peak_labels: ArrayLike, labels: ArrayLike, c: int | None = None) -> np.ndarray:
    """(c, p) int, the number of points of each category on each peak.

    Points in the halo, of peak -1, are on no peak and are not counted.

    Parameters
    ----------
    peak_labels : (n,) int, the peak of each point, as in ``Topography.labels``.
    labels : (n,) int, the category of each point, from 0.
    c : number of categories, by default the largest label plus one. A category without points has a row of zeros.

    Raises
    ------
    ValueError
        If the two do not have one integer for each point, a label is negative or not below `c`, or all points are in
        the halo.
    """
    labels = checked_numbers("labels", labels)
    peak_labels = checked_numbers("peak_labels", peak_labels, len(labels), -1)
    if c is None:
        c = int(labels.max()) + 1
    if labels.max() >= c:
        raise ValueError(f"labels must be below the number of categories, {c}, but contains {labels.max()}")
    if (p := int(peak_labels.max()) + 1) == 0:
        raise ValueError("peak_labels has every point in the halo: find the peaks with halo=False")
    inside = peak_labels >= 0
    return np.bincount(labels[inside] * p + peak_labels[inside], minlength=c * p).reshape(c, p)


def adjusted_rand(counts: np.ndarray) -> float:
    """Adjusted Rand index of two partitions, from how often each two of their parts coincide.

    It is 1 for equal partitions, and 0 on average for shuffled ones. Against a partition with a single part it is 0,
    and so a landscape with one peak agrees with nothing.

    Source: Hubert and Arabie (1985).

    Parameters
    ----------
    counts : (g, p) int, the number of points in part a of one and part b of the other.

    Raises
    ------
    ValueError
        If the points are all in one row: then there is nothing to agree with.
    """
    counts = np.asarray(counts, dtype=float)
    if counts.ndim != 2 or (counts.any(1)).sum() < 2:
        raise ValueError(f"counts must be a table with at least two rows that have points, not {counts.shape}")
    rows, columns = counts.sum(1), counts.sum(0)
    return float(adjusted_rand_of_squares((counts**2).sum(), (rows**2).sum(), (columns**2).sum(), counts.sum()))


def adjusted_rand_of_squares(both: ArrayLike, rows: ArrayLike, columns: ArrayLike, n: ArrayLike) -> np.ndarray:
    """The index from the sums of the squared counts of the table, of its rows and of its columns; arrays broadcast."""
    # m (m - 1) / 2 pairs in a part of m points: summed over the parts, half of (the sum of m^2 - n).
    both, rows, columns = (np.subtract(squares, n) for squares in (both, rows, columns))
    expected = rows * columns / np.maximum(np.multiply(n, np.subtract(n, 1)), 1)
    room = (rows + columns) / 2 - expected
    # Where there is no room, both partitions consist of single points, and are equal.
    return np.where(room == 0, 1.0, (both - expected) / np.where(room == 0, 1.0, room))
