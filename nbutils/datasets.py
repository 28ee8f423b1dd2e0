"""Data with a name and a provenance: atlases of real photographs, folders of images, and clouds of known truth."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import logsumexp

from .drawing import draw  # noqa: F401  (the small world is a data set like the others)
from .neighbors import NeighborGraph
from .photographs import ImageFolder, photographs  # noqa: F401
from .things import load_things  # noqa: F401

DATA = Path(__file__).resolve().parent.parent / "data"


class Graphs(Mapping):
    """The neighbour graphs of an atlas by layer, read and verified when first asked for."""

    def __init__(self, folder: Path, files: dict[str, dict]):
        self._folder, self._files, self._read = folder, files, {}

    def __getitem__(self, layer: str) -> NeighborGraph:
        if layer not in self._files:
            raise KeyError(f"layer {layer!r} is not in this atlas; it has {list(self._files)}")
        if layer not in self._read:
            path = self._folder / self._files[layer]["file"]
            if not path.exists() or sha256(path) != self._files[layer]["sha256"]:
                raise ValueError(f"{path} is missing, or not the file that meta.json describes: fetch or build the "
                                 "atlas again")
            self._read[layer] = NeighborGraph.load(path)
        return self._read[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


@dataclass(frozen=True, eq=False)
class Atlas:
    """Neighbour graphs of one data set in the layers of one network.

    Attributes
    ----------
    name : str
    layers : names of the layers, in the order of the forward pass
    graphs : mapping from layer to `NeighborGraph` of the same n images
    labels : (n,) int, index into `class_names`
    class_names : names of the c categories
    synsets : for each category its WordNet id, or None where it has none
    files : (n,) names of the images
    meta : how it was made: network, weights, preprocessing, versions, command
    """

    name: str
    layers: tuple[str, ...]
    graphs: Mapping[str, NeighborGraph]
    labels: np.ndarray
    class_names: tuple[str, ...]
    synsets: tuple[str | None, ...]
    files: tuple[str, ...]
    meta: dict

    def __repr__(self) -> str:
        return (f"Atlas({self.name!r}: {len(self.labels)} images of {len(self.class_names)} categories, "
                f"{len(self.layers)} layers from {self.layers[0]!r} to {self.layers[-1]!r})")


def load_atlas(name: str | os.PathLike = "caltech101-efficientnet_lite0") -> Atlas:
    """Open an atlas that ships with the book, by name, or one of your own, by the path of its folder.

    Raises
    ------
    FileNotFoundError
        If there is no such atlas.
    ValueError
        If a part of it is damaged; graphs are checked against their SHA-256 when they are first read.
    """
    folder = Path(name) if (Path(name) / "meta.json").exists() else DATA / name
    if not (folder / "meta.json").exists():
        known = sorted(path.parent.name for path in DATA.glob("*/meta.json"))
        raise FileNotFoundError(f"no atlas {str(name)!r}: give the path of its folder, or one of {known}")
    try:
        meta = json.loads((folder / "meta.json").read_text())
        images = json.loads((folder / "images.json").read_text())
        labels = np.array(images["labels"], dtype=np.int64)
        classes = images["classes"]
        atlas = Atlas(folder.name, tuple(meta["layers"]), Graphs(folder, meta["layers"]), labels,
                      tuple(c["name"] for c in classes), tuple(c["synset"] for c in classes),
                      tuple(images["files"]), meta)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"atlas {str(name)!r} is damaged ({error!r}): fetch or build it again") from error
    if not 0 < len(labels) == len(atlas.files) or labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"atlas {str(name)!r}: images.json does not name one category for each image")
    return atlas


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sample_photographs() -> dict[str, Image.Image]:
    """The colour photographs that scikit-image, scikit-learn and matplotlib bring along, by name."""
    from matplotlib import cbook
    from skimage import data as skimage
    from sklearn.datasets import load_sample_image

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        admiral = np.array(Image.open(file).convert("RGB"))
    arrays = {"cat": skimage.chelsea(), "coffee": skimage.coffee(), "rocket": skimage.rocket(),
              "motorcycle": skimage.stereo_motorcycle()[0], "temple": load_sample_image("china.jpg"),
              "flower": load_sample_image("flower.jpg"), "astronaut": skimage.astronaut(), "admiral": admiral,
              "clock": np.repeat(skimage.clock()[:, :, None], 3, 2)}
    return {name: Image.fromarray(array) for name, array in arrays.items()}


def synset_table(path: str | os.PathLike = DATA / "caltech101_synsets.csv") -> dict[str, str | None]:
    """WordNet id of each category, or None, from a table with the columns ``category`` and ``synset``."""
    with open(path, newline="", encoding="utf-8") as file:
        return {row["category"]: row["synset"] or None for row in csv.DictReader(file)}


def paper_table() -> list[dict]:
    """The numbers of Doimo et al. (2020) for ResNet-152, a row for each layer; `paper_columns` says how sure."""
    with open(DATA / "paper_resnet152.csv", newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def paper_columns() -> list[dict]:
    """For each column of `paper_table` what it is, its ``source``, and ``within`` what its numbers are right."""
    with open(DATA / "paper_columns.csv", newline="", encoding="utf-8") as file:
        return [{**row, "within": float(row["within"])} for row in csv.DictReader(file)]


def gaussian_mixture(n: int, means: np.ndarray, scales: float | Sequence[float] = 1.0,
                     weights: Sequence[float] | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of a mixture of round Gaussians: (n, d) float64, and (n,) the component of each.

    Parameters
    ----------
    means : (c, d)
    scales : standard deviation of each component, or of all
    weights : probability of each component, by default equal

    Raises
    ------
    ValueError
        If `means` is not (c, d), or `scales` or `weights` do not fit it.
    """
    means, spread, _ = _components(means, scales, weights)
    rng = np.random.default_rng(seed)
    which = rng.choice(len(means), n, p=weights)
    return means[which] + spread[which, None] * rng.normal(size=(n, means.shape[1])), which


