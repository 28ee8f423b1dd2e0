"""The ground that the book stands on: the lock, `make`, the data, and the cell that fetches the book elsewhere."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import nbformat
import pytest
import repository
import yaml
from packaging.requirements import Requirement
from serving import serving

from nbutils import __version__, _data
from nbutils._files import sha256
from nbutils._repository import repository_url
from nbutils.atlas import load_atlas

ADDRESS = "https://github.com/OWNER/NAME"

FAKE_PIP = """\
import json, pathlib, sys
words = sys.argv[1:]
if "list" in words:
    print("numpy==1.24.0")
else:
    words.append(pathlib.Path(words[words.index("--constraint") + 1]).read_text())
    pathlib.Path(__file__).with_name("asked.json").write_text(json.dumps(words))
"""


def test_lock_names_no_place_and_holds_all_that_is_asked_for(root):
    text = (root / "requirements.lock").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert not [line for line in lines if "/" in line or line.startswith("-")]
    pins = [Requirement(line) for line in lines]
    asked_for = [Requirement(line) for line in requires("hierarchical-nucleation")]
    asked_for = [asked for asked in asked_for if asked.name not in ("hierarchical-nucleation", "pre-commit")]
    assert len(asked_for) > 20
    for asked in asked_for:
        found = [pin for pin in pins if re.sub("[._]", "-", pin.name).lower() == asked.name.lower()]
        assert found, f"{asked.name} is not in requirements.lock; run: make lock"
        for pin in found:
            version = next(iter(pin.specifier)).version
            assert asked.specifier.contains(version, prereleases=True), f"{pin} is not {asked}; run: make lock"


@pytest.mark.parametrize("changed", ["nbutils/book/claims.py", "data/README.md"])
def test_a_change_in_code_or_data_runs_the_notebooks_again(changed, root):
    assert (root / changed).exists()
    plan = subprocess.run(
        ["make", "--dry-run", f"--what-if={changed}", "book"],
        cwd=root,
        env=outside_make(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "rm -rf _build/.jupyter_cache" in plan
    assert "jupyter-book build" in plan


def outside_make():
    return {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}


# --- data


def test_the_registry_has_the_files_of_every_atlas_and_their_sha256(root):
    recorded = _data.registry()
    for path, digest in recorded.items():
        assert sha256(root / "data" / path) == digest, "run: make registry"
    for folder in (meta.parent for meta in (root / "data").glob("*/meta.json")):
        files = {file.relative_to(root / "data").as_posix() for file in folder.iterdir()}
        assert files == {path for path in recorded if path.startswith(f"{folder.name}/")}, "run: make registry"


@pytest.fixture
def installed(tmp_path, monkeypatch, root):
    """As if the package were installed from a wheel: without an atlas, and without an address until one is written."""
    (tmp_path / "package").mkdir()
    shutil.copy(root / "data" / "registry.txt", tmp_path / "package")
    shutil.copy(root / "_config.yml", tmp_path / "package")
    monkeypatch.setattr(_data, "DATA", tmp_path / "package")
    monkeypatch.setattr(_data, "CONFIG", tmp_path / "package" / "_config.yml")
    monkeypatch.setattr(_data, "CACHE", tmp_path / "cache")

    def at(url):
        _data.CONFIG.write_text(f"repository:\n  url: {url}\n")

    return at


def test_an_atlas_is_fetched_once_and_checked(installed, tmp_path, root):
    name = "caltech101-efficientnet_lite0-random"
    place = tmp_path / "server" / "raw" / f"v{__version__}" / "data" / name
    shutil.copytree(root / "data" / name, place)
    with serving(tmp_path / "server") as url:
        installed(url)
        atlas = load_atlas(name)
    assert atlas.graphs["logits"].n == 8677
    assert load_atlas(name).files == atlas.files  # the server is gone
    (tmp_path / "cache" / name / "logits.npz").write_bytes(b"damaged")
    (place / "logits.npz").write_bytes(b"PK\x03\x04 but another")
    with serving(tmp_path / "server") as url:
        installed(url)
        with pytest.raises(ConnectionError, match=r"logits\.npz could not be fetched"):
            load_atlas(name)


def test_without_an_address_an_atlas_says_what_to_do(installed):
    installed("")
    with pytest.raises(FileNotFoundError, match="pip install -e"):
        load_atlas()
    with pytest.raises(FileNotFoundError, match="'nowhere'"):
        load_atlas("nowhere")
    with pytest.raises(FileNotFoundError, match="'nowhere'"):
        _data.data_folder("nowhere")


@pytest.mark.parametrize(
    "section",
    [
        'repository:\n  url: ""\n  branch: main\n',
        f'repository:\n  url: "{ADDRESS}"  # ours\n',
        f"repository:  # where\n\n  # the address\n  branch: main\n  url: '{ADDRESS}/'\n",
        f"title: a\nrepository:\n    url: {ADDRESS}#main\nlatex:\n  url: {ADDRESS}/other\n",
        f"repository:\n  branch: dev\nhtml:\n  url: {ADDRESS}\n",
        f"html:\n  url: {ADDRESS}\n",
        f"# repository:\n#  url: {ADDRESS}\ntitle: a\n",
        "repository:\n  url:\n",
    ],
)
def test_the_address_is_what_a_yaml_parser_reads(section, tmp_path):
    config = tmp_path / "_config.yml"
    config.write_text(section)
    read = yaml.safe_load(section)
    assert repository_url(config) == ((read.get("repository") or {}).get("url") or "").rstrip("/")


# --- the first cell


def test_links_are_written_once_and_only_into_the_setup_cell(tmp_path):
    path = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title")]), path)
    assert repository.write(path, repository.setup_cell(""))
    assert repository.write(path, repository.setup_cell(ADDRESS, "1.2"))
    assert not repository.write(path, repository.setup_cell(ADDRESS, "1.2"))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) + "\n" == path.read_text()
    assert [cell.source for cell in notebook.cells[1:]] == ["# Title"]
    assert notebook.cells[0].source.endswith(f'set_up(\n    repository="{ADDRESS}",\n    version="1.2",\n)')


def test_links_need_nothing_but_python(bare_python, tmp_path, root):
    copy = tmp_path / "copy"
    for name in ("Makefile", "chapters/repository.py", "chapters/02_neighbors.ipynb", "nbutils/__init__.py"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, copy / name)
    for name in ("_files.py", "_repository.py"):
        shutil.copy(root / "nbutils" / name, copy / "nbutils")
    (copy / "_config.yml").write_text(f"repository:\n  url: {ADDRESS}\n")
    make = ["make", "links", f"PYTHON={tmp_path / 'bare/bin/python'}"]
    done = subprocess.run(make, cwd=copy, env=outside_make(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ADDRESS in json.loads((copy / "chapters/02_neighbors.ipynb").read_text())["cells"][0]["source"][-3]
    assert not (copy / ".venv").exists()


def test_an_address_that_would_break_the_cell_is_refused(tmp_path):
    (tmp_path / "_config.yml").write_text("repository:\n  url: 'x\"); print(\"'\n")
    with pytest.raises(ValueError, match=r"_config\.yml"):
        repository.address(tmp_path / "_config.yml")


def test_setup_cell_is_python_3_10_and_fits_the_page():
    cell = repository.setup_cell(ADDRESS)
    ast.parse(cell, feature_version=(3, 10))
    assert max(map(len, cell.splitlines())) <= 80


def test_setup_cell_does_nothing_where_the_book_is_installed(tmp_path):
    code = repository.setup_cell("") + "\nimport os; print(os.getcwd())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == tmp_path.resolve()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def bare_python(tmp_path):
    """A Python without any package but a pip that only writes down what it is asked."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (tmp_path / "fake" / "pip").mkdir(parents=True)
    (tmp_path / "fake" / "pip" / "__main__.py").write_text(FAKE_PIP)
    (tmp_path / "work").mkdir()

    def run(code, folder=tmp_path / "work"):
        return subprocess.run(
            [tmp_path / "bare/bin/python", "-c", code],
            cwd=folder,
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "fake"), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    return run


