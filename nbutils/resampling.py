"""Error bars: what a number would have been, had fewer photographs been drawn.

The neighbours of a point among some of the others are those of its stored neighbours that are still there, as long as
there are enough. So a graph can be resampled without the data that it was made of.

Three things to mind. The points are drawn without replacement, since a point drawn twice would be its own neighbour at
distance 0. A resample has fewer points, so its first k neighbours reach farther: k among a share f of the points reach
as far as k / f among all, and it is with this k that the whole set must be compared (`corresponding_k`). And resamples
that share most of their points differ less than independent samples of the full size would, so the standard error of
the whole set is larger than the standard deviation of the resamples (`Resampled.error`).

No k helps where a statistic has a scale of its own. TwoNN always looks at the first two neighbours, which in a resample
are farther away, so the mean of the resamples may lie many standard deviations from the value of the whole set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .graph import NeighborGraph, checked_integer


def corresponding_k(k: int, fraction: float) -> int:
    """The number of neighbours among all points that reach as far as `k` among a `fraction` of them.

    It is k / fraction, rounded, halves up: at 0.8, 15 for 12, and the paper's 30 for 24; at 0.9, 30 for 27.

    Raises
    ------
    TypeError, ValueError
        If `k` is not an integer of at least 1, or `fraction` does not lie in (0, 1).
    """
    k = checked_integer("k", k, 1)
    return int(np.floor(k / _checked_fraction(fraction) + 0.5 + 1e-9))


@dataclass(frozen=True, eq=False)
class Resample:
    """Part of the points of a graph.

    Attributes
    ----------
    graph : the exact k nearest neighbours of the kept points among themselves
    rows : (m,) int, which points were kept, ascending; use it to take their labels
    dropped : number of drawn points that had too few neighbours left and were taken out as well
    """

    graph: NeighborGraph
    rows: np.ndarray
    dropped: int


def resample(
    graph: NeighborGraph,
    fraction: float = 0.8,
    k: int = 12,
    random_state: int | np.random.Generator | None = None,
    max_dropped: float = 0.05,
) -> Resample:
    """The graph of a random part of the points, drawn without replacement, with their first `k` neighbours.

    A drawn point of whose stored neighbours fewer than `k` were drawn is dropped, as if it had not been drawn. Others
    can lose a neighbour by that, so this is repeated until none has too few. What remains is exact: the same as a new
    search among the kept points.

    Take a `k` so small that few are dropped (`dropped` counts them), since those are not a random choice. Neighbours
    share their neighbours, so losses feed on themselves, and a `k` little too large ends in the loss of whole groups.
    Of K stored neighbours f K are left on average. Five standard deviations below, at f K - 5 sqrt(f (1 - f) K), hardly
    any is dropped: at 0.8 that is 13 of 30 and 19 of 40; at 0.9 it is 18 of 30 and 26 of 40.

    Parameters
    ----------
    fraction : share of the points to draw; their number is rounded.
    random_state : seed or generator. The same integer draws the same points of every graph with as many
        points, so layers can be compared on the same photographs; what is dropped can differ.
    max_dropped : largest share of the drawn points that may be dropped.

    Raises
    ------
    TypeError, ValueError
        If `fraction` does not lie in (0, 1), `k` is not an integer of at least 1, the graph does not hold enough
        neighbours for it (`corresponding_k`), or more than `max_dropped` of the drawn points keep too few.
    """
    _check_enough(graph, k, fraction)
    kept = np.zeros(graph.n, dtype=bool)
    drawn = round(fraction * graph.n)
    kept[np.random.default_rng(random_state).choice(graph.n, drawn, replace=False)] = True
    left = kept[graph.indices]
    while (few := kept & (left.sum(1) < k)).any():
        kept &= ~few
        left = kept[graph.indices]
    rows = np.flatnonzero(kept)
    dropped = drawn - len(rows)
    if not len(rows) or dropped > max_dropped * drawn:
        raise ValueError(
            f"k={k}: {dropped} of the {drawn} drawn points keep fewer of their {graph.k} neighbours; take a smaller k"
        )
    left = left[rows]
    # The places of the first k neighbours that are left, in their order: a stable sort puts them first.
    place = np.argsort(~left, axis=1, kind="stable")[:, :k]
    number = np.full(graph.n, -1)
    number[rows] = np.arange(len(rows))
    indices = number[np.take_along_axis(graph.indices[rows], place, 1)]
    return Resample(NeighborGraph(np.take_along_axis(graph.distances[rows], place, 1), indices), rows, dropped)


@dataclass(frozen=True, eq=False)
class Resampled:
    """A statistic of a graph and of its resamples.

    Attributes
    ----------
    whole : its value for all points, with the k that corresponds to that of the resamples
    values : (repeats, ...) its values for the resamples
    fraction : mean share of the points that the resamples kept
    dropped : (repeats,) int, points dropped for want of neighbours
    """

    whole: np.ndarray
    values: np.ndarray
    fraction: float
    dropped: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.values.mean(0)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation over the resamples: how much the statistic depends on which points were drawn."""
        return self.values.std(0, ddof=1)

    @property
    def error(self) -> np.ndarray:
        """Standard error of the statistic of the whole set: `std` times sqrt(f / (1 - f)), which is 2 at f = 0.8.

        A mean of a share f of N values scatters about the mean of all with the variance s^2 (1 - f) / (f N), and not
        with the s^2 / N that a new set of N would have. For other smooth statistics this is the delete-d
        jackknife; for a count of peaks it is a guide.

        Source: Shao and Wu (1989).
        """
        return self.std * np.sqrt(self.fraction / (1 - self.fraction))


def resampled(
    function: Callable[[NeighborGraph, np.ndarray], ArrayLike],
    graph: NeighborGraph,
    fraction: float = 0.8,
    k: int = 12,
    repeats: int = 20,
    random_state: int | np.random.Generator | None = None,
) -> Resampled:
    """A statistic of all points and of `repeats` resamples, compared like with like.

    Parameters
    ----------
    function : given a graph and the rows that it consists of, returns a number or an array of always the same
        shape. It must use all neighbours of that graph, ``graph.k``, and may take labels by ``labels[rows]``.

    Raises
    ------
    TypeError, ValueError
        As `resample` does, and if `repeats` is not an integer of at least 2, or the values differ in shape.
    """
    repeats = checked_integer("repeats", repeats, 2)
    rng = np.random.default_rng(random_state)
    wanted = _check_enough(graph, k, fraction)
    whole = function(graph.truncate(wanted), np.arange(graph.n))
    values, kept, dropped = [], [], []
    for _ in range(repeats):
        part = resample(graph, fraction, k, rng)
        values.append(function(part.graph, part.rows))
        kept.append(len(part.rows))
        dropped.append(part.dropped)
    return Resampled(
        np.asarray(whole, dtype=float),
        np.array(values, dtype=float),
        float(np.mean(kept)) / graph.n,
        np.array(dropped),
    )


def _check_enough(graph: NeighborGraph, k: int, fraction: float) -> int:
    if (wanted := corresponding_k(k, fraction)) > graph.k:
        raise ValueError(
            f"k={k} at fraction={fraction} needs {wanted} stored neighbours but graph holds {graph.k}: take a smaller k"
        )
    return wanted


def _checked_fraction(fraction: float) -> float:
    if not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction} must lie between 0 and 1: it is the share of the points to keep")
    return fraction
