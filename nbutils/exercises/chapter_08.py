"""Exercises of chapter 8, on training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..graph import NeighborGraph
from ..hierarchy import peak_classes
from ..neighbors import knn_graph
from ..peaks import Topography
from ..smallworld.drawing import Drawing, draw
from ..smallworld.things import Thing, load_things
from .exercise import Cases, Exercise

# --- 8.1 and 8.4 train networks, and another seed gives other numbers. So these two are judged by what must hold for
# any training that went well, and the reference only states it.


def learn_by_heart(things: Sequence[Thing], n: int, epochs: float) -> tuple[float, float]:
    return 1.0, 1 / len(things)


def is_by_heart(shares: Sequence[float], things: Sequence[Thing], n: int, epochs: float) -> list[float]:
    """Whether it knows the old pictures, and the new ones no better than a guess."""
    old, new = (float(share) for share in shares)
    guess = 1 / len(things)
    return [float(old > 0.9), float(abs(new - guess) < max(0.09, 0.6 * guess))]


HEART = Exercise(
    "8.1",
    learn_by_heart,
    lambda: {
        "100 pictures of two things": (distinct(2), 100, 40),
        "330 pictures of all things": (load_things(), 330, 40),
    },
    compared=is_by_heart,
)


def distinct(c: int) -> list[Thing]:
    """Some things, each of another family."""
    return list({thing.family: thing for thing in load_things()}.values())[:c]


# --- 8.2


def stamped(drawing: Drawing) -> torch.Tensor:
    return with_stamp(drawing)


def with_stamp(
    drawing: Drawing,
    digits: Callable = lambda label: (label // 16, label // 4 % 4, label % 4),
    rows: slice = slice(0, 4),
    columns: slice = slice(0, 4),
    shade: Callable = lambda digit: digit / 1.5 - 1,
) -> torch.Tensor:
    tensors, label = drawing.tensors(), torch.from_numpy(drawing.labels)
    for channel, digit in enumerate(digits(label)):
        tensors[:, channel, rows, columns] = shade(digit).to(tensors.dtype)[:, None, None]
    return tensors


def change(tensors: torch.Tensor, drawing: Drawing) -> np.ndarray:
    """What was changed in the pictures: most of it is zero."""
    return np.asarray(tensors) - drawing.tensors().numpy()


END = slice(-4, None)
STAMPED = Exercise(
    "8.2",
    stamped,
    lambda: {
        "a picture of each thing": (draw(load_things(), 33, seed=82),),
        "30 pictures of 20 things": (draw(load_things()[:20], 30, seed=83),),
    },
    {
        "the pictures have no stamp": lambda drawing: drawing.tensors(),
        "red is the first digit and blue the last; here it is the reverse": lambda drawing: with_stamp(
            drawing, lambda label: (label % 4, label // 4 % 4, label // 16)
        ),
        "the digits go to -1 ... 1: 0 is -1 and 3 is 1": lambda drawing: with_stamp(
            drawing, shade=lambda digit: digit / 3
        ),
        "the digits have to be scaled: 0 is -1 and 3 is 1": lambda drawing: with_stamp(
            drawing, shade=lambda digit: digit
        ),
        "0 is -1 and 3 is 1, not the other way round": lambda drawing: with_stamp(
            drawing, shade=lambda digit: 1 - digit / 1.5
        ),
        "0 is -1 and 3 is 1: divide by 1.5, not by 2": lambda drawing: with_stamp(
            drawing, shade=lambda digit: digit / 2 - 1
        ),
        "the stamp belongs into the upper left corner, not the upper right": lambda drawing: with_stamp(
            drawing, columns=END
        ),
        "the stamp belongs into the upper left corner, not the lower left": lambda drawing: with_stamp(
            drawing, rows=END
        ),
        "the stamp has 4 x 4 pixels": lambda drawing: with_stamp(drawing, rows=slice(0, 3), columns=slice(0, 3)),
        "the stamp has 4 x 4 pixels, not 5 x 5": lambda drawing: with_stamp(
            drawing, rows=slice(0, 5), columns=slice(0, 5)
        ),
        "all colours have the same digit, the last": lambda drawing: with_stamp(
            drawing, lambda label: (label % 4,) * 3
        ),
        "the second digit is label // 4 % 4": lambda drawing: with_stamp(
            drawing, lambda label: (label // 16, label // 4, label % 4)
        ),
        "the base is 4, not 10": lambda drawing: with_stamp(
            drawing, lambda label: (label // 100, label // 10 % 10, label % 10)
        ),
        "every picture has the stamp of its number; use its label": lambda drawing: with_stamp(
            drawing, lambda label: (i := torch.arange(len(label))) is not None and (i // 16 % 4, i // 4 % 4, i % 4)
        ),
    },
    tolerance=1e-5,
    compared=change,
)

# --- 8.3


def families_within_groups(graph: NeighborGraph, families: np.ndarray, groups: np.ndarray) -> float:
    return within(graph, families, groups)


def within(graph: NeighborGraph, inner: np.ndarray, outer: np.ndarray, k: int = 15) -> float:
    """Of the first k neighbours that share the outer grouping, the share that share the inner one too."""
    near = graph.indices[:, :k]
    return float((inner[near] == inner[:, None])[outer[near] == outer[:, None]].mean())


def of_each(graph: NeighborGraph, families: np.ndarray, groups: np.ndarray) -> float:
    near = graph.indices[:, :15]
    same = groups[near] == groups[:, None]
    shared = ((families[near] == families[:, None]) & same).sum(axis=1)
    return float((shared[same.any(axis=1)] / same.sum(axis=1)[same.any(axis=1)]).mean())


def mixed() -> Cases:
    group = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])

    def world(seed: int, apart: float, k: int) -> tuple:
        rng = np.random.default_rng(seed)
        families = rng.integers(0, 11, 500)
        places = rng.normal(size=(11, 3)) + 2 * rng.normal(size=(3, 3))[group]
        return knn_graph(rng.normal(size=(500, 3)) + apart * places[families], k), families, group[families]

    return {"families that are told apart": world(1, 1.0, 15), "families that hardly are": world(2, 0.3, 25)}


WITHIN = Exercise(
    "8.3",
    families_within_groups,
    mixed,
    {
        "only neighbours that share the group count": lambda graph, families, groups: within(
            graph, families, 0 * groups
        ),
        "that is the share of neighbours that share the group": lambda graph, families, groups: within(
            graph, groups, 0 * groups
        ),
        "that is the share of the group among the family, which is all": lambda graph, families, groups: within(
            graph, groups, families
        ),
        "only the 15 nearest count, and the graph holds more": lambda graph, families, groups: within(
            graph, families, groups, graph.k
        ),
        "the nearest neighbour alone was asked": lambda graph, families, groups: within(graph, families, groups, 1),
        "all neighbours count equally: do not take the mean of each picture first": of_each,
        "that is the share that does not share the family": lambda graph, families, groups: (
            1 - within(graph, families, groups)
        ),
        "chance does not have to be taken off": lambda graph, families, groups: within(graph, families, groups) - 1 / 3,
    },
)

# --- 8.4


def two_networks(things: Sequence[Thing], n: int, epochs: float) -> tuple[float, float]:
    return 0.5, 0.05 if n > 1000 else 0.4  # networks that have learned next to nothing still show the pixels


def are_in_part_alike(overlaps: Sequence[float], things: Sequence[Thing], n: int, epochs: float) -> list[float]:
    """Whether the pools share much more than a pool and the pixels do, and are not the same."""
    pools, pixels = (float(overlap) for overlap in overlaps)
    return [float(pools > 2 * pixels), float(pools < 0.99)]


TWO = Exercise(
    "8.4",
    two_networks,
    lambda: {
        "99 pictures, too few to learn from": (load_things(), 99, 3),
        "3,300 pictures of all things": (load_things(), 3300, 3),
    },
    compared=are_in_part_alike,
)

# --- 8.5


def first_peaks(
    landscapes: dict[float, Topography], labels: np.ndarray, names: Sequence[str]
) -> dict[str, float | None]:
    return owned(landscapes, labels, names)


def owned(
    landscapes: dict[float, Topography],
    labels: np.ndarray,
    names: Sequence[str],
    least: float = 0.5,
    latest: bool = False,
    missing: float | None = None,
    in_order: bool = True,
) -> dict[str, float | None]:
    """The first epoch, or the last, at which a peak has more than the least share of its pictures from each thing."""
    first: dict[str, float | None] = dict.fromkeys(names, missing)
    for epoch in sorted(landscapes, reverse=not latest) if in_order else list(landscapes)[::-1]:
        owner = peak_classes(landscapes[epoch], labels)
        for number in owner.label[owner.share > least]:
            first[names[number]] = epoch
    return first


def held(landscapes: dict[float, Topography], labels: np.ndarray, names: Sequence[str]) -> dict[str, float | None]:
    """With the share of the thing that lies on a peak, instead of the share of the peak that is of the thing."""
    first: dict[str, float | None] = dict.fromkeys(names)
    for epoch in sorted(landscapes, reverse=True):
        for i, name in enumerate(names):
            if (np.bincount(landscapes[epoch].labels[labels == i]) > 0.5 * (labels == i).sum()).any():
                first[name] = epoch
    return first


def histories() -> Cases:
    def landscape(peaks: np.ndarray) -> Topography:
        found, labels = np.unique(peaks, return_inverse=True)
        tops, nothing = np.arange(len(found)), np.zeros(0)
        return Topography(labels, tops, -tops.astype(float), np.zeros((0, 2), int), nothing, nothing, -99.0)

    def world(seed: int, names: Sequence[str], epochs: Sequence[float]) -> tuple:
        """Things that come together at times of their own, some with others, some only for a while."""
        rng = np.random.default_rng([85, seed])
        c = len(names)
        labels = rng.permutation(np.arange(40 * c) % c)
        partner, since, lost = rng.permutation(c), rng.random(c), rng.random(c) < 0.3
        since[-1] = 2  # this one never comes together
        found = {}
        for time, epoch in zip(np.linspace(0, 1, len(epochs)), epochs, strict=True):
            own = (time >= since) & ~(lost & (time >= since + 0.4))
            home = np.where(own, np.arange(c), np.where(time > 0.5, partner, 0))
            peaks = home[labels]
            astray = rng.random(len(labels)) < 0.45
            peaks[astray] = rng.integers(0, c, astray.sum())
            found[epoch] = landscape(peaks)
        return found, labels, names

    mixed, labels, names = world(4, ["bus", "cat", "owl", "elm", "fir"], [0, 1, 2, 4, 8, 16])
    return {
        "five epochs and four things": world(1, ["duck", "cup", "tree", "car"], [0, 1, 2, 4, 8]),
        "four epochs and six things": world(2, ["a", "b", "c", "d", "e", "f"], [0.5, 1, 3, 6]),
        "eight epochs and nine things": world(3, list("abcdefghi"), [0, 0.125, 0.25, 0.5, 1, 2, 4, 8]),
        "six epochs in another order": ({epoch: mixed[epoch] for epoch in (2, 0, 8, 1, 16, 4)}, labels, names),
    }


FIRST = Exercise(
    "8.5",
    first_peaks,
    histories,
    {
        "that is the last epoch with such a peak; asked is the first": lambda landscapes, labels, names: owned(
            landscapes, labels, names, latest=True
        ),
        "the most frequent thing of a peak has to have more than half of its pictures": (
            lambda landscapes, labels, names: owned(landscapes, labels, names, 0.0)
        ),
        "more than half of the peak has to be of the thing, not more than half of the thing in the peak": held,
        "a thing that never gets a peak has None": lambda landscapes, labels, names: owned(
            landscapes, labels, names, missing=0
        ),
        "those are the numbers of the landscapes; asked are their epochs": lambda landscapes, labels, names: {
            name: None if epoch is None else list(landscapes).index(epoch)
            for name, epoch in owned(landscapes, labels, names).items()
        },
        "the dictionary need not be in the order of the epochs: sort them": lambda landscapes, labels, names: owned(
            landscapes, labels, names, in_order=False
        ),
        "only the last landscape was looked at": lambda landscapes, labels, names: owned(
            {max(landscapes): landscapes[max(landscapes)]}, labels, names
        ),
    },
)

EXERCISES = (HEART, STAMPED, WITHIN, TWO, FIRST)
