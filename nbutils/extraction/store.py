"""The folder that `activations.extract` fills: an array for each layer, and a manifest that says how far it is."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

MANIFEST = "manifest.json"


class ActivationStore(Mapping):
    """Activations on disk: a mapping from layer name to a read-only memory map (n, features).

    `shapes` gives each layer's shape before it was flattened, `n` the number of images.

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


def open_rows(path: Path, manifest: dict, layer: str, writable: bool = False) -> np.memmap:
    """The rows (n, features) of one layer, mapped; ValueError if the file is not what the manifest says."""
    described = manifest["layers"][layer]
    file = path / described["file"]
    try:
        # Always first to read: opened to write, a file that was cut short would be filled up with zeros.
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
        if rows.shape != (manifest["n"], math.prod(described["shape"])) or rows.dtype != manifest["dtype"]:
            raise ValueError(f"it has the shape {rows.shape} and dtype {rows.dtype}")
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"layer {layer!r}: {file} is missing or damaged ({error}); delete the folder and extract again"
        ) from error
    return np.load(file, mmap_mode="r+", allow_pickle=False) if writable else rows


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
