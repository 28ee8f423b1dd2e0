"""The students' edition: a copy of the book that knows no answer.

The folder can be pushed as it is, as a branch with a tag or as a repository.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from nbutils import __version__
from nbutils.exercises import MODULES, of_chapter

import repository

from .answers import file_of, without_answers
from .pages import CHAPTERS, ROOT, for_students, notebooks, read, write

TAG = f"v{__version__}-student"
FOLDERS = ("nbutils", "data", "tests/golden", ".binder")
FILES = (
    ".gitignore",
    "_config.yml",
    "pyproject.toml",
    "hatch_build.py",
    "LICENSE",
    "LICENSE-text",
    "CITATION.cff",
)
LEFT_OUT = ("__pycache__", "*.pyc", "*.part", "*.activations", ".*")

README = """\
# Hierarchical nucleation in deep neural networks: the students' edition

The chapters are notebooks in `chapters/`. In a clone, with Python 3.10 or
later,

    pip install -e ".[notebooks]" jupyterlab
    jupyter lab chapters

installs what they need and opens them. On Colab the first cell of a notebook
fetches the version {tag} of this repository.

An exercise is a cell with `...` in it. Write your answer there, run the cell
and the one below it, which checks it. Each exercise has a hint.

Code: BSD 3-Clause ([LICENSE](LICENSE)). Text and figures: CC BY 4.0
([LICENSE-text](LICENSE-text)). Data: see [data/README.md](data/README.md).
"""


def build(out: Path, chapters: Iterable[str] = tuple(MODULES)) -> None:
    """Write the edition; `chapters` says whose answers are recorded."""
    shutil.rmtree(out, ignore_errors=True)
    copy(out)
    for path in notebooks():
        notebook = for_students(read(path))
        notebook.cells[0].source = first_cell()
        write(notebook, out / path.relative_to(ROOT))
    for path in CHAPTERS.glob("reference/*.md"):
        shutil.copy(path, out / path.relative_to(ROOT))
    hide(out / "nbutils" / "exercises", chapters)


def copy(out: Path) -> None:
    """Copy what notebooks need."""
    hidden = [f"{module}.py" for module in MODULES.values()]
    ignore = shutil.ignore_patterns(*LEFT_OUT, *hidden)
    for folder in FOLDERS:
        if (ROOT / folder).exists():
            shutil.copytree(ROOT / folder, out / folder, ignore=ignore)
    for name in FILES:
        shutil.copy(ROOT / name, out / name)
    (out / "README.md").write_text(README.format(tag=TAG), encoding="utf-8")


def first_cell() -> str:
    """The cell that sets up, for the tag without solutions."""
    source = repository.setup_cell(repository.address())
    full, ours = 'f"v{version}"', 'f"v{version}-student"'
    if source.count(full) != 1:
        raise ValueError(
            f"the set-up cell of chapters/repository.py must have {full} "
            "once, which is the tag that it fetches"
        )
    return source.replace(full, ours)


def hide(folder: Path, chapters: Iterable[str]) -> None:
    """Write the modules without answers, and the files beside them."""
    for name in MODULES.values():
        source = ROOT / "nbutils" / "exercises" / f"{name}.py"
        text = without_answers(source.read_text(encoding="utf-8"))
        (folder / source.name).write_text(text, encoding="utf-8")
    with ProcessPoolExecutor() as pool:
        for chapter, text in pool.map(recording, chapters):
            path = folder / f"recorded_{chapter}.json"
            path.write_text(text, encoding="utf-8")


def recording(chapter: str) -> tuple[str, str]:
    """A chapter and the text of its file."""
    return chapter, file_of(of_chapter(chapter).values())
