"""The topography of a density: its peaks, the saddles between them, and which peaks are more than noise."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .density import Density, knn_density
from .dimension import twonn
from .graph import NeighborGraph

HALO = -1


@dataclass(frozen=True, eq=False)
class Topography:
    """Peaks of a density and the saddles between them.

    Attributes
    ----------
    labels : (n,) int, the peak that each point climbs to, 0 ... c - 1; -1 in the halo, if it was asked for
    peaks : (c,) int, the point at the top of each peak, densest first
    log_density : (c,) log density of the peaks
    pairs : (p, 2) int, the peaks that touch, each pair once
    pair_points : (p,) int, the point at the highest saddle between the two
    pair_saddles : (p,) its log density
    floor : lowest log density of the data, below every saddle
    saddles : (c, c) log density of the saddles as a matrix, made when it is asked for; NaN where peaks do not touch
    saddle_points : (c, c) int, the points at the saddles; -1 where peaks do not touch
    """

    labels: np.ndarray
    peaks: np.ndarray
    log_density: np.ndarray
    pairs: np.ndarray
    pair_points: np.ndarray
    pair_saddles: np.ndarray
    floor: float

    @cached_property
    def saddles(self) -> np.ndarray:
        return self._matrix(self.pair_saddles, np.nan)

    @cached_property
    def saddle_points(self) -> np.ndarray:
        return self._matrix(self.pair_points, -1)

    def _matrix(self, values: np.ndarray, elsewhere: float) -> np.ndarray:
        matrix = np.full((self.n_peaks, self.n_peaks), elsewhere, dtype=values.dtype)
        for a, b in (self.pairs.T, self.pairs.T[::-1]):
            matrix[a, b] = values
        return matrix

    @property
    def n_peaks(self) -> int:
        return len(self.peaks)

    def __repr__(self) -> str:
        return f"Topography({self.n_peaks} peaks of {len(self.labels)} points)"


def topography(graph: NeighborGraph, k: int = 30, z: float = 1.65) -> Topography:
    """From a neighbour graph to its peaks, as the paper has it: `twonn`, `knn_density` with `k`, `find_peaks` with `z`.

    The dimension is not rounded.

    Source: Doimo et al. (2020), with k = 30 and z = 1.65.

    Raises
    ------
    ValueError
        As the three functions do.
    """
    return find_peaks(graph, knn_density(graph, twonn(graph), k), z)


def find_peaks(graph: NeighborGraph, density: Density, z: float = 1.65, halo: bool = False) -> Topography:
    """Density peaks that stand out from their saddles by more than `z` errors.

    1. A candidate is denser than all its neighbours, where denser means a larger log density minus error;
       ties go to the lower index.
    2. Every other point follows its nearest denser neighbour uphill, to the candidate that gives it its label.
    3. Where the regions of two candidates touch lies their saddle.
    4. Two peaks are merged, highest saddle first, unless both stand more than z (error of peak + error of saddle)
       above it.

    Where a density with a varying number of neighbours leaves a point none to follow, it follows the nearest denser
    point that counts it among its own neighbours. Of two merged peaks the one survives that stands out by more
    errors, as in DADApy; the paper keeps the denser. With one number of neighbours for all that is the same peak.

    Source: d'Errico, Facco, Laio and Rodriguez (2021); Doimo et al. (2020), with z = 1.65.

    Parameters
    ----------
    z : how many errors; 0 keeps every candidate that stands above its saddles.
    halo : label the points that are less dense than the highest saddle of their peak -1.

    Raises
    ------
    ValueError
        If `density` is not of the points of `graph`, uses more neighbours than it holds, or `z` is negative.
    """
    if len(density.log_density) != graph.n:
        raise ValueError(f"density has {len(density.log_density)} points but graph has {graph.n}")
    if density.k.min() < 1 or density.k.max() > graph.k:
        raise ValueError(
            f"density uses up to {density.k.max()} neighbours but graph holds {graph.k}: build both from the same graph"
        )
    if not z >= 0:
        raise ValueError(f"z={z} must not be negative")

    rank = density_rank(density.log_density - density.error)
    parent = uphill(graph, density.k, rank)
    roots = follow(parent)
    candidates = np.flatnonzero(parent == np.arange(graph.n))
    candidates = candidates[np.argsort(rank[candidates])]
    number = np.full(graph.n, -1)
    number[candidates] = np.arange(len(candidates))
    labels = number[roots]

    borders = find_borders(graph, density.k, labels, candidates)
    saddles = highest_saddles(borders, labels, rank)
    into, saddles = merge(candidates, saddles, density.log_density, density.error, z)
    return _topography(candidates, into, labels, saddles, density.log_density, halo)


def density_rank(g: np.ndarray) -> np.ndarray:
    """(n,) place of each point from the densest (0) to the least dense; of equals the lower index comes first."""
    rank = np.empty(len(g), dtype=np.int64)
    rank[np.argsort(-g, kind="stable")] = np.arange(len(g))
    return rank


def uphill(graph: NeighborGraph, k: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(n,) the point that each point follows uphill; a candidate for a peak follows itself."""
    n = graph.n
    own = np.arange(graph.k) < k[:, None]
    denser = rank[graph.indices] < rank[:, None]
    # Who has a less dense point among its own neighbours overlooks it: that point is no candidate, even if it is the
    # densest among its own. With one k for all this changes nothing.
    overlooked = np.zeros(n, dtype=bool)
    overlooked[graph.indices[own & (rank[graph.indices] > rank[:, None])]] = True
    candidate = ~(own & denser).any(1) & ~overlooked

    # A candidate that is less dense can be followed too: its label is certain.
    leads = denser | candidate[graph.indices]
    first = leads.argmax(1)
    parent = graph.indices[np.arange(n), first].astype(np.int64)
    parent[candidate] = np.flatnonzero(candidate)

    lost = ~candidate & ~leads.any(1)
    if lost.any():
        row, place = np.nonzero(own & lost[graph.indices] & (rank[graph.indices] > rank[:, None]))
        point = graph.indices[row, place]
        order = np.lexsort((row, graph.distances[row, place], point))
        point, nearest = np.unique(point[order], return_index=True)
        parent[point] = row[order][nearest]
    return parent


