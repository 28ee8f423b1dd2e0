"""The address of the book's repository: set once in _config.yml, needed in the notebooks and on the pages.

``python chapters/repository.py`` (``make links``) writes it into the first cell of every notebook, because Colab
opens a notebook and nothing else. As a Sphinx extension the module shows the theme's buttons where there is an
address, and none where there is not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CHAPTERS = Path(__file__).resolve().parent

SETUP_CELL = """\
# @title Set up: run this cell first
# Fetches the book where it is not installed, as on Colab, and changes no package that is there already.
def set_up(repository, branch):
    import importlib.util
    import os
    import subprocess
    import sys
    from pathlib import Path

    def run(*command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(done.args)} failed:\\n{done.stderr or done.stdout}")
        return done.stdout

    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    book = Path.cwd().parent if Path("../nbutils").is_dir() else Path("book").resolve()
    if importlib.util.find_spec("nbutils") is None:
        if not book.is_dir():
            if not repository:
                raise RuntimeError("This notebook does not know where the book's repository is. Set its address in "
                                   "_config.yml (repository: url:) and run `make links`, or install the book here.")
            run("git", "clone", "--quiet", "--depth", "1", "--branch", branch, repository, book)
        present = book / "_build" / "present.txt"
        present.parent.mkdir(exist_ok=True)
        present.write_text(run(*pip, "list", "--format=freeze", "--exclude-editable"))
        run(*pip, "install", "--quiet", "--constraint", present, "--editable", book)
        sys.path.insert(0, str(book))
    if (book / "chapters").is_dir():
        os.chdir(book / "chapters")


set_up(repository="REPOSITORY", branch="BRANCH")"""

METADATA = {"tags": ["setup", "remove-cell"], "cellView": "form"}


def address(config: Path = CHAPTERS.parent / "_config.yml") -> tuple[str, str]:
    """The repository's address, "" where none is set, and its branch."""
    import yaml

    repository = (
        yaml.safe_load(config.read_text(encoding="utf-8")).get("repository")
        or {}
    )
    return (repository.get("url") or "").rstrip("/"), repository.get(
        "branch"
    ) or "main"


def setup_cell(url: str, branch: str = "main") -> str:
    """The source of the first cell of every notebook of the book at `url`."""
    for name, value in (("url", url), ("branch", branch)):
        if (
            '"' in value
            or "\\" in value
            or any(character.isspace() for character in value)
        ):
            raise ValueError(
                f"repository {name} in _config.yml must have no quotes, backslashes or spaces: {value}"
            )
    return SETUP_CELL.replace("BRANCH", branch).replace("REPOSITORY", url)


def write(path: Path, source: str) -> bool:
    """Make `source` the first cell of a notebook, in place of its set-up cell if any; True if that changed it."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    before = nbformat.writes(notebook)
    if not notebook.cells or "setup" not in notebook.cells[0].metadata.get(
        "tags", []
    ):
        notebook.cells.insert(0, nbformat.v4.new_code_cell(id="setup"))
    notebook.cells[0].source = source
    notebook.cells[0].metadata = nbformat.from_dict(METADATA)
    after = nbformat.writes(notebook)
    if after != before:
        part = path.with_name(path.name + ".part")
        part.write_text(after + "\n", encoding="utf-8")
        os.replace(part, path)
    return after != before


def setup(app) -> dict:
    """Sphinx calls this: buttons that lead to the repository only where there is one."""

    def buttons(app, config):
        options = config.html_theme_options
        known = bool(options.get("repository_url"))
        options["use_repository_button"] = options["use_issues_button"] = known
        options["launch_buttons"] = (
            {"colab_url": "https://colab.research.google.com"} if known else {}
        )

    app.connect("config-inited", buttons, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    url, branch = address()
    changed = [
        path.name
        for folder in (CHAPTERS, CHAPTERS / "reference")
        for path in sorted(folder.glob("*.ipynb"))
        if write(path, setup_cell(url, branch))
    ]
    print(
        f"The notebooks say {url or 'no address'}. Changed: {', '.join(changed) or 'none'}."
    )
    sys.exit(0)
