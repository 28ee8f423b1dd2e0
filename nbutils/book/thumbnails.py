"""Small copies of the photographs of Caltech-101, which ship with the book so that a page can show what it speaks of.

They are kept in a few sheets of `PER_SHEET` photographs, in the order of the atlas. ``data/make_thumbnails.py`` makes
them from the photographs (L. Fei-Fei, R. Fergus and P. Perona, 2004; CC BY 4.0), which whoever builds the book has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image, ImageOps

from .._data import data_folder
from ..contingency import checked_numbers

FOLDER = "caltech101-thumbnails"
SIDE, COLUMNS, PER_SHEET = 48, 25, 1000
COUNT = 8677
CREDIT = "Photographs: Caltech-101 (Fei-Fei, Fergus and Perona, 2004), CC BY 4.0, cropped and reduced."


def thumbnails(photographs: ArrayLike) -> np.ndarray:
    """(m, 48, 48, 3) uint8, small copies of photographs of the Caltech-101 atlas.

    Whoever shows them shows `CREDIT` with them.

    Parameters
    ----------
    photographs : (m,) int, their numbers in the atlas, as in ``Topography.peaks`` or ``NeighborGraph.indices``.

    Raises
    ------
    ValueError
        If a number is not one of the atlas.
    FileNotFoundError, ConnectionError
        If the sheets are neither here nor can be fetched.
    """
    photographs = checked_numbers("photographs", photographs)
    if photographs.max() >= COUNT:
        raise ValueError(f"photographs must be below {COUNT}, the size of the Caltech-101 atlas: {photographs.max()}")
    folder = data_folder(FOLDER)
    found = np.empty((len(photographs), SIDE, SIDE, 3), np.uint8)
    for number in np.unique(photographs // PER_SHEET):
        with Image.open(folder / f"{number}.webp") as sheet:
            cells = np.asarray(sheet.convert("RGB")).reshape(-1, SIDE, COLUMNS, SIDE, 3).swapaxes(1, 2)
        here = photographs // PER_SHEET == number
        found[here] = cells.reshape(-1, SIDE, SIDE, 3)[photographs[here] % PER_SHEET]
    return found


def photograph_rows(rows: Mapping[str, ArrayLike]) -> Figure:
    """A row of photographs for each name, which stands to its left. Show `CREDIT` with the figure.

    Parameters
    ----------
    rows : for each name the numbers of the photographs in the atlas, from left to right.

    Raises
    ------
    ValueError
        If there are no rows, or as in `thumbnails`.
    """
    if not rows:
        raise ValueError("rows is empty: give at least one")
    step, most = SIDE + 3, max(map(np.size, rows.values()))
    figure, axes = plt.subplots(len(rows), 1, figsize=(7, 7 * len(rows) / (most + 2)), squeeze=False)
    for ax, (name, photographs) in zip(axes[:, 0], rows.items(), strict=True):
        strip = np.full((SIDE, step * most, 3), 255, np.uint8)
        for i, picture in enumerate(thumbnails(photographs)):
            strip[:, i * step : i * step + SIDE] = picture
        ax.imshow(strip)
        ax.axis("off")
        ax.text(-6, SIDE / 2, name, ha="right", va="center")
    return figure


def small(photograph: Image.Image) -> Image.Image:
    """The middle square of a photograph, reduced to `SIDE` pixels."""
    return ImageOps.fit(photograph.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)


def sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Square pictures of one size in rows of `COLUMNS`, from the top left; what is left of the last is black."""
    side = pictures[0].width
    whole = Image.new("RGB", (COLUMNS * side, -(-len(pictures) // COLUMNS) * side))
    for i, picture in enumerate(pictures):
        whole.paste(picture, (i % COLUMNS * side, i // COLUMNS * side))
    return whole


def sheet_of(photographs: ArrayLike) -> tuple[Image.Image, int]:
    """A sheet of the thumbnails of some photographs, and how many are in a row."""
    return sheet([Image.fromarray(picture) for picture in thumbnails(photographs)]), COLUMNS
