"""Build an atlas: the neighbour graphs of a folder of images in the layers of a network."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from .. import dask_backend
from .._files import sha256, write_atomically, write_json
from ..extraction.activations import extract
from ..extraction.models import Network, fingerprint
from ..extraction.photographs import ImageFolder, unreadable
from ..extraction.store import ActivationStore, file_stem, read_manifest
from ..extraction.writing import LOCK, locked
from ..graph import NeighborGraph, checked_integer
from ..neighbors import knn_graph
from . import Atlas, load_atlas
from .layers import Layer, batch_of, check_neighbors, chosen_layers

if TYPE_CHECKING:
    from distributed import Client


def build(
    network: Network,
    images: ImageFolder,
    out: str | os.PathLike,
    *,
    layers: Sequence[str] | None = None,
    mean_layers: Sequence[str] = (),
    k: int = 40,
    mantissa_bits: int | None = None,
    synsets: Mapping[str, str | None] | None = None,
    scratch: str | os.PathLike | None = None,
    workers: int = 0,
    device: str | None = None,
    autocast: str | None = None,
    client: Client | None = None,
    command: str = "",
) -> Atlas:
    """Extract the layers, build their graphs and write the atlas; finished parts are not made again.

    Parameters
    ----------
    out : folder for the atlas.
    layers, mean_layers : names of layers of `network`: those to keep in full, and those to average over positions,
        which leaves one number for each channel. By default all layers in full. In the atlas they are in the order of
        the network, and the averages are named with the suffix " mean". A layer without positions, such as the logits,
        keeps its name.
    k : number of neighbours.
    mantissa_bits : round the distances to so many bits of mantissa, which makes the files of the graphs smaller: 12
        bits give relative errors up to 2^-13 = 1.2e-4. By default all 23 are kept.
    synsets : WordNet id of each category; by default its name, where that is an id, as in the folders of ImageNet.
    scratch : folder for the activations, which need about 2 bytes for each feature and image; by default a folder
        beside `out`. It is kept, because making it takes longest: delete it when the atlas is as you want it.
    workers : processes that read images.
    device : for the network and for the graphs; by default the best there is.
    autocast : as in `extract`.
    client : a ``dask.distributed.Client``, whose workers then run the network and make the graphs (`dask_backend`).
    command : recorded in ``meta.json``.

    Raises
    ------
    ValueError
        If a layer is unknown, `k` is not below the number of images, a folder cannot be used, some images cannot be
        read, or `scratch` holds the activations of something else.
    BlockingIOError
        If another run fills one of the folders.
    """
    check_neighbors(k, images)
    if mantissa_bits is not None:
        checked_integer("mantissa_bits", mantissa_bits, 1, 23)
    chosen = chosen_layers(network, images, layers, mean_layers)
    out, scratch = checked_places(out, scratch)
    # Found now, an unreadable image costs nothing; found later, it would cost the activations that were made before.
    if read_manifest(scratch) is None and isinstance(images, ImageFolder) and (problems := unreadable(images)):
        raise ValueError(f"{'; '.join(problems[:5])} ({len(problems)} in all)" if problems[1:] else problems[0])
    with locked(out):
        store = activations(
            network, images, chosen, scratch, workers=workers, device=device, autocast=autocast, client=client
        )
        with locked(scratch):
            described = {
                name: written(store, name, layer, out, k, mantissa_bits, device, client)
                for name, layer in chosen.items()
            }
        write_descriptions(network, images, out, described, synsets, k, mantissa_bits, autocast, command)
    return load_atlas(out)


def written(
    store: ActivationStore,
    name: str,
    layer: Layer,
    out: Path,
    k: int,
    mantissa_bits: int | None,
    device: str | None,
    client: Client | None,
) -> dict:
    """Make the graph of a layer beside its activations, unless it is there, and write it to the atlas.

    Returns
    -------
    The description of the layer in ``meta.json``.
    """
    # A graph counts only for the activations that it was made from.
    made = store.path / f"{file_stem(name)}.k{k}.{read_manifest(store.path)['asked'][:12]}.npz"
    if not made.exists():
        rows = store[name]
        graph = knn_graph(rows, k, device) if client is None else dask_backend.knn_graph(client, rows, k, device)
        graph.save(made)
    file = out / f"{file_stem(name)}.npz"
    if mantissa_bits is None:
        with made.open("rb") as source, write_atomically(file) as target:
            shutil.copyfileobj(source, target)
    else:
        rounded(NeighborGraph.load(made), mantissa_bits).save(file)
    return {
        "module": layer.path,
        "reduce": layer.reduce,
        "shape": list(store.shapes[name]),
        "file": file.name,
        "sha256": sha256(file),
    }


def write_descriptions(
    network: Network,
    images: ImageFolder,
    out: Path,
    layers: dict[str, dict],
    synsets: Mapping[str, str | None] | None,
    k: int,
    mantissa_bits: int | None,
    autocast: str | None,
    command: str,
) -> None:
    """Write ``images.json``, and ``meta.json`` with the descriptions of the layers."""
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
            "activations": "stored in float16; in full, or averaged over positions where reduce is mean",
            "n": len(images),
            "k": k,
            "distance": "Euclidean",
            "mantissa_bits": mantissa_bits,
            "command": command,
            "versions": {
                "python": platform.python_version(),
                **{p: version(p) for p in ("torch", "torchvision", "timm", "numpy", "pillow")},
            },
            "layers": layers,
        },
    )


def checked_places(out: str | os.PathLike, scratch: str | os.PathLike | None) -> tuple[Path, Path]:
    """The folders of the atlas and of the activations; ValueError if they cannot be used."""
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={str(out)!r} is a file: give the name of a folder")
    own = (".npz", ".json", ".part")  # what an atlas consists of
    if others := sorted(path.name for path in out.glob("*") if path.suffix not in own and path.name != LOCK):
        raise ValueError(f"out={str(out)!r} holds other files ({', '.join(others[:3])} ...): give a new folder")
    if scratch is None:
        named = out if out.name not in ("", "..") else out.resolve()
        scratch = named.with_name(named.name + ".activations")
    if Path(scratch).exists() and not Path(scratch).is_dir():
        raise ValueError(f"scratch={str(scratch)!r} is a file: give the name of a folder")
    if Path(scratch).resolve() == out.resolve():
        raise ValueError(f"scratch and out are both {str(out)!r}: the activations need a folder of their own")
    return out, Path(scratch)


def activations(
    network: Network,
    images: Sequence,
    chosen: Mapping[str, Layer],
    scratch: str | os.PathLike,
    *,
    workers: int = 0,
    device: str | None = None,
    autocast: str | None = None,
    client: Client | None = None,
) -> ActivationStore:
    """`extract` the chosen layers, here or on the workers of a Dask client."""
    paths = {name: layer.path for name, layer in chosen.items()}
    options = {"batch_size": batch_of(images), "device": device, "autocast": autocast}
    reduce = {name: layer.reduce for name, layer in chosen.items()}
    if client is None:
        return extract(network.model, images, paths, scratch, workers=workers, reduce=reduce, **options)
    return dask_backend.extract(client, network.model, images, paths, scratch, reduce=reduce, **options)


def rounded(graph: NeighborGraph, bits: int) -> NeighborGraph:
    """The graph with its distances rounded to `bits` bits of mantissa, so that its file can be compressed.

    All neighbours keep their order, also those whose distances become equal.
    """
    drop = 23 - bits
    pattern = graph.distances.view(np.uint32) + np.uint32(1 << drop >> 1)
    return NeighborGraph((pattern >> drop << drop).view(np.float32), graph.indices)


def layer_graphs(
    network: Network,
    images: Sequence,
    k: int = 30,
    layers: Sequence[str] | None = None,
    mean_layers: Sequence[str] = (),
    device: str | None = None,
    autocast: str | None = None,
) -> dict[str, NeighborGraph]:
    """The neighbour graphs of images in the layers of a network, as `build` makes them, without saving anything.

    Raises
    ------
    ValueError
        If a layer is unknown, or `k` is not below the number of images.
    """
    chosen = chosen_layers(network, images, layers, mean_layers)
    with TemporaryDirectory() as folder:
        store = activations(network, images, chosen, folder, device=device, autocast=autocast)
        return {name: knn_graph(store[name], k, device) for name in chosen}
