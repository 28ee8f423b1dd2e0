"""Build an atlas: the neighbour graphs of a folder of images in the layers of a network.

    python -m nbutils.atlas --images 101_ObjectCategories --exclude BACKGROUND_Google --out my-atlas

Interrupted at any moment, the same command takes up where it stopped. `datasets.load_atlas("my-atlas")` opens it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from . import datasets, models
from .activations import extract, file_stem
from .neighbors import NeighborGraph, knn_graph


def build(network: models.Network, images: datasets.ImageFolder, out: Path, *, layers: Sequence[str] | None = None,
          k: int = 40, synsets: dict[str, str | None] | None = None, scratch: Path | None = None,
          workers: int = 0, device: str | None = None, command: str = "") -> datasets.Atlas:
    """Extract the layers, build their graphs and write the atlas; finished parts are not made again.

    Parameters
    ----------
    layers : names of layers of `network`, by default all; in the atlas they are in the network's order.
    k : neighbours to keep.
    synsets : WordNet id of each category.
    scratch : folder for the activations, which need about 2 bytes a feature and image; by default a folder beside
        `out`. It is kept, since it took longest to make: delete it when the atlas is as you want it.
    command : recorded in ``meta.json``.

    Raises
    ------
    ValueError
        If a layer is unknown, or `k` is not below the number of images.
    """
    chosen = {name: network.layers[name] for name in checked(layers or list(network.layers), network)}
    if not 1 <= k < len(images):
        raise ValueError(f"k={k} must lie in 1 ... n - 1 = {len(images) - 1}")
    scratch = scratch or out.with_name(out.name + ".activations")
    store = extract(network.model, images, chosen, scratch, workers=workers, device=device)
    described = {}
    out.mkdir(parents=True, exist_ok=True)
    for name, path in chosen.items():
        # Graphs are made beside the activations, which `extract` has checked to be of this network and these images.
        made = scratch / f"{file_stem(name)}.k{k}.npz"
        if not made.exists():
            print(f"{name}: {' x '.join(map(str, store.shapes[name]))}", flush=True)
            knn_graph(store[name], k, device=device).save(made)
        file = out / f"{file_stem(name)}.npz"
        shutil.copyfile(made, file.with_name(file.name + ".part"))
        os.replace(file.with_name(file.name + ".part"), file)
        described[name] = {"module": path, "shape": list(store.shapes[name]), "file": file.name,
                           "sha256": datasets.sha256(file)}
    synsets = synsets or {}
    write_json(out / "images.json", {
        "classes": [{"name": name, "synset": synsets.get(name)} for name in images.class_names],
        "labels": images.labels.tolist(), "files": images.files})
    write_json(out / "meta.json", {
        "network": network.name, "weights": network.weights, "weights_sha256": models.fingerprint(network.model),
        "preprocessing": network.preprocessing, "activations": "full, unpooled, stored in float16",
        "n": len(images), "k": k, "distance": "Euclidean", "command": command,
        "versions": {"python": platform.python_version(),
                     **{p: version(p) for p in ("torch", "torchvision", "timm", "numpy", "pillow")}},
        "layers": described})
    return datasets.load_atlas(out)


def layer_graphs(network: models.Network, images: Sequence, k: int = 30, layers: Sequence[str] | None = None,
                 device: str | None = None) -> dict[str, NeighborGraph]:
    """The neighbour graphs of images in the layers of a network, at once: what `build` does, and keeps nothing.

    Raises
    ------
    ValueError
        If a layer is unknown, or `k` is not below the number of images.
    """
    chosen = {name: network.layers[name] for name in checked(layers or list(network.layers), network)}
    with TemporaryDirectory() as folder:
        store = extract(network.model, images, chosen, folder, batch_size=256, device=device)
        return {name: knn_graph(store[name], k, device=device) for name in chosen}


def checked(layers: Sequence[str], network: models.Network) -> Sequence[str]:
    for name in layers:
        if name not in network.layers:
            raise ValueError(f"layers: {name!r} is no layer of {network.name}; it has {list(network.layers)}")
    return [name for name in network.layers if name in layers]


def write_json(path: Path, value: object) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(temporary, path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m nbutils.atlas", description=__doc__.split("\n")[0])
    parser.add_argument("--images", required=True, type=Path, help="folder with one folder of images for each category")
    parser.add_argument("--exclude", nargs="*", default=[], help="categories to leave out")
    parser.add_argument("--network", default="efficientnet_lite0", help="efficientnet_lite0, or a torchvision model")
    parser.add_argument("--weights", default="imagenet", choices=["imagenet", "random"])
    parser.add_argument("--layers", nargs="*", help="by default all that have a name")
    parser.add_argument("--k", type=int, default=40, help="neighbours to keep (default 40)")
    parser.add_argument("--synsets", type=Path, help="table with the columns category and synset")
    parser.add_argument("--scratch", type=Path, help="folder for the activations (default: beside --out)")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images (default 2)")
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args(arguments)

    network = models.load(options.network, options.weights)
    images = datasets.ImageFolder(options.images, network.transform, options.exclude)
    print(f"{len(images)} images of {len(images.class_names)} categories in {network.name} ({network.weights})")
    if options.weights == "random":
        # Images are sorted by category: take some of all, in batches of one size since each counts the same.
        spread = np.linspace(0, len(images) - 1, min(256, len(images))).astype(int)
        batches = torch.stack([images[i] for i in spread]).tensor_split(-(-len(spread) // 32))
        models.calibrate(network.model, batches)
        network = dataclasses.replace(network, weights=f"{network.weights}, statistics of the batch normalisation "
                                      f"measured on {len(spread)} of the images")
    synsets = datasets.synset_table(options.synsets) if options.synsets else None
    atlas = build(network, images, options.out, layers=options.layers, k=options.k, synsets=synsets,
                  scratch=options.scratch, workers=options.workers,
                  command=shlex.join(["python", "-m", "nbutils.atlas", *(arguments or sys.argv[1:])]))
    print(atlas)


if __name__ == "__main__":
    main()