def follow(parent: np.ndarray) -> np.ndarray:
    """(n,) where each point ends when it follows its parents, found by taking ever longer steps."""
    while not np.array_equal(parent, further := parent[parent]):
        parent = further
    return parent


def find_borders(
    graph: NeighborGraph, k: np.ndarray, labels: np.ndarray, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Border points and the label that each borders on.

    A point of c borders on the region of its nearest neighbour j in another region, if no other point of c is closer
    to j. A candidate is no border point, as in DADApy: it would be its own saddle, and never stand above it.
    """
    other = (labels[graph.indices] != labels[:, None]) & (np.arange(graph.k) < k[:, None])
    other[candidates] = False
    points = np.flatnonzero(other.any(1))
    across = graph.indices[points, other[points].argmax(1)]
    back = labels[graph.indices[across]] == labels[points][:, None]
    nearest = graph.indices[across, back.argmax(1)]
    border = ~back.any(1) | (nearest == points)
    return points[border], labels[across[border]]


def highest_saddles(borders: tuple[np.ndarray, np.ndarray], labels: np.ndarray, rank: np.ndarray) -> dict:
    """``{c: {c': point}}``, for every two regions that touch the densest of the border points between them."""
    order = np.argsort(rank[borders[0]])
    points, here, there = borders[0][order], labels[borders[0][order]], borders[1][order]
    low, high = np.minimum(here, there), np.maximum(here, there)
    first = np.unique(low * (labels.max() + 1) + high, return_index=True)[1]
    saddles: dict[int, dict[int, int]] = {}
    for a, b, point in zip(low[first].tolist(), high[first].tolist(), points[first].tolist(), strict=True):
        saddles.setdefault(a, {})[b] = saddles.setdefault(b, {})[a] = point
    return saddles


def merge(
    candidates: np.ndarray, saddles: dict, log_density: np.ndarray, error: np.ndarray, z: float
) -> tuple[np.ndarray, dict]:
    """Merge every two peaks of which one does not stand out from the saddle between them, highest saddle first.

    The saddles wait in a heap. A merger moves those of the peak that is lost, and looks at no others.

    Returns
    -------
    into : (number of candidates,) the candidate that each has become part of
    saddles : ``{c: {c': point}}`` between the survivors
    """
    into = np.arange(len(candidates))
    saddles = {c: dict(towards) for c, towards in saddles.items()}
    # As lists: a single number of an array is slow to look up.
    top, top_error = log_density[candidates].tolist(), error[candidates].tolist()
    height, noise = log_density.tolist(), error.tolist()
    waiting: list[tuple[float, int, int, int]] = []

    def judge(a: int, b: int) -> None:
        point = saddles[a][b]
        if any(top[c] - height[point] < z * (top_error[c] + noise[point]) for c in (a, b)):
            heapq.heappush(waiting, (-height[point], min(a, b), max(a, b), point))

    for a, towards in saddles.items():
        for b in towards:
            if a < b:
                judge(a, b)
    while waiting:
        _, a, b, point = heapq.heappop(waiting)
        if saddles.get(a, {}).get(b) != point:
            continue  # one of the two has been merged, or their saddle has been replaced by a higher one
        errors = {c: (top[c] - height[point], top_error[c] + noise[point]) for c in (a, b)}
        keep, lose = (a, b) if errors[a][0] * errors[b][1] >= errors[b][0] * errors[a][1] else (b, a)
        into[lose] = keep
        for third, point in saddles.pop(lose).items():
            del saddles[third][lose]
            if third == keep:
                continue
            known = saddles[keep].get(third)
            if known is None or height[point] > height[known]:
                saddles[keep][third] = saddles[third][keep] = point
                judge(keep, third)
    return follow(into), saddles


def _topography(
    candidates: np.ndarray, into: np.ndarray, labels: np.ndarray, saddles: dict, log_density: np.ndarray, halo: bool
) -> Topography:
    survivors = np.flatnonzero(into == np.arange(len(into)))
    survivors = survivors[np.argsort(-log_density[candidates[survivors]], kind="stable")]
    number = np.full(len(into), -1)
    number[survivors] = np.arange(len(survivors))
    labels, peaks = number[into[labels]], candidates[survivors]

    touching = [(a, b, point) for a, towards in saddles.items() for b, point in towards.items() if a < b]
    a, b, points = np.array(touching, dtype=int).reshape(-1, 3).T
    pairs, heights = np.sort(number[np.stack([a, b], 1)], axis=1), log_density[points]
    if halo:
        highest = np.full(len(peaks), -np.inf)
        np.maximum.at(highest, pairs, heights[:, None])
        labels = np.where(log_density < highest[labels], HALO, labels)
    return Topography(labels, peaks, log_density[peaks], pairs, points, heights, float(log_density.min()))
