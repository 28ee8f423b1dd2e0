"""The numbers of ``dadapy.npz`` and how to compare with them, for the tests and for the book's validation page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from nbutils.density import Density
from nbutils.graph import NeighborGraph
from nbutils.neighbors import knn_graph
from nbutils.peaks import Topography

GRID, K, MAXK, Z = 2**16, 30, 100, 1.65
CONTINUOUS = ("mixture2", "mixture5", "touching3", "swissroll", "gaussian20", "cube1", "torus2")
TIED = ("integers", "duplicates")


@cache
def golden() -> dict[str, np.ndarray]:
    """All arrays of ``dadapy.npz``."""
    with np.load(Path(__file__).with_name("dadapy.npz"), allow_pickle=False) as stored:
        return dict(stored)


@cache
def graph_of(name: str) -> NeighborGraph:
    """The graph of a cloud, bit for bit the one that DADApy saw."""
    return knn_graph(golden()[f"{name}/x"] / GRID, MAXK)


def answer(name: str, key: str) -> np.ndarray:
    """What DADApy answered for a cloud."""
    return golden()[f"{name}/{key}"]


def dimension_of(name: str) -> float:
    """The dimension that DADApy's densities were made with."""
    return float(answer(name, "d"))


def density_of(name: str, kind: str) -> Density:
    """DADApy's, so that what is compared is the search for peaks alone."""
    k = np.full(graph_of(name).n, K) if kind == "knn" else answer(name, "k").astype(int)
    return Density(answer(name, f"{kind}/log_density"), answer(name, f"{kind}/error"), k)


def by_index(found: Topography) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Peaks, labels and saddles with the peaks in the order of their index, as in DADApy."""
    order = np.argsort(found.peaks)
    place = np.argsort(order)
    return (found.peaks[order], np.where(found.labels >= 0, place[found.labels], -1),
            found.saddles[np.ix_(order, order)])


def differs(found: Topography, peaks: np.ndarray, labels: np.ndarray, saddles: np.ndarray) -> bool:
    """Whether a peak, a label or a saddle (by more than 1e-12) is another than DADApy's."""
    ours = by_index(found)
    return not (np.array_equal(ours[0], peaks) and np.array_equal(ours[1], labels)
                and np.allclose(ours[2], saddles, rtol=0, atol=1e-12, equal_nan=True))


def landscapes() -> Iterator[tuple]:
    """The random ones: number, graph, density, z, and peaks, labels, saddles, halo, compiled labels of DADApy."""
    stored = {key.removeprefix("random/"): value for key, value in golden().items() if key.startswith("random/")}
    point = feature = peak = pair = 0
    for i, (n, d, c) in enumerate(zip(stored["n"], stored["dimension"], stored["n_peaks"], strict=True)):
        of = slice(point, point + n)
        graph = knn_graph(stored["x"][feature:feature + n * d].reshape(n, d) / GRID, int(stored["maxk"][i]))
        density = Density(stored["log_density"][of], stored["error"][of], stored["k"][of].astype(int))
        yield (i, graph, density, float(stored["z"][i]), stored["peaks"][peak:peak + c], stored["labels"][of],
               stored["saddles"][pair:pair + c * c].reshape(c, c), stored["halo"][of], stored["compiled_labels"][of])
        point, feature, peak, pair = point + n, feature + n * d, peak + c, pair + c * c
