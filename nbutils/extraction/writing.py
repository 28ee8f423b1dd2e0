"""The files of a store while they are being filled: by one run at a time, and a full disk is an error like any other.

Rows are written as to any file. A memory map would be shorter, but where the disk is full it kills the process.
"""

from __future__ import annotations

import errno
import io
import math
import os
import platform
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .._files import write_json
from .store import MANIFEST, row_offset

try:
    import fcntl
except ImportError:  # Windows, where only the runs of one process exclude each other
    fcntl = None  # type: ignore[assignment]

LOCK = "running"
SYNC_SECONDS = 5.0  # between two moments at which the rows are forced to the disk
ADVICE = "make room, and the same call will continue"
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_mine: set[Path] = set()  # folders that this process fills: the lock of a file does not tell its threads apart
_guard = threading.Lock()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep all other runs out of a folder while the block runs. The lock goes with the process, however it ends.

    Raises
    ------
    BlockingIOError
        If another run is in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    with _guard:
        if folder in _mine:
            raise BlockingIOError(in_use(folder, "another thread of this process"))
        _mine.add(folder)
    try:
        with lock_file(folder / LOCK) as file:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            yield
    finally:
        _mine.discard(folder)


@contextmanager
def lock_file(path: Path) -> Iterator[io.TextIOWrapper]:
    """The file, locked and removed in the end."""
    while True:
        file = path.open("a+")
        try:
            if fcntl is not None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            owner = file.read() or "another process"
            file.close()
            raise BlockingIOError(in_use(path.parent, owner)) from None
        except OSError:
            pass  # a file system without locks
        # Whoever had the lock removes the file in the end, perhaps after it was opened here.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()
    try:
        yield file
    finally:
        path.unlink(missing_ok=True)
        file.close()


def in_use(folder: Path, owner: str) -> str:
    return f"out={str(folder)!r} is being filled by {owner}: wait until it has ended, or choose another folder"


def make_files(out: Path, plan: dict, done: int) -> None:
    """Give every layer's file its length, keep its first `done` rows, and write the manifest.

    Raises
    ------
    OSError
        If the disk has less space than the remaining rows need.
    ValueError
        If a file does not have these rows.
    """
    headers = {name: header(plan, name) for name in plan["layers"]}
    for name in headers if done else ():
        # NumPy leaves room in the header for a greater number of rows.
        if row_offset(out, plan, name, done) != len(headers[name]):
            raise ValueError(f"layer {name!r}: the number of images cannot be changed; choose another folder")
    if (missing := lacking(out, plan, done)) > 0:
        raise OSError(errno.ENOSPC, f"{missing:,} bytes are missing on the disk of {out}: {ADVICE}")
    with full_disk_named(out, plan, done):
        for name, start in headers.items():
            with (out / plan["layers"][name]["file"]).open("r+b" if done else "wb") as file:
                file.write(start)
                file.truncate(len(start) + plan["n"] * row_bytes(plan, name))
        write_json(out / MANIFEST, {**plan, "done": done})


def header(plan: dict, name: str) -> bytes:
    file = io.BytesIO()
    shape = (plan["n"], math.prod(plan["layers"][name]["shape"]))
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.dtype(plan["dtype"]).str, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def row_bytes(plan: dict, name: str) -> int:
    return math.prod(plan["layers"][name]["shape"]) * np.dtype(plan["dtype"]).itemsize


class RowWriter:
    """Writes rows batch after batch from row `done` on, and notes in the manifest how many the disk itself has.

    The manifest never counts a row that a power failure could take. To wait for the disk after every batch would take a
    fifth of the time of a small network, so it is done every `SYNC_SECONDS`, and at the end, whatever ended the block.
    """

    def __init__(self, out: Path, plan: dict, done: int):
        self.out, self.plan, self.done, self.noted = out, plan, done, done
        self.due = time.monotonic() + SYNC_SECONDS

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.note()

    def write(self, batch: dict[str, np.ndarray]) -> None:
        with full_disk_named(self.out, self.plan, self.done):
            write_rows(self.out, self.plan, batch, self.done)
        self.done += len(next(iter(batch.values())))
        if time.monotonic() >= self.due:
            self.note()

    def note(self) -> None:
        if self.done > self.noted:
            with full_disk_named(self.out, self.plan, self.noted):
                sync_rows(self.out, self.plan)
                write_json(self.out / MANIFEST, {**self.plan, "done": self.done})
            self.noted = self.done
        self.due = time.monotonic() + SYNC_SECONDS


def sync_rows(out: Path, plan: dict) -> None:
    """Wait until the disk has all that was written to the files of the layers."""
    for layer in plan["layers"].values():
        with (out / layer["file"]).open("r+b") as file:
            os.fsync(file.fileno())


def write_rows(out: Path, plan: dict, batch: dict[str, np.ndarray], start: int) -> None:
    """Write rows of every layer, from row `start` on.

    Raises
    ------
    OSError
        If the disk is full.
    ValueError
        If the rows are not as long as those before.
    """
    for name, rows in batch.items():
        if len(rows) and rows[0].nbytes != row_bytes(plan, name):
            raise ValueError(
                f"layer {name!r} outputs {rows[0].size} numbers for an image, but "
                f"{math.prod(plan['layers'][name]['shape'])} for images[0]: its size depends on the images or on the "
                "batch; choose another layer, or reduce it with a function"
            )
        offset = row_offset(out, plan, name, 0)
        with (out / plan["layers"][name]["file"]).open("r+b", buffering=0) as file:
            file.seek(offset + start * row_bytes(plan, name))
            left = memoryview(np.ascontiguousarray(rows).reshape(-1).view(np.uint8))
            while left:
                left = left[file.write(left) :]


@contextmanager
def full_disk_named(out: Path, plan: dict, done: int) -> Iterator[None]:
    """Say of an error that means a full disk how many bytes are missing."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        missing = lacking(out, plan, done)
        how_many = f"{missing:,} bytes are missing on the disk of" if missing > 0 else "no more may be written to"
        raise OSError(error.errno, f"{how_many} {out} ({error.strerror}): {ADVICE}") from error


def lacking(out: Path, plan: dict, done: int) -> int:
    """Bytes that the remaining rows need beyond what the disk has."""
    row = sum(row_bytes(plan, name) for name in plan["layers"])
    files = [file for layer in plan["layers"].values() if (file := out / layer["file"]).exists()]
    # What was never written takes no blocks; rows may have been written beyond those that count as done.
    taken = sum(getattr(file.stat(), "st_blocks", 0) * 512 for file in files)
    return min(row * (plan["n"] - done), max(0, row * plan["n"] - taken)) - shutil.disk_usage(out).free
