"""The neighbour graph: for every point its k nearest others. All that later chapters need of the data."""

from __future__ import annotations

import os
import warnings

import numpy as np
import torch

from ._device import best_device, full_precision
from ._search import Blocks, nearest_candidates, refine
from .graph import NeighborGraph


def knn_graph(
    x: np.ndarray | torch.Tensor | str | os.PathLike,
    k: int,
    device: torch.device | str | None = None,
    *,
    memory: float = 1e9,
) -> NeighborGraph:
    """Exact Euclidean nearest neighbours of every row of x.

    Distances come from matrix products in float32, of centred data: the rounding error grows with the distance from
    the origin. They are symmetric, so each pair of blocks is visited once. Most are farther than what either point has
    found already, and are only compared with that. Wherever rounding could have changed a neighbour or the order,
    differences of the data summed in float64 decide, and equal distances are ordered by index. A row that may have
    lost a neighbour is searched again. Distances are right to 2e-7 of their size, and to the last bit if n k times the
    number of features is below 7e7.

    Parameters
    ----------
    x : (n, ...) array, memory map or tensor of any real type, or the path of a ``.npy`` file; all axes after the first
        are features.
    k : number of neighbours, below n.
    device : where the matrix products run; by default the best there is.
    memory : bytes of working memory, beyond x and a few times the result. On a processor as many threads share it as
        ``torch.get_num_threads()`` says.

    Raises
    ------
    TypeError
        If `x` is sparse, complex, or no numbers at all.
    ValueError
        If `x` has NaN or infinite values, fewer than two rows or no features, or varies by more than 1e18 or less
        than 1e-18, or if `k` is not in 1 ... n - 1.
    """
    x = as_rows(x)
    check_count(k, len(x))
    device = torch.device(device) if device is not None else best_device()
    with full_precision(device):
        data = Blocks(x, device, memory, torch.get_num_threads() if device.type == "cpu" else 1)
        return NeighborGraph(*refine(data, k, *nearest_candidates(data, min(k + 4, len(x) - 1))))


def check_count(k: int, n: int) -> None:
    if not 1 <= k < n:
        raise ValueError(f"k={k} must lie in 1 ... n - 1 = {n - 1}")


def as_rows(x: np.ndarray | torch.Tensor | str | os.PathLike) -> torch.Tensor:
    """x as a tensor (n, features) in the same memory; TypeError or ValueError as `knn_graph` has it."""
    if isinstance(x, (str, os.PathLike)):
        x = np.load(x, mmap_mode="r", allow_pickle=False)
    if isinstance(x, torch.Tensor):
        x = x.detach()
        real = x.layout is torch.strided and not x.is_complex()
    else:
        x = np.asarray(x)
        real = x.dtype.kind in "biuf" and x.dtype.itemsize <= 8 and x.dtype.isnative
    if not real:
        raise TypeError(
            f"x must be a dense array of real numbers, at most float64, not of {x.dtype}: convert it, for "
            "instance with x.astype(float), or x.toarray() if it is sparse"
        )
    if x.ndim < 1 or len(x) < 2 or 0 in x.shape:
        raise ValueError(f"x must have the shape (n, ...) with at least two rows and one feature, not {tuple(x.shape)}")
    x = x.reshape(len(x), -1)
    if not isinstance(x, torch.Tensor):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writ")  # nothing here writes to x
            x = torch.from_numpy(x if min(x.strides) >= 0 else x.copy())
    return x
