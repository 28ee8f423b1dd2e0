"""`extract` and `knn_graph` on the workers of a Dask client.

Images and rows are distributed in blocks, and Dask gives the blocks of a lost worker to the others. No large data are
sent: all workers must see the same files, as they do on one machine and on the shared disk of a cluster.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ._blocks import Blocks, most_rows
from ._device import as_device, full_precision
from ._files import write_json
from ._progress import progress_bar
from ._search import nearest_of_rows, refine
from .extraction.activations import finished, planned, say_where
from .extraction.inputs import Remaining, collate
from .extraction.recording import Selection
from .extraction.request import Request, forwarding
from .extraction.rows import Reduction
from .extraction.store import MANIFEST, ActivationStore
from .extraction.writing import full_disk_named, locked, sync_rows, write_rows
from .graph import NeighborGraph
from .neighbors import as_rows, checked_neighbors

if TYPE_CHECKING:
    from distributed import Client, Future

BLOCKS_A_THREAD = 4  # at least; with fewer a lost block costs more, and with more the data are read more often
HOOKS = threading.Lock()  # the threads of a worker share one network, and would record each other's layers


def rows_of(n: int, client: Client, most: int, multiple: int = 1, begin: int = 0) -> list[slice]:
    """The rows from `begin` to n in blocks of at most `most`, enough of them for the threads of all workers."""
    threads = max(1, sum(client.nthreads().values()))
    size = min(most, -(-(n - begin) // (BLOCKS_A_THREAD * threads)))
    size = max(1, -(-size // multiple)) * multiple
    return [slice(start, min(start + size, n)) for start in range(begin, n, size)]


def spread(
    client: Client, function: Callable[..., Any], blocks: Sequence[slice], *arguments: object
) -> Iterator[tuple[slice, Any]]:
    """Block and result of ``function(block, *arguments)`` for each block, in the order in which they are finished."""
    from distributed import as_completed

    futures: dict[Future, slice] = {client.submit(function, block, *arguments, pure=False): block for block in blocks}
    try:
        for future, result in as_completed(futures, with_results=True):
            block = futures.pop(future)
            future.release()
            yield block, result
    finally:
        for future in futures:  # none, unless a block failed or the caller stopped
            future.cancel()


# --- neighbours


def knn_graph(
    client: Client,
    x: np.memmap | str | os.PathLike,
    k: int,
    device: torch.device | str | None = None,
    *,
    memory: float = 1e9,
) -> NeighborGraph:
    """`neighbors.knn_graph` on the workers of a Dask client, each of which works on blocks of rows.

    The neighbours are the same, and the distances as accurate. Each block of rows is compared with all rows. This takes
    twice the products that `neighbors.knn_graph` needs, which visits each pair once, but the blocks stay independent:
    if a worker is lost, the others take over its blocks.

    Parameters
    ----------
    client : a ``dask.distributed.Client``.
    x : (n, ...) the path of a ``.npy`` file that all workers see, or a memory map of one, for instance a layer of an
        `ActivationStore`.
    k : number of neighbours, below n.
    device : of each worker; by default the best that it has.
    memory : bytes of working memory for each thread of a worker.

    Raises
    ------
    TypeError, ValueError
        As `neighbors.knn_graph`; and if `x` is not a ``.npy`` file, or only a part of one.
    FileNotFoundError
        If a worker cannot read `x`.
    """
    path = file_of(x)
    here = as_rows(path)
    n = len(here)
    k = checked_neighbors(k, n)
    distances, indices = np.empty((n, k), np.float32), np.empty((n, k), np.int32)
    described = (tuple(here.shape), str(here.dtype))
    # Whatever the best device of a worker is, it takes at least as many rows as a CPU.
    blocks = rows_of(n, client, most=most_rows(n, torch.device("cpu" if device is None else device), memory, 1))
    with progress_bar(total=n, desc="neighbours", unit="row") as progress:
        for rows, found in spread(client, rows_of_graph, blocks, str(path), described, k, device, memory):
            distances[rows], indices[rows] = found
            progress.update(rows.stop - rows.start)
    return NeighborGraph(distances, indices)


def rows_of_graph(
    rows: slice, path: str, described: tuple, k: int, device: torch.device | str | None, memory: float
) -> tuple[np.ndarray, np.ndarray]:
    """Runs on a worker: distances and indices of the neighbours of some rows.

    `described` is the shape and the type of x as the client sees them.
    """
    try:
        x = as_rows(path)
    except OSError as error:
        raise FileNotFoundError(f"a worker cannot read {path} ({error}): use a disk that all workers see") from None
    if (tuple(x.shape), str(x.dtype)) != described:
        raise ValueError(f"{path} holds other data for a worker than for the client: share one disk")
    where = as_device(device)
    with full_precision(where):
        data = Blocks(x, where, memory, threads=1)
        distances, indices = refine(data, k, *nearest_of_rows(data, rows, min(k + 4, len(x) - 1)), rows.start)
    return distances.astype(np.float32), indices.astype(np.int32)


def file_of(x: object) -> Path:
    """The absolute path of the ``.npy`` file that holds x; TypeError or ValueError if there is none."""
    if isinstance(x, (str, os.PathLike)):
        return Path(x).absolute()
    remedy = "save it with np.save and give the path"
    if not isinstance(x, np.memmap) or x.filename is None:
        raise TypeError(f"x is a {type(x).__name__} in the memory of this process, where no worker sees it: {remedy}")
    try:
        whole = np.load(x.filename, mmap_mode="r", allow_pickle=False)
    except ValueError:
        raise ValueError(f"x is mapped from {x.filename}, which is no .npy file: {remedy}") from None
    # A part of a map still names the file of the whole.
    if (whole.shape, whole.dtype, whole.strides) != (x.shape, x.dtype, x.strides):
        raise ValueError(f"x is only a part of {x.filename}: {remedy}")
    return Path(x.filename).absolute()


# --- activations


def extract(
    client: Client,
    model: nn.Module,
    images: Sequence,
    layers: Mapping[str, str],
    out: str | os.PathLike,
    *,
    dtype: str = "float16",
    batch_size: int = 32,
    device: torch.device | str | None = None,
    autocast: str | None = None,
    reduce: Reduction | Mapping[str, Reduction] = None,
    select: Mapping[str, Selection] | None = None,
) -> ActivationStore:
    """`extraction.activations.extract` on the workers of a Dask client, each of which works on blocks of the images.

    Parameters
    ----------
    client : a ``dask.distributed.Client``.
    out : a folder that all workers see.
    device : of each worker; by default the best that it has.

    All other parameters are those of `extraction.activations.extract`.

    Raises
    ------
    TypeError, ValueError, OSError
        As `extraction.activations.extract`.
    """
    request, out = Request(model, images, dict(layers), dtype, autocast, reduce, select), Path(out)
    with locked(out):
        plan, done, expected = planned(request, out, as_device(device))
        model.cpu()
        blocks = rows_of(plan["n"], client, most=32 * batch_size, multiple=batch_size, begin=done)
        # A copy on each worker, so that none is lost as long as one worker is left. An instance of a class is pickled;
        # Dask would take a bare network apart.
        [sent] = client.scatter([request], broadcast=True, hash=False)
        arguments = (sent, str(out.absolute()), plan, batch_size, expected, device)
        stops = {block.start: block.stop for block in blocks}
        complete = set()
        with (
            progress_bar(total=plan["n"], initial=done, desc="activations", unit="image") as progress,
            full_disk_named(out, plan, done),
        ):
            say_where(progress, out, plan["n"], done)
            for block, _ in spread(client, extract_rows, blocks, *arguments):
                complete.add(block.start)
                while done in complete:
                    done = stops[done]
                # After an interruption blocks beyond the first unfinished one are computed again.
                write_json(out / MANIFEST, {**plan, "done": done})
                progress.update(block.stop - block.start)
    return finished(out)


def extract_rows(
    block: slice,
    request: Request,
    out: str,
    plan: dict,
    batch_size: int,
    expected: dict,
    device: torch.device | str | None,
) -> None:
    """Runs on a worker: writes the activations of a block of images into their rows of the files."""
    images = Remaining(request.images, 0, expected)
    with HOOKS, forwarding(request, as_device(device)) as forward:
        for start in range(block.start, block.stop, batch_size):
            batch = collate([images[i] for i in range(start, min(start + batch_size, block.stop))])
            write_rows(Path(out), plan, forward(batch), start)
        sync_rows(Path(out), plan)
