"""What an atlas will take, before it is built: the sizes of its layers, time, disk space and memory."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.utils.data import Subset

from .._device import as_device
from ..extraction.activations import extract
from ..extraction.models import Network
from ..neighbors import knn_graph
from . import layer_table
from .layers import batch_of, check_neighbors, chosen_layers, has_positions


@dataclass(frozen=True)
class Estimate:
    """What an atlas will take, in seconds and bytes. `memory` is that of the device on which the network runs."""

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
        text = (
            f"{self.images:,} images in {self.layers} layers on {self.device}: about "
            f"{duration(self.activations_seconds)} for the activations, {duration(self.graphs_seconds)} for the "
            f"graphs; {size(self.activations_bytes)} of disk for the activations, {size(self.atlas_bytes)} for the "
            f"atlas; {size(self.memory)} of memory."
        )
        lacking = self.activations_bytes + self.atlas_bytes - self.free
        return text + (
            f" THE DISK LACKS {size(lacking)}: choose fewer layers or images, or another disk."
            if lacking > 0
            else f" The disk has {size(self.free)} free."
        )


def estimate(
    network: Network,
    images: Sequence,
    *,
    layers: Sequence[str] | None = None,
    mean_layers: Sequence[str] = (),
    k: int = 40,
    batches: int = 3,
    workers: int = 0,
    device: str | None = None,
    autocast: str | None = None,
    out: str | os.PathLike = ".",
) -> Estimate:
    """The time and space that `build` will take, from a trial with a few batches and from graphs of random points.

    The bytes of the activations are exact, and those of the atlas an upper limit. The times assume that the machine has
    nothing else to do. The time for the activations is right to a factor of about two; that for the graphs may be
    several times too long.

    Parameters
    ----------
    layers, mean_layers, k, workers, device, autocast : as in `build`.
    batches : number of batches that are timed, sampled from all images, after one more to warm up.
    out : the folder of the atlas, to find the free space on its disk.

    Raises
    ------
    ValueError
        If a layer is unknown, or `k` is not below the number of images.
    """
    check_neighbors(k, images)
    chosen = chosen_layers(network, images, layers, mean_layers)
    paths = {name: layer.path for name, layer in chosen.items()}
    where, n = as_device(device), len(images)
    batch = batch_of(images)
    some = np.linspace(0, n - 1, min(n, batch * batches)).astype(int).tolist()
    with TemporaryDirectory() as folder:
        options = dict(batch_size=batch, workers=workers, device=where, autocast=autocast)
        options["reduce"] = {name: layer.reduce for name, layer in chosen.items()}
        extract(network.model, Subset(images, some[:batch]), paths, Path(folder) / "warm", **options)
        start = time.perf_counter()
        shapes = extract(network.model, Subset(images, some), paths, Path(folder) / "trial", **options).shapes
        seconds = (time.perf_counter() - start) * n / len(some)
    features = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    weights = sum(value.nbytes for value in network.model.state_dict().values())
    # For a batch: the output of each layer, the copy that is kept, and the rows that are being written. The graphs need
    # less than 1 GB.
    running = weights + batch * sum(features.values()) * (4 + 2 + 2 * 2)
    free = shutil.disk_usage(next(p for p in [Path(out).absolute(), *Path(out).absolute().parents] if p.exists())).free
    return Estimate(
        n,
        len(chosen),
        where.type.upper(),
        seconds,
        sum(graph_seconds(n, d, k, where) for d in features.values()),
        2 * n * sum(features.values()),
        8 * n * k * len(chosen),
        max(running, int(1e9)),
        free,
    )


def graph_seconds(n: int, features: int, k: int, device: torch.device) -> float:
    """Seconds that `knn_graph` of (n, features) will take, scaled up from a part of it; rather too many."""
    rows, columns = min(n, 8000), min(features, 1024)
    return noise_seconds(rows, columns, min(k, rows - 1), device) * (n / rows) ** 2 * features / columns


@cache
def noise_seconds(n: int, features: int, k: int, device: torch.device) -> float:
    """Seconds that `knn_graph` of normal random numbers (n, features) takes."""
    x = torch.randn(n, features, generator=torch.Generator().manual_seed(0)).half()
    start = time.perf_counter()
    knn_graph(x, k, device=device)
    return time.perf_counter() - start


def drawing(shapes: Mapping[str, tuple[int, ...]], n: int) -> str:
    """A network as text: for each layer its shape, the disk space of n images in full and averaged, and a bar.

    The bars show the number of features on a logarithmic scale.

    Parameters
    ----------
    shapes : the shape of the output of each layer for one image.
    n : number of images.
    """
    features = [math.prod(shape) for shape in shapes.values()]
    channels = [shape[0] if has_positions(shape) else math.prod(shape) for shape in shapes.values()]
    table, least = layer_table(shapes), min(features)
    wide = max(map(len, table))
    lines = [f"{'':{wide}}  {'in full':>7}  {'averaged':>8}"]
    for line, count, mean in zip(table, features, channels, strict=True):
        bar = "#" * (1 + round(3 * math.log2(count / least)))
        lines.append(f"{line:{wide}}  {size(2 * n * count):>7}  {size(2 * n * mean):>8}  {bar}")
    total = f"{'together':{wide}}  {size(2 * n * sum(features)):>7}  {size(2 * n * sum(channels)):>8}"
    return "\n".join([*lines, total])


def duration(seconds: float) -> str:
    """Seconds as a text with a unit, of two digits or so."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.1f} {name}" if seconds < 10 * unit else f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 1):.0f} s"


def size(count: float) -> str:
    """Bytes as a text with a unit, of two digits or so."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}" if count < 10 * unit else f"{count / unit:.0f} {name}"
    return f"{count / 1e3:.0f} kB"
