"""The topography of a density: its peaks, the saddles between them, and which peaks are statistically significant."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .density import Density, knn_density
from .dimension import twonn
from .graph import NeighborGraph

HALO = -1
Saddles = dict[int, dict[int, int]]  # {c: {c': the point at the saddle between c and c'}}, in both directions


@dataclass(frozen=True, eq=False)
class Topography:
    """Peaks of a density and the saddles between them.

    Attributes
    ----------
    labels : (n,) int, the peak to which each point belongs, 0 ... c - 1; -1 in the halo, if it was requested
    peaks : (c,) int, the point at the top of each peak, densest first
    peak_log_density : (c,) log density at the top of each peak
    pairs : (p, 2) int, the pairs of peaks that touch, each once
    pair_points : (p,) int, the point at the saddle between the two peaks
    pair_saddles : (p,) log density at that saddle
    floor : lowest log density of the data
    saddles : (c, c) log density at the saddles as a matrix, computed on first access; NaN where peaks do not touch
    saddle_points : (c, c) int, the points at the saddles; -1 where peaks do not touch
    """

    labels: np.ndarray
    peaks: np.ndarray
    peak_log_density: np.ndarray
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
    """The peaks of a neighbour graph with the paper's method: `twonn`, `knn_density` with `k`, `find_peaks` with `z`.

    Source: Doimo et al. (2020), with k = 30 and z = 1.65.

    Raises
    ------
    TypeError, ValueError
        As the three functions.
    """
    return find_peaks(graph, knn_density(graph, twonn(graph), k), z)


def find_peaks(
    graph: NeighborGraph, density: Density, z: float = 1.65, halo: bool = False, authors_borders: bool = False
) -> Topography:
    """Density peaks that are higher than their saddles by more than `z` standard errors (advanced density peaks, ADP).

    1. A candidate is denser than all its neighbours, where denser means a larger log density minus error; of equally
       dense points the one with the lower index counts as denser.
    2. Every other point is assigned to the candidate of its nearest denser neighbour.
    3. The saddle between two candidates is the densest point on the border between their regions.
    4. Two peaks that touch are merged, highest saddle first, unless both are higher than the saddle by more than
       z (error at the peak + error at the saddle).

    If the number of neighbours varies, a point can have no denser neighbour and yet be among the neighbours of a denser
    point; it is then assigned to the candidate of the nearest such point. When two peaks are merged, the one with the
    larger height above the saddle in units of the error survives, as in DADApy; in the paper it is the denser one. With
    one number of neighbours for all points the two rules are the same.

    The released code of Doimo et al. differs in step 3; `authors_borders` follows it. There a candidate may lie on its
    own border, and the search from a point across the border back into the region (see `find_borders`) leaves out the
    last stored neighbour. Either can merge peaks that are separate here.

    Source: d'Errico, Facco, Laio and Rodriguez (2021); Doimo et al. (2020), with z = 1.65.

    Parameters
    ----------
    z : significance threshold, in units of the error; 0 keeps every candidate that is higher than its saddles.
    halo : whether the points that are less dense than the highest saddle of their peak get the label -1.
    authors_borders : whether to find the borders as the released code of Doimo et al. does.

    Raises
    ------
    ValueError
        If `density` and `graph` have different numbers of points, `density` uses more neighbours than `graph` holds,
        or `z` is negative or NaN.
    """
    return at_levels(graph, density, (z,), halo, authors_borders)[0]


def at_levels(
    graph: NeighborGraph,
    density: Density,
    levels: Iterable[float],
    halo: bool = False,
    authors_borders: bool = False,
) -> list[Topography]:
    """`find_peaks` for each z of `levels`. Regions and borders, which do not depend on z, are found once."""
    if len(density.log_density) != graph.n:
        raise ValueError(f"density has {len(density.log_density)} points but graph has {graph.n}")
    if density.k.min() < 1 or density.k.max() > graph.k:
        raise ValueError(
            f"density uses up to {density.k.max()} neighbours but graph holds {graph.k}: build both from the same graph"
        )
    levels = list(levels)
    for z in levels:
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

    borders = find_borders(graph, density.k, labels, candidates, authors_borders)
    touching = highest_saddles(borders, labels, rank)
    found = []
    for z in levels:
        into, saddles = merge(candidates, touching, density.log_density, density.error, z)
        found.append(_topography(candidates, into, labels, saddles, density.log_density, halo))
    return found


def density_rank(g: np.ndarray) -> np.ndarray:
    """(n,) rank of each point by `g`, from the largest (0) to the smallest; of equal ones the lower index is first."""
    rank = np.empty(len(g), dtype=np.int64)
    rank[np.argsort(-g, kind="stable")] = np.arange(len(g))
    return rank


def uphill(graph: NeighborGraph, k: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(n,) the nearest denser neighbour of each point; for a candidate, the point itself."""
    n = graph.n
    own = np.arange(graph.k) < k[:, None]
    denser = rank[graph.indices] < rank[:, None]
    # A neighbour of a denser point is no candidate, even if it is denser than all its own neighbours. With one k for
    # all points this excludes nothing.
    below_another = np.zeros(n, dtype=bool)
    below_another[graph.indices[own & (rank[graph.indices] > rank[:, None])]] = True
    candidate = ~(own & denser).any(1) & ~below_another

    # As in DADApy, a point can also be assigned to a less dense candidate, whose label is known from the start.
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
    """(n,) the root that each point reaches by following its parents; the length of a step doubles each time."""
    while not np.array_equal(parent, further := parent[parent]):
        parent = further
    return parent


