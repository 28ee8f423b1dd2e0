"""What an atlas will take before it is built: time, disk and memory."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.utils.data import Subset

from .._device import best_device
from ..extraction.activations import extract
from ..extraction.models import Network
from ..neighbors import knn_graph
from .build import batch_of, checked


@dataclass(frozen=True)
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
    k: int = 40,
    batches: int = 3,
    workers: int = 0,
    device: str | None = None,
    autocast: str | None = None,
    out: str | os.PathLike = ".",
) -> Estimate:
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
