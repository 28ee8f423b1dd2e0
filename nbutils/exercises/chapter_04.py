"""Exercises of chapter 4, on the density."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ..density import knn_density
from ..dimension import twonn
from ..neighbors import knn_graph
from ..synthetic import manifold
from .exercise import Cases, Exercise

# --- 4.1


def neighbours_needed(difference: float, errors: float) -> float:
    return 2 * (errors / difference) ** 2


NEEDED = Exercise(
    "4.1",
    neighbours_needed,
    lambda: {
        "a difference of 0.5 and two errors": (0.5, 2),
        "a difference of 0.25 and two errors": (0.25, 2),
        "a difference of 0.3 and three errors": (0.3, 3),
        "a difference of 0.2 and one error": (0.2, 1),
        "a difference of 0.7 and two errors": (0.7, 2),
        "a difference of 1 and two errors": (1.0, 2),
    },
    {
        "both densities are uncertain: their difference has a larger error than either": lambda difference, errors: (
            (errors / difference) ** 2
        ),
        "errors of independent estimates add in squares, not as they are": lambda difference, errors: (
            4 * (errors / difference) ** 2
        ),
        "the argument errors is not used": lambda difference, errors: 2 * (2 / difference) ** 2,
        "the argument errors is not used: that is the number for one error": lambda difference, errors: (
            2 / difference**2
        ),
        "the argument difference is not used": lambda difference, errors: 2 * (errors / 0.5) ** 2,
        "errors and difference are squared together: k stands under a root": lambda difference, errors: (
            2 * errors / difference
        ),
        "errors has to be squared too": lambda difference, errors: 2 * errors / difference**2,
        "difference has to be squared too": lambda difference, errors: 2 * errors**2 / difference,
        "the factor of two errors in squares is 2, not its root": lambda difference, errors: (
            np.sqrt(2) * (errors / difference) ** 2
        ),
        "that is upside down": lambda difference, errors: (difference / errors) ** 2 / 2,
        "that is the root of the number of neighbours": lambda difference, errors: np.sqrt(2) * errors / difference,
        "with fewer neighbours than that the error is too large: round up, if at all": lambda difference, errors: (
            2 * (errors / difference) ** 2 // 1
        ),
        "that is one more than needed where the number is whole already": lambda difference, errors: (
            2 * (errors / difference) ** 2 // 1 + 1
        ),
    },
    compared=lambda result, difference, errors: float(np.ceil(float(result) - 1e-6)),  # it may be rounded up
)

# --- 4.2


def corner(trials: int) -> float:
    return float(np.mean([at_corner(seed) for seed in range(trials)]))


@cache
def at_corner(seed: int, corner: bool = True, k: int = 30, n: int = 1000, estimated: bool = False) -> float:
    """The estimate at the corner, or at the first point."""
    square = manifold("cube", n, 2, random_state=seed)
    graph = knn_graph(np.vstack([np.zeros((int(corner), 2)), square]), k)
    return float(knn_density(graph, twonn(graph) if estimated else 2, k).log_density[0])


def over_trials(formula: Callable) -> Callable:
    return lambda trials: float(formula(np.array([at_corner(seed) for seed in range(trials)])))


CORNER = Exercise(
    "4.2",
    corner,
    lambda: {"eight trials": (8,), "five trials": (5,)},
    {
        "that is the log density of the truth; asked is what the estimate says": lambda trials: 0.0,
        "that is what theory expects of the estimate; asked is the mean over the trials": lambda trials: -np.log(4),
        "that is the first random point and not the corner: put a row of zeros on top": lambda trials: float(
            np.mean([at_corner(seed, corner=False) for seed in range(trials)])
        ),
        "that is the density; asked is its logarithm": over_trials(lambda values: np.exp(values).mean()),
        "that is the logarithm of the mean density; asked is the mean of the logarithms": over_trials(
            lambda values: np.log(np.exp(values).mean())
        ),
        "that is the logarithm of base 10": over_trials(lambda values: values.mean() / np.log(10)),
        "that is the sum over the trials; asked is the mean": over_trials(lambda values: values.sum()),
        "every trial has the same points: give each a seed of its own": lambda trials: at_corner(0),
        "that is the last trial alone; asked is the mean": over_trials(lambda values: values[-1]),
        "the seeds begin with 0": lambda trials: float(np.mean([at_corner(s) for s in range(1, trials + 1)])),
        "the square has a dimension that is known, 2: do not estimate it": lambda trials: float(
            np.mean([at_corner(seed, estimated=True) for seed in range(trials)])
        ),
        "that is the standard deviation over the trials; asked is the mean": over_trials(lambda values: values.std()),
    },
    tolerance=0.0015,
)

# --- 4.3


def mass_between(x: np.ndarray, inner: float, outer: float) -> float:
    return mass(x, inner, outer)


def mass(
    x: np.ndarray,
    inner: float,
    outer: float,
    k: int = 30,
    at: int = 30,
    n: int | None = None,
    ring: Callable = lambda radius: 2 * np.pi * radius,
    ball: Callable = lambda reach: np.pi * reach**2,
) -> float:
    """The integral of k / (n volume of the ball) over the rings, the mean of four directions."""
    radii = np.geomspace(inner, outer, 100)
    found = []
    for angle in np.arange(4) * np.pi / 2 + 0.3:
        ray = radii[:, None] * [np.cos(angle), np.sin(angle)]
        reach = np.sort(np.linalg.norm(ray[:, None] - x, axis=2), axis=1)[:, at - 1]
        height = k / ((n or len(x)) * ball(reach)) * ring(radii)
        found.append(np.mean(height * radii) * np.log(outer / inner))
    return float(np.mean(found))


def rings() -> Cases:
    rng = np.random.default_rng(43)
    many, few = rng.normal(size=(2000, 2)), 0.5 * rng.normal(size=(500, 2))
    angles = np.arange(500) * 2 * np.pi / 500
    circle = 50 * np.column_stack([np.cos(angles), np.sin(angles)])
    return {
        "2,000 points and the ring from 100 to 1,000": (many, 100, 1000),
        "2,000 points and the ring from 30 to 90": (many, 30, 90),
        "500 points and the ring from 10 to 100": (few, 10, 100),
        "30 points in one place and two far away": (np.vstack([np.zeros((30, 2)), 1000 * circle[:2]]), 1, 5),
        "29 points in one place and 500 on a wide circle": (np.vstack([np.zeros((29, 2)), circle]), 1, 5),
    }


RINGS = Exercise(
    "4.3",
    mass_between,
    rings,
    {
        "the distance to the 30th neighbour is asked for, not to the nearest": lambda x, inner, outer: mass(
            x, inner, outer, at=1
        ),
        "that is the estimate with one neighbour; use k = 30": lambda x, inner, outer: mass(x, inner, outer, 1, 1),
        "the 30th neighbour is entry 29 of the sorted distances, since they are counted from 0": (
            lambda x, inner, outer: mass(x, inner, outer, at=31)
        ),
        "the place is none of the points, so the 29th distance is not that to the 30th neighbour": (
            lambda x, inner, outer: mass(x, inner, outer, at=29)
        ),
        "the place is none of the points: the estimate is divided by n, not by n - 1": (
            lambda x, inner, outer: mass(x, inner, outer, n=len(x) - 1)
        ),
        "k is 30 above the line too": lambda x, inner, outer: mass(x, inner, outer, 1),
        "that holds only far out, where the distance to the 30th neighbour is that to the origin": (
            lambda x, inner, outer: 2 * 30 / len(x) * np.log(outer / inner)
        ),
        "the estimate has to be divided by the number of points": lambda x, inner, outer: mass(x, inner, outer, n=1),
        "the number of points is that of x: it is not 2,000 in every case": lambda x, inner, outer: mass(
            x, inner, outer, n=2000
        ),
        "a ring of the width dR has the area 2 pi R dR: a factor 2 pi is missing": lambda x, inner, outer: mass(
            x, inner, outer, ring=lambda radius: radius
        ),
        "a ring of the width dR has the area 2 pi R dR: a factor 2 is missing": lambda x, inner, outer: mass(
            x, inner, outer, ring=lambda radius: np.pi * radius
        ),
        "a ring of the width dR has the area 2 pi R dR: the factor 2 pi R is missing": lambda x, inner, outer: mass(
            x, inner, outer, ring=lambda radius: 1 + 0 * radius
        ),
        "the ball of the radius r has the area pi r squared: the square is missing": lambda x, inner, outer: mass(
            x, inner, outer, ball=lambda reach: np.pi * reach
        ),
        "the ball of the radius r has the area pi r squared: pi is missing": lambda x, inner, outer: mass(
            x, inner, outer, ball=lambda reach: reach**2
        ),
        "that is the area of the ring; multiply it by the estimate": lambda x, inner, outer: (
            np.pi * (outer**2 - inner**2)
        ),
        "that is the natural logarithm of outer / inner over that of 10: use np.log": lambda x, inner, outer: (
            mass(x, inner, outer) / np.log(10)
        ),
        "the mean of the integrand has to be multiplied by np.log(outer / inner)": lambda x, inner, outer: (
            mass(x, inner, outer) / np.log(outer / inner)
        ),
    },
    tolerance=0.03,
    compared=lambda result, x, inner, outer: float(np.log(max(float(result), 1e-12))),
)

EXERCISES = (NEEDED, CORNER, RINGS)
