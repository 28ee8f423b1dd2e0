"""Intrinsic dimension of the data, estimated from the distances to the nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .graph import NeighborGraph


@dataclass(frozen=True)
class Dimension:
    """An estimated intrinsic dimension.

    Attributes
    ----------
    value : the dimension
    error : its standard error
    n : number of points used
    n_duplicates : number of points left out because their nearest neighbour is at distance zero
    """

    value: float
    error: float
    n: int
    n_duplicates: int


@dataclass(frozen=True, eq=False)
class Scaling:
    """The intrinsic dimension as a function of the length scale.

    Attributes
    ----------
    value : (s,) the dimension
    error : (s,) its standard error
    scale : (s,) the mean distance to the farther of the two neighbours, in the unit of the data
    far : (s,) int, the rank of that neighbour: 2, 4, 8 ...; the nearer neighbour has half that rank
    """

    value: np.ndarray
    error: np.ndarray
    scale: np.ndarray
    far: np.ndarray


def twonn(graph: NeighborGraph, fraction: float = 0.9, method: str = "fit") -> Dimension:
    """The intrinsic dimension from the ratio mu of the distances to the second and the first neighbour (TwoNN).

    If the density is constant over the first two neighbours, mu has the cumulative distribution F(mu) = 1 - mu^-d, so
    the points (log mu, -log(1 - F)) lie on a line through the origin with slope d. The line is fitted to the lowest
    `fraction` of the ratios, because the largest are the least reliable. The maximum-likelihood estimate,
    (n - 1) / sum(log mu), uses all ratios: it has a smaller variance, but is sensitive to the largest ratios.

    The error is d / sqrt(n), the standard error of a maximum-likelihood estimate from n independent ratios. The ratios
    of neighbouring points are correlated, so the standard deviation of d over new samples is 1.1 to 1.4 times as
    large. The error does not include the bias of a finite sample, which for most data lowers d, and more so for
    larger d.

    Source: Facco, d'Errico, Rodriguez and Laio (2017) for the fit; Denti et al. (2022) for maximum likelihood.

    Parameters
    ----------
    fraction : the fraction of the ratios to which the line is fitted.
    method : ``"fit"`` for the fitted line, ``"mle"`` for maximum likelihood.

    Raises
    ------
    ValueError
        If `graph` holds fewer than two neighbours, `fraction` is not in (0, 1], `method` is unknown, fewer than 3
        ratios are usable, or most ratios are 1, as on a lattice.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction} must lie in (0, 1]")
    if method not in ("fit", "mle"):
        raise ValueError(f"method must be 'fit' or 'mle', not {method!r}")
    log_mu, n_duplicates = log_ratios(graph)
    n = len(log_mu)
    # At the largest ratio F = 1, and log(1 - F) is infinite.
    kept = min(int(n * fraction), n - 1)
    if kept < 3:
        raise ValueError(f"graph has {n} distinct points with distinct neighbours: too few to fit a dimension")
    x = np.sort(log_mu)[:kept]
    y = -np.log1p(-np.arange(1, kept + 1) / n)
    # In single precision, equal distances are equal only up to rounding, hence no comparison with zero.
    if np.median(log_mu) < 1e-5:
        raise ValueError(
            "graph: the first two neighbours of most points are at the same distance, as on a lattice; "
            "TwoNN needs continuous data"
        )
    if method == "mle":
        value = float((n - 1) / log_mu.sum())
        return Dimension(value, value / n**0.5, n, n_duplicates)
    value = float(x @ y / (x @ x))
    return Dimension(value, value / kept**0.5, kept, n_duplicates)


def log_ratios(graph: NeighborGraph, near: int = 1, far: int = 2) -> tuple[np.ndarray, int]:
    """log(r_far / r_near) of each point whose r_near is not zero, and the number of points where it is zero.

    A point whose two neighbours are duplicates of each other is left out too: its ratio is 1 in any dimension.

    Raises
    ------
    ValueError
        If `graph` holds fewer than `far` neighbours.
    """
    graph.check_k(far)
    r_first, r_near, r_far = (graph.distances[:, i - 1].astype(np.float64) for i in (1, near, far))
    twins = (r_near == r_far) & (r_first == 0)[graph.indices[:, near - 1]]
    usable = (r_near > 0) & ~twins
    return np.log(r_far[usable]) - np.log(r_near[usable]), int((r_near == 0).sum())


def gride(graph: NeighborGraph) -> Scaling:
    """The intrinsic dimension from the ratio of the distances to neighbours n and 2n, for n = 1, 2, 4 ... (Gride).

    A larger n probes a larger length scale. At each n, d is the maximum-likelihood estimate, and the error is the
    inverse square root of the Fisher information. At n = 1 this is `twonn` with ``method="mle"``.

    Source: Denti, Doimo, Laio and Mira (2022) for the likelihood of mu. N - 1 replaces N, as in DADApy, which makes
    the estimate at n = 1 unbiased.

    Raises
    ------
    ValueError
        If `graph` holds fewer than two neighbours, fewer than 3 points are usable, or the neighbours n and 2n of most
        points are at the same distance.
    """
    far = 2 ** np.arange(1, int(np.log2(graph.k)) + 1) if graph.k > 1 else np.array([2])
    results = [_gride_at(graph, int(n)) for n in far]
    value, error, scale = (np.array(column) for column in zip(*results, strict=True))
    return Scaling(value, error, scale, far)


def _gride_at(graph: NeighborGraph, far: int) -> tuple[float, float, float]:
    near = far // 2
    log_mu, _ = log_ratios(graph, near, far)
    n = len(log_mu)
    # As in twonn, equal distances are equal only up to rounding.
    if n < 3 or np.median(log_mu) < 1e-5:
        raise ValueError(
            f"graph has too few points whose neighbours {near} and {far} are at different distances, as on "
            "a lattice or among duplicates; Gride needs continuous data"
        )

    def excess(d: float) -> float:
        # The limit of log mu / (1 - mu^-d) for mu = 1 is 1 / d.
        with np.errstate(invalid="ignore", divide="ignore"):
            fraction = np.where(log_mu > 0, log_mu / -np.expm1(-d * log_mu), 1 / d)
        return (n - 1) / d - ((1 - near) * fraction + (far - 1) * log_mu).sum()

    from scipy.optimize import brentq  # slow to load, and only Gride needs it

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
