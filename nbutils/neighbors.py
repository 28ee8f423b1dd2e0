"""The neighbour graph of data: for every point its k nearest others."""

from __future__ import annotations

import os
import threading
import warnings

import numpy as np
from numpy.typing import ArrayLike

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "the search for neighbours needs torch: pip install 'hierarchical-nucleation[extraction]'", name=error.name
    ) from error

from ._blocks import Blocks
from ._device import as_device, full_precision
from ._search import nearest_candidates, plan, refine
from .graph import NeighborGraph, checked_integer

WARNINGS = threading.Lock()  # the filters of warnings are those of the whole process


def knn_graph(
    x: ArrayLike | torch.Tensor | str | os.PathLike,
    k: int,
    device: torch.device | str | None = None,
    *,
    memory: float = 1e9,
) -> NeighborGraph:
    """Exact Euclidean nearest neighbours of every row of x.

    Candidates are found with matrix products of the centred data, in bfloat16 where the processor is fast at it and in
    float32 elsewhere. The largest error that a product can have is allowed for, so that no neighbour is missed. Their
    distances are computed in float64, and from differences wherever that would change a neighbour or the order of two.
    Equal distances are ordered by index. The neighbours are the same whatever the precision of the products, the device
    and the memory, and the distances are right to the rounding of float32.

    Each pair of blocks of rows is visited once, since distances are symmetric.

    Parameters
    ----------
    x : (n, ...) array, memory map or tensor of any real type, or the path of a ``.npy`` file; all axes after the first
        are features.
    k : number of neighbours, below n.
    device : where the matrix products run; by default the best device there is: CUDA, else MPS, else the CPU.
    memory : bytes of working memory, beyond x and a few times the result. On the CPU ``torch.get_num_threads()``
        threads share it.

    Raises
    ------
    TypeError
        If `x` is sparse, complex or not numeric, or if `k` is not an integer.
    ValueError
        If `x` has NaN or infinite values, fewer than two rows or no features, or varies by more than 1e18 or less
        than 1e-18, or if `k` is not in 1 ... n - 1.
    """
    x = as_rows(x)
    k = checked_neighbors(k, len(x))
    device = as_device(device)
    with full_precision(device):
        data = Blocks(x, device, memory, torch.get_num_threads() if device.type == "cpu" else 1)
        return NeighborGraph(*refine(data, k, *nearest_candidates(*plan(data, k))))


def checked_neighbors(k: int, n: int) -> int:
    """`k` as an int; TypeError unless it is an integer, ValueError unless 1 <= k < n."""
    return checked_integer("k", k, 1, n - 1, f"since each of the {n} rows of x has {n - 1} others")


def as_rows(x: ArrayLike | torch.Tensor | str | os.PathLike) -> torch.Tensor:
    """x as a tensor (n, features), in the same memory if possible; TypeError or ValueError as `knn_graph` has it."""
    data = np.load(x, mmap_mode="r", allow_pickle=False) if isinstance(x, (str, os.PathLike)) else x
    if isinstance(data, torch.Tensor):
        data = data.detach()
        real = data.layout is torch.strided and not data.is_complex()
    else:
        data = np.asarray(data)
        real = data.dtype.kind in "biuf" and data.dtype.itemsize <= 8 and data.dtype.isnative
    if not real:
        raise TypeError(
            f"x must be a dense array of real numbers, at most float64, not of {data.dtype}: convert it, for "
            "instance with x.astype(float), or x.toarray() if it is sparse"
        )
    if data.ndim < 1 or len(data) < 2 or 0 in data.shape:
        raise ValueError(
            f"x must have the shape (n, ...) with at least two rows and one feature, not {tuple(data.shape)}"
        )
    data = data.reshape(len(data), -1)
    if isinstance(data, torch.Tensor):
        return data
    with WARNINGS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writ")  # nothing here writes to x
        whole = all(step >= 0 and step % data.itemsize == 0 for step in data.strides)
        return torch.from_numpy(data if whole else data.copy())
