"""Images by a list of their names, such as that of the 90,000 images of ImageNet that the paper used."""

from __future__ import annotations

import copy
import os
import re
from collections import Counter
from itertools import groupby
from pathlib import Path

import numpy as np

from .photographs import ImageFolder

NAME = re.compile(r"n\d{8}_\d+")


def category_of(name: str) -> str:
    return name.split("_")[0]


def read_image_list(path: str | os.PathLike, per_category: int | None = None) -> list[str]:
    """The names of images, one on each line and category by category, as in ``n01443537_10014``.

    Parameters
    ----------
    per_category : how many images each category must have, for instance 300 in the authors' list, where line i is of
        category i // 300.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a line is no such name or comes twice, or a category has another number of images or is not in one piece.
    """
    names = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()]
    for number, name in enumerate(names, 1):
        if not NAME.fullmatch(name):
            raise ValueError(f"{path}, line {number}: {name!r} is no name such as n01443537_10014")
    if not names:
        raise ValueError(f"{path} is empty: expected a name such as n01443537_10014 on each line")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{path} has {len(repeated)} names more than once, for instance {repeated[0]}")
    groups = [(category, len(list(group))) for category, group in groupby(names, category_of)]
    if split := [category for category, count in Counter(category for category, _ in groups).items() if count > 1]:
        raise ValueError(f"{path}: the images of {split[0]} are not in one piece; put those of a category together")
    if wrong := [group for group in groups if per_category not in (None, group[1])]:
        category, count = wrong[0]
        raise ValueError(
            f"{path}: {len(wrong)} categories have another number of images than {per_category}, for instance "
            f"{category} has {count}"
        )
    return names


def listed(images: ImageFolder, names: list[str]) -> ImageFolder:
    """The images of these names, in this order, from a folder with ``n01443537/n01443537_10014.JPEG`` and its like.

    Their categories are numbered as they come in the list, so the labels are those of the list.

    Raises
    ------
    FileNotFoundError
        If an image is not there.
    """
    place = {file: i for i, file in enumerate(images.files)}
    wanted = [f"{category_of(name)}/{name}.JPEG" for name in names]
    if missing := [file for file in wanted if file not in place]:
        raise FileNotFoundError(
            f"{len(missing):,} of the {len(wanted):,} images of the list are not in {images.root}, for instance "
            f"{', '.join(missing[:3])}: give the folder train of ImageNet, complete"
        )
    rows = [place[file] for file in wanted]
    chosen = copy.copy(images)
    chosen.paths, chosen.files = [images.paths[i] for i in rows], wanted
    chosen.class_names = tuple(dict.fromkeys(map(category_of, names)))
    number = {name: i for i, name in enumerate(chosen.class_names)}
    chosen.labels = np.array([number[category_of(name)] for name in names])
    return chosen
