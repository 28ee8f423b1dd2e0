"""The neighbour graphs that the paper's authors published: fetched, checked, and opened one layer at a time.

An archive holds ``maxk_30/layer_<checkpoint>.npz`` with the arrays ``dist`` and ``index``, (n, 31) each, the point
itself in column 0. An unpacked folder of such files serves as well. `nbutils.planted` makes archives of known truth,
`nbutils.ledger` compares what is found with what was published.
"""

from __future__ import annotations

import gzip
import http.client
import os
import shutil
import tarfile
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from .._files import make_folder_atomically, part_of, sha256
from .._progress import progress_bar
from ..atlas import Atlas
from ..graph import NeighborGraph
from .table import paper_table

URL = "https://figshare.com/ndownloader/files/45441850"
ARCHIVE, FOLDER, NOTE = "dist_imagenet90k_r152.tar.gz", "maxk_30", "archive.sha256"
MEGABYTES = 148  # of the download
PLANTED = "planted.txt"  # a file that planted archives hold, lest they be taken for the authors'
K = 30  # neighbours, beside the point itself
CHECKPOINTS = tuple(str(int(row["checkpoint"])) for row in paper_table())
ROUNDING = 0.01  # of the farthest stored distance: no point is farther from itself


@dataclass(frozen=True)
class Layout:
    """What the rows of a graph are: the images of one category after those of another; animals, artifacts, then others.

    Attributes
    ----------
    animals, artifacts, others : number of categories
    images : of each category
    """

    animals: int
    artifacts: int
    others: int
    images: int

    @property
    def categories(self) -> int:
        return self.animals + self.artifacts + self.others

    @property
    def n(self) -> int:
        return self.categories * self.images

    @property
    def labels(self) -> np.ndarray:
        """(n,) the category of each row."""
        return np.repeat(np.arange(self.categories), self.images)

    @property
    def families(self) -> np.ndarray:
        """(n,) "animal", "artifact" or "other"."""
        counts = np.array([self.animals, self.artifacts, self.others]) * self.images
        return np.repeat(["animal", "artifact", "other"], counts)


# From the authors' file of macro classes: 13 (animals) in the first 38,400 rows, 2 (artifacts) in the next 47,100, then
# twelve small groups. Their adjusted Rand indices use the first 85,500 rows, which are the animals and the artifacts.
PAPER = Layout(animals=128, artifacts=157, others=15, images=300)


def download(folder: str | os.PathLike, url: str = URL) -> Path:
    """Fetch the archive into a folder, whole or not at all, and return its path; what is there is not fetched again.

    Raises
    ------
    ConnectionError
        If it cannot be fetched, or ends too early; a second call starts over.
    """
    archive = Path(folder) / ARCHIVE
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(archive)
    with progress_bar(desc=ARCHIVE, unit="B", unit_scale=True) as bar:

        def report(blocks: int, size: int, total: int) -> None:
            bar.total = max(total, 0) or None
            bar.update(blocks * size - bar.n)

        try:
            urllib.request.urlretrieve(url, part, report)
        except (OSError, http.client.HTTPException) as error:
            part.unlink(missing_ok=True)
            raise ConnectionError(
                f"{url} could not be fetched ({error}): try again, or fetch it with a browser and "
                "give the path of the file"
            ) from error
    os.replace(part, archive)
    return archive


def unpack(archive: str | os.PathLike, sha256_expected: str | None = None) -> Path:
    """Unpack an archive into the folder ``maxk_30`` beside it, whole or not at all, and return the folder.

    Nobody published the SHA-256 of the archive. The first time it is noted in the folder and printed, to be compared
    with that of others; later the archive must be the same.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If there is no archive; or if there is such a folder, but unpacked by someone else.
    ValueError
        If the archive has another SHA-256, is damaged, lacks a layer, or holds a link or a path that leads elsewhere.
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
            f"SHA-256 of {archive.name}: {found}\nNoted in {folder.name}/{NOTE}. Nobody has published what it should "
            "be; compare it with someone else's."
        )
    return folder


def extract(archive: Path, folder: Path) -> None:
    """Copy the layers out of an archive, under the names that they should have; nothing else in it is written."""
    wanted = {f"{FOLDER}/{name}" for name in (PLANTED, *map(file_name, CHECKPOINTS))}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                    raise ValueError(
                        f"{archive} is not safe to unpack: {member.name!r} is a link, or leads out of the "
                        "folder. Do not use it, fetch it again"
                    )
                if str(name) in wanted:
                    with tar.extractfile(member) as source, (folder / name.name).open("wb") as target:
                        shutil.copyfileobj(source, target)
            while tar.fileobj.read(2**20):
                pass  # to the end, where gzip compares its checksum
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{archive} is truncated or damaged ({error}): delete it and fetch it again") from error
    if missing := [name for name in map(file_name, CHECKPOINTS) if not (folder / name).exists()]:
        raise ValueError(f"{archive} lacks {', '.join(missing)}: delete it and fetch it again")


def file_name(layer: str) -> str:
    return f"layer_{layer}.npz"


def read_layer(path: str | os.PathLike, n: int) -> NeighborGraph:
    """The graph in a published file, the point itself dropped; ValueError names the file and what is wrong with it."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            distances, indices = stored["dist"], stored["index"]
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # a damaged file can fail in any way
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
    """Rows without the point itself, which is at distance zero but for rounding.

    Of an image and its exact duplicates any may come first, so the point is dropped wherever it stands. A point with
    more duplicates than columns may be missing: then all distances are zero, and the last column is dropped.
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
    """The published graphs by layer, read when asked for and not kept: they need not fit in memory together."""

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


def open_graphs(path: str | os.PathLike, layout: Layout = PAPER, sha256_expected: str | None = None) -> Atlas:
    """Open the published graphs: an archive, which is unpacked beside itself, or a folder that was unpacked from it.

    The layers of the atlas are named by their checkpoints, ``"0"`` to ``"153"``. A graph is read anew when asked for.
    `meta` has the family of each row, the SHA-256 of the archive if it is known, and whether the graphs were planted.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`, or a layer is missing in the folder.
    ValueError
        If the archive is not sound (see `unpack`), or, when it is asked for, a layer.
    """
    folder = Path(path) if Path(path).is_dir() else unpack(path, sha256_expected)
    if (folder / FOLDER).is_dir():
        folder = folder / FOLDER
    if missing := [name for name in map(file_name, CHECKPOINTS) if not (folder / name).exists()]:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: unpack the archive again")
    note = folder / NOTE
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
            "planted": (folder / PLANTED).exists(),
            "sha256": note.read_text().split()[0] if note.exists() else None,
        },
    )
