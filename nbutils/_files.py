"""Files and folders that are written atomically, and the hashes of files.

An interruption leaves either the old file or the new one. Until it is complete, a file has the name under which it will
be found with ``.part`` appended, in the same folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def part_of(path: str | os.PathLike) -> Path:
    """The temporary name under which `path` is written."""
    path = Path(path)
    return path.with_name(path.name + ".part")


@contextmanager
def write_atomically(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file to write to, which replaces `path` when the block ends without an error."""
    part = part_of(path)
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text in UTF-8 atomically."""
    with write_atomically(path) as file:
        file.write(text.encode())


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=1) + "\n")


@contextmanager
def make_folder_atomically(folder: str | os.PathLike) -> Iterator[Path]:
    """A new empty folder to fill, which is renamed to `folder` when the block ends without an error.

    Raises
    ------
    OSError
        At the end of the block, if `folder` exists and is not empty.
    """
    part = part_of(folder)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
