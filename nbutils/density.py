"""The density at every point, estimated from the distances to its neighbours; always as a logarithm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from .dimension import Dimension
from .graph import NeighborGraph


@dataclass(frozen=True, eq=False)
class Density:
    """The estimated density at n points.

    Attributes
    ----------
    log_density : (n,) float64, natural logarithm of a probability density, in units of 1 / length^dimension
    error : (n,) float64, standard error of the logarithm
    k : (n,) int, number of neighbours used

    Raises
    ------
    ValueError
        If the shapes differ, or `log_density` or `error` is not finite.
    """

    log_density: np.ndarray
    error: np.ndarray
    k: np.ndarray

    def __post_init__(self) -> None:
        shape = np.shape(self.log_density)
        if len(shape) != 1 or np.shape(self.error) != shape or np.shape(self.k) != shape:
            raise ValueError("log_density, error and k must all have the shape (n,)")
        if not (np.isfinite(self.log_density).all() and np.isfinite(self.error).all()):
            raise ValueError("log_density and error must be finite")


def knn_density(graph: NeighborGraph, dimension: float | Dimension, k: int | np.ndarray = 30) -> Density:
    """The k-nearest-neighbour density: log rho = log k - log V_d - d log r_k - log n.

    r_k is the distance to the k-th neighbour and V_d the volume of the unit ball in d dimensions. The standard error
    of the logarithm is 1 / sqrt(k).

    Source: Doimo et al. (2020); Mack and Rosenblatt (1979). With ``k=kstar(graph, dimension)``
    this is the k*-NN density of Rodriguez et al. (2018).

    Parameters
    ----------
    dimension : the intrinsic dimension, a number or the result of `dimension.twonn`.
    k : number of neighbours, one for all points or an integer array (n,) with one for each.

    Raises
    ------
    TypeError
        If `k` is not an integer or an array of integers.
    ValueError
        If `graph` holds fewer than `k` neighbours, `dimension` is not positive, or a point has `k` duplicates.
    """
    d = positive_dimension(dimension)
    k = k_of_each_point(graph, k)
    log_density = np.log(k) - log_unit_ball(d) - d * log_radius(graph, k) - np.log(graph.n)
    return Density(log_density, k**-0.5, k)


def k_of_each_point(graph: NeighborGraph, k: int | np.ndarray) -> np.ndarray:
    """(n,) int, the number of neighbours to use at each point; TypeError or ValueError as in `knn_density`."""
    if np.ndim(k) == 0:
        return np.full(graph.n, graph.check_k(k))  # type: ignore[arg-type]
    k = np.asarray(k)
    if k.dtype.kind not in "iu":
        raise TypeError(f"k must be an integer or an array of integers, not of {k.dtype}")
    if k.shape != (graph.n,) or k.min() < 1 or k.max() > graph.k:
        raise ValueError(
            f"k must be one integer, or an array of the shape ({graph.n},), one for each point, and lie in "
            f"1 ... {graph.k}, the neighbours that graph holds"
        )
    return k.astype(int)


def kstar(graph: NeighborGraph, dimension: float | Dimension, threshold: float = 23.928) -> np.ndarray:
    """(n,) int, k*: the number of neighbours over which the density around each point is constant.

    For k = 3, 4 ... a likelihood-ratio test compares the density at the point with the density at its neighbour k + 1,
    each estimated from k neighbours. k* is the first k at which the two differ significantly, or, if they never do,
    one less than the number of neighbours that `graph` holds.

    Source: Rodriguez, d'Errico, Facco and Laio (2018); the bounds on k are those of DADApy.

    Parameters
    ----------
    threshold : critical value of the test statistic, which follows a chi-squared distribution with one degree of
        freedom; 23.928 has the p-value 1e-6.

    Raises
    ------
    ValueError
        If `graph` holds fewer than 5 neighbours, or `dimension` is not positive.
    """
    d = positive_dimension(dimension)
    if graph.k < 5:
        raise ValueError(f"graph holds {graph.k} neighbours: the test needs at least 5, and better 100")
    with np.errstate(divide="ignore"):
        log_volume = d * np.log(graph.distances.astype(np.float64))
    k_star = np.full(graph.n, graph.k - 1)
    growing = np.arange(graph.n)
    for k in range(3, graph.k - 1):
        here, there = log_volume[growing, k - 1], log_volume[graph.indices[growing, k], k - 1]
        with np.errstate(invalid="ignore"):
            statistic = -2 * k * (here + there - 2 * np.logaddexp(here, there) + np.log(4))
        # Two points with k duplicates each have equal densities, although both are infinite.
        differ = (statistic >= threshold) & (here != there)
        k_star[growing[differ]] = k
        growing = growing[~differ]
    return k_star


def pak(graph: NeighborGraph, dimension: float | Dimension, threshold: float = 23.928) -> Density:
    """The point-adaptive k-nearest-neighbour density (PAk), which fits a gradient over the k* neighbours.

    Neighbours l - 1 and l enclose a shell of volume v_l. If the log density varies as F + a l from shell to shell, the
    log likelihood of the k* shells is sum(F + a l - v_l exp(F + a l)). It is concave; Newton's method finds its maximum
    over F and a. F is the log density at the point itself, without the bias of the k-NN density in a gradient.

    Where the likelihood has no maximum, because the neighbours are very unevenly spaced (for example, many of them at
    the same distance), the density is the k*-NN density.

    Source: Rodriguez, d'Errico, Facco and Laio (2018).

    Raises
    ------
    ValueError
        As `kstar`; and if a point has k* or more exact duplicates.
    """
    d = positive_dimension(dimension)
    k = kstar(graph, d, threshold)
    density = knn_density(graph, d, k)
    log_density, error = density.log_density.copy(), density.error.copy()
    # In batches of points of similar k*, so that the tables of shells have little padding and fit the cache.
    order = np.argsort(k, kind="stable")
    for start in range(0, graph.n, 512):
        rows = order[start : start + 512]
        bend, solved = maximize_shells(log_shells(graph.distances[rows], k[rows], d), k[rows])
        place = rows[solved]
        log_density[place] += bend[solved] - np.log(k[place])
        error[place] = np.sqrt((4 * k[place] + 2) / (k[place] * (k[place] - 1.0)))
    return Density(log_density, error, k)


def log_shells(distances: np.ndarray, k: np.ndarray, d: float) -> np.ndarray:
    """(n, max k) logarithms of the volumes of the shells, in units of the ball of radius r_k.

    They are -inf where two neighbours are at the same distance, and beyond the k-th neighbour.
    """
    distances = distances[:, : k.max()].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ball = d * np.log(distances / distances[np.arange(len(k)), k - 1][:, None])
        # From the ratio of two balls: the difference of their volumes would lose precision for thin shells.
        shells = ball + np.log(-np.expm1(np.concatenate([np.full((len(k), 1), -np.inf), ball[:, :-1]], 1) - ball))
    shells[(distances == 0) | (np.arange(k.max()) >= k[:, None])] = -np.inf
    return shells


def maximize_shells(log_v: np.ndarray, k: np.ndarray, steps: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Maximise sum(F + a l - v_l exp(F + a l)) over F and a for every row of volumes.

    For a given slope a the best F is log k - log sum(v_l exp(a l)). This leaves one equation for a: the mean of l,
    weighted by v_l exp(a l), must be (k + 1) / 2. The weighted mean increases with a, so Newton's method solves it; a
    step that would leave the bracketing interval, or does not shrink, is replaced by bisection.

    Parameters
    ----------
    log_v : (n, K) logarithms of the volumes of the first k shells, and -inf elsewhere.
    k : (n,) number of shells.

    Returns
    -------
    F : (n,) the maximising F, or log k where there is no maximum.
    solvable : (n,) bool, whether there is a maximum.
    """
    middle = (k + 1) / 2
    lever = np.arange(1.0, log_v.shape[1] + 1) - middle[:, None]
    inner, outer = (np.where(side, log_v, -np.inf).max(1) for side in (lever < 0, lever > 0))
    # There is a maximum only if some volume lies on either side of the middle.
    solvable = np.isfinite(inner) & np.isfinite(outer)
    a, f = np.zeros(len(k)), np.log(k)
    active = np.flatnonzero(solvable)
    # At this slope the largest shell on one side, with a lever of at least 1/2, outweighs the k / 2 shells on the
    # other side, with levers of at most k / 2.
    high = 2 * np.log(k[active]) + np.abs(inner[active] - outer[active])
    low, last = -high, np.full(len(active), np.inf)

    log_v, lever = log_v[active], lever[active]
    for _ in range(steps):
        weight = lever * a[active, None]
        weight += log_v
        top = weight.max(1)
        weight -= top[:, None]
        np.exp(weight, out=weight)
        total = weight.sum(1)
        f[active] = np.log(k[active]) - top - np.log(total) - a[active] * middle[active]
        weight *= lever
        mean = weight.sum(1) / total
        variance = np.einsum("ij,ij->i", weight, lever) / total - mean**2
        low, high = np.where(mean < 0, a[active], low), np.where(mean > 0, a[active], high)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            step = -mean / variance
        astray = ~((a[active] + step > low) & (a[active] + step < high) & (np.abs(step) < last / 2))
        step = np.where(astray & (mean != 0), (low + high) / 2 - a[active], np.where(mean != 0, step, 0))
        going = np.abs(step) > 1e-13 * (1 + np.abs(a[active]))
        a[active[going]] += step[going]
        active, low, high, last = active[going], low[going], high[going], np.abs(step[going])
        if not len(active):
            break
        if not going.all():
            log_v, lever = log_v[going], lever[going]
    return f, solvable


def log_radius(graph: NeighborGraph, k: np.ndarray) -> np.ndarray:
    """(n,) logarithm of the distance to the k-th neighbour; ValueError if a distance is zero."""
    radius = graph.distances[np.arange(graph.n), k - 1].astype(np.float64)
    if (radius == 0).any():
        raise ValueError(
            f"graph: {int((radius == 0).sum())} points have k or more exact duplicates (k = {k.max()} at "
            "most), where the density is infinite; remove duplicates (np.unique(x, axis=0)) or use a "
            "larger k"
        )
    return np.log(radius)


def log_unit_ball(d: float) -> float:
    """Logarithm of the volume of the unit ball in d dimensions."""
    return 0.5 * d * np.log(np.pi) - gammaln(0.5 * d + 1)


def positive_dimension(dimension: float | Dimension) -> float:
    d = float(dimension.value if hasattr(dimension, "value") else dimension)
    if not (np.isfinite(d) and d > 0):
        raise ValueError(f"dimension={d} must be a positive number")
    return d
