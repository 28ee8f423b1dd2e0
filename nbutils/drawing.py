"""The small world: pictures of things, drawn from shapes with random pose, colours and background.

What is drawn stands in ``data/small_world/things.yaml``; this module paints it. Pixels come from sums, products,
quotients, square roots and comparisons only, which IEEE 754 fixes to the last bit: every machine draws the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import torch
import yaml

THINGS = Path(__file__).resolve().parent.parent / "data" / "small_world" / "things.yaml"
SIDE = 32  # pixels
PARTS, LITTER = 12, 6  # at most
COLOURS = ("main", "other", "dark")


@dataclass(frozen=True, eq=False)
class Shape:
    """An ellipse, or a convex polygon as an intersection of half planes, in the units of the paper (-1 to 1).

    Attributes
    ----------
    colour : one of `COLOURS`
    centre : (2,)
    lines : (m, 2) of an ellipse, the two rows whose squares sum to 1 on its edge; of a polygon, the outward normals
    reach : () the smaller radius of an ellipse; (m,) the distances of a polygon's edges from its centre
    """

    colour: str
    centre: np.ndarray
    lines: np.ndarray
    reach: np.ndarray


@dataclass(frozen=True, eq=False)
class Thing:
    """Something to draw: its name, where it stands in WordNet and in the drawing, and its parts in painting order."""

    name: str
    synset: str
    family: str
    group: str
    parts: tuple[tuple[Shape, ...], ...]


@dataclass(frozen=True, eq=False)
class Drawing:
    """Pictures, and how each came about.

    Attributes
    ----------
    images : (n, 32, 32, 3) uint8
    labels : (n,) int, index into `things`
    things : the things
    latents : what varied, by name: ``x``, ``y`` (of the centre; the paper is 2 wide), ``size``, ``tilt``
        (degrees), ``squeeze`` (width over height), ``flipped`` (-1 or 1), ``light`` (1 if the thing is lighter than
        its background, else -1), ``main``, ``other``, ``background``, ``stripe`` (colours from 0 to 1) and
        ``stripes`` (how many fit on the paper): each (n,), the colours (n, 3)
    """

    images: np.ndarray
    labels: np.ndarray
    things: tuple[Thing, ...]
    latents: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)

    def tensors(self, grey: bool = False) -> torch.Tensor:
        """(n, 3, 32, 32) float32 from -1 to 1, as networks take them; `grey` takes the colours away."""
        pixels = torch.from_numpy(self.images).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        return pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous() if grey else pixels.contiguous()


def load_things(path: str | os.PathLike = THINGS) -> tuple[Thing, ...]:
    """Read things from a file like ``data/small_world/things.yaml``, which says how one is written.

    Raises
    ------
    ValueError
        If the file is not as it should be; the message names the thing and the part.
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
        raise ValueError(f"{os.fspath(path)}: groups, families and things must be as its head describes "
                         f"({error!r})") from error


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


def _shapes(*, colour: str = "main", turn: float = 0, width: float = 0, copies: int = 1,
            around: Sequence[float] = (0, 0), mirror: bool = False, **kind: list) -> Iterator[Shape]:
    """The shapes that one entry describes: its copies, and its mirror image."""
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {COLOURS}, not {colour!r}")
    if len(kind) != 1:
        raise ValueError(f"a shape is one of ellipse, box, polygon and line, not {list(kind) or 'nothing'}")
    (name, numbers), = kind.items()
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
        for side in (1, -1)[:1 + mirror]:
            place = ([side, 1] * ((p - around) @ rotation + around) for p in (points, centre))
            yield _shape(name == "ellipse", colour, *place)


def _rotation(degrees: float) -> np.ndarray:
    """(2, 2) that turns rows of points against the clock, rounded so that no machine's last digit matters."""
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


