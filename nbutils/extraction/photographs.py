"""Folders of images with one folder for each category: your own, and data sets that are downloaded by name."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .._progress import progress_bar
from ..graph import checked_integer
from .pictures import SUFFIXES, is_picture, read_picture
from .sources import SOURCES, fetch


def photographs(
    source: str | os.PathLike,
    transform: Callable[[Image.Image], torch.Tensor],
    *,
    root: str | os.PathLike = "photographs",
    categories: int | Sequence[str] | None = None,
    per_category: int | None = None,
    random_state: int | np.random.Generator = 0,
    exclude: Sequence[str] = (),
) -> ImageFolder:
    """Images by name, or those of a folder. For ImageNet, give the folder ``train`` of its standard layout.

    Parameters
    ----------
    source : one of `SOURCES`, which is downloaded, checked and unpacked when it is first asked for; or a folder with
        one folder of images for each category.
    transform : applied to each RGB image, for instance ``network.transform``.
    root : the folder for downloads.
    categories, per_category, random_state : a random sample, as in `ImageFolder.choose`. The paper has 300 images of
        each of 300 categories of ImageNet.
    exclude : categories to leave out.

    Raises
    ------
    ConnectionError
        If a download fails or is not what was published. The next call resumes a transfer that broke off.
    FileNotFoundError
        If there is no such folder, or no images in it.
    ValueError
        If a category does not exist, or there are too few images.
    """
    folder, known = Path(source), SOURCES.get(str(source))
    if known:
        folder = fetch(str(source), Path(root))
        exclude = (*(name for name in known.exclude if (folder / name).is_dir()), *exclude)
    elif not folder.is_dir():
        raise FileNotFoundError(
            f"source={str(source)!r} is no folder, and none of {list(SOURCES)}: for ImageNet give "
            "the folder that holds n01440764 and its like"
        )
    found = ImageFolder(folder, transform, exclude)
    return (
        found if categories is None and per_category is None else found.choose(categories, per_category, random_state)
    )


class ImageFolder(torch.utils.data.Dataset):
    """Images in one folder for each category, in sorted order: the layout of Caltech-101, ImageNet and many others.

    The items are the images as `read_picture` gives them (RGB, turned upright as their EXIF orientation says), after
    `transform`. The images of a category may also lie in a folder ``images`` inside its own, as in Tiny ImageNet.

    Attributes
    ----------
    files : names of the n images, relative to `root`
    labels : (n,) int, index into `class_names`
    class_names : names of the categories
    skipped : names of the visible files that are not used, because they are no pictures or not in the right place

    Raises
    ------
    FileNotFoundError
        If `root` has no folders with images in them.
    TypeError, ValueError
        If `exclude` is no list, or names a category that does not exist.
    """

    def __init__(
        self, root: str | os.PathLike, transform: Callable[[Image.Image], torch.Tensor], exclude: Sequence[str] = ()
    ):
        self.root, self.transform = Path(root), transform
        if isinstance(exclude, str):
            raise TypeError(f"exclude must be a list of categories: write [{exclude!r}]")
        folders = [path for path in _visible(self.root) if path.is_dir()]
        for name in exclude:
            if folders and name not in (names := [folder.name for folder in folders]):
                meant = " or ".join(map(repr, get_close_matches(name, names))) or f"one of {', '.join(names[:5])} ..."
                raise ValueError(f"exclude: {self.root} has no category {name!r}; is it {meant}?")
        found, others = {}, [path for path in _visible(self.root) if path.is_file()]
        for folder in (folder for folder in folders if folder.name not in exclude):
            inside = _visible(folder)
            if not (paths := [path for path in inside if is_picture(path)]):
                inside += _visible(folder / "images")
                paths = [path for path in inside if is_picture(path)]
            others += [path for path in inside if not is_picture(path) and path.is_file()]
            if paths:
                found[folder.name] = paths
        self.skipped = [path.relative_to(self.root).as_posix() for path in others]
        if not found:
            raise FileNotFoundError(self._no_images())
        self.class_names = tuple(found)
        self.paths = [path for paths in found.values() for path in paths]
        self.files = [path.relative_to(self.root).as_posix() for path in self.paths]
        self.labels = np.repeat(np.arange(len(found)), [len(paths) for paths in found.values()])

    def _no_images(self) -> str:
        suffixes = Counter(Path(name).suffix.lower() or "no suffix" for name in self.skipped).most_common(3)
        there = [f"{count} files with {suffix}" for suffix, count in suffixes]
        there += ["a folder train, which has such folders"] if (self.root / "train").is_dir() else []
        return (
            f"root={str(self.root)!r} has no folders of images: expected root/<category>/<image> with one of the "
            f"suffixes {' '.join(SUFFIXES)}" + (f"; it has {', '.join(there)}" if there else "")
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        image = read_picture(self.paths[i], self.files[i])
        try:
            return self.transform(image)
        except MemoryError:
            raise
        except Exception as error:
            raise RuntimeError(f"{self.files[i]}: the transform failed ({type(error).__name__}: {error})") from error

    def choose(
        self,
        categories: int | Sequence[str] | None = None,
        per_category: int | None = None,
        random_state: int | np.random.Generator = 0,
    ) -> ImageFolder:
        """Some of the categories, and the same number of images of each, sampled at random and kept in their order.

        Parameters
        ----------
        categories : how many, sampled from those that have enough images; or their names; by default all.
        per_category : how many images of each category; by default all.
        random_state : seed or generator.

        Raises
        ------
        ValueError
            If there are not so many.
        """
        rng, size = np.random.default_rng(random_state), np.bincount(self.labels)
        least = 1 if per_category is None else checked_integer("per_category", per_category, 1)
        if categories is None or isinstance(categories, (int, np.integer)):
            enough = np.flatnonzero(size >= least)
            wanted = len(size) if categories is None else checked_integer("categories", categories, 1)
            if wanted > len(enough):
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
        return self._only(chosen, keep)

    def first(self, count: int) -> ImageFolder:
        """The first `count` images of each category in the order of their names.

        Raises
        ------
        ValueError
            If a category has fewer.
        """
        count = checked_integer("count", count, 1)
        if (short := np.bincount(self.labels).min()) < count:
            raise ValueError(f"count={count}: one of the categories has only {short} images")
        keep = [np.flatnonzero(self.labels == c)[:count] for c in range(len(self.class_names))]
        return self._only(np.arange(len(self.class_names)), keep)

    def _only(self, chosen: np.ndarray, keep: Sequence[np.ndarray]) -> ImageFolder:
        """The images `keep` of each of the categories `chosen`."""
        other = copy.copy(self)
        other.class_names = tuple(self.class_names[c] for c in chosen)
        other.paths, other.files = ([values[i] for rows in keep for i in rows] for values in (self.paths, self.files))
        other.labels = np.repeat(np.arange(len(chosen)), [len(rows) for rows in keep])
        return other


def unreadable(images: ImageFolder) -> list[str]:
    """What is wrong with each image that cannot be read: a sentence that begins with its name.

    Every image is decoded once, which takes much less time than a network does.
    """

    def problem(i: int) -> str | None:
        try:
            read_picture(images.paths[i], images.files[i])
        except (OSError, ValueError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(problem, range(len(images)))
        return [text for text in progress_bar(found, total=len(images), desc="reading images", unit="image") if text]


def _visible(folder: Path) -> list[Path]:
    """The files and folders in a folder, in the same order on every system; not .ipynb_checkpoints and its like."""
    return sorted((path for path in folder.glob("*") if not path.name.startswith(".")), key=lambda path: path.name)


def sample_photographs() -> dict[str, Image.Image]:
    """The colour photographs that scikit-image, scikit-learn and matplotlib contain, by name."""
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
