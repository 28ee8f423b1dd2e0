"""The exercise of the page on the small world's landscape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..peaks import Topography
from .exercise import Cases, Exercise

LATENTS = ("x", "y", "size", "tilt", "squeeze", "flipped", "light", "stripes")
UNITS = (0.25, 0.25, 0.1, 15, 0.1, 1, 1, 1)


def what_divides(topography: Topography, latents: dict[str, np.ndarray], a: int, b: int) -> str:
    return chosen(lambda value, in_a, in_b: abs(value[in_a].mean() - value[in_b].mean()) / value.std())(
        topography, latents, a, b
    )


def chosen(gap: Callable) -> Callable:
    """The latent for which a function of its values, and of who is in either peak, is largest."""

    def choose(topography: Topography, latents: dict[str, np.ndarray], a: int, b: int) -> str:
        inside = topography.labels == a, topography.labels == b
        return max(LATENTS, key=lambda name: gap(latents[name], *inside))

    return choose


def landscapes() -> Cases:
    def world(seed: int) -> tuple:
        rng = np.random.default_rng([27, seed])
        labels = rng.integers(0, 4, 120)
        latents = {"main": rng.random((120, 3))}
        for name, unit in zip(LATENTS, UNITS, strict=True):
            shift, spread = rng.normal(size=4) * rng.choice([0.5, 1.5]), rng.choice([0.3, 1, 3], 4)
            latents[name] = unit * (rng.normal(size=120) * spread[labels] + shift[labels])
        nothing = np.zeros((0,))
        tops = np.arange(4)
        landscape = Topography(labels, tops, -tops.astype(float), nothing.reshape(0, 2), nothing, nothing, -9.0)
        return landscape, latents, int(rng.integers(0, 2)), int(rng.integers(2, 4))

    return {f"landscape {i + 1}": world(i) for i in range(8)}


DIVIDES = Exercise(
    "L.1",
    what_divides,
    landscapes,
    {
        "the difference has to be in units of the standard deviation": chosen(
            lambda value, a, b: abs(value[a].mean() - value[b].mean())
        ),
        "the standard deviation is over all pictures, not over those of the two peaks": chosen(
            lambda value, a, b: abs(value[a].mean() - value[b].mean()) / value[a | b].std()
        ),
        "the standard deviation is over all pictures, not over those of one peak": chosen(
            lambda value, a, b: abs(value[a].mean() - value[b].mean()) / value[a].std()
        ),
        "a difference counts in either direction: take its absolute value": chosen(
            lambda value, a, b: (value[a].mean() - value[b].mean()) / value.std()
        ),
        "a difference counts in either direction, not only if peak b has more": chosen(
            lambda value, a, b: (value[b].mean() - value[a].mean()) / value.std()
        ),
        "that is the latent that differs least": chosen(
            lambda value, a, b: -abs(value[a].mean() - value[b].mean()) / value.std()
        ),
        "divide by the standard deviation, not by the variance": chosen(
            lambda value, a, b: abs(value[a].mean() - value[b].mean()) / value.var()
        ),
        "peak a was compared with all other pictures; compare it with peak b": chosen(
            lambda value, a, b: abs(value[a].mean() - value[~a].mean()) / value.std()
        ),
        "peaks 0 and 1 were compared in every case; use a and b": lambda topography, latents, a, b: what_divides(
            topography, latents, 0, 1
        ),
    },
)

EXERCISES = (DIVIDES,)