def draw(things: Sequence[Thing], n: int, seed: int = 0) -> Drawing:
    """n pictures, of each thing in turn, with everything else left to chance.

    Chance decides where the thing stands, how large, turned, squeezed and in which direction; how each of its parts
    is stretched and shifted a little; the colours, and whether the thing is lighter or darker than its background; the
    stripes and the litter behind it; the light, and the noise. None of this depends on the thing.

    The same seed gives the same bytes on every machine, and the first pictures are the same for every n.

    Raises
    ------
    ValueError
        If there are no things, or `n` is below 1.
    """
    if not things or n < 1:
        raise ValueError(f"things has {len(things)} entries and n={n}: both must be at least 1")
    latents, labels = _latents(n, seed), np.arange(n) % len(things)
    noise = np.frombuffer(np.random.default_rng([seed, 1]).bytes(n * SIDE**2 * 3), np.uint8).reshape(n, 3, SIDE**2)
    images = np.empty((n, SIDE, SIDE, 3), np.uint8)
    for label, thing in enumerate(things):
        rows = np.arange(label, n, len(things))
        # So few at a time that the canvas stays in the processor's cache.
        for some in np.array_split(rows, -(-len(rows) // 32) or 1):
            images[some] = _paint(thing, {name: value[some] for name, value in latents.items()}, noise[some])
    shown = {name: value for name, value in latents.items() if not name.startswith("_")}
    return Drawing(images, labels, tuple(things), shown)


def _latents(n: int, seed: int) -> dict[str, np.ndarray]:
    """All that chance decides about n pictures but the noise; what belongs to parts and litter begins with ``_``."""
    # A row of numbers for each picture, so that none depends on how many pictures follow.
    uniform = np.random.default_rng([seed, 0]).random((n, 160))
    columns = iter(range(uniform.shape[1]))

    def between(low: float, high: float, *shape: int) -> np.ndarray:
        values = uniform[:, [next(columns) for _ in range(math.prod(shape))]].astype(np.float32)
        return values.reshape(n, *shape) * np.float32(high - low) + np.float32(low)

    def colour(level: np.ndarray) -> np.ndarray:
        hue = between(-0.4, 0.4, *level.shape[1:], 3)
        return np.clip(level[..., None] + hue - (hue[..., :1] + hue[..., 1:2] + hue[..., 2:]) / 3, 0, 1)

    light = np.sign(between(-1, 1))
    main = between(0.12, 0.45) * light + np.float32(0.5)
    other = between(0.12, 0.45) * light + np.float32(0.5)
    behind = between(0.05, 0.45, 2) * -light[:, None] + np.float32(0.5)
    backgrounds = colour(behind)
    return {
        "x": between(-0.4, 0.4), "y": between(-0.4, 0.4), "size": between(0.5, 0.9), "tilt": between(-25, 25),
        "squeeze": between(0.75, 1.15), "flipped": np.sign(between(-1, 1)), "light": light,
        "main": colour(main), "other": colour(other), "background": backgrounds[:, 0], "stripe": backgrounds[:, 1],
        "stripes": between(0.2, 3), "_stripe_angle": between(-90, 90), "_stripe_start": between(0, 1),
        "_shift": between(-0.05, 0.05, PARTS, 2), "_stretch": between(0.85, 1.15, PARTS),
        "_litter": between(-1, 1, LITTER, 2), "_litter_size": between(0, 0.3, LITTER),
        "_litter_angle": between(-90, 90, LITTER), "_litter_colour": colour(between(0, 1, LITTER)),
        "_shade": between(-0.25, 0.25, 2)}


def _turned(x: np.ndarray, y: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in axes turned against the clock, by roughly so many degrees: exact cosines differ by machine."""
    half = degrees * np.float32(math.pi / 360)
    half = half + half * half * half * np.float32(0.4)  # the tangent of half the angle, to one per cent
    cos, sin = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    return cos * x + sin * y, cos * y - sin * x


def _paint(thing: Thing, latents: dict[str, np.ndarray], noise: np.ndarray) -> np.ndarray:
    """(m, 32, 32, 3) uint8 pictures of one thing; noise is (m, 3, 1024)."""
    at = {name: value[:, None] for name, value in latents.items()}
    step = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / SIDE) - 1
    px, py = np.tile(step, SIDE)[None], np.repeat(-step, SIDE)[None]

    def paint(outside: np.ndarray, pixel: np.ndarray | float, colour: np.ndarray) -> None:
        """Cover what lies inside: `outside` (m, 1024) is the distance from the edge, positive without."""
        cover = np.clip(np.float32(0.5) - outside / pixel, 0, 1)[:, None]
        canvas[:] += cover * (colour[:, :, None] - canvas)

    wave = _turned(px, py, at["_stripe_angle"])[0] * at["stripes"] + at["_stripe_start"]
    wave = np.abs(wave - np.floor(wave) - np.float32(0.5)) * 2
    background, stripe = latents["background"][:, :, None], latents["stripe"][:, :, None]
    canvas = background + wave[:, None] * (stripe - background)

    for i in range(LITTER):
        u, v = _turned(px - at["_litter"][:, :, i, 0], py - at["_litter"][:, :, i, 1], at["_litter_angle"][..., i])
        size = at["_litter_size"][..., i]
        disc = i % 2
        outside = np.sqrt(u * u + v * v) - size if disc else np.maximum(np.abs(u) - 2 * size, np.abs(v) - size / 3)
        paint(outside, np.float32(2 / SIDE), latents["_litter_colour"][:, i])

    colours = {"main": latents["main"], "other": latents["other"], "dark": latents["main"] * np.float32(0.3)}
    x, y = _turned((px - at["x"]) / at["size"], (py - at["y"]) / at["size"], at["tilt"])
    x = x / at["squeeze"] * at["flipped"]
    pixel = np.float32(2 / SIDE) / at["size"]
    for i, part in enumerate(thing.parts):
        middle = np.mean([shape.centre for shape in part], axis=0).astype(np.float32)
        stretch = at["_stretch"][..., i]
        u = (x - middle[0] - at["_shift"][..., i, 0]) / stretch + middle[0]
        v = (y - middle[1] - at["_shift"][..., i, 1]) / stretch + middle[1]
        for shape in part:
            paint(_outside(shape, u, v), pixel / stretch, colours[shape.colour])

    canvas *= 1 + (at["_shade"][:, :, 0] * px + at["_shade"][:, :, 1] * py)[:, None]
    canvas += (noise.astype(np.float32) - 128) * np.float32(0.15 / 256)
    pixels = np.clip(canvas, 0, 1) * 255 + np.float32(0.5)
    return pixels.astype(np.uint8).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _outside(shape: Shape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far each point lies outside a shape, negative inside; near an ellipse, or a corner, not quite exact."""
    x, y = x - shape.centre[0], y - shape.centre[1]
    if shape.reach.ndim:
        edges = zip(shape.lines, shape.reach, strict=True)
        return reduce(np.maximum, (a * x + b * y - reach for (a, b), reach in edges))
    (a, b), (c, d) = shape.lines
    u, v = a * x + b * y, c * x + d * y
    return (np.sqrt(u * u + v * v) - 1) * shape.reach
