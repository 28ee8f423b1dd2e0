"""The neighbour graph: all that the later steps need of the data, and all that an atlas stores."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ._files import write_atomically


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
            raise ValueError(
                "distances and indices must both have the shape (n, k) with n, k >= 1, not "
                f"{distances.shape} and {indices.shape}"
            )
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
            raise ValueError(
                f"k={k} must lie in 1 ... {self.k}, the neighbours that this graph holds; "
                "build a larger one with knn_graph(x, k)"
            )

    def save(self, path: str | os.PathLike) -> None:
        """Write a compressed ``.npz`` atomically."""
        with write_atomically(path) as file:
            np.savez_compressed(file, distances=self.distances, indices=self.indices)

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
