"""Activations of many layers in one forward pass, streamed to disk."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from .._device import as_device
from .._files import write_json
from .._progress import progress_bar
from .models import Network, fingerprint
from .recording import recording
from .reduction import Reduction, described, reduction_of_each
from .store import MANIFEST, ActivationStore, file_stem, open_rows, read_manifest


def layer_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """What shape the output of each of ``network.layers`` has for one image: run once on a grey picture.

    A network on the device ``"meta"`` has shapes and no numbers, so nothing needs to be downloaded to look at it.
    """
    with torch.device("cpu"):
        picture = network.transform(Image.new("RGB", (320, 320), (128, 128, 128)))[None]
    device = next(network.model.parameters()).device
    with recording(network.model, network.layers) as outputs, torch.inference_mode():
        network.model(picture.to(device))
        return {name: tuple(outputs[name].shape[1:]) for name in network.layers}


def extract(
    model: nn.Module,
    images: Sequence,
    layers: Mapping[str, str],
    out: str | os.PathLike,
    *,
    dtype: str = "float16",
    batch_size: int = 32,
    workers: int = 0,
    device: torch.device | str | None = None,
    autocast: str | None = None,
    reduce: Reduction | Mapping[str, Reduction] = None,
) -> ActivationStore:
    """Run the network once over the images and store what the layers output.

    Each layer is flattened and written to ``out/<layer>.npy``, an array (n, features), batch by batch: memory is
    bounded by the batch, not by the data set. Interrupted at any moment, the same call takes up where it stopped: at
    most the two batches that were being run and written are done again. That it is the same call is seen on the
    weights, the layers, `dtype`, `autocast`, the number of images, the first of them, and the files of all of them, if
    `images` names them as `paths`.

    Parameters
    ----------
    model : the network; it is put in evaluation mode and moved to `device`.
    images : n preprocessed images, each a tensor (channels, height, width): a tensor (n, ...), a list, or a torch
        dataset; of pairs, the first element is used.
    layers : from any name to a module path, as in ``Network.layers``.
    out : folder for the store.
    dtype : ``"float16"`` (relative precision 5e-4, half the disk) or ``"float32"``.
    workers : processes that load images; without any a thread loads the next batch during the forward pass. Another
        writes the last one.
    device : by default the best there is.
    autocast : ``"float16"`` or ``"bfloat16"`` for mixed precision: faster on a GPU, but neighbours may change, so
        compare the graphs of a few hundred images first (an overlap of 1: no neighbour changed).
    reduce : what is stored of a layer: by default all of it; ``"mean"``, the average over all positions of outputs
        (batch, channels, ...), a number a channel; ``"token mean"``, the same of outputs (batch, ..., channels), as in
        transformers; ``"token"``, the first token of outputs (batch, tokens, channels), which is the class token of a
        vision transformer; or a function from a batch of outputs to a tensor with as many rows. One for all layers, or
        a mapping from the names of some. Outputs (batch, channels) have no positions and stay as they are. Means are
        computed in float32 before they are rounded. To store one module in several ways, give its path several names.

    Raises
    ------
    ValueError
        If there are no images or no layers, the images differ in shape, a layer is unknown, does not run, or does not
        give one output for each image, `out` holds the activations of something else or a damaged file, or an
        activation is not finite in `dtype`.
    """
    with planned(model, images, layers, Path(out), dtype, device, autocast, reduce) as (forward, plan, done, shape):
        loader = DataLoader(Remaining(images, done, shape), batch_size=batch_size, num_workers=workers)
        extract_here(forward, loader, Path(out), plan, done)
    return ActivationStore(out)


@contextmanager
def planned(
    model: nn.Module,
    images: Sequence,
    layers: Mapping[str, str],
    out: Path,
    dtype: str,
    device: torch.device | str | None,
    autocast: str | None,
    reduce: Reduction | Mapping[str, Reduction] = None,
) -> Iterator[tuple[Callable, dict, int, torch.Size]]:
    """Check the arguments of `extract`, and make its files or find those of the same call.

    Yields
    ------
    A function as `forwarding` gives it, the manifest, how many images are done already, and the shape of an image.
    """
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype must be 'float16' or 'float32', not {dtype!r}")
    for argument, given in (("images", images), ("layers", layers)):
        if len(given) == 0:
            raise ValueError(f"{argument} is empty: nothing to extract")
    if autocast not in (None, "float16", "bfloat16"):
        raise ValueError(f"autocast must be None, 'float16' or 'bfloat16', not {autocast!r}")
    reductions = reduction_of_each(layers, reduce)
    out.mkdir(parents=True, exist_ok=True)
    with forwarding(model, layers, dtype, as_device(device), autocast, reductions) as (forward, shapes):
        first = image_of(images[0])[None]
        forward(first)
        chosen = {
            name: {
                "module": path,
                "file": f"{file_stem(name)}.npy",
                "shape": list(shapes[name]),
                "reduce": described(reductions[name]),
            }
            for name, path in layers.items()
        }
        plan = {
            "n": len(images),
            "dtype": dtype,
            "model": fingerprint(model),
            "autocast": autocast,
            "first_image": hashlib.sha256(first.cpu().numpy().tobytes()).hexdigest(),
            "files": files_digest(images),
            "layers": chosen,
        }
        yield forward, plan, begin(out, plan), first.shape[1:]


def files_digest(images: Sequence) -> str | None:
    """SHA-256 of the names, sizes and times of the files that the images are read from; None if they are not files."""
    paths = getattr(images, "paths", None)
    if paths is None:
        return None
    seen = [(str(path), stat.st_size, stat.st_mtime_ns) for path in paths for stat in [os.stat(path)]]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


@contextmanager
def forwarding(
    model: nn.Module,
    layers: Mapping[str, str],
    dtype: str,
    device: torch.device,
    autocast: str | None = None,
    reduce: Reduction | Mapping[str, Reduction] = None,
) -> Iterator[tuple[Callable, dict[str, torch.Size]]]:
    """A function from a batch of images to what each layer makes of it, as rows; and the shapes that it last saw."""
    model = model.to(device, memory_format=torch.channels_last).eval()
    shapes: dict[str, torch.Size] = {}
    precision = torch.autocast(device.type, getattr(torch, autocast or "bfloat16"), enabled=autocast is not None)
    with recording(model, layers, getattr(torch, dtype), reduce) as outputs, torch.inference_mode(), precision:

        def forward(batch: torch.Tensor) -> dict[str, np.ndarray]:
            if batch.ndim == 4:
                batch = batch.contiguous(memory_format=torch.channels_last)
            outputs.clear()
            model(batch.to(device, non_blocking=True))
            rows = {name: to_rows(name, outputs.get(name), len(batch), dtype) for name in layers}
            shapes.update((name, outputs[name].shape[1:]) for name in layers)
            return rows

        yield forward, shapes


def extract_here(forward: Callable, loader: Iterable, out: Path, plan: dict, done: int) -> None:
    """Run `forward` on the batches of the images from `done` on, load ahead of it and write behind it."""
    arrays = {name: open_rows(out, plan, name, writable=True) for name in plan["layers"]}

    def write(batch: dict[str, np.ndarray], start: int, stop: int) -> None:
        for name, rows in batch.items():
            arrays[name][start:stop] = rows
            arrays[name].flush()
        write_json(out / MANIFEST, {**plan, "done": stop})
        progress.update(stop - start)

    with (
        progress_bar(total=plan["n"], initial=done, desc="activations", unit="image") as progress,
        ThreadPoolExecutor(1) as writer,
    ):
        written = None
        for batch in ahead(loader):
            rows = forward(batch)
            if written:
                written.result()
            written = writer.submit(write, rows, done, done + len(batch))
            done += len(batch)
        if written:
            written.result()


def ahead(batches: Iterable) -> Iterator:
    """The same, the next one being made in a thread while this one is used."""
    with ThreadPoolExecutor(1) as loader:
        iterator = iter(batches)
        coming = loader.submit(next, iterator, None)
        while (batch := coming.result()) is not None:
            coming = loader.submit(next, iterator, None)
            yield batch


class Remaining(Dataset):
    """The images from `start` on, all of one shape. A class of the module, so that it can be sent to workers."""

    def __init__(self, images: Sequence, start: int, shape: torch.Size):
        self.images, self.start, self.shape = images, start, shape

    def __len__(self) -> int:
        return len(self.images) - self.start

    def __getitem__(self, i: int) -> torch.Tensor:
        image = image_of(self.images[self.start + i])
        if image.shape != self.shape:
            raise ValueError(
                f"images[{self.start + i}] has the shape {tuple(image.shape)}, but images[0] has "
                f"{tuple(self.shape)}: resize or crop them to one shape"
            )
        return image


def image_of(item: object) -> torch.Tensor:
    return torch.as_tensor(item[0] if isinstance(item, (tuple, list)) else item)


def to_rows(name: str, value: torch.Tensor | None, images: int, dtype: str) -> np.ndarray:
    """A batch of outputs in `dtype` as rows (images, features), channels first; ValueError where that cannot be."""
    if value is None:
        raise ValueError(f"layer {name!r} does not run when the network does: choose another module")
    if value.ndim < 1 or len(value) != images:
        raise ValueError(
            f"layer {name!r} outputs the shape {tuple(value.shape)} for {images} images: "
            "choose a module whose first axis is the image"
        )
    rows = value.contiguous().flatten(1).cpu()
    if not all(map(math.isfinite, rows.aminmax())):  # one pass over the rows, where isfinite makes four
        too_large = dtype == "float16" and not rows.isnan().any()
        remedy = "use dtype='float32'" if too_large else "check the weights and the images"
        raise ValueError(f"layer {name!r} has values that are NaN or infinite in {dtype}: {remedy}")
    return rows.numpy()


def begin(out: Path, plan: dict) -> int:
    """Make the files of a new store, or check that `out` holds a part of this very plan; images already done."""
    if len({layer["file"].lower() for layer in plan["layers"].values()}) < len(plan["layers"]):
        raise ValueError(f"layers: {list(plan['layers'])} would share files: let their letters or digits differ")
    found = read_manifest(out)
    if found is None:
        for layer in plan["layers"].values():
            shape = (plan["n"], math.prod(layer["shape"]))
            np.lib.format.open_memmap(out / layer["file"], mode="w+", dtype=plan["dtype"], shape=shape)
        write_json(out / MANIFEST, {**plan, "done": 0})
        return 0
    changed = [key for key in plan if plan[key] != found.get(key)]
    if changed:
        raise ValueError(
            f"out={str(out)!r} holds activations made with another {', '.join(changed)}; "
            "choose another folder or delete this one"
        )
    return found["done"]
