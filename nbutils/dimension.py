"""Intrinsic dimension: how many directions the data really use, from the distances to the nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from .graph import NeighborGraph


@dataclass(frozen=True)
class Dimension:
    """An estimated intrinsic dimension.

    Attributes
    ----------
    value : the dimension
    error : its standard error
    n : points that were used
    n_duplicates : points left out because their nearest neighbour is at distance zero
    """

    value: float
    error: float
    n: int
    n_duplicates: int


@dataclass(frozen=True, eq=False)
class Scaling:
    """The intrinsic dimension over scales.

    Attributes
    ----------
    value : (s,) the dimension
    error : (s,) its standard error
    scale : (s,) the mean distance to the farther of the two neighbours
    far : (s,) the number of that neighbour: 2, 4, 8 ...; the nearer one has half of it
    """

    value: np.ndarray
    error: np.ndarray
    scale: np.ndarray
    far: np.ndarray


def twonn(graph: NeighborGraph, fraction: float = 0.9, form: str = "fit") -> Dimension:
    """The dimension from the ratio mu of the distances to the second and to the first neighbour.

    Where the density is constant on the scale of two neighbours, mu has the distribution 1 - mu^-d: the points
    (log mu, -log(1 - F)) lie on a line through the origin with the slope d. The line is fitted to the lowest
    `fraction` of the ratios, since the largest are the least reliable. The other form is the maximum-likelihood
    estimate from all ratios, (n - 1) / sum(log mu): it has less variance, but nothing protects it from the largest.

    The error is d / sqrt(n used), that of a maximum-likelihood estimate from as many independent ratios. Those of
    neighbouring points are not quite independent: over new samples d scatters 1.1 to 1.4 times as much. Nor does
    the error know the bias of a finite sample, which in most data lowers d, the more the higher d is.

    Source: Facco, d'Errico, Rodriguez and Laio (2017) for the fit; Denti et al. (2022) for the likelihood.

    Parameters
    ----------
    fraction : of the ratios that the line is fitted to.
    form : ``"fit"`` or ``"likelihood"``.

    Raises
    ------
    ValueError
        If `graph` has fewer than two neighbours, `fraction` is not in (0, 1], `form` is unknown, or fewer than 3
        ratios are usable.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction} must lie in (0, 1]")
    if form not in ("fit", "likelihood"):
        raise ValueError(f"form must be 'fit' or 'likelihood', not {form!r}")
    log_mu, n_duplicates = log_ratios(graph)
    n = len(log_mu)
    # The highest ratio has F = 1, whose logarithm is infinite.
    kept = min(int(n * fraction), n - 1)
    if kept < 3:
        raise ValueError(f"graph has {n} distinct points with distinct neighbours: too few to fit a dimension")
    x = np.sort(log_mu)[:kept]
    y = -np.log1p(-np.arange(1, kept + 1) / n)
    # Not zero: single precision leaves equal distances equal only up to rounding. d would exceed 50,000.
    if np.median(log_mu) < 1e-5:
        raise ValueError(
            "graph: the first two neighbours of most points are equally far, as on a lattice; "
            "TwoNN needs continuous data"
        )
    if form == "likelihood":
        value = float((n - 1) / log_mu.sum())
        return Dimension(value, value / n**0.5, n, n_duplicates)
    value = float(x @ y / (x @ x))
    return Dimension(value, value / kept**0.5, kept, n_duplicates)


def log_ratios(graph: NeighborGraph, near: int = 1, far: int = 2) -> tuple[np.ndarray, int]:
    """log(r_far / r_near) of the points whose r_near is not zero, and the number of the others.

    A point whose two neighbours are one point twice has the ratio 1 whatever the dimension: it is left out too.

    Raises
    ------
    ValueError
        If `graph` has fewer than `far` neighbours.
    """
    graph.check_k(far)
    r_first, r_near, r_far = (graph.distances[:, i - 1].astype(np.float64) for i in (1, near, far))
    twins = (r_near == r_far) & (r_first == 0)[graph.indices[:, near - 1]]
    usable = (r_near > 0) & ~twins
    return np.log(r_far[usable]) - np.log(r_near[usable]), int((r_near == 0).sum())


def gride(graph: NeighborGraph) -> Scaling:
    """The dimension from the ratio of the distances to neighbours n and 2n, for n = 1, 2, 4 ...: over growing scales.

    At each n the maximum-likelihood estimate; the error is the inverse root of the Fisher information. At n = 1 it is
    the maximum-likelihood form of `twonn`, (N - 1) / sum(log mu).

    Source: Denti, Doimo, Laio and Mira (2022), the likelihood of mu; with N - 1 in place of N, as in DADApy,
    which makes n = 1 unbiased.

    Raises
    ------
    ValueError
        If `graph` has fewer than two neighbours, fewer than 3 points are usable, or most have their neighbours n and
        2n equally far.
    """
    far = 2 ** np.arange(1, int(np.log2(graph.k)) + 1) if graph.k > 1 else np.array([2])
    results = [_gride_at(graph, int(n)) for n in far]
    value, error, scale = (np.array(column) for column in zip(*results, strict=True))
    return Scaling(value, error, scale, far)


def _gride_at(graph: NeighborGraph, far: int) -> tuple[float, float, float]:
    near = far // 2
    log_mu, _ = log_ratios(graph, near, far)
    n = len(log_mu)
    # As in twonn: equal up to rounding. Among integers d would be of the order of a million.
    if n < 3 or np.median(log_mu) < 1e-5:
        raise ValueError(
            f"graph has too few points whose neighbours {near} and {far} are at distinct distances, as on "
            "a lattice or among duplicates; Gride needs continuous data"
        )

    def excess(d: float) -> float:
        # log mu / (1 - mu^-d), which tends to 1 / d where the two distances are equal.
        with np.errstate(invalid="ignore", divide="ignore"):
            fraction = np.where(log_mu > 0, log_mu / -np.expm1(-d * log_mu), 1 / d)
        return (n - 1) / d - ((1 - near) * fraction + (far - 1) * log_mu).sum()

    low = high = (n - 1) / log_mu.sum()
    while excess(low) < 0:
        low /= 2
    while excess(high) > 0:
        high *= 2
    d = float(brentq(excess, low, high, xtol=1e-12, rtol=1e-13)) if low < high else low
    with np.errstate(invalid="ignore", divide="ignore"):
        curvature = np.where(log_mu > 0, np.exp(-d * log_mu) * log_mu**2 / np.expm1(-d * log_mu) ** 2, 1 / d**2)
    information = n / d**2 + (near - 1) * curvature.sum()
    return d, float(information**-0.5), float(graph.distances[:, far - 1].astype(np.float64).mean())
