"""The neighbour graph: for every point its k nearest others. All that later chapters need of the data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .progress import progress_bar

TILE = 16384  # features at a time where single rows are compared: their candidates then stay in the cache


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
        if not 1 <= k <= self.k:
            raise ValueError(f"k={k} must lie in 1 ... {self.k}, the neighbours that this graph holds; "
                             "build a larger one with knn_graph(x, k)")
        return NeighborGraph(self.distances[:, :k], self.indices[:, :k])

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


def knn_graph(x: np.ndarray | torch.Tensor, k: int, device: torch.device | str | None = None, *,
              memory: float = 1e9) -> NeighborGraph:
    """Exact Euclidean nearest neighbours of every row of x.

    Distances between blocks of rows come from matrix products in float32, of centred data: the rounding error grows
    with the distance from the origin. Each pair of blocks is visited once, since distances are symmetric. A few
    more candidates than k are kept, their distances computed again from differences of the data, summed in float64,
    and the order decided by (distance, index). Where rounding could have lost a neighbour all the same, that row is
    searched again.

    Parameters
    ----------
    x : (n, ...) array, memory map or tensor of any real type; all axes after the first are features.
    k : number of neighbours, below n.
    device : where the matrix products run; by default where `x` is, and the CPU for arrays.
    memory : bytes of working memory, beyond x and the result.

    Raises
    ------
    TypeError
        If `x` is sparse, complex, or no numbers at all.
    ValueError
        If `x` has NaN or infinite values, fewer than two rows or no features, or varies by more than 1e18 or less
        than 1e-18, or if `k` is not in 1 ... n - 1.
    """
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
    n = len(x)
    if not 1 <= k < n:
        raise ValueError(f"k={k} must lie in 1 ... n - 1 = {n - 1}")
    if device is None:
        device = x.device if isinstance(x, torch.Tensor) else "cpu"
    data = Blocks(x, torch.device(device), memory)
    value, index = nearest_candidates(data, min(k + 8, n - 1))
    return refine(data, k, value.cpu().numpy(), index.cpu().numpy())


class Blocks:
    """Reads a large matrix in blocks of rows and features, centred and scaled to unit range, in float32."""

    def __init__(self, x: np.ndarray | torch.Tensor, device: torch.device, memory: float):
        self.x, self.device = x, device
        n, d = x.shape
        # A quarter of the memory for the squared distances of a pair of blocks; topk needs as much again. Six blocks
        # at least, so that little of the product is computed twice: a block with itself has no symmetry to use.
        self.rows = int(min(max(1024, -(-n // 6)), n, max(16, (memory / 16) ** 0.5)))
        self.features = int(min(d, max(16, memory / 4 / (8 * self.rows))))
        self.starts = range(0, n, self.rows)
        total = torch.zeros(d, dtype=torch.float64)
        low, high = torch.full_like(total, torch.inf), torch.full_like(total, -torch.inf)
        for cols in self.columns():
            for start in self.starts:
                part = self.raw(slice(start, start + self.rows), cols).double()
                total[cols] += part.sum(0)
                low[cols] = torch.minimum(low[cols], part.amin(0))
                high[cols] = torch.maximum(high[cols], part.amax(0))
        if not torch.isfinite(total).all():
            bad = int((~torch.isfinite(total)).sum())
            raise ValueError(f"x has NaN or infinite values in {bad} of {d} features: drop them or find their cause")
        self.mean = total / n
        self.scale = float((high - low).max()) or 1.0
        if not 1e-18 < self.scale < 1e18:
            raise ValueError(f"x varies by {self.scale:.0e}: distances would not fit float32; rescale x")

    def columns(self) -> list[slice]:
        return [slice(start, start + self.features) for start in range(0, self.x.shape[1], self.features)]

    def raw(self, rows: slice | np.ndarray, cols: slice) -> torch.Tensor:
        part = self.x[rows, cols]
        if isinstance(part, torch.Tensor):
            return part.cpu()
        # torch warns of read-only arrays, and takes none that run backwards.
        return torch.from_numpy(part if part.flags.writeable and min(part.strides) >= 0 else np.array(part))

    def digits(self, rows: slice | np.ndarray, cols: slice) -> torch.Tensor:
        """The data in the narrower of float32 and float64 that holds all its digits."""
        part = self.raw(rows, cols)
        return part.float() if part.dtype in (torch.float16, torch.bfloat16, torch.float32) else part.double()

    def read(self, rows: slice | np.ndarray, cols: slice) -> torch.Tensor:
        # float64 data far from the origin would lose its digits if it were rounded before it is centred.
        part = self.digits(rows, cols)
        part = part - self.mean[cols].to(part.dtype)
        return part.div_(self.scale).float().to(self.device)

    def squared_distances(self, rows: slice | np.ndarray, others: slice) -> torch.Tensor:
        """(rows, others) squared distances between two blocks, in units of ``scale ** 2``, up to float32 rounding."""
        product, square_a, square_b = None, 0, 0
        for cols in self.columns():
            a = self.read(rows, cols)
            b = a if rows is others else self.read(others, cols)
            square_a, square_b = square_a + (a * a).sum(1), square_b + (b * b).sum(1)
            # In place: this matrix is what the memory is needed for.
            product = a @ b.T if product is None else product.addmm_(a, b.T)
        return product.mul_(-2).add_(square_a[:, None]).add_(square_b)


def nearest_candidates(data: Blocks, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, m) approximate squared distances and indices of the m nearest, from every pair of blocks once."""
    n = len(data.x)
    value = torch.full((n, m), torch.inf, device=data.device)
    index = torch.zeros((n, m), dtype=torch.long, device=data.device)
    blocks = [slice(start, min(start + data.rows, n)) for start in data.starts]

    def update(rows: slice, others: slice, distance: torch.Tensor) -> None:
        near, column = distance.topk(min(m, distance.shape[1]), largest=False)
        both = torch.cat([value[rows], near], 1)
        names = torch.cat([index[rows], column + others.start], 1)
        value[rows], column = both.topk(m, largest=False)
        index[rows] = names.gather(1, column)

    with progress_bar(total=len(blocks) * (len(blocks) + 1) // 2, desc="neighbours", unit="block") as progress:
        for i, rows in enumerate(blocks):
            for others in blocks[i:]:
                distance = data.squared_distances(rows, others)
                if rows is others:
                    distance.fill_diagonal_(torch.inf)
                else:
                    update(others, rows, distance.T)
                update(rows, others, distance)
                progress.update()
    return value, index


def refine(data: Blocks, k: int, approximate: np.ndarray, candidates: np.ndarray) -> NeighborGraph:
    """The k nearest among the candidates, from exact distances; rows that rounding leaves in doubt searched again."""
    n, m = candidates.shape
    exact = np.zeros((n, m))
    rows_at_once = max(1, TILE // data.x.shape[1])
    for start in progress_bar(range(0, n, rows_at_once), desc="exact order", unit="row", unit_scale=rows_at_once):
        rows = np.arange(start, min(start + rows_at_once, n))
        exact[rows] = exact_squared(data, rows, candidates[rows])
    distances, indices = take_nearest(exact, candidates, k)

    if m < n - 1:
        # How far rounding moves a squared distance is seen on the candidates; whatever was left out lies beyond
        # the last of them by the approximate distance, so it can matter only within that error.
        approximate = approximate.astype(np.float64) * data.scale**2
        error = 4 * np.abs(approximate - exact).max()
        doubtful = np.flatnonzero(approximate.max(1) - error <= distances[:, -1])
        step = max(1, data.rows**2 // n)  # as many distances at a time as between two blocks
        for start in range(0, len(doubtful), step):
            rows = doubtful[start:start + step]
            wide = np.concatenate([data.squared_distances(rows, slice(s, min(s + data.rows, n))).cpu().numpy()
                                   for s in data.starts], axis=1).astype(np.float64) * data.scale**2
            for row, distance in zip(rows, wide, strict=True):
                distance[row] = np.inf
                near = np.flatnonzero(distance <= distances[row, -1] + error)
                found = take_nearest(exact_squared(data, np.array([row]), near[None]), near[None], k)
                distances[row], indices[row] = found[0][0], found[1][0]
    return NeighborGraph(np.sqrt(distances), indices)


def exact_squared(data: Blocks, rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """(len(rows), m) squared distances to the candidates (len(rows), m), from differences summed in float64."""
    total = np.zeros(candidates.shape)
    for start in range(0, data.x.shape[1], TILE):
        cols = slice(start, start + TILE)
        here = data.digits(rows, cols)[:, None]
        # Where a row is in doubt, among many duplicates say, its candidates can be all points: not all at once.
        for first in range(0, candidates.shape[1], 64):
            some = candidates[:, first:first + 64]
            part = data.digits(some.ravel(), cols).view(*some.shape, -1) - here
            total[:, first:first + 64] += part.double().square_().sum(-1).numpy()
    return total


def take_nearest(squared: np.ndarray, names: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first k of each row by (distance, index)."""
    order = np.lexsort((names, squared), axis=-1)[:, :k]
    return np.take_along_axis(squared, order, 1), np.take_along_axis(names, order, 1)
