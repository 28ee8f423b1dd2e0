"""Exercises of chapter 5, on density peaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np

from ..density import knn_density
from ..dimension import twonn
from ..neighbors import knn_graph
from ..peaks import find_peaks
from ..synthetic import manifold, mixture_log_density
from .exercise import Cases, Exercise

# --- 5.1


def stays_two(peak_a: np.ndarray, peak_b: np.ndarray, saddle: np.ndarray, k: int, z: float) -> np.ndarray:
    return np.minimum(peak_a, peak_b) - saddle > z * 2 / np.sqrt(k)


def saddles() -> Cases:
    rng = np.random.default_rng(51)

    def world(k: int, z: float) -> tuple:
        saddle = rng.normal(-3, 0.5, 400)
        a, b = saddle + rng.uniform(0, 5 * z / np.sqrt(k), (2, 400))
        return a, b, saddle, k, z

    peaks = np.array([[-2, -2, -2.5, -2.5], [-2.5, -2.5, -2, -2], [-3.2, -3, -3.2, -3]])
    return {
        "four pairs of peaks": (*peaks, 30, 1.65),
        "400 pairs of peaks, 30 neighbours and Z = 1.65": world(30, 1.65),
        "400 pairs of peaks, 10 neighbours and Z = 1.65": world(10, 1.65),
        "400 pairs of peaks, 30 neighbours and Z = 3": world(30, 3.0),
        "four pairs, of which one is just Z errors deep": (
            np.array([-2.25, -2, -2.5, -1]),
            *np.full((1, 4), -2),
            np.full(4, -3),
            16,
            1.5,
        ),
    }


def with_depth(rule: Callable) -> Callable:
    """The rule of a mistake that only judges the depth below the lower peak in another way."""
    return lambda a, b, saddle, k, z: rule(np.minimum(a, b) - saddle, k, z)


STAYS = Exercise(
    "5.1",
    stays_two,
    saddles,
    {
        "the argument k is not used": with_depth(lambda depth, k, z: depth > z * 2 / np.sqrt(30)),
        "the argument z is not used": with_depth(lambda depth, k, z: depth > 1.65 * 2 / np.sqrt(k)),
        "k and z are not used": with_depth(lambda depth, k, z: depth > 1.65 * 2 / np.sqrt(30)),
        "the lower of the two peaks decides, not the higher": lambda a, b, saddle, k, z: (
            np.maximum(a, b) - saddle > z * 2 / np.sqrt(k)
        ),
        "the lower of the two peaks decides, not the mean": lambda a, b, saddle, k, z: (
            (a + b) / 2 - saddle > z * 2 / np.sqrt(k)
        ),
        "only the first peak was compared with the saddle": lambda a, b, saddle, k, z: a - saddle > z * 2 / np.sqrt(k),
        "only the second peak was compared with the saddle": lambda a, b, saddle, k, z: b - saddle > z * 2 / np.sqrt(k),
        "the error of the saddle is missing: both heights have one": with_depth(
            lambda depth, k, z: depth > z / np.sqrt(k)
        ),
        "the rule adds the two errors; it does not add them in squares": with_depth(
            lambda depth, k, z: depth > z * np.sqrt(2 / k)
        ),
        "the error is 1 over the square root of k": with_depth(lambda depth, k, z: depth > z * 2 / k),
        "a pair that is just z errors deep does not stay two: it has to be more": with_depth(
            lambda depth, k, z: depth >= z * 2 / np.sqrt(k)
        ),
        "that says which pairs are merged": with_depth(lambda depth, k, z: depth <= z * 2 / np.sqrt(k)),
        "the depth does not have to be positive only, but more than z errors": with_depth(
            lambda depth, k, z: depth > 0
        ),
    },
)

# --- 5.2


def false_peaks(k: int, z: float, trials: int) -> float:
    return float(np.mean(on_tori(k, z, range(trials)))) - 1


def on_tori(k: int, z: float, seeds: Iterable[int], n: int = 500, estimated: bool = False) -> list[int]:
    """The number of peaks on the torus of each seed."""
    return [on_torus(k, z, seed, n, estimated) for seed in seeds]


@cache
def on_torus(k: int, z: float, seed: int, n: int, estimated: bool) -> int:
    flat = knn_graph(manifold("torus", n, 2, random_state=seed), k)
    return find_peaks(flat, knn_density(flat, twonn(flat) if estimated else 2, k), z).n_peaks


FALSE = Exercise(
    "5.2",
    false_peaks,
    lambda: {
        "k = 5, Z = 1 and eight tori": (5, 1.0, 8),
        "k = 3, Z = 1.65 and five tori": (3, 1.65, 5),
        "k = 30, Z = 1.65 and three tori": (30, 1.65, 3),
    },
    {
        "one peak of each torus is a true one: take it off": lambda k, z, trials: np.mean(on_tori(k, z, range(trials))),
        "the argument z is not used": lambda k, z, trials: false_peaks(k, 1.65, trials),
        "the argument k is not used": lambda k, z, trials: false_peaks(30, z, trials),
        "that is the sum over the trials; asked is the mean": lambda k, z, trials: trials * false_peaks(k, z, trials),
        "that is the sum of the peaks over the trials, less one": lambda k, z, trials: (
            sum(on_tori(k, z, range(trials))) - 1
        ),
        "that is the largest number of all trials": lambda k, z, trials: max(on_tori(k, z, range(trials))) - 1,
        "that is the share of tori with a false peak; asked is their mean number": lambda k, z, trials: float(
            np.mean(np.array(on_tori(k, z, range(trials))) > 1)
        ),
        "every trial has the same torus: give each a seed of its own": lambda k, z, trials: false_peaks(k, z, 1),
        "the tori have 500 points": lambda k, z, trials: np.mean(on_tori(k, z, range(trials), 1000)) - 1,
        "the seeds begin with 0": lambda k, z, trials: np.mean(on_tori(k, z, range(1, trials + 1))) - 1,
        "the argument trials is not used": lambda k, z, trials: false_peaks(k, z, 8),
        "a torus has a dimension that is known, 2: do not estimate it": lambda k, z, trials: (
            np.mean(on_tori(k, z, range(trials), estimated=True)) - 1
        ),
    },
)

# --- 5.3


def smallest_weight(distance: float) -> float:
    # Where the first and the second derivative of the density are zero.
    root = np.sqrt(distance**2 - 4)
    ratio = (distance + root) / (distance - root) * np.exp(-distance * root / 2)
    return float(ratio / (1 + ratio))


def first_weight(distance: float, enough: Callable[[np.ndarray, np.ndarray], bool], by: float = 0.001) -> float:
    """The smallest weight for which the density on the line through both centres has enough of something."""
    line = np.arange(-2, distance + 2, 0.005)
    for w in np.arange(by, 0.5, by):
        height = mixture_log_density(
            np.column_stack([line, 0 * line]), np.array([[0, 0], [distance, 0]]), 1.0, [w, 1 - w]
        )
        if enough(height, line):
            return float(w)
    return 0.5


def at(height: np.ndarray, line: np.ndarray, place: float) -> float:
    return float(np.interp(place, line, height))


def above_the_middle(distance: float) -> float:
    return first_weight(distance, lambda h, x: at(h, x, 0) > at(h, x, distance / 2))


def above_one_away(distance: float) -> float:
    return first_weight(distance, lambda h, x: at(h, x, 0) > at(h, x, 1))


WEIGHT = Exercise(
    "5.3",
    smallest_weight,
    lambda: {
        "a distance of 3": (3.0,),
        "a distance of 2.5": (2.5,),
        "a distance of 3.6": (3.6,),
    },
    {
        "that is the weight of the large cloud": lambda distance: 1 - smallest_weight(distance),
        "that is the ratio of the two weights; asked is the smaller one": lambda distance: (
            smallest_weight(distance) / (1 - smallest_weight(distance))
        ),
        "the argument distance is not used: it was 3 in every case": lambda distance: smallest_weight(3.0),
        "a top can be lower than the middle between the centres: count the tops on a fine grid": above_the_middle,
        "a top need not be higher than the place one unit further: count the tops on a fine grid": above_one_away,
        "those are the places of the smallest valley; asked is the weight": lambda distance: (
            (distance - np.sqrt(distance**2 - 4)) / 2
        ),
        "the steps between the weights are too coarse: use steps of 0.001": lambda distance: float(
            np.ceil(smallest_weight(distance) * 10) / 10
        ),
    },
    tolerance=0.004,
)

EXERCISES = (STAYS, FALSE, WEIGHT)
