"""The neighbour graph: all that the later steps need of the data, and all that an atlas stores."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from ._files import write_atomically


def checked_integer(name: str, value: int, least: int, most: int | None = None, note: str = "") -> int:
    """The `value` of the argument `name` as an int in `least` ... `most`; `note` ends the message if it is not.

    Raises
    ------
    TypeError
        If `value` is not an integer of Python or NumPy. A bool does not count as one.
    ValueError
        If it is below `least` or above `most`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, not {value!r} of type {type(value).__name__}; pass an int")
    if value < least or (most is not None and value > most):
        range_ = f"be at least {least}" if most is None else f"lie in {least} ... {most}"
        raise ValueError(f"{name}={value} must {range_}" + (f", {note}" if note else ""))
    return int(value)


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """The k nearest neighbours of n points, the point itself excluded.

    Attributes
    ----------
    distances : (n, k) float32, ascending in each row, in the unit of the data
    indices : (n, k) int32; of neighbours at equal distance the one with the lower index comes first

    Raises
    ------
    ValueError
        If the arrays do not have this form. Some libraries count each point as its own first neighbour: drop that
        column.
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
        """The graph of the first `k` neighbours; TypeError or ValueError as `check_k` has it."""
        k = self.check_k(k)
        return NeighborGraph(self.distances[:, :k], self.indices[:, :k])

    def check_k(self, k: int) -> int:
        """`k` as an int; TypeError unless it is an integer, ValueError unless 1 <= k <= self.k."""
        note = "the neighbours that this graph holds; build a larger one with knn_graph(x, k)"
        return checked_integer("k", k, 1, self.k, note)

    def save(self, path: str | os.PathLike) -> None:
        """Write the graph atomically to an ``.npz`` file, compressed with LZMA: a quarter smaller than with deflate."""
        with write_atomically(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
            for name, array in (("distances", self.distances), ("indices", self.indices)):
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    @classmethod
    def load(cls, path: str | os.PathLike) -> NeighborGraph:
        """Read a graph written by `save`; ValueError if the file is damaged or holds something else."""
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                return cls(stored["distances"], stored["indices"])
        except (FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
            raise
        except Exception as error:  # a damaged file can fail in any way: as a zip, in its compression, as an array
            raise ValueError(f"path={str(path)!r} is no sound neighbour graph ({error}); fetch it again") from error
