"""The ground that the book stands on: the lock, `make`, and the cell that fetches the book where it is not."""

from __future__ import annotations

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
from packaging.requirements import Requirement

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
    for asked in map(Requirement, requires("nbutils")):
        found = [pin for pin in pins if re.sub("[._]", "-", pin.name).lower() == asked.name.lower()]
        assert found, f"{asked.name} is not in requirements.lock; run: make lock"
        for pin in found:
            version = next(iter(pin.specifier)).version
            assert asked.specifier.contains(version, prereleases=True), f"{pin} is not {asked}; run: make lock"


@pytest.mark.parametrize("changed", ["nbutils/claims.py", "data/README.md"])
def test_a_change_in_code_or_data_runs_the_notebooks_again(changed, root):
    if not (root / changed).exists():
        pytest.skip(f"{changed} does not exist yet")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    plan = subprocess.run(
        ["make", "--dry-run", f"--what-if={changed}", "book"],
        cwd=root,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "rm -rf _build/.jupyter_cache" in plan
    assert "jupyter-book build" in plan


def test_links_are_written_once_and_only_into_the_setup_cell(tmp_path):
    path = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title")]), path)
    assert repository.write(path, repository.setup_cell(""))
    assert repository.write(path, repository.setup_cell("https://github.com/OWNER/NAME", "dev"))
    assert not repository.write(path, repository.setup_cell("https://github.com/OWNER/NAME", "dev"))
    notebook = nbformat.read(path, as_version=4)
    assert [cell.source for cell in notebook.cells[1:]] == ["# Title"]
    assert notebook.cells[0].source.endswith('set_up(repository="https://github.com/OWNER/NAME", branch="dev")')


def test_an_address_that_would_break_the_cell_is_refused():
    with pytest.raises(ValueError, match=r"_config\.yml"):
        repository.setup_cell('x"); print("')


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

    def run(code):
        return subprocess.run(
            [tmp_path / "bare/bin/python", "-c", code],
            cwd=tmp_path / "work",
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "fake")},
        )

    return run


def test_setup_cell_without_an_address_says_where_to_set_one(bare_python):
    done = bare_python(repository.setup_cell(""))
    assert done.returncode != 0
    assert "_config.yml" in done.stderr.splitlines()[-1]


def test_setup_cell_fetches_the_book_and_changes_no_installed_package(bare_python, tmp_path):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    source = tmp_path / "source"
    for name in ("chapters", "nbutils"):
        (source / name).mkdir(parents=True)
        (source / name / "__init__.py").touch()
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "--quiet", "--initial-branch=main"], ["add", "."], ["commit", "--quiet", "-m", "book"]):
        subprocess.run([*git, *words], check=True)
    code = repository.setup_cell(source.as_uri()) + "\nimport os, nbutils; print(os.getcwd(), nbutils.__file__)"
    done = bare_python(code)
    assert done.returncode == 0, done.stderr
    book = (tmp_path / "work/book").resolve()
    assert done.stdout.split() == [str(book / "chapters"), str(book / "nbutils/__init__.py")]
    asked = (tmp_path / "fake/pip/asked.json").read_text()
    assert "--constraint" in asked and "numpy==1.24.0" in asked and "--upgrade" not in asked
    failed = bare_python(repository.setup_cell("file:///nowhere").replace('"book"', '"other"'))
    assert failed.returncode != 0 and "git clone" in failed.stderr and "nowhere" in failed.stderr
