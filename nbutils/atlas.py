"""Build an atlas: the neighbour graphs of a folder of images in the layers of a network.

    python -m nbutils.atlas --images 101_ObjectCategories --exclude BACKGROUND_Google --out my-atlas

Interrupted at any moment, the same command takes up where it stopped. `datasets.load_atlas("my-atlas")` opens it, and
to share it is to copy the folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.utils.data import Subset

from . import datasets, models, photographs
from .activations import best_device, extract, image_of
from .neighbors import NeighborGraph, knn_graph
from .store import file_stem, write_json


def build(network: models.Network, images: datasets.ImageFolder, out: Path, *, layers: Sequence[str] | None = None,
          k: int = 40, synsets: dict[str, str | None] | None = None, scratch: Path | None = None,
          workers: int = 0, device: str | None = None, autocast: str | None = None, client: object = None,
          command: str = "") -> datasets.Atlas:
    """Extract the layers, build their graphs and write the atlas; finished parts are not made again.

    Parameters
    ----------
    layers : names of layers of `network`, by default all; in the atlas they are in the network's order.
    k : neighbours to keep.
    synsets : WordNet id of each category; by default its name, where that is one, as in the folders of ImageNet.
    scratch : folder for the activations, which need about 2 bytes a feature and image; by default a folder beside
        `out`. It is kept, since it took longest to make: delete it when the atlas is as you want it.
    device : for the network and for the graphs; by default the best there is.
    autocast, client : as in `extract`; the client's workers make the graphs, too.
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
    store = extract(network.model, images, chosen, scratch, batch_size=batch_of(images), workers=workers,
                    device=device, autocast=autocast, client=client)
    where = device if device is not None or client is not None else best_device()
    described = {}
    out.mkdir(parents=True, exist_ok=True)
    for name, path in chosen.items():
        # Graphs are made beside the activations, which `extract` has checked to be of this network and these images.
        made = scratch / f"{file_stem(name)}.k{k}.npz"
        if not made.exists():
            knn_graph(store[name], k, device=where, client=client).save(made)
        file = out / f"{file_stem(name)}.npz"
        shutil.copyfile(made, file.with_name(file.name + ".part"))
        os.replace(file.with_name(file.name + ".part"), file)
        described[name] = {"module": path, "shape": list(store.shapes[name]), "file": file.name,
                           "sha256": datasets.sha256(file)}
    synsets = synsets or {name: name for name in images.class_names if re.fullmatch(r"n\d{8}", name)}
    write_json(out / "images.json", {
        "classes": [{"name": name, "synset": synsets.get(name)} for name in images.class_names],
        "labels": images.labels.tolist(), "files": images.files})
    write_json(out / "meta.json", {
        "network": network.name, "weights": network.weights, "weights_sha256": models.fingerprint(network.model),
        "preprocessing": network.preprocessing, "autocast": autocast,
        "activations": "full, unpooled, stored in float16",
        "n": len(images), "k": k, "distance": "Euclidean", "command": command,
        "versions": {"python": platform.python_version(),
                     **{p: version(p) for p in ("torch", "torchvision", "timm", "numpy", "pillow")}},
        "layers": described})
    return datasets.load_atlas(out)


