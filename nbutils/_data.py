"""Where the data of the book are: beside the code in a checkout, inside an installed package, or fetched once.

The tables and the small world are part of the installed package. The other folders of ``data`` are too large for it:
they are fetched when they are first asked for, and each file must have the SHA-256 that ``registry.txt`` gives.
``python -m nbutils._data`` (``make registry``) writes the registry.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import __version__
from ._download import download
from ._files import sha256, write_text
from ._repository import repository_url

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "_data_files"  # made by hatch_build.py when the package is built; a checkout has none
DATA = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent / "data"
CONFIG = (INSTALLED if INSTALLED.is_dir() else PACKAGE.parent) / "_config.yml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hierarchical-nucleation"


def registry() -> dict[str, str]:
    """SHA-256 of each file that an installed package does not have, by its path in ``data``."""
    lines = (DATA / "registry.txt").read_text(encoding="utf-8").splitlines()
    return {path: digest for path, digest in (line.rsplit(" ", 1) for line in lines)}


def atlas_names() -> list[str]:
    """The atlases of the book, here or to be fetched."""
    here = {path.parent.name for path in DATA.glob("*/meta.json")}
    return sorted(here | {path.removesuffix("/meta.json") for path in registry() if path.endswith("/meta.json")})


def data_folder(name: str) -> Path:
    """A folder of ``data``, fetched unless it is here.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no address from which to fetch it.
    ConnectionError
        If it cannot be fetched.
    """
    if (DATA / name).is_dir():
        return DATA / name
    files = {path: digest for path, digest in registry().items() if path.startswith(f"{name}/")}
    if not files:
        raise FileNotFoundError(f"no data {name!r} in {DATA}, nor in its registry.txt")
    if not (url := repository_url(CONFIG)):
        raise FileNotFoundError(
            f"data/{name} is not part of the installed package, and the package knows no address to fetch it from: "
            "install it from a clone of the book's repository with `pip install -e .`, or give the path of the "
            f"folder data/{name} in a clone"
        )
    for path, digest in files.items():
        download(f"{url}/raw/v{__version__}/data/{path}", CACHE / path, sha256=digest)
    return CACHE / name


def main() -> None:
    left_out = ("small_world", "__pycache__")  # the first is in the package, the second is no data
    folders = [path for path in DATA.iterdir() if path.is_dir() and path.name not in left_out]
    folders = [path for path in folders if not path.name.startswith(".") and path.suffix != ".activations"]
    files = sorted(file for folder in folders for file in folder.glob("[!.]*") if file.suffix != ".part")
    lines = [f"{file.relative_to(DATA).as_posix()} {sha256(file)}\n" for file in files]
    write_text(DATA / "registry.txt", "".join(lines))
    print(f"wrote the SHA-256 of {len(files)} files to {DATA / 'registry.txt'}")


if __name__ == "__main__":
    main()
