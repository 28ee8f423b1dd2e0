"""Folders of images, one folder for each category: your own, and some that are fetched when you name them."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .._files import make_folder_atomically

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
TINY_IMAGENET = ("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de")  # its MD5


@dataclass(frozen=True)
class Source:
    """Images that can be had by name: what they are, megabytes to download, and megabytes of disk at most."""

    what: str
    images: int
    categories: int
    download: int
    disk: int
    exclude: tuple[str, ...] = ()


SOURCES = {
    "caltech101": Source("Caltech-101 through torchvision (CC BY 4.0)", 8677, 101, 140, 500, ("BACKGROUND_Google",)),
    "tiny-imagenet": Source("Tiny ImageNet, 64 x 64 pixels (research only)", 100_000, 200, 250, 1000),
}


def photographs(
    source: str | os.PathLike,
    transform: Callable[[Image.Image], torch.Tensor],
    *,
    root: str | os.PathLike = "photographs",
    categories: int | Sequence[str] | None = None,
    per_category: int | None = None,
    seed: int = 0,
    exclude: Sequence[str] = (),
) -> ImageFolder:
    """Images by name, or those of a folder; ImageNet is the folder ``train`` of its standard layout.

    Parameters
    ----------
    source : one of `SOURCES`, which is downloaded, checked and unpacked when it is first asked for; or a folder with
        one folder of images for each category.
    transform : what is made of each image, for instance ``network.transform``.
    root : where downloads are kept.
    categories, per_category, seed : a choice, as in `ImageFolder.choose`: the paper has 300 and 300 of ImageNet.

    Raises
    ------
    ConnectionError
        If a download fails or is not what was published; nothing half-made is left.
    FileNotFoundError
        If there is no such folder, or no images in it.
    """
    folder, known = Path(source), SOURCES.get(str(source))
    if known:
        folder = {"caltech101": _caltech101, "tiny-imagenet": _tiny_imagenet}[str(source)](Path(root))
        exclude = (*known.exclude, *exclude)
    elif not folder.is_dir():
        raise FileNotFoundError(
            f"source={str(source)!r} is no folder, and none of {list(SOURCES)}: for ImageNet give "
            "the folder that holds n01440764 and its like"
        )
    found = ImageFolder(folder, transform, exclude)
    return found if categories is None and per_category is None else found.choose(categories, per_category, seed)


def _caltech101(root: Path) -> Path:
    def make(folder: Path) -> None:
        from torchvision.datasets import Caltech101

        Caltech101(str(folder), download=True)  # which checks an MD5 of its own
        shutil.move(folder / "caltech101" / "101_ObjectCategories", folder / "101_ObjectCategories")

    return (
        _fetched(root / "caltech101", make, "https://data.caltech.edu/records/mzrjq-6wc02", "101_ObjectCategories")
        / "101_ObjectCategories"
    )


def _tiny_imagenet(root: Path) -> Path:
    def make(folder: Path) -> None:
        from torchvision.datasets.utils import download_and_extract_archive

        url, md5 = TINY_IMAGENET
        download_and_extract_archive(url, str(folder), md5=md5, remove_finished=True)

    return (
        _fetched(root / "tiny-imagenet", make, TINY_IMAGENET[0], "tiny-imagenet-200/train")
        / "tiny-imagenet-200"
        / "train"
    )


def _fetched(folder: Path, make: Callable[[Path], None], url: str, inside: str) -> Path:
    """`folder`, filled by `make` unless it is there already."""
    if folder.is_dir():
        return folder
    with make_folder_atomically(folder) as part:
        try:
            make(part)
        except (OSError, RuntimeError) as error:  # torchvision raises the latter for a file that is not as published
            raise ConnectionError(
                f"{folder.name} could not be fetched ({error}). Try again with a connection, or get "
                f"it from {url} in another way and unpack it to {folder / inside}"
            ) from error
    return folder


class ImageFolder(torch.utils.data.Dataset):
    """Images in one folder for each category, in sorted order; the layout of Caltech-101, ImageNet and many others.

    Items are what `transform` makes of each RGB image. `files`, `labels` and `class_names` say what is what. The images
    of a category may lie in a folder ``images`` inside its own, as those of Tiny ImageNet do.

    Raises
    ------
    FileNotFoundError
        If `root` has no folders with images in them.
    """

    def __init__(
        self, root: str | os.PathLike, transform: Callable[[Image.Image], torch.Tensor], exclude: Sequence[str] = ()
    ):
        self.root, self.transform = Path(root), transform
        if isinstance(exclude, str):
            raise TypeError(f"exclude must be a list of categories: write [{exclude!r}]")
        found = {
            folder.name: _visible(folder, _is_image) or _visible(folder / "images", _is_image)
            for folder in _visible(self.root, Path.is_dir)
            if folder.name not in exclude
        }
        found = {name: paths for name, paths in found.items() if paths}
        if not found:
            there = " (its folder train has such folders)" if (self.root / "train").is_dir() else ""
            raise FileNotFoundError(
                f"root={str(root)!r} has no folders of images: expected root/<category>/<image>{there}"
            )
        self.class_names = tuple(found)
        self.paths = [path for paths in found.values() for path in paths]
        self.files = [path.relative_to(self.root).as_posix() for path in self.paths]
        self.labels = np.repeat(np.arange(len(found)), [len(paths) for paths in found.values()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        try:
            with Image.open(self.paths[i]) as image:
                return self.transform(image.convert("RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises on damaged files
            raise ValueError(f"{self.files[i]} is not a readable image ({error}): remove or replace it") from error

    def choose(
        self, categories: int | Sequence[str] | None = None, per_category: int | None = None, seed: int = 0
    ) -> ImageFolder:
        """Some of the categories, and the same number of images of each, drawn by lot and kept in order.

        Parameters
        ----------
        categories : how many, of those that have enough images; or their names; by default all.
        per_category : images of each, by default all.

        Raises
        ------
        ValueError
            If there are not so many.
        """
        rng, size = np.random.default_rng(seed), np.bincount(self.labels)
        least = per_category or 1
        if categories is None or isinstance(categories, (int, np.integer)):
            enough = np.flatnonzero(size >= least)
            wanted = len(size) if categories is None else categories
            if not 1 <= wanted <= len(enough):
                raise ValueError(
                    f"categories={categories}: of {len(size)} categories in {self.root} only "
                    f"{len(enough)} have {least} images; ask for fewer"
                )
            chosen = np.sort(rng.choice(enough, wanted, replace=False))
        else:
            if unknown := [name for name in categories if name not in self.class_names]:
                raise ValueError(f"categories: {unknown} are not in {self.root}")
            chosen = np.array([c for c, name in enumerate(self.class_names) if name in set(categories)], int)
            if not len(chosen) or (short := size[chosen].min()) < least:
                raise ValueError(
                    f"per_category={per_category}: one of the categories has only {short if len(chosen) else 0} images"
                )
        keep = [
            np.sort(rng.choice(members, per_category, replace=False)) if per_category else members
            for members in (np.flatnonzero(self.labels == c) for c in chosen)
        ]
        other = copy.copy(self)
        other.class_names = tuple(self.class_names[c] for c in chosen)
        other.paths, other.files = ([values[i] for rows in keep for i in rows] for values in (self.paths, self.files))
        other.labels = np.repeat(np.arange(len(chosen)), [len(rows) for rows in keep])
        return other


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _visible(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """What is wanted in a folder, in the same order on every system; not .ipynb_checkpoints and its like."""
    return sorted((p for p in folder.glob("*") if not p.name.startswith(".") and wanted(p)), key=lambda p: p.name)


def sample_photographs() -> dict[str, Image.Image]:
    """The colour photographs that scikit-image, scikit-learn and matplotlib bring along, by name."""
    from matplotlib import cbook
    from skimage import data as skimage
    from sklearn.datasets import load_sample_image

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        admiral = np.array(Image.open(file).convert("RGB"))
    arrays = {
        "cat": skimage.chelsea(),
        "coffee": skimage.coffee(),
        "rocket": skimage.rocket(),
        "motorcycle": skimage.stereo_motorcycle()[0],
        "temple": load_sample_image("china.jpg"),
        "flower": load_sample_image("flower.jpg"),
        "astronaut": skimage.astronaut(),
        "admiral": admiral,
        "clock": np.repeat(skimage.clock()[:, :, None], 3, 2),
    }
    return {name: Image.fromarray(array) for name, array in arrays.items()}
