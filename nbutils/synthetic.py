"""Random points from distributions of known density and dimension, to test estimators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp


def gaussian_mixture(
    n: int,
    means: np.ndarray,
    scales: float | Sequence[float] = 1.0,
    weights: Sequence[float] | None = None,
    random_state: int | np.random.Generator = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """A sample of a mixture of isotropic Gaussians: points (n, d) float64, and the component of each, (n,) int.

    Parameters
    ----------
    n : number of points.
    means : (c, d) the means of the components.
    scales : standard deviation of each component (c,), or one for all.
    weights : probability of each component (c,), by default equal.
    random_state : seed, or a generator.

    Raises
    ------
    ValueError
        If `means` does not have the shape (c, d), or `scales` or `weights` are not valid for c components.
    """
    means, spread, _ = _components(means, scales, weights)
    rng = np.random.default_rng(random_state)
    which = rng.choice(len(means), n, p=weights)
    return means[which] + spread[which, None] * rng.normal(size=(n, means.shape[1])), which


def mixture_log_density(
    x: np.ndarray, means: np.ndarray, scales: float | Sequence[float] = 1.0, weights: Sequence[float] | None = None
) -> np.ndarray:
    """(n,) log density of the distribution of `gaussian_mixture` at `x`, (n, d).

    Raises
    ------
    ValueError
        As `gaussian_mixture`, or if `x` does not have the shape (n, d).
    """
    means, spread, weight = _components(means, scales, weights)
    x, d = np.asarray(x), means.shape[1]
    if x.ndim != 2 or x.shape[1] != d:
        raise ValueError(f"x must have the shape (n, {d}), as means has, not {x.shape}")
    squared = ((x[:, None] - means) ** 2).sum(-1)
    exponent = -d * np.log(spread) - 0.5 * d * np.log(2 * np.pi) - squared / (2 * spread**2)
    return logsumexp(exponent, b=weight, axis=1)


def _components(
    means: np.ndarray, scales: float | Sequence[float], weights: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    means, spread = np.asarray(means, float), np.asarray(scales, float)
    if means.ndim != 2 or 0 in means.shape:
        raise ValueError(f"means must have the shape (c, d), not {means.shape}")
    c = len(means)
    if spread.shape not in ((), (c,)) or not (spread > 0).all():
        raise ValueError(f"scales must be one positive number or {c}, one for each row of means, not {scales}")
    weight = np.full(c, 1 / c) if weights is None else np.asarray(weights, float)
    if weight.shape != (c,) or (weight < 0).any() or not np.isclose(weight.sum(), 1):
        raise ValueError(f"weights must be {c} probabilities that sum to 1, one for each row of means, not {weights}")
    return means, np.broadcast_to(spread, c), weight


MANIFOLDS = ("cube", "sphere", "gaussian", "torus")


def manifold(
    kind: str, n: int, dimension: int, ambient: int | None = None, random_state: int | np.random.Generator = 0
) -> np.ndarray:
    """(n, ambient) random points on a manifold of known dimension, which is rotated at random in the ambient space.

    Parameters
    ----------
    kind : ``"cube"`` (uniform, edge 1), ``"sphere"`` (uniform on the surface, radius 1), ``"torus"`` (uniform on the
        product of circles of circumference 1, so without boundary) or ``"gaussian"`` (standard normal).
    n : number of points.
    dimension : of the manifold.
    ambient : dimension of the space that contains it, by default the smallest possible.
    random_state : seed, or a generator.

    Raises
    ------
    ValueError
        If `kind` is unknown or `ambient` is too small.
    """
    rng = np.random.default_rng(random_state)
    if kind == "cube":
        flat = rng.uniform(size=(n, dimension))
    elif kind == "gaussian":
        flat = rng.normal(size=(n, dimension))
    elif kind == "sphere":
        flat = rng.normal(size=(n, dimension + 1))
        flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    elif kind == "torus":
        angle = 2 * np.pi * rng.uniform(size=(n, dimension))
        flat = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) / (2 * np.pi)
    else:
        raise ValueError(f"kind must be one of {MANIFOLDS}, not {kind!r}")
    ambient = ambient or flat.shape[1]
    if ambient < flat.shape[1]:
        raise ValueError(f"ambient={ambient} is too small: a {kind} of dimension {dimension} needs {flat.shape[1]}")
    rotation = np.linalg.qr(rng.normal(size=(ambient, ambient)))[0]
    return flat @ rotation[: flat.shape[1]]
