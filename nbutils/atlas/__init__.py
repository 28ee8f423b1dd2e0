"""An atlas: the neighbour graphs of one data set in the layers of one network, and what its images are.

`load_atlas` opens one, and `describe` says what it holds and whether its files are whole; neither needs the network or
torch. `nbutils.atlas.build` and ``python -m nbutils.atlas`` make one from a folder of images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._data import atlas_names, data_folder
from .._files import sha256
from ..graph import NeighborGraph


class Graphs(Mapping):
    """The neighbour graphs of an atlas by layer, read and verified when first asked for."""

    def __init__(self, folder: Path, files: dict[str, dict]):
        self._folder, self._files = folder, files
        self._read: dict[str, NeighborGraph] = {}

    def __getitem__(self, layer: str) -> NeighborGraph:
        if layer not in self._files:
            raise KeyError(f"layer {layer!r} is not in this atlas; it has {list(self._files)}")
        if layer not in self._read:
            path = self._folder / self._files[layer]["file"]
            if not path.exists() or sha256(path) != self._files[layer]["sha256"]:
                raise ValueError(
                    f"{path} is missing, or not the file that meta.json describes: fetch or build the atlas again"
                )
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
        return (
            f"Atlas({self.name!r}: {len(self.labels)} images of {len(self.class_names)} categories, "
            f"{len(self.layers)} layers from {self.layers[0]!r} to {self.layers[-1]!r})"
        )


def load_atlas(name: str | os.PathLike = "caltech101-efficientnet_lite0") -> Atlas:
    """Open an atlas of the book, by name, or one of your own, by the path of its folder.

    An installed package does not have the atlases; it fetches one when it is first opened.

    Raises
    ------
    FileNotFoundError
        If there is no such atlas, or no address from which to fetch it.
    ConnectionError
        If it cannot be fetched.
    ValueError
        If a part of it is damaged; graphs are checked against their SHA-256 when they are first read.
    """
    if (Path(name) / "meta.json").exists():
        folder = Path(name)
    elif str(name) in (known := atlas_names()):
        folder = data_folder(str(name))
    else:
        raise FileNotFoundError(f"no atlas {str(name)!r}: give the path of its folder, or one of {known}")
    try:
        meta = json.loads((folder / "meta.json").read_text())
        images = json.loads((folder / "images.json").read_text())
        labels = np.array(images["labels"], dtype=np.int64)
        classes = images["classes"]
        atlas = Atlas(
            folder.name,
            tuple(meta["layers"]),
            Graphs(folder, meta["layers"]),
            labels,
            tuple(c["name"] for c in classes),
            tuple(c["synset"] for c in classes),
            tuple(images["files"]),
            meta,
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"atlas {str(name)!r} is damaged ({error!r}): fetch or build it again") from error
    if not 0 < len(labels) == len(atlas.files) or labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"atlas {str(name)!r}: images.json does not name one category for each image")
    return atlas


def damage(folder: str | os.PathLike) -> dict[str, str]:
    """What is wrong with the graph of each layer that cannot be used; empty if the atlas is whole.

    Raises
    ------
    FileNotFoundError
        If there is no such atlas.
    ValueError
        If the descriptions in ``meta.json`` or ``images.json`` are damaged.
    """
    atlas, found = load_atlas(folder), {}
    for layer in atlas.layers:
        try:
            graph = atlas.graphs[layer]
        except ValueError as error:
            found[layer] = str(error)
        else:
            if graph.n != len(atlas.labels):
                found[layer] = f"a graph of {graph.n:,} points for {len(atlas.labels):,} images: build the atlas again"
    return found


def describe(folder: str | os.PathLike) -> str:
    """A text for reading: the images, the network and the layers of an atlas, how it was made, and what is damaged.

    Raises
    ------
    FileNotFoundError
        If there is no such atlas.
    ValueError
        If the descriptions in ``meta.json`` or ``images.json`` are damaged.
    """
    atlas, damaged = load_atlas(folder), damage(folder)
    meta, n, named = atlas.meta, len(atlas.labels), sum(synset is not None for synset in atlas.synsets)
    rows = {
        "images": f"{n:,} of {len(atlas.class_names)} categories, of which {named} have a WordNet id",
        "network": f"{meta.get('network', 'unknown')} ({meta.get('weights', 'unknown')})",
        "preprocessing": meta.get("preprocessing"),
        "autocast": meta.get("autocast"),
        "activations": meta.get("activations"),
        "distances": meta.get("distance", "unknown")
        + (f", rounded to {bits} bits of mantissa" if (bits := meta.get("mantissa_bits")) else ""),
        "versions": ", ".join(f"{name} {version}" for name, version in meta.get("versions", {}).items()),
        "command": meta.get("command"),
    }
    wide = max(map(len, rows))
    lines = [f"{name:{wide}}  {value}" for name, value in rows.items() if value]
    layers = layer_table({name: tuple(layer["shape"]) for name, layer in meta["layers"].items()})
    state = [f"{layer}: {problem}" for layer, problem in damaged.items()] or ["All files are whole."]
    return "\n".join([f"Atlas {atlas.name!r}", *lines, "", *layers, "", *state])


def layer_table(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """A line for each layer with its name and its shape."""
    wide = max(map(len, shapes))
    return [f"{name:{wide}}  {' x '.join(map(str, shape))}" for name, shape in shapes.items()]
