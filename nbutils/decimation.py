"""Intrinsic dimension over scales by decimation, which needs the points themselves and not only their graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .dimension import Scaling, twonn
from .graph import checked_integer
from .neighbors import knn_graph


def decimate(
    x: np.ndarray, sizes: Sequence[int], repeats: int = 5, random_state: int | np.random.Generator = 0
) -> Scaling:
    """`twonn` of random subsamples: the fewer points there are, the farther apart neighbours lie, the larger the scale.

    Source: Facco, d'Errico, Rodriguez and Laio (2017), "block analysis".

    Parameters
    ----------
    x : (n, ...) the points.
    sizes : numbers of points to keep, each from 5 to n.
    repeats : subsamples of each size; the error is the standard deviation of their dimensions.
    random_state : a seed or a NumPy generator, from which the subsamples are drawn.

    Returns
    -------
    One entry for each size. `scale` is the mean distance to the second neighbour, in the unit of the data, so `far` is
    2 throughout.

    Raises
    ------
    TypeError
        If a size or `repeats` is not an integer, or as `neighbors.knn_graph` has it.
    ValueError
        If a size is below 5 or above the number of points, or as `neighbors.knn_graph` and `twonn` have it.
    """
    sizes = [checked_integer("sizes", size, 5, len(x), "the number of points") for size in sizes]
    repeats = checked_integer("repeats", repeats, 1)
    rng = np.random.default_rng(random_state)
    found = np.empty((len(sizes), repeats, 2))
    for i, size in enumerate(sizes):
        for j in range(repeats):
            graph = knn_graph(x[np.sort(rng.choice(len(x), size, replace=False))], 2)
            found[i, j] = twonn(graph).value, graph.distances[:, 1].mean()
    value, scale = found.mean(1).T
    return Scaling(value, found[:, :, 0].std(1), scale, np.full(len(sizes), 2))