def mixture_log_density(x: np.ndarray, means: np.ndarray, scales: float | Sequence[float] = 1.0,
                        weights: Sequence[float] | None = None) -> np.ndarray:
    """(n,) the true log density of `gaussian_mixture` at x (n, d)."""
    means, spread, weight = _components(means, scales, weights)
    x, d = np.asarray(x), means.shape[1]
    if x.ndim != 2 or x.shape[1] != d:
        raise ValueError(f"x must have the shape (n, {d}), as means has, not {x.shape}")
    squared = ((x[:, None] - means) ** 2).sum(-1)
    exponent = -d * np.log(spread) - 0.5 * d * np.log(2 * np.pi) - squared / (2 * spread**2)
    return logsumexp(exponent, b=weight, axis=1)


def _components(means: np.ndarray, scales: float | Sequence[float],
                weights: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    means, spread = np.asarray(means, float), np.asarray(scales, float)
    if means.ndim != 2 or 0 in means.shape:
        raise ValueError(f"means must have the shape (c, d), not {means.shape}")
    c = len(means)
    if spread.shape not in ((), (c,)) or not (spread > 0).all():
        raise ValueError(f"scales must be one positive number or {c}, one for each row of means, not {scales}")
    weight = np.full(c, 1 / c) if weights is None else np.asarray(weights, float)
    if weight.shape != (c,) or (weight < 0).any() or not np.isclose(weight.sum(), 1):
        raise ValueError(f"weights must be {c} probabilities that sum to 1, one for each row of means, not {weights}")
    return means, np.broadcast_to(spread, c), weight


MANIFOLDS = ("cube", "sphere", "gaussian", "torus")


def manifold(kind: str, n: int, dimension: int, ambient: int | None = None, seed: int = 0) -> np.ndarray:
    """n points drawn uniformly on a manifold of known dimension, turned at random in a larger space: (n, ambient).

    Parameters
    ----------
    kind : ``"cube"`` (edge 1), ``"sphere"`` (the surface, radius 1), ``"gaussian"`` (not uniform, deviation 1) or
        ``"torus"`` (flat, a product of circles of circumference 1: no edge, no peak).
    dimension : of the manifold.
    ambient : of the space it lies in, by default the smallest that holds it.

    Raises
    ------
    ValueError
        If `kind` is unknown or `ambient` too small.
    """
    rng = np.random.default_rng(seed)
    if kind == "cube":
        flat = rng.uniform(size=(n, dimension))
    elif kind == "gaussian":
        flat = rng.normal(size=(n, dimension))
    elif kind == "sphere":
        flat = rng.normal(size=(n, dimension + 1))
        flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    elif kind == "torus":
        angle = 2 * np.pi * rng.uniform(size=(n, dimension))
        flat = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) / (2 * np.pi)
    else:
        raise ValueError(f"kind must be one of {MANIFOLDS}, not {kind!r}")
    ambient = ambient or flat.shape[1]
    if ambient < flat.shape[1]:
        raise ValueError(f"ambient={ambient} is too small: a {kind} of dimension {dimension} needs {flat.shape[1]}")
    turn = np.linalg.qr(rng.normal(size=(ambient, ambient)))[0]
    return flat @ turn[: flat.shape[1]]
