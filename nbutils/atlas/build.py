"""Build an atlas: the neighbour graphs of a folder of images in the layers of a network."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .. import dask_backend
from .._files import sha256, write_atomically, write_json
from ..extraction.activations import extract, image_of
from ..extraction.models import Network, fingerprint
from ..extraction.photographs import ImageFolder
from ..extraction.store import file_stem
from ..graph import NeighborGraph
from ..neighbors import knn_graph
from . import Atlas, load_atlas

if TYPE_CHECKING:
    from distributed import Client


def build(
    network: Network,
    images: ImageFolder,
    out: Path,
    *,
    layers: Sequence[str] | None = None,
    k: int = 40,
    synsets: dict[str, str | None] | None = None,
    scratch: Path | None = None,
    workers: int = 0,
    device: str | None = None,
    autocast: str | None = None,
    client: Client | None = None,
    command: str = "",
) -> Atlas:
    """Extract the layers, build their graphs and write the atlas; finished parts are not made again.

    Parameters
    ----------
    layers : names of layers of `network`, by default all; in the atlas they are in the network's order.
    k : neighbours to keep.
    synsets : WordNet id of each category; by default its name, where that is one, as in the folders of ImageNet.
    scratch : folder for the activations, which need about 2 bytes a feature and image; by default a folder beside
        `out`. It is kept, since it took longest to make: delete it when the atlas is as you want it.
    device : for the network and for the graphs; by default the best there is.
    autocast : as in `extract`.
    client : a ``dask.distributed.Client``, whose workers then run the network and make the graphs (`dask_backend`).
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
    options = dict(batch_size=batch_of(images), device=device, autocast=autocast)
    if client is None:
        store = extract(network.model, images, chosen, scratch, workers=workers, **options)
    else:
        store = dask_backend.extract(client, network.model, images, chosen, scratch, **options)
    described = {}
    out.mkdir(parents=True, exist_ok=True)
    for name, path in chosen.items():
        # Graphs are made beside the activations, which `extract` has checked to be of this network and these images.
        made = scratch / f"{file_stem(name)}.k{k}.npz"
        if not made.exists():
            graph = (
                knn_graph(store[name], k, device)
                if client is None
                else dask_backend.knn_graph(client, store[name], k, device)
            )
            graph.save(made)
        file = out / f"{file_stem(name)}.npz"
        with made.open("rb") as source, write_atomically(file) as target:
            shutil.copyfileobj(source, target)
        described[name] = {"module": path, "shape": list(store.shapes[name]), "file": file.name, "sha256": sha256(file)}
    synsets = synsets or {name: name for name in images.class_names if re.fullmatch(r"n\d{8}", name)}
    write_json(
        out / "images.json",
        {
            "classes": [{"name": name, "synset": synsets.get(name)} for name in images.class_names],
            "labels": images.labels.tolist(),
            "files": images.files,
        },
    )
    write_json(
        out / "meta.json",
        {
            "network": network.name,
            "weights": network.weights,
            "weights_sha256": fingerprint(network.model),
            "preprocessing": network.preprocessing,
            "autocast": autocast,
            "activations": "full, unpooled, stored in float16",
            "n": len(images),
            "k": k,
            "distance": "Euclidean",
            "command": command,
            "versions": {
                "python": platform.python_version(),
                **{p: version(p) for p in ("torch", "torchvision", "timm", "numpy", "pillow")},
            },
            "layers": described,
        },
    )
    return load_atlas(out)


def layer_graphs(
    network: Network,
    images: Sequence,
    k: int = 30,
    layers: Sequence[str] | None = None,
    device: str | None = None,
    autocast: str | None = None,
) -> dict[str, NeighborGraph]:
    """The neighbour graphs of images in the layers of a network, at once: what `build` does, and keeps nothing.

    Raises
    ------
    ValueError
        If a layer is unknown, or `k` is not below the number of images.
    """
    chosen = {name: network.layers[name] for name in checked(layers or list(network.layers), network)}
    with TemporaryDirectory() as folder:
        store = extract(
            network.model, images, chosen, folder, batch_size=batch_of(images), device=device, autocast=autocast
        )
        return {name: knn_graph(store[name], k, device) for name in chosen}


def batch_of(images: Sequence) -> int:
    """Images to a batch: 32 of 224 x 224 pixels or more, and up to 256 that are smaller."""
    return 32 * max(1, min(8, 3 * 224 * 224 // image_of(images[0]).numel()))


def checked(layers: Sequence[str], network: Network) -> Sequence[str]:
    for name in layers:
        if name not in network.layers:
            raise ValueError(f"layers: {name!r} is no layer of {network.name}; it has {list(network.layers)}")
    return [name for name in network.layers if name in layers]