@pytest.fixture
def source(tmp_path):
    """A repository with the releases 1.0 and 2.0 of what the cell takes for the book."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    folder = tmp_path / "source"
    for name in ("chapters", "nbutils"):
        (folder / name).mkdir(parents=True)
    (folder / "chapters" / "a.ipynb").touch()
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    for version in ("1.0", "2.0"):
        write_package(folder, version)
        for words in (["add", "."], ["commit", "--quiet", "-m", version], ["tag", f"v{version}"]):
            subprocess.run([*git, *words], check=True)
    return folder


def write_package(folder, version, name="hierarchical-nucleation"):
    (folder / "nbutils").mkdir(parents=True, exist_ok=True)
    (folder / "nbutils" / "__init__.py").write_text(f'"""Part of {name}."""\n\n__version__ = "{version}"\n')


SAYS_WHERE = "\nimport os, nbutils; print(os.getcwd(), nbutils.__file__, nbutils.__version__)"


def test_setup_cell_without_an_address_says_what_to_do(bare_python):
    done = bare_python(repository.setup_cell("", "2.0"))
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert "version 2.0" in last and "pip install -e" in last and "_config.yml" in last


def test_setup_cell_fetches_the_release_and_changes_no_installed_package(bare_python, source, tmp_path):
    done = bare_python(repository.setup_cell(source.as_uri(), "1.0") + SAYS_WHERE)
    assert done.returncode == 0, done.stderr
    book = (tmp_path / "work/book").resolve()
    assert done.stdout.split() == [str(book / "chapters"), str(book / "nbutils/__init__.py"), "1.0"]
    asked = (tmp_path / "fake/pip/asked.json").read_text()
    assert "book[notebooks]" in asked and "numpy==1.24.0" in asked and "--upgrade" not in asked
    other = tmp_path / "other"
    other.mkdir()
    failed = bare_python(repository.setup_cell("file:///nowhere"), other)
    assert failed.returncode != 0 and "git clone" in failed.stderr and "nowhere" in failed.stderr


def test_setup_cell_updates_an_older_copy(bare_python, source, tmp_path):
    assert bare_python(repository.setup_cell(source.as_uri(), "1.0")).returncode == 0
    newer = repository.setup_cell(source.as_uri(), "2.0")
    done = bare_python(newer + SAYS_WHERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "2.0"
    (tmp_path / "work/book/nbutils/__init__.py").write_text('# hierarchical-nucleation\n__version__ = "my own"\n')
    done = bare_python(repository.setup_cell(source.as_uri(), "1.0"))
    assert done.returncode != 0 and "would be overwritten" in done.stderr
    assert "my own" in (tmp_path / "work/book/nbutils/__init__.py").read_text()


def test_setup_cell_asks_for_a_new_kernel_where_another_version_is_loaded(bare_python, source, tmp_path):
    write_package(tmp_path / "fake", "1.0")
    done = bare_python("import nbutils\n" + repository.setup_cell(source.as_uri(), "2.0"))
    assert done.returncode != 0 and "restart the kernel" in done.stderr.splitlines()[-1]


def test_setup_cell_is_not_content_with_another_package_of_that_name(bare_python, source, tmp_path):
    write_package(tmp_path / "fake", "2.0", name="something else")
    done = bare_python(repository.setup_cell(source.as_uri(), "2.0") + SAYS_WHERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == str((tmp_path / "work/book/nbutils/__init__.py").resolve())


def test_setup_cell_leaves_alone_a_folder_that_is_not_the_book(bare_python, source, tmp_path):
    (tmp_path / "work/book").mkdir()
    (tmp_path / "work/book/mine.txt").touch()
    done = bare_python(repository.setup_cell(source.as_uri(), "2.0"))
    assert done.returncode != 0 and "move it away" in done.stderr.splitlines()[-1]
    assert [path.name for path in (tmp_path / "work/book").iterdir()] == ["mine.txt"]


def test_setup_cell_in_a_copy_of_the_book_uses_that_copy(bare_python, source):
    done = bare_python(repository.setup_cell("", "1.0") + SAYS_WHERE, source / "chapters")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(source / "chapters"), str(source / "nbutils/__init__.py"), "2.0"]
