"""How large to work: the three scales of the book, and a folder of one's own. What comes after is the same code."""

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
from .extraction.photographs import SOURCES, ImageFolder, photographs
from .smallworld import training
from .smallworld.drawing import drawn_folder


@dataclass(frozen=True)
class Scale:
    """Which images, which network, and how many neighbours; `images` is None for a shipped atlas."""

    images: str | None
    network: str
    k: int
    downloads: str
    takes: str
    categories: int | None = None
    per_category: int | None = None


# Times are for the whole of chapter 9: on two cores where that is reasonable, else what `atlas.estimate` says.
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
        "230 MB of weights; ImageNet itself you must have",
        "hours on a GPU; 340 GB of disk",
        300,
        300,
    ),
}


@dataclass(frozen=True)
class Choice:
    """A scale with its network and images ready, or only an atlas."""

    name: str
    network: models.Network | None
    images: ImageFolder | None
    k: int
    out: Path
    shipped: Atlas | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What shape each layer has for one image, before anything large is run."""
        if self.shipped:
            return {name: tuple(layer["shape"]) for name, layer in self.shipped.meta["layers"].items()}
        return layer_shapes(self.network)

    def estimate(self, **options: object) -> Estimate | str:
        """What `build` will take, from a short trial; see `atlas.estimate`."""
        if self.shipped:
            return "The graphs come with the book: nothing to download, to run or to store."
        return estimate(self.network, self.images, k=self.k, out=self.out, **options)

    def build(self, **options: object) -> Atlas:
        """The atlas: made now, taken up where it was interrupted, or the shipped one; see `atlas.build`.

        Other layers, or another precision, go to a folder of their own.
        """
        if self.shipped:
            return self.shipped
        layers = list(options.get("layers") or self.network.layers)
        tag = hashlib.sha256(repr((sorted(layers), options.get("autocast"), self.k)).encode()).hexdigest()[:6]
        return build(self.network, self.images, self.out.with_name(f"{self.out.name}-{tag}"), k=self.k, **options)


def choose(
    scale: str | os.PathLike,
    network: str | models.Network | None = None,
    *,
    folder: str | os.PathLike = "my",
    imagenet: str | os.PathLike | None = None,
) -> Choice:
    """A scale by name, or a folder of images, one folder for each category.

    Parameters
    ----------
    scale : one of `SCALES`, or the path of a folder.
    network : by default the scale's; or the name of a torchvision classifier, or a `Network` of your own.
    folder : where downloads, activations and the atlas go.
    imagenet : for the scale "paper", the folder ``train`` of ImageNet; by default what the environment says in
        ``IMAGENET``.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no ImageNet.
    ConnectionError, OSError
        If something cannot be downloaded.
    """
    folder = Path(folder)
    known = SCALES.get(str(scale))
    if known is None and not Path(scale).is_dir():
        raise FileNotFoundError(f"scale={str(scale)!r} is neither one of {list(SCALES)} nor a folder")
    known = known or Scale(str(scale), "efficientnet_lite0", 30, "", "")
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
    if source == "drawn":
        source = drawn_folder(folder / "photographs" / "drawn")
    images = photographs(
        source,
        network.transform,
        root=folder / "photographs",
        categories=known.categories,
        per_category=known.per_category,
    )
    name = str(scale) if str(scale) in SCALES else Path(scale).resolve().name
    return Choice(name, network, images, known.k, folder / f"{name}-{network.name}")
