"""Data sets that are downloaded when they are first asked for."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .._download import download
from .._files import make_folder_atomically

# Addresses and MD5.
CALTECH101 = ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip", "3138e1922a9193bfa496528edbbc45d0")
TINY_IMAGENET = ("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de")


@dataclass(frozen=True)
class Source:
    """Images that are available by name: what they are, and megabytes to download and of disk space at most."""

    what: str
    images: int
    categories: int
    download: int
    disk: int
    exclude: tuple[str, ...] = ()


SOURCES = {
    "caltech101": Source("Caltech-101 (CC BY 4.0)", 8677, 101, 140, 500, ("BACKGROUND_Google",)),
    "tiny-imagenet": Source("Tiny ImageNet, 64 x 64 pixels (research only)", 100_000, 200, 250, 1000),
}


def fetch(name: str, root: Path) -> Path:
    """The folder of categories of one of `SOURCES`, which is downloaded into `root` and unpacked unless it is there.

    Raises
    ------
    ConnectionError
        If it cannot be downloaded.
    """
    return {"caltech101": caltech101, "tiny-imagenet": tiny_imagenet}[name](root)


def caltech101(root: Path) -> Path:
    folder = root / "caltech101"
    if not folder.is_dir():
        archive = download(CALTECH101[0], root / "caltech-101.zip", md5=CALTECH101[1])
        with make_folder_atomically(folder) as part, zipfile.ZipFile(archive) as outer:
            name = next(name for name in outer.namelist() if name.endswith("/101_ObjectCategories.tar.gz"))
            with outer.open(name) as inner, tarfile.open(fileobj=inner) as tar:
                tar.extractall(part, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        archive.unlink()
    return folder / "101_ObjectCategories"


def tiny_imagenet(root: Path) -> Path:
    folder = root / "tiny-imagenet"
    if not folder.is_dir():
        archive = download(TINY_IMAGENET[0], root / "tiny-imagenet-200.zip", md5=TINY_IMAGENET[1])
        with make_folder_atomically(folder) as part, zipfile.ZipFile(archive) as packed:
            packed.extractall(part)
        archive.unlink()
    return folder / "tiny-imagenet-200" / "train"
