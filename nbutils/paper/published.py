"""The neighbour graphs that the paper's authors published: download, check, and open them one layer at a time.

An archive holds ``maxk_30/layer_<checkpoint>.npz`` with the arrays ``dist`` and ``index``, (n, 31) each, where column 0
is the point itself. An unpacked folder of such files serves as well. `nbutils.paper.planted` makes archives of known
truth, and `nbutils.paper.ledger` compares what is found with what was published.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from .._download import download as fetch
from .._files import make_folder_atomically, sha256
from ..atlas import Atlas
from ..graph import NeighborGraph
from .layout import PAPER, Layout
from .table import CHECKPOINTS

# The same file under each form of figshare's addresses: some of them answer programs with an empty body.
URLS = (
    "https://ndownloader.figshare.com/files/45441850",
    "https://figshare.com/ndownloader/files/45441850",
    "https://api.figshare.com/v2/file/download/45441850",
)
ARCHIVE, FOLDER, NOTE = "dist_imagenet90k_r152.tar.gz", "maxk_30", "archive.sha256"
MEGABYTES = 148  # of the download
PLANTED = "planted.json"  # only planted archives hold it, so that none is mistaken for the authors'; their layout
K = 30  # neighbours, besides the point itself
ROUNDING = 0.01  # the largest distance of a point from itself, as a share of its largest stored distance


def download(folder: str | os.PathLike, urls: str | Sequence[str] = URLS) -> Path:
    """Download the archive into a folder and return its path; an archive that is there is kept.

    Raises
    ------
    ConnectionError
        If no address gives the archive. A second call resumes a transfer that broke off.
    """
    return fetch(urls, Path(folder) / ARCHIVE)


def unpack(archive: str | os.PathLike, sha256_expected: str | None = None) -> Path:
    """Unpack an archive atomically into the folder ``maxk_30`` beside it, and return the folder.

    The authors did not publish the SHA-256 of the archive. It is noted in the folder and printed when the archive is
    first unpacked, so that it can be compared with the one that others find; later the archive must be the same.

    Parameters
    ----------
    sha256_expected : the SHA-256 that the archive must have, in hexadecimal.

    Raises
    ------
    FileNotFoundError
        If there is no archive.
    FileExistsError
        If the folder exists but was not made by this function.
    ValueError
        If the archive has another SHA-256, is damaged, lacks a layer, or holds a link or a path out of the folder.
    """
    archive = Path(archive)
    folder = archive.with_name(FOLDER)
    found = sha256(archive)
    note = folder / NOTE
    if folder.exists() and not note.exists():
        raise FileExistsError(f"{folder} was not unpacked by this function: open the folder itself, or move it away")
    noted = note.read_text().split()[0] if note.exists() else found
    for known in ((sha256_expected or found).lower(), noted):
        if found != known:
            raise ValueError(
                f"{archive} has the SHA-256 {found}, not {known}: fetch it again; if you trust this one, "
                f"delete {folder}"
            )
    if note.exists():
        return folder
    with make_folder_atomically(folder) as part:
        extract(archive, part)
        (part / NOTE).write_text(f"{found}  {archive.name}\n")
    if not sha256_expected and not (folder / PLANTED).exists():
        print(
            f"SHA-256 of {archive.name}: {found}\nIt is noted in {folder.name}/{NOTE}. The authors did not publish it: "
            "compare it with the one that others find."
        )
    return folder


def extract(archive: Path, folder: Path) -> None:
    """Copy the published layers from an archive into a folder; nothing else in the archive is written."""
    wanted = {f"{FOLDER}/{name}" for name in (PLANTED, *map(file_name, CHECKPOINTS))}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                    raise ValueError(
                        f"{archive} is not safe to unpack: {member.name!r} is a link or leads out of the folder. "
                        "Do not use this archive: fetch it again"
                    )
                if str(name) in wanted and (source := tar.extractfile(member)):
                    with source, (folder / name.name).open("wb") as target:
                        shutil.copyfileobj(source, target)
            while tar.fileobj.read(2**20):
                pass  # gzip compares its checksum at the end of the file
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{archive} is truncated or damaged ({error}): delete it and fetch it again") from error
    if missing := [name for name in map(file_name, CHECKPOINTS) if not (folder / name).exists()]:
        raise ValueError(f"{archive} lacks {', '.join(missing)}: delete it and fetch it again")


def file_name(layer: str) -> str:
    return f"layer_{layer}.npz"


def read_layer(path: str | os.PathLike, n: int) -> NeighborGraph:
    """The graph in a published file, without the point itself.

    Raises
    ------
    ValueError
        If the file is damaged or is not a graph of `n` points; the message names the file and what is wrong with it.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            distances, indices = stored["dist"], stored["index"]
    except (FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
        raise
    except Exception as error:  # NumPy raises errors of many types for a damaged file
        raise ValueError(f"{path} is no sound file of the arrays dist and index ({error}): unpack it again") from error
    if not distances.shape == indices.shape == (n, K + 1):
        raise ValueError(
            f"{path}: dist and index must have the shape {(n, K + 1)}, not {distances.shape} and "
            f"{indices.shape}: is the layout that of this file?"
        )
    try:
        return NeighborGraph(*drop_self(distances, indices))
    except ValueError as error:
        raise ValueError(f"{path}: {error}: unpack it again") from error


def drop_self(distances: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows (n, columns) without the point itself, which is at distance zero up to rounding: (n, columns - 1).

    An image and its exact duplicates may come in any order, so the point is dropped wherever it is. A point with more
    duplicates than columns may be missing from its row: then all distances are zero, and the last column is dropped.

    Raises
    ------
    ValueError
        If a row does not hold the point itself at distance zero.
    """
    n, columns = indices.shape
    rows = np.arange(n)
    own = indices == rows[:, None]
    place = np.where(own.any(1), own.argmax(1), columns - 1)
    wrong = ~(distances[rows, place] <= ROUNDING * distances[:, -1])
    if wrong.any():
        raise ValueError(f"row {wrong.argmax()} does not hold the point itself at distance zero")
    others = place[:, None] != np.arange(columns)
    return distances[others].reshape(n, columns - 1), indices[others].reshape(n, columns - 1)


class Layers(Mapping):
    """The published graphs by layer. Each is read whenever it is asked for, so that memory holds one at a time."""

    def __init__(self, folder: Path, n: int):
        self.folder, self.n = folder, n

    def __getitem__(self, layer: str) -> NeighborGraph:
        if layer not in CHECKPOINTS:
            raise KeyError(f"layer {layer!r} was not published; there are {list(CHECKPOINTS)}")
        return read_layer(self.folder / file_name(layer), self.n)

    def __iter__(self) -> Iterator[str]:
        return iter(CHECKPOINTS)

    def __len__(self) -> int:
        return len(CHECKPOINTS)


def open_graphs(path: str | os.PathLike, layout: Layout | None = None, sha256_expected: str | None = None) -> Atlas:
    """Open the published graphs as an atlas whose layers are named by their checkpoints, ``"0"`` to ``"153"``.

    Its `meta` has the family and the macro class of each row, the SHA-256 of the archive if it is known, and whether
    the graphs were planted.

    Parameters
    ----------
    path : an archive, which is unpacked beside itself, or the folder of one that was unpacked.
    layout : what the rows are; by default as in the paper, or as a planted archive says.
    sha256_expected : the SHA-256 that the archive must have, in hexadecimal.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`, or a layer is missing from the folder.
    ValueError
        If the archive is not sound (see `unpack`). A damaged layer raises it when the layer is read.
    """
    folder = Path(path) if Path(path).is_dir() else unpack(path, sha256_expected)
    if (folder / FOLDER).is_dir():
        folder = folder / FOLDER
    if missing := [name for name in map(file_name, CHECKPOINTS) if not (folder / name).exists()]:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: unpack the archive again")
    note, planted = folder / NOTE, folder / PLANTED
    if layout is None:
        layout = Layout(**json.loads(planted.read_text())) if planted.exists() else PAPER
    names = tuple(f"category {i}" for i in range(layout.categories))
    return Atlas(
        folder.name,
        CHECKPOINTS,
        Layers(folder, layout.n),
        layout.labels,
        names,
        (None,) * len(names),
        tuple(f"row {i}" for i in range(layout.n)),
        {
            "k": K,
            "n": layout.n,
            "families": layout.families,
            "macros": layout.macros,
            "planted": planted.exists(),
            "sha256": note.read_text().split()[0] if note.exists() else None,
        },
    )
