"""The address of the book's repository: set once in _config.yml, needed in the notebooks and on the pages.

``make links`` writes it, with the version of the book, into the first cell of every notebook, because Colab opens a
notebook and nothing else. It needs nothing but Python. As a Sphinx extension the module shows the theme's buttons where
there is an address, and none where there is not.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from nbutils import __version__
from nbutils._files import write_text
from nbutils._repository import repository_url

CHAPTERS = Path(__file__).resolve().parent

SETUP_CELL = """\
# @title Set up: run this cell first
# Fetches the book where it is not installed, as on Colab, and changes no other
# package that is there already.
def set_up(repository, version):
    import importlib
    import importlib.util
    import os
    import re
    import subprocess
    import sys
    from pathlib import Path

    def run(*words):
        command = [str(word) for word in words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr or done.stdout
            raise RuntimeError(f"{' '.join(command)} failed:\\n{said}")
        return done.stdout

    def version_in(folder):
        # There is another package named nbutils; ours gives its full name.
        code = Path(folder, "nbutils", "__init__.py")
        text = code.read_text(encoding="utf-8") if code.is_file() else ""
        ours = r'hierarchical-nucleation.*?__version__ = "(.+?)"'
        found = re.search(ours, text, re.DOTALL)
        return found and found[1]

    around = [Path.cwd(), *Path.cwd().parents]
    here = next((folder for folder in around if version_in(folder)), None)
    book = here or Path("book").resolve()
    if here:  # a notebook in a copy of the book uses that copy
        version = version_in(here)
    spec = importlib.util.find_spec("nbutils")
    code = spec and spec.origin
    if not code or version_in(Path(code).parents[1]) != version:
        tag = f"v{version}"
        if version_in(book) != version and not repository:
            raise RuntimeError(
                f"This notebook needs version {version} of the book and does "
                "not know where its repository is: run `pip install -e "
                "'.[notebooks]'` in a clone of it, or set its address in "
                "_config.yml (repository: url:) and run `make links`."
            )
        if not book.exists():
            clone = ["git", "clone", "--quiet", "--depth", "1"]
            run(*clone, "--branch", tag, repository, book)
        elif not (version_in(book) and (book / ".git").exists()):
            raise RuntimeError(
                f"{book} is not a clone of the book: move it away, or work in "
                "another folder."
            )
        elif version_in(book) != version:
            fetch = ["git", "-C", book, "fetch", "--quiet", "--depth", "1"]
            run(*fetch, repository, "tag", tag)
            run("git", "-C", book, "checkout", "--quiet", tag)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        others = ["--exclude-editable", "--exclude", "hierarchical-nucleation"]
        present = book / "_build" / "present.txt"
        present.parent.mkdir(exist_ok=True)
        present.write_text(run(*pip, "list", "--format=freeze", *others))
        install = [*pip, "install", "--quiet", "--constraint", present]
        run(*install, "--editable", f"{book}[notebooks]")
        sys.path.insert(0, str(book))
        importlib.invalidate_caches()
        if "nbutils" in sys.modules:
            raise RuntimeError(
                f"Version {version} of the book is installed now, but another "
                "one is loaded: restart the kernel and run this cell again."
            )
    if not here and version_in(book):
        os.chdir(book / "chapters")


set_up(
    repository="REPOSITORY",
    version="VERSION",
)"""

METADATA = {"tags": ["setup", "remove-cell"], "cellView": "form"}


def address(config: Path = CHAPTERS.parent / "_config.yml") -> str:
    """The repository's address, "" where none is set.

    Raises
    ------
    ValueError
        If it would break the cell that it is written into.
    """
    url = repository_url(config)
    if '"' in url or "\\" in url or any(c.isspace() for c in url):
        raise ValueError(
            f"repository url in _config.yml must have no quotes, backslashes or spaces: {url}"
        )
    return url


def pages_address(url: str) -> str:
    """Where GitHub Pages shows the book of a repository; "" for one elsewhere."""
    known = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+?)(\.git)?", url)
    return f"https://{known[1]}.github.io/{known[2]}/" if known else ""


def setup_cell(url: str, version: str = __version__) -> str:
    """The source of the first cell of every notebook of the book at `url`."""
    return SETUP_CELL.replace("VERSION", version).replace("REPOSITORY", url)


def write(path: Path, source: str) -> bool:
    """Make `source` the first cell of a notebook, in place of its set-up cell if any; True if that changed it."""
    before = path.read_text(encoding="utf-8")
    notebook = json.loads(before)
    cells = notebook["cells"]
    if not cells or "setup" not in cells[0]["metadata"].get("tags", []):
        empty = {
            "cell_type": "code",
            "execution_count": None,
            "id": "setup",
            "outputs": [],
        }
        cells.insert(0, empty)
    cells[0] |= {
        "metadata": METADATA,
        "source": source.splitlines(keepends=True),
    }
    # As nbformat and nbstripout write it.
    after = (
        json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
        + "\n"
    )
    if after != before:
        write_text(path, after)
    return after != before


def setup(app) -> dict:
    """Sphinx calls this: buttons that lead to the repository only where there is one, and the addresses of the pages."""

    def buttons(app, config):
        options = config.html_theme_options
        known = bool(options.get("repository_url"))
        options["use_repository_button"] = options["use_issues_button"] = known
        options["launch_buttons"] = (
            {"colab_url": "https://colab.research.google.com"} if known else {}
        )
        config.html_context["book_version"] = __version__
        config.html_baseurl = pages_address(address())
        config.ogp_site_url = config.html_baseurl

    app.connect("config-inited", buttons, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main() -> None:
    url = address()
    changed = [
        path.name
        for folder in (CHAPTERS, CHAPTERS / "reference")
        for path in sorted(folder.glob("*.ipynb"))
        if write(path, setup_cell(url))
    ]
    print(
        f"The notebooks have {url or 'no address'} and version {__version__}. Changed: {', '.join(changed) or 'none'}."
    )


if __name__ == "__main__":
    main()