def find_borders(
    graph: NeighborGraph, k: np.ndarray, labels: np.ndarray, candidates: np.ndarray, authors: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The border points, and for each the label of the region on which it borders.

    Let j be the nearest neighbour of a point in a region other than its own, c. The point borders on the region of j
    if no other point of c is closer to j. A candidate is never a border point, as in DADApy: otherwise it could be its
    own saddle, and would always be merged.

    With `authors`, a candidate may be a border point, and the last stored neighbour of j does not count as closer.
    """
    other = (labels[graph.indices] != labels[:, None]) & (np.arange(graph.k) < k[:, None])
    if not authors:
        other[candidates] = False
    points = np.flatnonzero(other.any(1))
    across = graph.indices[points, other[points].argmax(1)]
    back = labels[graph.indices[across]] == labels[points][:, None]
    if authors:
        back[:, -1] = False
    nearest = graph.indices[across, back.argmax(1)]
    border = ~back.any(1) | (nearest == points)
    return points[border], labels[across[border]]


def highest_saddles(borders: tuple[np.ndarray, np.ndarray], labels: np.ndarray, rank: np.ndarray) -> Saddles:
    """The densest of the border points between each two regions that touch."""
    order = np.argsort(rank[borders[0]])
    points, here, there = borders[0][order], labels[borders[0][order]], borders[1][order]
    low, high = np.minimum(here, there), np.maximum(here, there)
    first = np.unique(low * (labels.max() + 1) + high, return_index=True)[1]
    saddles: Saddles = {}
    for a, b, point in zip(low[first].tolist(), high[first].tolist(), points[first].tolist(), strict=True):
        saddles.setdefault(a, {})[b] = saddles.setdefault(b, {})[a] = point
    return saddles


def merge(
    candidates: np.ndarray, saddles: Saddles, log_density: np.ndarray, error: np.ndarray, z: float
) -> tuple[np.ndarray, Saddles]:
    """Merge the pairs of peaks of which one is not significantly higher than the saddle, highest saddle first.

    The saddles are kept in a heap; merging two peaks updates only the saddles of the one that is absorbed.

    Returns
    -------
    into : (number of candidates,) int, the surviving candidate into which each was merged
    saddles : the saddles between the survivors
    """
    into = np.arange(len(candidates))
    saddles = {c: dict(towards) for c, towards in saddles.items()}
    # Lists, because access to single elements of an array is slow.
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
            continue  # one of the two has been merged, or a higher saddle has replaced this one
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
    candidates: np.ndarray, into: np.ndarray, labels: np.ndarray, saddles: Saddles, log_density: np.ndarray, halo: bool
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
