"""Intrinsic dimension over scales by decimation: the one estimate that needs the points and not their graph alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .dimension import Scaling, twonn
from .neighbors import knn_graph


def decimate(x: np.ndarray, sizes: Sequence[int], repeats: int = 5, seed: int = 0) -> Scaling:
    """`twonn` of random subsamples: among fewer points neighbours lie farther apart, and show a larger scale.

    Source: Facco, d'Errico, Rodriguez and Laio (2017), "block analysis".

    Parameters
    ----------
    x : (n, ...) the points.
    sizes : numbers of points to keep, each from 5 to n.
    repeats : subsamples of each size; the error is the standard deviation of their dimensions.

    Returns
    -------
    One entry for each size. `scale` is the mean distance to the second neighbour, so `far` is 2 throughout.

    Raises
    ------
    ValueError
        If a size is below 5 or above the number of points.
    """
    if min(sizes) < 5 or max(sizes) > len(x):
        raise ValueError(f"sizes must lie in 5 ... n = {len(x)}")
    rng = np.random.default_rng(seed)
    found = np.empty((len(sizes), repeats, 2))
    for i, size in enumerate(sizes):
        for j in range(repeats):
            graph = knn_graph(x[np.sort(rng.choice(len(x), size, replace=False))], 2)
            found[i, j] = twonn(graph).value, graph.distances[:, 1].mean()
    value, scale = found.mean(1).T
    return Scaling(value, found[:, :, 0].std(1), scale, np.full(len(sizes), 2))
