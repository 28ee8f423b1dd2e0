"""Downloads: the file that was asked for, or an error that says what each address answered instead.

A transfer is written to ``<name>.part`` and takes its final name only after every check. A transfer that breaks off is
resumed, by the same call or a later one, as long as the server shows by its ETag or its date that the file is the same.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from ._files import part_of, write_json
from ._progress import progress_bar

MAGIC = {".gz": b"\x1f\x8b", ".tgz": b"\x1f\x8b", ".zip": b"PK\x03\x04", ".npz": b"PK\x03\x04"}  # their first bytes
TRIES = 4  # in a row without progress, for each address
MOST = 50  # tries in all, for each address
WAIT = 1.0  # seconds before the second try; twice as long before each one after it
TIMEOUT = 60  # seconds without a byte


class Refused(Exception):
    """This address does not have the file: another try is useless."""


class Interrupted(Exception):
    """This address may have the file, but the transfer failed: another try may help."""


def download(
    urls: str | Sequence[str], path: str | os.PathLike, *, sha256: str | None = None, md5: str | None = None
) -> Path:
    """Fetch a file from the first address that has it and return its path; a sound file that is there is kept.

    An answer is accepted only with status 200 or 206 and a body that has the announced length, is no web page, and
    begins as a file with the suffix of `path` must (gzip, zip).

    Parameters
    ----------
    urls : one address, or several of the same file, which are tried in order.
    path : where the file goes; its folder is made.
    sha256, md5 : hexadecimal, where they are known: the file must have them.

    Raises
    ------
    ConnectionError
        If no address gave the file; the message has the answer of each. What arrived of a transfer that broke off is
        kept, and the next call resumes it.
    OSError
        If the file cannot be written.
    """
    urls, path = [urls] if isinstance(urls, str) else list(urls), Path(path)
    expected = {name: value.lower() for name, value in (("sha256", sha256), ("md5", md5)) if value}
    if path.exists() and not wrong(path, path.suffix, expected):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part, answers = part_of(path), []
    for url in urls:
        try:
            size = transfer(url, part)
            if not part.exists() or part.stat().st_size != size:
                raise Interrupted("another process is fetching the same file")
            if problem := wrong(part, path.suffix, expected):
                discard(part)
                raise Refused(problem)
            os.replace(part, path)
            discard(part)
            return path
        except (Refused, Interrupted) as error:
            answers.append(f"{url}: {error}")
    kept = f", which resumes after the {arrived(part) / 1e6:.1f} MB that arrived" if arrived(part) else ""
    raise ConnectionError(
        f"{path.name} could not be fetched ({'; '.join(answers)}). Try again{kept}, or fetch it with a browser from "
        f"{urls[0]} and put it at {path}"
    )


def transfer(url: str, part: Path) -> int:
    """Complete `part` from one address, in several tries; returns the bytes of the file."""
    failures = 0
    for _ in range(MOST):
        before = arrived(part)
        try:
            return attempt(url, part)
        except Interrupted as error:
            failures = 0 if arrived(part) > before else failures + 1
            if failures == TRIES:
                raise Interrupted(f"{error}, {TRIES} times in a row") from error
            time.sleep(WAIT * 2**failures)
    raise Interrupted(f"the transfer broke off {MOST} times")


def attempt(url: str, part: Path) -> int:
    """Fetch the rest of `part`, or all of it unless the server continues the very file that was begun.

    Returns the bytes of the file.
    """
    begun = arrived(part)
    headers = {"User-Agent": f"nbutils/{__version__}", **({"Range": f"bytes={begun}-"} if begun else {})}
    with opened(urllib.request.Request(url, headers=headers), part) as response:
        if response.status not in (200, 206):
            raise Refused(f"status {response.status} without a file")
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise Refused("a web page instead of the file")
        start, total = extent(response)
        if response.status == 206:
            if (start, version_of(response, total)) != (begun, version_noted(part)):
                discard(part)
                raise Interrupted("the file has changed since the transfer began")
        else:
            discard(part)
            if version := version_of(response, total):
                write_json(note_of(part), version)
        return receive(response, part, start, total)


def opened(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing follows what has arrived, which cannot be right
            discard(part)
        temporary = error.code >= 500 or error.code in (408, 416, 425, 429)
        raise (Interrupted if temporary else Refused)(f"status {error.code}") from error
    except TimeoutError as error:
        raise Interrupted("no answer") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Refused(f"no connection ({getattr(error, 'reason', error)})") from error


def extent(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Where the body begins in the file, and the bytes of the whole file; None where the body marks its own end."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
        if not found:
            raise Refused("a part of the file without its place")
        return int(found[1]), int(found[3])
    if response.length is None and not response.chunked:
        raise Refused("a body of unknown length")
    return 0, response.length


def receive(response: http.client.HTTPResponse, part: Path, start: int, total: int | None) -> int:
    """Write the body from `start` on; returns the bytes of the file."""
    with (
        part.open("r+b" if start else "wb") as file,
        progress_bar(desc=part.stem, unit="B", unit_scale=True, total=total, initial=start) as bar,
    ):
        file.seek(start)
        while True:
            try:
                block = response.read(2**18)
            except (OSError, http.client.HTTPException) as error:
                raise Interrupted(f"the transfer broke off after {file.tell():,} bytes") from error
            if not block:
                break
            file.write(block)
            bar.update(len(block))
        if total is not None and file.tell() != total:
            raise Interrupted(f"the transfer broke off after {file.tell():,} of {total:,} bytes")
        return file.tell()


def wrong(path: Path, suffix: str, expected: dict[str, str]) -> str | None:
    """What shows that a complete file is not the one that was asked for, or None."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "an empty file"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page instead of the file"
    if not start.startswith(MAGIC.get(suffix, b"")):
        return f"no {suffix} file: it begins with {start[:8]!r}"
    for name, value in expected.items():
        if (found := digest(path, name)) != value:
            return f"the file has the {name} {found}, not {value}"
    return None


def digest(path: Path, name: str) -> str:
    """The hash of a file in hexadecimal."""
    hashed = hashlib.new(name, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**20):
            hashed.update(block)
    return hashed.hexdigest()


def version_of(response: http.client.HTTPResponse, total: int | None) -> dict:
    """What distinguishes this version of the file from others; empty if the server does not say."""
    found = {name: response.headers[name] for name in ("ETag", "Last-Modified") if response.headers[name]}
    return {**found, "total": total} if found else {}


def note_of(part: Path) -> Path:
    """The file that notes which version of the file is being transferred."""
    return part.with_name(part.name + ".json")


def version_noted(part: Path) -> dict:
    try:
        return json.loads(note_of(part).read_text())
    except (FileNotFoundError, ValueError):
        return {}


def arrived(part: Path) -> int:
    """Bytes of a transfer that can be resumed."""
    return part.stat().st_size if part.exists() and version_noted(part) else 0


def discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    note_of(part).unlink(missing_ok=True)
