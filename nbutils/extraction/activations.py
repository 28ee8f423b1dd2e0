"""Activations of many layers in one forward pass, streamed to disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .._device import as_device
from .._progress import progress_bar
from .inputs import Given, Remaining, collate, device_of, image_of, length, run
from .models import Network
from .plan import begin
from .recording import Selection, recording
from .request import Request, forwarding, probed
from .rows import Reduction, check_different
from .store import ActivationStore, read_manifest
from .writing import RowWriter, locked

__all__ = ["ActivationStore", "ahead", "extract", "image_of", "layer_shapes", "read_manifest", "recording"]


def layer_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """What shape the output of each of ``network.layers`` has for one image: run once on a grey picture.

    A network on the device ``"meta"`` has shapes and no numbers, so nothing needs to be downloaded to look at it.
    """
    with torch.device("cpu"):
        picture = network.transform(Image.new("RGB", (320, 320), (128, 128, 128)))[None]
    with recording(network.model, network.layers) as outputs, torch.inference_mode():
        run(network.model, picture, device_of(network.model))
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
    select: Mapping[str, Selection] | None = None,
) -> ActivationStore:
    """Run the network once over the images and store what the layers output.

    Each layer is flattened and written to ``out/<layer>.npy``, an array (n, features), batch by batch: memory is
    bounded by the batch, not by the data set. After an interruption at any moment, the same call continues: at most the
    two batches that were being computed and written are done again, and after a kill or a power failure the last few
    seconds. The manifest of `out` holds what was asked for, and
    a call that asks for anything else is refused with what differs. Only the images that are not done yet may change,
    so that an unreadable file can be removed.

    Parameters
    ----------
    model : the network; it is put in evaluation mode and moved to `device`.
    images : n inputs of the network without the axis of the batch: preprocessed images (channels, height, width),
        volumes, token ids; or mappings of keyword arguments to such. A tensor (n, ...), a list, or a torch data set; of
        pairs, the first element is used. Floating-point numbers are converted to the type of the parameters.
    layers : from any name to a module path, as in ``Network.layers``. Of a module that runs several times in a forward
        pass, ``"layer1.0.relu:2"`` is the second call.
    out : folder for the store.
    dtype : ``"float16"`` (relative precision 5e-4, half the disk) or ``"float32"``.
    workers : processes that load images; without any a thread loads the next batch during the forward pass. Another
        writes the last one. For a GPU the batches are loaded into pinned memory, so that the copy does not wait; there
        are no CUDA streams besides the default one. What this gains, and many workers, were not measured on a GPU.
    device : by default the best there is.
    autocast : ``"float16"`` or ``"bfloat16"`` for mixed precision: faster on a GPU, but neighbours may change, so
        compare the graphs of a few hundred images first (an overlap of 1: no neighbour changed).
    reduce : what is stored of a layer: by default all of it; ``"mean"``, the average over all positions of outputs
        (batch, channels, ...), one number for each channel; ``"token mean"``, the same of outputs (batch, ...,
        channels), as in transformers; ``"token"``, the first token of outputs (batch, tokens, channels), which is the
        class token of a vision transformer; or a function from a batch of outputs to a tensor with as many rows. One
        for all layers, or a mapping from the names of some. Outputs (batch, channels) have no positions and stay as
        they are. Means are computed in float32 before they are rounded. To store one module in several ways, give its
        path several names.
    select : for layers that output more than one tensor, which: an index, a key or an attribute, or several of them
        from the outside to the inside, as in ``{"attention": 1, "state": ("hidden_states", 3)}``.

    Raises
    ------
    TypeError
        If a layer outputs no tensor of real numbers, or the images are no tensors.
    ValueError
        If there are no images or no layers, the images differ in shape, a layer is unknown, does not run, runs several
        times, or does not give one output for each image, a reduction does not fit, `out` holds the activations of
        something else or a damaged file, an activation is not finite in `dtype`, a layer loses its precision in
        float16, or it is the same for all images.
    OSError
        If the disk is full, with the bytes that are missing; with more room, the same call continues.
    BlockingIOError
        If another run fills `out`.
    """
    request = Request(model, images, dict(layers), dtype, autocast, reduce, select)
    path, where = Path(out), as_device(device)
    with locked(path):
        plan, done, expected = planned(request, path, where)
        loader = DataLoader(
            Remaining(images, done, expected),
            batch_size=batch_size,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=where.type == "cuda",
        )
        extract_here(request, loader, path, where, plan, done)
    return finished(path)


def planned(request: Request, out: Path, device: torch.device) -> tuple[dict, int, dict]:
    """Make the files for a request, or find those of the same one.

    Returns
    -------
    The manifest, how many images are done already, and the layout of the images.
    """
    plan, names, expected = probed(request, device)
    return plan, begin(out, plan, names), expected


def extract_here(
    request: Request, loader: Iterable[Given], out: Path, device: torch.device, plan: dict, done: int
) -> None:
    """Run the network on the batches of the images from `done` on, load ahead of it and write behind it."""

    def write(batch: dict[str, np.ndarray], images: int) -> None:
        rows.write(batch)
        progress.update(images)

    with (
        RowWriter(out, plan, done) as rows,
        progress_bar(total=plan["n"], initial=done, desc="activations", unit="image") as progress,
        forwarding(request, device) as forward,
        ThreadPoolExecutor(1) as writer,
    ):
        say_where(progress, out, plan["n"], done)
        written = None
        for batch in ahead(loader):
            outputs = forward(batch)
            if written:
                written.result()
            written = writer.submit(write, outputs, length(batch))
        if written:
            written.result()


def say_where(progress: tqdm, out: Path, n: int, done: int) -> None:
    """Say above a progress bar, if it is shown, from which image on an interrupted run continues."""
    if done and not progress.disable:
        what = f"all {n:,} images are done" if done == n else f"images 0 to {done - 1:,} of {n:,} are done; continuing"
        progress.write(f"{out}: {what}")


def finished(out: Path) -> ActivationStore:
    """The store, in which no layer is the same for all images.

    Raises
    ------
    ValueError
        If one is. The store is complete all the same, and `ActivationStore` opens it.
    """
    store = ActivationStore(out)
    for name, rows in store.items():
        check_different(name, rows, f"all {store.n} images")
    return store


def ahead(batches: Iterable) -> Iterator:
    """The same, the next one being made in a thread while this one is used."""
    with ThreadPoolExecutor(1) as loader:
        iterator = iter(batches)
        coming = loader.submit(next, iterator, None)
        while (batch := coming.result()) is not None:
            coming = loader.submit(next, iterator, None)
            yield batch
