"""The neighbour graph: for every point its k nearest others. All that later chapters need of the data."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .blocks import Blocks, full_precision, nearest_candidates

QUICK = 2**26  # so many differences take no time: then all distances come from them
SAMPLE = 2**25  # so many differences tell how large rounding is
DIGITS = 2.0**-21  # of a squared distance: where there are more, an error larger than this is not left to rounding


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """The k nearest neighbours of n points, the point itself excluded.

    Attributes
    ----------
    distances : (n, k) float32, ascending in each row
    indices : (n, k) int32; of neighbours at equal distance the one with the lower index comes first

    Raises
    ------
    ValueError
        If the arrays do not have this form: another library may count the point itself as its first neighbour.
    """

    distances: np.ndarray
    indices: np.ndarray

    def __post_init__(self) -> None:
        distances, indices = np.ascontiguousarray(self.distances, np.float32), np.asarray(self.indices)
        if distances.ndim != 2 or distances.shape != indices.shape or 0 in distances.shape:
            raise ValueError("distances and indices must both have the shape (n, k) with n, k >= 1, not "
                             f"{distances.shape} and {indices.shape}")
        if not np.isfinite(distances).all() or (distances < 0).any():
            raise ValueError("distances must be finite and not negative")
        if (np.diff(distances, axis=1) < 0).any():
            raise ValueError("distances must ascend in each row: sort the neighbours by distance")
        if indices.dtype.kind not in "iu":
            raise ValueError(f"indices must be integers, not {indices.dtype}")
        if indices.min() < 0 or indices.max() >= len(indices):
            raise ValueError(f"indices must lie in 0 ... n - 1 = {len(indices) - 1}")
        if (indices == np.arange(len(indices))[:, None]).any():
            raise ValueError("indices contains a point as its own neighbour: drop that column")
        indices = np.ascontiguousarray(indices, np.int32)
        if (np.diff(np.sort(indices, axis=1), axis=1) == 0).any():
            raise ValueError("indices contains a neighbour twice in the same row")
        object.__setattr__(self, "distances", distances)
        object.__setattr__(self, "indices", indices)

    @property
    def n(self) -> int:
        return self.indices.shape[0]

    @property
    def k(self) -> int:
        return self.indices.shape[1]

    def __repr__(self) -> str:
        return f"NeighborGraph(n={self.n}, k={self.k})"

    def truncate(self, k: int) -> NeighborGraph:
        """The graph of the first `k` neighbours; ValueError unless 1 <= k <= self.k."""
        self.check_k(k)
        return NeighborGraph(self.distances[:, :k], self.indices[:, :k])

    def check_k(self, k: int) -> None:
        """ValueError unless 1 <= k <= self.k."""
        if not 1 <= k <= self.k:
            raise ValueError(f"k={k} must lie in 1 ... {self.k}, the neighbours that this graph holds; "
                             "build a larger one with knn_graph(x, k)")

    def save(self, path: str | os.PathLike) -> None:
        """Write a compressed ``.npz``, whole or not at all."""
        path = Path(path)
        temporary = path.with_name(path.name + ".part")
        with temporary.open("wb") as file:
            np.savez_compressed(file, distances=self.distances, indices=self.indices)
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> NeighborGraph:
        """Read a graph written by `save`; ValueError if the file is truncated, tampered with or something else."""
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                return cls(stored["distances"], stored["indices"])
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            raise
        except Exception as error:  # a damaged file can fail in any way: as a zip, in its compression, as an array
            raise ValueError(f"path={str(path)!r} is no sound neighbour graph ({error}); fetch it again") from error


def knn_graph(x: np.ndarray | torch.Tensor | str | os.PathLike, k: int, device: torch.device | str | None = None, *,
              memory: float = 1e9, client: object = None) -> NeighborGraph:
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
    device : where the matrix products run; by default where `x` is, and the CPU for arrays.
    memory : bytes of working memory, beyond x and a few times the result. On a processor as many threads share it as
        ``torch.get_num_threads()`` says.
    client : a ``dask.distributed.Client``, whose workers then search, each for blocks of rows, and with `memory` for
        each block at hand; x must be a ``.npy`` file that all of them see, for instance a layer of an
        `ActivationStore`. A worker that is lost is made up for by the others. The neighbours are the same, and their
        distances as right.

    Raises
    ------
    TypeError
        If `x` is sparse, complex, or no numbers at all.
    ValueError
        If `x` has NaN or infinite values, fewer than two rows or no features, or varies by more than 1e18 or less
        than 1e-18, or if `k` is not in 1 ... n - 1.
    """
    if client is not None:
        from .distributed import knn_graph_there

        return knn_graph_there(client, x, k, device, memory)
    x = as_rows(x)
    check_count(k, len(x))
    device = torch.device(x.device if device is None else device)
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
        raise TypeError(f"x must be a dense array of real numbers, at most float64, not of {x.dtype}: convert it, for "
                        "instance with x.astype(float), or x.toarray() if it is sparse")
    if x.ndim < 1 or len(x) < 2 or 0 in x.shape:
        raise ValueError(f"x must have the shape (n, ...) with at least two rows and one feature, not {tuple(x.shape)}")
    x = x.reshape(len(x), -1)
    if not isinstance(x, torch.Tensor):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writ")  # nothing here writes to x
            x = torch.from_numpy(x if min(x.strides) >= 0 else x.copy())
    return x