def layer_graphs(network: models.Network, images: Sequence, k: int = 30, layers: Sequence[str] | None = None,
                 device: str | None = None, autocast: str | None = None) -> dict[str, NeighborGraph]:
    """The neighbour graphs of images in the layers of a network, at once: what `build` does, and keeps nothing.

    Raises
    ------
    ValueError
        If a layer is unknown, or `k` is not below the number of images.
    """
    chosen = {name: network.layers[name] for name in checked(layers or list(network.layers), network)}
    with TemporaryDirectory() as folder:
        store = extract(network.model, images, chosen, folder, batch_size=batch_of(images), device=device,
                        autocast=autocast)
        return {name: knn_graph(store[name], k, device=device or best_device()) for name in chosen}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What an atlas will take: seconds and bytes; `memory` is that of the device where the network runs."""

    images: int
    layers: int
    device: str
    activations_seconds: float
    graphs_seconds: float
    activations_bytes: int
    atlas_bytes: int
    memory: int
    free: int

    def __str__(self) -> str:
        text = (f"{self.images:,} images in {self.layers} layers on {self.device}: about "
                f"{duration(self.activations_seconds)} for the activations, {duration(self.graphs_seconds)} for the "
                f"graphs; {size(self.activations_bytes)} of disk for the activations, {size(self.atlas_bytes)} for the "
                f"atlas; {size(self.memory)} of memory.")
        lacking = self.activations_bytes + self.atlas_bytes - self.free
        return text + (f" THE DISK LACKS {size(lacking)}: choose fewer layers or images, or another disk."
                       if lacking > 0 else f" The disk has {size(self.free)} free.")


def estimate(network: models.Network, images: Sequence, *, layers: Sequence[str] | None = None, k: int = 40,
             batches: int = 3, workers: int = 0, device: str | None = None, autocast: str | None = None,
             out: str | os.PathLike = ".") -> Estimate:
    """Time and space that `build` will take, from a trial with a few batches and from graphs of noise.

    Bytes on the disk are exact for the activations. Times suppose that the machine has nothing else to do. That of the
    activations is right to a factor of two or so; that of the graphs may be several times too long.

    Parameters
    ----------
    batches : batches of images, spread over all, that are timed, after one more to warm up.
    out : where the atlas would be, for the free space of its disk.
    """
    chosen = {name: network.layers[name] for name in checked(layers or list(network.layers), network)}
    where, n = torch.device(device) if device is not None else best_device(), len(images)
    batch = batch_of(images)
    some = np.linspace(0, n - 1, min(n, batch * batches)).astype(int).tolist()
    with TemporaryDirectory() as folder:
        options = dict(batch_size=batch, workers=workers, device=where, autocast=autocast)
        extract(network.model, Subset(images, some[:batch]), chosen, Path(folder) / "warm", **options)
        start = time.perf_counter()
        shapes = extract(network.model, Subset(images, some), chosen, Path(folder) / "trial", **options).shapes
        seconds = (time.perf_counter() - start) * n / len(some)
    features = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    weights = sum(value.nbytes for value in network.model.state_dict().values())
    # Of a batch: each layer's output, the copy that is kept, and rows on their way to the disk. Of a graph: its blocks.
    running = weights + batch * sum(features.values()) * (4 + 2 + 2 * 2)
    free = shutil.disk_usage(next(p for p in [Path(out).absolute(), *Path(out).absolute().parents] if p.exists())).free
    return Estimate(n, len(chosen), where.type.upper(), seconds,
                    sum(graph_seconds(n, d, k, where) for d in features.values()),
                    2 * n * sum(features.values()), 8 * n * k * len(chosen), max(running, int(1e9)), free)


def graph_seconds(n: int, features: int, k: int, device: torch.device) -> float:
    """How long `knn_graph` of (n, features) will take, rather too long, from what a part of it takes."""
    rows, columns = min(n, 8000), min(features, 1024)
    return noise_seconds(rows, columns, min(k, rows - 1), device) * (n / rows) ** 2 * features / columns


@cache
def noise_seconds(n: int, features: int, k: int, device: torch.device) -> float:
    """How long `knn_graph` of noise (n, features) takes."""
    x = torch.randn(n, features, generator=torch.Generator().manual_seed(0)).half()
    start = time.perf_counter()
    knn_graph(x, k, device=device)
    return time.perf_counter() - start


def duration(seconds: float) -> str:
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.1f} {name}" if seconds < 10 * unit else f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 1):.0f} s"


def size(count: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}" if count < 10 * unit else f"{count / unit:.0f} {name}"
    return f"{count / 1e3:.0f} kB"


def summary(atlas: datasets.Atlas, out: Path, scratch: Path, seconds: float) -> str:
    """What was made, where it lies, and how to open it."""
    shapes = {name: " x ".join(map(str, layer["shape"])) for name, layer in atlas.meta["layers"].items()}
    wide = max(map(len, shapes))
    lines = [f"{name:{wide}}  {shape}" for name, shape in shapes.items()]
    used = [size(sum(file.stat().st_size for file in folder.iterdir())) for folder in (out, scratch)]
    return "\n".join([
        f"Done in {duration(seconds)}: the {atlas.meta['k']} nearest neighbours of {len(atlas.labels):,} images of "
        f"{len(atlas.class_names)} categories in {len(shapes)} layers of {atlas.meta['network']}.", *lines,
        f"Atlas: {out} ({used[0]}). Open it with datasets.load_atlas({str(out)!r}); share it by copying the folder.",
        f"Activations: {scratch} ({used[1]}). Delete them when the atlas is as you want it."])


def batch_of(images: Sequence) -> int:
    """Images to a batch: 32 of 224 x 224 pixels or more, and up to 256 that are smaller."""
    return 32 * max(1, min(8, 3 * 224 * 224 // image_of(images[0]).numel()))


def checked(layers: Sequence[str], network: models.Network) -> Sequence[str]:
    for name in layers:
        if name not in network.layers:
            raise ValueError(f"layers: {name!r} is no layer of {network.name}; it has {list(network.layers)}")
    return [name for name in network.layers if name in layers]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m nbutils.atlas", description=__doc__.split("\n")[0])
    parser.add_argument("--images", required=True, metavar="DIR", help="folder with one folder of images for each "
                        f"category; or one that can be had by name: {', '.join(photographs.SOURCES)}")
    parser.add_argument("--exclude", nargs="*", default=[], help="categories to leave out")
    parser.add_argument("--categories", type=int, help="so many categories, drawn by lot (default: all)")
    parser.add_argument("--per-category", type=int, help="so many images of each, drawn by lot (default: all)")
    parser.add_argument("--network", default="efficientnet_lite0", help="efficientnet_lite0, or a torchvision model")
    parser.add_argument("--weights", default="imagenet", help="imagenet (default), random, or a file that torch.save "
                        "has made of a state_dict")
    parser.add_argument("--layers", nargs="*", help="by default all that have a name")
    parser.add_argument("--k", type=int, default=40, help="neighbours to keep (default 40)")
    parser.add_argument("--synsets", type=Path, help="table with the columns category and synset")
    parser.add_argument("--scratch", type=Path, help="folder for the activations (default: beside --out)")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images (default 2)")
    parser.add_argument("--device", help="cuda, cpu ... (default: the best there is)")
    parser.add_argument("--autocast", choices=["float16", "bfloat16"], help="mixed precision; may change neighbours")
    parser.add_argument("--dask", metavar="ADDRESS", help="scheduler of a Dask cluster that shares the disk")
    parser.add_argument("--estimate", action="store_true", help="say what it will take, and stop")
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args(arguments)

    began = time.perf_counter()
    network = models.load(options.network, options.weights)
    images = photographs.photographs(options.images, network.transform, exclude=options.exclude,
                                     categories=options.categories, per_category=options.per_category)
    print(f"{len(images)} images of {len(images.class_names)} categories in {network.name} ({network.weights})",
          flush=True)
    if options.weights == "random":
        # Images are sorted by category: take some of all, in batches of one size since each counts the same.
        spread = np.linspace(0, len(images) - 1, min(256, len(images))).astype(int)
        batches = torch.stack([images[i] for i in spread]).tensor_split(-(-len(spread) // 32))
        models.calibrate(network.model, batches)
        network = dataclasses.replace(network, weights=f"{network.weights}, statistics of the batch normalisation "
                                      f"measured on {len(spread)} of the images")
    shared = dict(layers=options.layers, k=options.k, workers=options.workers, device=options.device,
                  autocast=options.autocast)
    if options.estimate:
        print(estimate(network, images, out=options.scratch or options.out, **shared))
        return
    client = None
    if options.dask:
        from distributed import Client
        client = Client(options.dask)
    scratch = options.scratch or options.out.with_name(options.out.name + ".activations")
    atlas = build(network, images, options.out, scratch=scratch, client=client,
                  synsets=datasets.synset_table(options.synsets) if options.synsets else None,
                  command=shlex.join(["python", "-m", "nbutils.atlas", *(arguments or sys.argv[1:])]), **shared)
    print(summary(atlas, options.out, scratch, time.perf_counter() - began))


if __name__ == "__main__":
    main()
