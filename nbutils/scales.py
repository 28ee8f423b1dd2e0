"""The scales of the book, from drawn pictures to the paper's ImageNet, and folders of one's own.

A scale chooses the images, the network and the number of neighbours; all later steps are the same code.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from .atlas import Atlas, load_atlas
from .atlas.build import build
from .atlas.estimate import Estimate, estimate
from .extraction import models
from .extraction.activations import layer_shapes
from .extraction.listed import listed, read_image_list
from .extraction.photographs import SOURCES, ImageFolder, photographs
from .smallworld import training
from .smallworld.drawing import drawn_folder


@dataclass(frozen=True)
class Scale:
    """Which images, which network, and how many neighbours; `images` is None for the atlas of the book."""

    images: str | None
    network: str
    k: int
    downloads: str
    takes: str
    categories: int | None = None
    per_category: int | None = None


# The times are for all of chapter 9: measured on two cores where that is reasonable, else those of `atlas.estimate`.
SCALES = {
    "drawn": Scale("drawn", "small", 15, "nothing", "a minute on two cores; 0.2 GB of disk"),
    "atlas": Scale(None, "efficientnet_lite0", 40, "nothing: graphs that come with the book", "seconds; no disk"),
    "photographs": Scale(
        "caltech101",
        "efficientnet_lite0",
        40,
        f"{SOURCES['caltech101'].download} MB",
        "minutes on a GPU, half an hour or more on two cores; 20 GB of disk",
    ),
    "paper": Scale(
        "imagenet",
        "resnet152",
        30,
        "230 MB of weights; you must have ImageNet itself",
        "hours on a GPU; 340 GB of disk",
        300,
        300,
    ),
}


@dataclass(frozen=True)
class Choice:
    """A scale with its network and images, or with the atlas of the book in their place."""

    name: str
    network: models.Network | None
    images: ImageFolder | None
    k: int
    out: Path
    shipped: Atlas | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of the output of each layer for one image."""
        if self.shipped:
            return {name: tuple(layer["shape"]) for name, layer in self.shipped.meta["layers"].items()}
        return layer_shapes(self.network)

    def estimate(self, **options: object) -> Estimate | str:
        """What `build` will take, from a short trial; see `nbutils.atlas.estimate.estimate`."""
        if self.shipped:
            return "The graphs come with the book: nothing to download, to run or to store."
        return estimate(self.network, self.images, k=self.k, out=self.out, **options)

    def build(self, **options: object) -> Atlas:
        """Build the atlas, or continue where it was interrupted, or open the atlas of the book.

        The options are those of `nbutils.atlas.build.build`. Each choice of layers and of `autocast` has a folder of
        its own.
        """
        if self.shipped:
            return self.shipped
        means = sorted(options.get("mean_layers", ()))
        layers = sorted(options.get("layers") or (() if means else self.network.layers))
        chosen = (layers, options.get("autocast"), self.k, *([means] if means else []))
        tag = hashlib.sha256(repr(chosen).encode()).hexdigest()[:6]
        return build(self.network, self.images, self.out.with_name(f"{self.out.name}-{tag}"), k=self.k, **options)


def choose(
    scale: str | os.PathLike,
    network: str | models.Network | None = None,
    *,
    folder: str | os.PathLike = "my",
    imagenet: str | os.PathLike | None = None,
    image_list: str | os.PathLike | None = None,
) -> Choice:
    """A scale by name, or a folder of images, one folder for each category.

    Parameters
    ----------
    scale : one of `SCALES`, or the path of a folder.
    network : by default that of the scale; or the name of a network for `models.load`, or a `Network` of your own.
    folder : the folder for downloads, activations and the atlas.
    imagenet : for the scale "paper", the folder ``train`` of ImageNet; by default the environment variable
        ``IMAGENET``.
    image_list : for the scale "paper", the file with the names of the images to take, in this order; the authors'
        repository has it as ``sampled_images_id.txt``. By default 300 random images of each of 300 random categories.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no ImageNet, no such list, or not every image of the list.
    ConnectionError, OSError
        If something cannot be downloaded.
    ValueError
        If a network is given for the atlas of the book, or a list for another scale than "paper"; if the list is not
        of 300 images of each category, or is damaged (see `listed.read_image_list`).
    """
    folder = Path(folder)
    known = SCALES.get(str(scale))
    if known is None and not Path(scale).is_dir():
        raise FileNotFoundError(f"scale={str(scale)!r} is neither one of {list(SCALES)} nor a folder")
    known = known or Scale(str(scale), "efficientnet_lite0", 30, "", "")
    if image_list is not None and known.images != "imagenet":
        raise ValueError(f"image_list: the scale {str(scale)!r} takes no list of images; the scale 'paper' does")
    if known.images is None:
        if network is not None:
            raise ValueError("network: the graphs of the scale 'atlas' are made; choose another scale for a network")
        return Choice("atlas", None, None, known.k, folder, load_atlas())
    source = known.images
    if source == "imagenet":
        source = imagenet or os.environ.get("IMAGENET")
        if not source or not Path(source).is_dir():
            raise FileNotFoundError(
                f"imagenet={source!r}: the paper's scale needs the folder `train` of ImageNet "
                "(image-net.org, after registration); chapter 10 needs none"
            )
    if not isinstance(network, models.Network):
        name = network or known.network
        network = training.load() if name == "small" else models.load(name)
    names = None if image_list is None else read_image_list(image_list, known.per_category)
    if source == "drawn":
        source = drawn_folder(folder / "photographs" / "drawn")
    images = photographs(
        source,
        network.transform,
        root=folder / "photographs",
        categories=known.categories if names is None else None,
        per_category=known.per_category if names is None else None,
    )
    if names is not None:
        images = listed(images, names)
    name = str(scale) if str(scale) in SCALES else Path(scale).resolve().name
    return Choice(name, network, images, known.k, folder / f"{name}-{network.name}")