def refine(data: Blocks, k: int, closeness: np.ndarray, candidates: np.ndarray,
           begin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the k nearest among the candidates of the points from `begin` on.

    Exact wherever rounding leaves a doubt; points that may lack one are searched anew.
    """
    n, (count, m) = len(data.x), candidates.shape
    square = data.square.cpu().numpy().astype(np.float64) / data.scale**2
    found = np.maximum(closeness.astype(np.float64) * -2 / data.scale**2, 0)

    # How far rounding moves a squared distance, as a share of the squares that it is made of: seen in a sample.
    some = np.arange(0, count, max(1, count // max(16, min(512, SAMPLE // (m * data.x.shape[1])))))
    i, j = begin + np.repeat(some, m), candidates[some].ravel()
    off = np.abs(found[some].ravel() - data.squared_distances(i, j)) / np.maximum(square[i] + square[j], 1e-300)
    seen = max(off.max(), 2.0**-24)

    # Far beyond what was seen for the order, of which a mistake would change a neighbour.
    own = square[begin:begin + count]
    error = seen * (own[:, None] + square[candidates].max(1, keepdims=True))
    close = np.diff(found, axis=1) <= 8 * error
    unsure = (error > DIGITS * found) | (n * k * data.x.shape[1] <= QUICK)
    unsure[:, 1:] |= close
    unsure[:, :-1] |= close
    unsure &= found <= found[:, k - 1:k] + 8 * error
    i, place = unsure.nonzero()
    last, found[i, place] = found[:, -1].copy(), data.squared_distances(begin + i, candidates[i, place])
    distances, indices = take_nearest(found, candidates, k)

    if m < n - 1:
        # Whatever was left out lies beyond the last candidate by the approximate distance.
        reach = distances[:, -1] + 8 * seen * (own + (np.sqrt(own) + np.sqrt(distances[:, -1])) ** 2)
        lost = np.flatnonzero(last <= reach)
        for start in range(0, len(lost), step := min(data.rows, max(1, data.rows**2 // (8 * n)))):
            rows = lost[start:start + step]
            chosen = torch.from_numpy(begin + rows)
            wide = [data.closeness(chosen, others).cpu().double().numpy() for others in data.blocks]
            for row, far in zip(rows, np.concatenate(wide, axis=1) * (-2 / data.scale**2), strict=True):
                far[begin + row] = np.inf
                near = np.flatnonzero(far <= reach[row])
                exact = data.squared_distances(np.full(len(near), begin + row), near)
                (distances[row],), (indices[row],) = take_nearest(exact[None], near[None], k)
    return np.sqrt(distances), indices


def take_nearest(squared: np.ndarray, names: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first k of each row by (distance, index)."""
    order = np.lexsort((names, squared), axis=-1)[:, :k]
    return np.take_along_axis(squared, order, 1), np.take_along_axis(names, order, 1)
