"""Exercises of chapter 3, on the intrinsic dimension."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from ..dimension import Dimension, log_ratios, twonn
from ..graph import NeighborGraph
from ..neighbors import knn_graph
from ..synthetic import manifold
from .exercise import Cases, Exercise

# --- 3.1


def dimension(x: np.ndarray) -> float:
    return twonn(knn_graph(x, 2)).value


def added(x: np.ndarray, new: np.ndarray) -> float:
    return dimension(np.concatenate([x, new], axis=1)) - dimension(x)


def columns() -> Cases:
    sphere = manifold("sphere", 1000, 2, random_state=3)
    one = manifold("cube", 1000, 1, random_state=9)
    return {
        "a sphere and functions of its columns": (sphere, np.sin(2 * sphere)),
        "a sphere and three columns that say one new thing": (sphere, one * [1, 0.5, -0.7]),
        "a sphere and three independent columns": (sphere, 2 * manifold("cube", 1000, 3, random_state=31)),
        "a cube of five dimensions and columns that outweigh it": (
            manifold("cube", 1000, 5, random_state=32),
            1e4 * one * np.ones(5),
        ),
    }


ADDED = Exercise(
    "3.1",
    added,
    columns,
    {
        "columns are put side by side with axis=1; this puts points under points": lambda x, new: (
            dimension(np.concatenate([x, new])) - dimension(x)
        ),
        "that is 0 for all columns, but only columns that say nothing new add nothing": lambda x, new: 0.0,
        "that is the dimension with the new columns; take off the dimension without": lambda x, new: dimension(
            np.concatenate([x, new], axis=1)
        ),
        "that is the number of the new columns; ask twonn": lambda x, new: float(new.shape[1]),
        "that is the dimension of the new columns alone": lambda x, new: dimension(new),
        "that is the dimension without minus the dimension with; take it the other way round": lambda x, new: (
            -added(x, new)
        ),
        "new columns can lower the dimension: no absolute value is asked for": lambda x, new: abs(added(x, new)),
        "new columns can lower the dimension: the difference may be negative": lambda x, new: max(0.0, added(x, new)),
        "the columns are taken as they are, and not scaled": lambda x, new: (
            dimension((both := np.concatenate([x, new], axis=1)) / both.std(axis=0)) - dimension(x)
        ),
        "that is the ratio of the two dimensions; asked is their difference": lambda x, new: (
            1 + added(x, new) / dimension(x)
        ),
        "take off the dimension of the old columns, not that of the new": lambda x, new: (
            dimension(np.concatenate([x, new], axis=1)) - dimension(new)
        ),
        "the new columns were added to the old ones as numbers; put them beside them": lambda x, new: (
            dimension(x + new) - dimension(x)
        ),
    },
    tolerance=0.15,
)

# --- 3.2


def likeliest(graph: NeighborGraph) -> float:
    return from_logs(lambda logs, n: (len(logs) - 1) / logs.sum())(graph)


def from_logs(formula: Callable) -> Callable:
    """An estimate from the logarithms of the ratios and the number of points."""
    return lambda graph: float(formula(log_ratios(graph)[0].astype(float), graph.n))


def spheres() -> Cases:
    square = manifold("cube", 300, 2, random_state=2)
    return {
        "a sphere of four dimensions": (knn_graph(manifold("sphere", 600, 4, random_state=1), 4),),
        "a square": (knn_graph(square, 2),),
        "a square with copies": (knn_graph(np.concatenate([square, square[:90]]), 3),),
    }


LIKELIEST = Exercise(
    "3.2",
    likeliest,
    spheres,
    {
        "with N above the line the estimate has a bias: use N - 1": from_logs(lambda logs, n: len(logs) / logs.sum()),
        "N is the number of ratios: points with a copy have none": from_logs(lambda logs, n: (n - 1) / logs.sum()),
        "N is the number of ratios, without the points with a copy, and N - 1 stands above the line": from_logs(
            lambda logs, n: n / logs.sum()
        ),
        "that is the mean of the logarithms; the dimension is its inverse": from_logs(lambda logs, n: logs.mean()),
        "that is the sum over N - 1, upside down": from_logs(lambda logs, n: logs.sum() / (len(logs) - 1)),
        "that is the line of twonn, with a fraction cut off": lambda graph: twonn(graph).value,
        "log_ratios has taken the logarithms already": from_logs(
            lambda logs, n: (len(logs) - 1) / np.log(logs[logs > 0]).sum()
        ),
        "those are the ratios themselves; take their logarithms": from_logs(
            lambda logs, n: (len(logs) - 1) / np.exp(logs).sum()
        ),
        "the natural logarithm is asked for, not that of base 10": from_logs(
            lambda logs, n: (len(logs) - 1) / (logs / np.log(10)).sum()
        ),
        "that is the mean of one dimension for each point; sum the logarithms first": from_logs(
            lambda logs, n: (1 / logs[logs > 0]).mean()
        ),
        "the last neighbour was used instead of the second": lambda graph: (
            (len(logs := log_ratios(graph, 1, graph.k)[0]) - 1) / logs.sum()
        ),
    },
    tolerance=1e-5,
)

# --- 3.3


@cache
def estimate(seed: int) -> Dimension:
    return twonn(knn_graph(manifold("sphere", 500, 2, random_state=seed), 2))


def of_estimates(formula: Callable, first: int = 0) -> Callable:
    """A number from the values and the errors of the estimates."""

    def answer(draws: int) -> float:
        found = [estimate(seed) for seed in range(first, first + draws)]
        return float(formula(np.array([d.value for d in found]), np.array([d.error for d in found])))

    return answer


def honesty(draws: int) -> float:
    return of_estimates(lambda value, error: value.std() / error.mean())(draws)


HONESTY = Exercise(
    "3.3",
    honesty,
    # With these, one seed more or less makes a difference.
    lambda: {"11 draws": (11,), "20 draws": (20,), "26 draws": (26,)},
    {
        "that is the mean error over the standard deviation; divide the other way round": of_estimates(
            lambda value, error: error.mean() / value.std()
        ),
        "that is the standard deviation alone: divide it by the mean error": of_estimates(
            lambda value, error: value.std()
        ),
        "divide by the mean of the errors, not of the estimates": of_estimates(
            lambda value, error: value.std() / value.mean()
        ),
        "that is a ratio of variances; take the roots": of_estimates(
            lambda value, error: value.var() / (error**2).mean()
        ),
        "that is the variance over the error; take its root": of_estimates(
            lambda value, error: value.var() / error.mean()
        ),
        "the standard deviation must not be divided by the root of the draws: each estimate has its own error": (
            of_estimates(lambda value, error: value.std() / np.sqrt(len(value)) / error.mean())
        ),
        "the seeds are 0, 1, 2 and so on, one for each draw": of_estimates(
            lambda value, error: value.std() / error.mean(), first=1
        ),
        "every draw is the same cloud: give each a seed of its own": lambda draws: 0.0,
        "divide by the mean error, not by the sum": of_estimates(lambda value, error: value.std() / error.sum()),
        "that is how far the mean is from 2; asked is how far the estimates are from one another": of_estimates(
            lambda value, error: abs(value.mean() - 2) / error.mean()
        ),
    },
    tolerance=0.05,  # which allows for a standard deviation with one draw less
    compared=lambda result, draws: float(np.log(max(float(result), 1e-9))),
)

# --- 3.4


def relit(images: torch.Tensor) -> torch.Tensor:
    contrast, brightness = random(len(images))
    return contrast * images + brightness


def random(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A contrast and a brightness for each of n pictures."""
    contrast, brightness = torch.rand(2, n, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    return 0.5 + contrast, brightness - 0.5


def light(result: torch.Tensor, images: torch.Tensor) -> list[float]:
    """How the pictures were changed, whatever the random numbers.

    The range of the contrasts, its middle and their spread, the same of the brightness, a tenth of the correlation of
    the two, and how far a contrast and a brightness are from explaining the change.
    """
    new, old = (torch.as_tensor(x).double().flatten(1) for x in (result, images))
    old_mean, new_mean = old.mean(1, keepdim=True), new.mean(1, keepdim=True)
    contrast = ((old - old_mean) * (new - new_mean)).sum(1, keepdim=True) / ((old - old_mean) ** 2).sum(1, keepdim=True)
    brightness = new_mean - contrast * old_mean
    unexplained = (new - contrast * old - brightness).abs().mean()
    parts = []
    for knob, unchanged in ((contrast, 1), (brightness, 0)):
        wide = float(knob.max() - knob.min())
        # The same number for all pictures may be any; what matters is whether it changes them.
        same_for_all = float(abs(float(knob.mean()) - unchanged) < 0.01)
        parts += [wide, float(knob.max() + knob.min()) / 2 if wide > 0.01 else same_for_all, float(knob.std())]
    together = 0.0
    if min(parts[0], parts[3]) > 0.01:
        together = float(torch.corrcoef(torch.cat([contrast, brightness], 1).T)[0, 1])
    return [*parts, together / 10, min(1.0, float(unexplained) * 20)]


def pictures() -> Cases:
    draw = torch.Generator().manual_seed(34)
    return {
        "400 pictures": (2 * torch.rand(400, 3, 8, 8, generator=draw) - 1,),
        "300 dark pictures": (torch.rand(300, 3, 6, 4, generator=draw) - 1,),
    }


def with_knobs(formula: Callable) -> Callable:
    """Pictures from old ones and from a contrast and a brightness for each."""
    return lambda images: formula(images, *random(len(images)))


RELIT = Exercise(
    "3.4",
    relit,
    pictures,
    {
        "the brightness is missing: add a number to each picture": with_knobs(lambda x, c, b: c * x),
        "the contrast is missing: multiply each picture by a number": with_knobs(lambda x, c, b: x + b),
        "nothing was changed": lambda images: images,
        "all pictures got the same light: draw numbers for each": with_knobs(lambda x, c, b: 0.6 * x + 0.2),
        "all pictures got the same contrast: draw a number for each": with_knobs(lambda x, c, b: 0.6 * x + b),
        "all pictures got the same brightness: draw a number for each": with_knobs(lambda x, c, b: c * x + 0.2),
        "the contrast goes from 0.5 to 1.5, not from 0 to 1": with_knobs(lambda x, c, b: (c - 0.5) * x + b),
        "the brightness goes from -0.5 to 0.5, not from 0 to 1": with_knobs(lambda x, c, b: c * x + b + 0.5),
        "the contrast goes from 0.5 to 1.5, and the brightness from -0.5 to 0.5; torch.rand goes from 0 to 1": (
            with_knobs(lambda x, c, b: (c - 0.5) * x + b + 0.5)
        ),
        "a picture may become brighter than 1 or darker than -1: nothing is to be clipped": with_knobs(
            lambda x, c, b: (c * x + b).clamp(-1, 1)
        ),
        "only half of the pictures were changed": with_knobs(
            lambda x, c, b: torch.cat([(c * x + b)[: len(x) // 2], x[len(x) // 2 :]])
        ),
        "multiply first, and add afterwards": with_knobs(lambda x, c, b: c * (x + b)),
        "contrast and brightness are the same random numbers: draw them independently": with_knobs(
            lambda x, c, b: c * x + c - 1
        ),
        "the brightness was subtracted from numbers that belong to the contrast: draw it independently": with_knobs(
            lambda x, c, b: c * x + 1 - c
        ),
        "each pixel has a light of its own: draw one number for each picture": with_knobs(
            lambda x, c, b: (
                (0.5 + torch.rand(x.shape, generator=torch.Generator().manual_seed(2))) * x
                + torch.rand(x.shape, generator=torch.Generator().manual_seed(3))
                - 0.5
            )
        ),
    },
    tolerance=0.06,
    compared=light,
)

EXERCISES = (ADDED, LIKELIEST, HONESTY, RELIT)
