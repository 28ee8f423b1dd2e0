"""Pictures of things with random pose, colours and background: a data set that is drawn by a program.

The pixels are computed with sums, products, quotients, square roots and comparisons only. IEEE 754 defines the results
of these to the last bit, so every machine draws the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .._files import make_folder_atomically
from .things import PARTS, Shape, Thing, load_things

SIDE = 32  # pixels
LITTER = 6  # number of pieces of litter behind the thing


@dataclass(frozen=True, eq=False)
class Drawing:
    """Pictures, and the random variables from which each was drawn.

    Attributes
    ----------
    images : (n, 32, 32, 3) uint8
    labels : (n,) int, index into `things`
    things : the things that were drawn
    latents : the random variables by name, each (n,), the colours (n, 3): ``x`` and ``y`` of the centre (the paper
        extends from -1 to 1), ``size``, ``tilt`` (degrees), ``squeeze`` (width over height), ``flipped`` (-1 or 1),
        ``light`` (1 if the thing is lighter than its background, else -1), the colours ``main``, ``other``,
        ``background`` and ``stripe`` (RGB from 0 to 1), and ``stripes`` (how many fit on the paper)
    """

    images: np.ndarray
    labels: np.ndarray
    things: tuple[Thing, ...]
    latents: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)

    def tensors(self, grey: bool = False) -> torch.Tensor:
        """The images as a tensor (n, 3, 32, 32) float32 from -1 to 1; with `grey`, the mean of the three channels."""
        pixels = to_tensor(self.images)
        return pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous() if grey else pixels.contiguous()


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 pixels (..., height, width, 3) as float32 from -1 to 1, (..., 3, height, width)."""
    return torch.from_numpy(pixels).movedim(-1, -3).float().div(127.5).sub(1)


def draw(things: Sequence[Thing], n: int, seed: int = 0) -> Drawing:
    """Draw n pictures, of each thing in turn; all else is random.

    Random are the place, size, tilt, width and direction of the thing; the small stretch and shift of each of its
    parts; the colours, and whether the thing is lighter or darker than its background; the stripes and the litter
    behind it; the illumination, and the noise. None of this depends on the thing.

    The same seed gives the same bytes on every machine, and the first pictures are the same for every n.

    Parameters
    ----------
    things : for instance those of `load_things`.
    n : number of pictures.
    seed : seed of the random numbers.

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
        # In batches so small that the canvas stays in the processor's cache.
        for some in np.array_split(rows, -(-len(rows) // 32) or 1):
            images[some] = _paint(thing, {name: value[some] for name, value in latents.items()}, noise[some])
    shown = {name: value for name, value in latents.items() if not name.startswith("_")}
    return Drawing(images, labels, tuple(things), shown)


def drawn_folder(folder: Path, n: int = 3300, seed: int = 9) -> Path:
    """Draw `n` pictures of all things into `folder`, one folder of PNG files for each thing, unless it exists."""
    if not folder.is_dir():
        with make_folder_atomically(folder) as part:
            drawing = draw(load_things(), n, seed)
            for thing in drawing.things:
                (part / thing.name).mkdir()
            for i, (pixels, label) in enumerate(zip(drawing.images, drawing.labels, strict=True)):
                Image.fromarray(pixels).save(part / drawing.things[label].name / f"{i:04}.png")
    return folder


def _latents(n: int, seed: int) -> dict[str, np.ndarray]:
    """All random variables of n pictures but the noise; the names of those of parts and litter begin with ``_``."""
    # One row of random numbers for each picture, so that no picture depends on how many follow.
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
        "x": between(-0.4, 0.4),
        "y": between(-0.4, 0.4),
        "size": between(0.5, 0.9),
        "tilt": between(-25, 25),
        "squeeze": between(0.75, 1.15),
        "flipped": np.sign(between(-1, 1)),
        "light": light,
        "main": colour(main),
        "other": colour(other),
        "background": backgrounds[:, 0],
        "stripe": backgrounds[:, 1],
        "stripes": between(0.2, 3),
        "_stripe_angle": between(-90, 90),
        "_stripe_start": between(0, 1),
        "_shift": between(-0.05, 0.05, PARTS, 2),
        "_stretch": between(0.85, 1.15, PARTS),
        "_litter": between(-1, 1, LITTER, 2),
        "_litter_size": between(0, 0.3, LITTER),
        "_litter_angle": between(-90, 90, LITTER),
        "_litter_colour": colour(between(0, 1, LITTER)),
        "_shade": between(-0.25, 0.25, 2),
    }


def _turned(x: np.ndarray, y: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in axes that are turned anticlockwise by approximately `degrees`.

    The exact cosine would not have the same last bit on all machines.
    """
    half = degrees * np.float32(math.pi / 360)
    half = half + half * half * half * np.float32(0.4)  # the tangent of half the angle, to one percent
    cos, sin = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    return cos * x + sin * y, cos * y - sin * x


def _paint(thing: Thing, latents: dict[str, np.ndarray], noise: np.ndarray) -> np.ndarray:
    """(m, 32, 32, 3) uint8 pictures of one thing; noise is (m, 3, 1024)."""
    at = {name: value[:, None] for name, value in latents.items()}
    step = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / SIDE) - 1
    px, py = np.tile(step, SIDE)[None], np.repeat(-step, SIDE)[None]

    def paint(outside: np.ndarray, pixel: np.ndarray | float, colour: np.ndarray) -> None:
        """Colour the pixels inside a shape; `outside` (m, 1024) is the distance from its edge, negative inside."""
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
    """The distance of each point from the edge of a shape, negative inside; for ellipses and at corners approximate."""
    x, y = x - shape.centre[0], y - shape.centre[1]
    if shape.reach.ndim:
        edges = zip(shape.lines, shape.reach, strict=True)
        return reduce(np.maximum, (a * x + b * y - reach for (a, b), reach in edges))
    (a, b), (c, d) = shape.lines
    u, v = a * x + b * y, c * x + d * y
    return (np.sqrt(u * u + v * v) - 1) * shape.reach
