"""The results of DADApy in ``dadapy.npz``, and comparisons with them, for the tests and the book's validation page."""

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
    """The graph of a cloud, with exactly the distances that DADApy used."""
    return knn_graph(golden()[f"{name}/x"] / GRID, MAXK)


def answer(name: str, key: str) -> np.ndarray:
    """A result of DADApy for a cloud."""
    return golden()[f"{name}/{key}"]


def dimension_of(name: str) -> float:
    """The dimension with which DADApy estimated the densities."""
    return float(answer(name, "d"))


def density_of(name: str, kind: str) -> Density:
    """DADApy's density of a cloud, so that the search for peaks can be compared by itself."""
    k = np.full(graph_of(name).n, K) if kind == "knn" else answer(name, "k").astype(int)
    return Density(answer(name, f"{kind}/log_density"), answer(name, f"{kind}/error"), k)


def by_index(found: Topography) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Peaks, labels and saddles, with the peaks in the order of their index, as in DADApy."""
    order = np.argsort(found.peaks)
    place = np.argsort(order)
    return (
        found.peaks[order],
        np.where(found.labels >= 0, place[found.labels], -1),
        found.saddles[np.ix_(order, order)],
    )


def differs(found: Topography, peaks: np.ndarray, labels: np.ndarray, saddles: np.ndarray) -> bool:
    """Whether a peak or a label differs from DADApy's, or a saddle by more than 1e-12."""
    ours = by_index(found)
    return not (
        np.array_equal(ours[0], peaks)
        and np.array_equal(ours[1], labels)
        and np.allclose(ours[2], saddles, rtol=0, atol=1e-12, equal_nan=True)
    )


def random_topographies() -> Iterator[tuple]:
    """For each random cloud: number, graph, density, z, and DADApy's peaks, labels, saddles, halo, compiled labels."""
    stored = {key.removeprefix("random/"): value for key, value in golden().items() if key.startswith("random/")}
    point = feature = peak = pair = 0
    for i, (n, d, c) in enumerate(zip(stored["n"], stored["dimension"], stored["n_peaks"], strict=True)):
        of = slice(point, point + n)
        graph = knn_graph(stored["x"][feature : feature + n * d].reshape(n, d) / GRID, int(stored["maxk"][i]))
        density = Density(stored["log_density"][of], stored["error"][of], stored["k"][of].astype(int))
        yield (
            i,
            graph,
            density,
            float(stored["z"][i]),
            stored["peaks"][peak : peak + c],
            stored["labels"][of],
            stored["saddles"][pair : pair + c * c].reshape(c, c),
            stored["halo"][of],
            stored["compiled_labels"][of],
        )
        point, feature, peak, pair = point + n, feature + n * d, peak + c, pair + c * c
