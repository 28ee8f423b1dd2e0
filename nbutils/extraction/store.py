"""The folder that `activations.extract` fills: an array for each layer, and a manifest that says how far it is."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MANIFEST = "manifest.json"


class ActivationStore(Mapping):
    """Activations on disk: a mapping from layer name to a read-only memory map (n, features).

    `shapes` gives the shape of each layer for one image, after its reduction and before it was flattened; `n` is the
    number of images.

    Raises
    ------
    FileNotFoundError
        If `path` holds no store.
    ValueError
        If extraction has not finished, or a file is missing or has been cut short.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        manifest = read_manifest(self.path)
        if manifest is None:
            raise FileNotFoundError(f"path={str(path)!r} holds no activations: run extract(...) with out=path")
        self.n: int = manifest["n"]
        self.shapes = {name: tuple(layer["shape"]) for name, layer in manifest["layers"].items()}
        if manifest["done"] < self.n:
            raise ValueError(
                f"path={str(path)!r}: only {manifest['done']} of {self.n} images are done; "
                "run extract(...) again with the same arguments to resume"
            )
        self._manifest = manifest
        for name in self:
            self[name]

    def __getitem__(self, layer: str) -> np.memmap:
        if layer not in self.shapes:
            raise KeyError(f"layer {layer!r} is not in the store; it has {list(self)}")
        return open_rows(self.path, self._manifest, layer)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def open_rows(path: Path, manifest: dict, layer: str) -> np.memmap:
    """The rows (n, features) of one layer, mapped; ValueError if the file is not what the manifest says."""
    described = manifest["layers"][layer]
    file = path / described["file"]
    with damage_named(file, layer):
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
        if rows.shape != (manifest["n"], math.prod(described["shape"])) or rows.dtype != manifest["dtype"]:
            raise ValueError(f"it has the shape {rows.shape} and dtype {rows.dtype}")
    return rows


def row_offset(path: Path, manifest: dict, layer: str, rows: int) -> int:
    """Where the rows of a layer's file begin; ValueError unless it has at least `rows` of them.

    A file that is still being filled may have been made for another number of rows.
    """
    described = manifest["layers"][layer]
    file = path / described["file"]
    features = math.prod(described["shape"])
    with damage_named(file, layer), file.open("rb") as opened:
        np.lib.format.read_magic(opened)
        found, fortran, dtype = np.lib.format.read_array_header_1_0(opened)
        offset = opened.tell()
        if len(found) != 2 or found[1] != features or fortran or dtype != manifest["dtype"]:
            raise ValueError(f"it has the shape {found} and dtype {dtype}")
        if file.stat().st_size < offset + rows * features * dtype.itemsize:
            raise ValueError("it is too short")
    return offset


@contextmanager
def damage_named(file: Path, layer: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"layer {layer!r}: {file} is missing or damaged ({error}); delete the folder and extract again"
        ) from error


def read_manifest(path: Path) -> dict | None:
    file = path / MANIFEST
    if not file.exists():
        return None
    try:
        manifest = json.loads(file.read_text())
        if not {"n", "done", "dtype", "layers"} <= manifest.keys():
            raise ValueError(f"it has only {list(manifest)}")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{file} is damaged ({error}); delete the folder and extract again") from error
    return manifest


def file_stem(layer: str) -> str:
    return re.sub(r"[^\w.-]", "_", layer)
