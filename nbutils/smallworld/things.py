"""The things of the small world: each consists of a few shapes, some of them shared by its family.

They are described in a file to which a reader can add.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from .._data import DATA

THINGS = DATA / "small_world" / "things.yaml"
COLOURS = ("main", "other", "dark")
PARTS = 12  # the most that a thing can have


@dataclass(frozen=True, eq=False)
class Shape:
    """An ellipse, or a convex polygon as an intersection of half planes. The paper extends from -1 to 1.

    Attributes
    ----------
    colour : one of `COLOURS`
    centre : (2,)
    lines : of an ellipse, (2, 2): the squares of its two products with a point on the edge sum to 1; of a polygon with
        m edges, (m, 2), the outward normals of the edges
    reach : of an ellipse, (), its smaller radius; of a polygon, (m,), the distances of the edges from the centre
    """

    colour: str
    centre: np.ndarray
    lines: np.ndarray
    reach: np.ndarray


@dataclass(frozen=True, eq=False)
class Thing:
    """Something to draw.

    Attributes
    ----------
    name : its name
    synset : its WordNet id
    family, group : where it belongs in the hierarchy of the small world
    parts : its parts, each of one or more shapes, in the order in which they are painted
    """

    name: str
    synset: str
    family: str
    group: str
    parts: tuple[tuple[Shape, ...], ...]


def load_things(path: str | os.PathLike = THINGS) -> tuple[Thing, ...]:
    """Read things from a file like ``data/small_world/things.yaml``, which describes its own format.

    Raises
    ------
    ValueError
        If the file does not follow the format; the message names the thing and the part.
    """
    with open(path, encoding="utf-8") as file:
        world = yaml.safe_load(file)
    try:
        groups, families, things = world["groups"], world["families"], world["things"]
        for name, family in families.items():
            if family["group"] not in groups:
                raise ValueError(f"family {name!r} is of the unknown group {family['group']!r}")
        return tuple(_thing(name, thing, families) for name, thing in things.items())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{os.fspath(path)}: groups, families and things must be as its head describes ({error!r})"
        ) from error


def _thing(name: str, thing: dict, families: dict) -> Thing:
    if thing["family"] not in families:
        raise ValueError(f"thing {name!r} is of the unknown family {thing['family']!r}")
    family = families[thing["family"]]
    parts = []
    for part, shapes in {**family["parts"], **thing["parts"]}.items():
        try:
            listed = [] if shapes is None else [shapes] if isinstance(shapes, dict) else shapes
            parts.append(tuple(shape for described in listed for shape in _shapes(**described)))
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"thing {name!r}, part {part!r}: {error}") from error
    parts = tuple(filter(None, parts))
    if len(parts) > PARTS:
        raise ValueError(f"thing {name!r} has {len(parts)} parts, but at most {PARTS} can vary: join some into lists")
    return Thing(name, thing["synset"], thing["family"], family["group"], parts)


def _shapes(
    *,
    colour: str = "main",
    turn: float = 0,
    width: float = 0,
    copies: int = 1,
    around: Sequence[float] = (0, 0),
    mirror: bool = False,
    **kind: list,
) -> Iterator[Shape]:
    """The shapes that one entry describes, with its copies and mirror images."""
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {COLOURS}, not {colour!r}")
    if len(kind) != 1:
        raise ValueError(f"a shape is one of ellipse, box, polygon and line, not {list(kind) or 'nothing'}")
    ((name, numbers),) = kind.items()
    numbers = np.array(numbers, float)
    if name in ("ellipse", "box") and numbers.shape == (4,) and (numbers[2:] > 0).all():
        corners = [[1, 1], [-1, 1], [-1, -1], [1, -1]] if name == "box" else [[1, 0], [0, 1]]
        points = numbers[:2] + (numbers[2:] * corners) @ _rotation(turn)
    elif name == "line" and numbers.shape == (4,) and width > 0 and (numbers[:2] != numbers[2:]).any():
        start, end = numbers[:2], numbers[2:]
        across = (end - start)[::-1] * [-1, 1] / np.linalg.norm(end - start) * width / 2
        points = np.array([start - across, end - across, end + across, start + across])
    elif name == "polygon" and numbers.ndim == 2 and numbers.shape[1] == 2 and len(numbers) > 2:
        points = numbers
    else:
        raise ValueError(f"{name}: {numbers.tolist()} with width {width} is no shape; the head of the file lists them")
    centre = numbers[:2] if name == "ellipse" else points.mean(0)
    for copy in range(copies):
        rotation = _rotation(360 * copy / copies)
        for side in (1, -1)[: 1 + mirror]:
            place = ([side, 1] * ((p - around) @ rotation + around) for p in (points, centre))
            yield _shape(name == "ellipse", colour, *place)


def _rotation(degrees: float) -> np.ndarray:
    """A matrix (2, 2) that turns rows of points anticlockwise, rounded so that it is the same on every machine."""
    angle = math.radians(degrees)
    return np.round([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], 9)


def _shape(ellipse: bool, colour: str, points: np.ndarray, centre: np.ndarray) -> Shape:
    if ellipse:
        axes = points - centre
        size = np.linalg.norm(axes, axis=1)
        return Shape(colour, *(np.float32(a) for a in (centre, axes / size[:, None] ** 2, size.min())))
    edges = np.roll(points, -1, axis=0) - points
    after = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * after[:, 1] - edges[:, 1] * after[:, 0]
    if not ((turns > 0).all() or (turns < 0).all()):
        raise ValueError(f"polygon {np.round(points, 2).tolist()} is not convex: make it of several")
    normals = edges[:, ::-1] * [1, -1] * np.sign(turns[0]) / np.linalg.norm(edges, axis=1)[:, None]
    return Shape(colour, *(np.float32(a) for a in (centre, normals, ((points - centre) * normals).sum(1))))
