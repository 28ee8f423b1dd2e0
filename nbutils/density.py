"""Density of every point from the distances to its neighbours, in logarithms throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from .dimension import Dimension
from .graph import NeighborGraph


@dataclass(frozen=True, eq=False)
class Density:
    """Estimated density of n points.

    Attributes
    ----------
    log_density : (n,) float64, natural logarithm, normalised to one over the data; its unit is 1 / length^dimension
    error : (n,) float64, standard error of the logarithm
    k : (n,) int, the neighbours that were used
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
    """k points in the ball that reaches to the k-th neighbour: log rho = log k - log V_d - d log r_k - log n.

    V_d is the volume of the unit ball in d dimensions. The error of the logarithm is 1 / sqrt(k).

    Source: Doimo et al. (2020); Mack and Rosenblatt (1979). With ``k=adaptive_k(graph, dimension)``
    this is the k*-NN density of Rodriguez et al. (2018).

    Parameters
    ----------
    dimension : the intrinsic dimension, a number or the result of `dimension.twonn`.
    k : the same number of neighbours for all points, or one for each (n,).

    Raises
    ------
    ValueError
        If `graph` has fewer than `k` neighbours, `dimension` is not positive, or a point has `k` duplicates.
    """
    d = positive_dimension(dimension)
    k = np.broadcast_to(k, (graph.n,)) if np.shape(k) in ((), (graph.n,)) else None
    if k is None or not np.issubdtype(k.dtype, np.integer) or k.min() < 1 or k.max() > graph.k:
        raise ValueError(
            f"k must be a whole number in 1 ... {graph.k}, the neighbours that graph holds, or one such "
            f"number for each of the {graph.n} points"
        )
    log_density = np.log(k) - log_unit_ball(d) - d * log_radius(graph, k) - np.log(graph.n)
    return Density(log_density, k**-0.5, k.copy())


def adaptive_k(graph: NeighborGraph, dimension: float | Dimension, threshold: float = 23.928) -> np.ndarray:
    """(n,) k*, the number of neighbours up to which the density around each point is constant.

    For growing k, the likelihood ratio test asks whether the density at the point and the density at its next
    neighbour, k + 1, each from k neighbours, differ. k* is the first k at which they do: so many neighbours lie before
    the one that is different. At least 3; where no test fails, one less than the neighbours that `graph` holds.

    Source: Rodriguez, d'Errico, Facco and Laio (2018); the bounds on k are those of DADApy.

    Parameters
    ----------
    threshold : of the statistic, chi-square with one degree of freedom; 23.928 is passed by chance once in a million.

    Raises
    ------
    ValueError
        If `graph` has fewer than 5 neighbours, or `dimension` is not positive.
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
        # Two points with k duplicates each are equally dense, although both densities are infinite.
        differ = (statistic >= threshold) & (here != there)
        k_star[growing[differ]] = k
        growing = growing[~differ]
    return k_star


def pak(graph: NeighborGraph, dimension: float | Dimension, threshold: float = 23.928) -> Density:
    """Point-adaptive k-NN: the density at the point itself, of the k* shells around it, with a slope.

    Between neighbours l - 1 and l lies a shell of volume v_l. If the logarithm of the density changes as F + a l from
    shell to shell, the log likelihood of the k* shells is sum(F + a l - v_l exp(F + a l)); its maximum gives F, free
    of the bias that a slope gives to a mere count. It is concave, and found by Newton steps for all points at once.

    Where the neighbours are so unevenly spaced that the likelihood has no maximum (many at one and the same
    distance, say), the density is that of k* neighbours without a slope.

    Source: Rodriguez, d'Errico, Facco and Laio (2018), who name it PAk.

    Raises
    ------
    ValueError
        As `adaptive_k`; and if a point has k* or more exact duplicates.
    """
    d = positive_dimension(dimension)
    k = adaptive_k(graph, d, threshold)
    density = knn_density(graph, d, k)
    log_density, error = density.log_density.copy(), density.error.copy()
    # Points of like k* together, few at a time: tables without empty corners, that stay in the cache.
    order = np.argsort(k, kind="stable")
    for start in range(0, graph.n, 512):
        rows = order[start : start + 512]
        bend, solved = maximize_shells(log_shells(graph.distances[rows], k[rows], d), k[rows])
        place = rows[solved]
        log_density[place] += bend[solved] - np.log(k[place])
        error[place] = np.sqrt((4 * k[place] + 2) / (k[place] * (k[place] - 1.0)))
    return Density(log_density, error, k)


def log_shells(distances: np.ndarray, k: np.ndarray, d: float) -> np.ndarray:
    """(n, max k) logarithms of the volumes between one neighbour and the next, in units of the ball of k neighbours.

    They are -inf where two neighbours are equally far, and beyond the k-th.
    """
    distances = distances[:, : k.max()].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ball = d * np.log(distances / distances[np.arange(len(k)), k - 1][:, None])
        # From the ratio of two balls, since a difference of volumes would lose the thin shells and the innermost.
        shells = ball + np.log(-np.expm1(np.concatenate([np.full((len(k), 1), -np.inf), ball[:, :-1]], 1) - ball))
    shells[(distances == 0) | (np.arange(k.max()) >= k[:, None])] = -np.inf
    return shells


def maximize_shells(log_v: np.ndarray, k: np.ndarray, steps: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Maximise sum(F + a l - v_l exp(F + a l)) over F and a for every row of volumes; F, and where there is a maximum.

    For a given slope the best F is log k - log sum(v_l exp(a l)). What remains is one equation for a: the mean of l,
    each shell weighted with v_l exp(a l), must be the middle (k + 1) / 2. The mean grows with a. Newton steps find it,
    and halving of the interval in which it must lie where a step would leave it or not shrink.

    Parameters
    ----------
    log_v : (n, K) logarithms of the volumes of the first k shells, and -inf elsewhere.
    k : (n,) number of shells.
    """
    middle = (k + 1) / 2
    lever = np.arange(1.0, log_v.shape[1] + 1) - middle[:, None]
    inner, outer = (np.where(side, log_v, -np.inf).max(1) for side in (lever < 0, lever > 0))
    # The slope can balance the shells only if some volume lies on either side.
    solvable = np.isfinite(inner) & np.isfinite(outer)
    a, f = np.zeros(len(k)), np.log(k)
    active = np.flatnonzero(solvable)
    # With this slope the largest shell on one side outweighs all k / 2 of the other, at levers of 1/2 and k / 2.
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
    """(n,) logarithm of the distance to the k-th neighbour; ValueError where it is zero."""
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
