"""Reading pictures: every common file becomes an upright RGB image with 8 bits a channel, or an error that names it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def is_picture(path: Path) -> bool:
    """Whether the name of a file has one of `SUFFIXES`."""
    return path.suffix.lower() in SUFFIXES


def read_picture(path: str | os.PathLike, name: str | None = None) -> Image.Image:
    """Read a picture as RGB.

    It is turned upright as its EXIF orientation says, as image viewers do. Grey pictures with 16 bits are scaled from
    0 ... 65,535 to 0 ... 255; transparency is dropped.

    Parameters
    ----------
    name : what the errors call the picture, by default `path`.

    Raises
    ------
    ValueError
        If the file is damaged or no picture, or has pixels whose black and white are unknown (32-bit integers, floating
        point numbers).
    OSError
        If the file cannot be opened.
    """
    name = name or os.fspath(path)
    with open(path, "rb") as file:
        try:
            with Image.open(file) as image:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                unscaled = unscaled_pixels(image)
                picture = None if unscaled else eight_bits(image).convert("RGB")
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises errors of many types for a damaged file
            raise ValueError(f"{name} is not a readable image ({error}): remove or replace it") from error
    if picture is None:
        raise ValueError(
            f"{name} has {unscaled} as pixels (mode {image.mode}), whose black and white are unknown: convert it to "
            "8 or 16 bits"
        )
    return picture


def has_sixteen_bits(image: Image.Image) -> bool:
    """Whether the pixels are grey values of 0 ... 65,535. Older versions of Pillow read those of some files as "I"."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def unscaled_pixels(image: Image.Image) -> str | None:
    """What kind of number the pixels are, if their range is unknown."""
    kinds = {"I": "32-bit integers", "F": "floating point numbers"}
    return None if has_sixteen_bits(image) else kinds.get(image.mode)


def eight_bits(image: Image.Image) -> Image.Image:
    """The image, with 8 bits a channel instead of 16."""
    if not has_sixteen_bits(image):
        return image
    return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
