"""The notebooks as they are committed: clean, the same everywhere, readable on GitHub, on Colab and in the book."""

from __future__ import annotations

import re
import subprocess
import sys

import nbformat
import pytest
import repository
import yaml
from exercises import CHAPTERS, NOTEBOOKS, REFERENCE, exercises, read

each_notebook = pytest.mark.parametrize("path", [*NOTEBOOKS, *REFERENCE], ids=lambda path: path.stem)
each_chapter = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# These work in the book only; on GitHub and in Colab a reader would see them raw.
MYST = {
    "directive": re.compile(r"^\s*(?:`{3,}|~{3,}|:{3,})\{", re.MULTILINE),
    "role": re.compile(r"\{[a-zA-Z][\w:+-]*\}`"),
    "target": re.compile(r"^\([\w:-]+\)=\s*$", re.MULTILINE),
    "substitution": re.compile(r"\{\{\s*\w+\s*\}\}"),
    "comment or break": re.compile(r"^(?:%\s|\+\+\+)", re.MULTILINE),
}


def test_every_chapter_is_in_the_table_of_contents(root):
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    listed = {entry["file"] for part in toc["parts"] for entry in part["chapters"]}
    there = {
        path.relative_to(root).with_suffix("").as_posix()
        for path in [*NOTEBOOKS, *REFERENCE, *CHAPTERS.glob("reference/*.md"), *CHAPTERS.glob("teaching/*.md")]
    }
    assert listed == there - {"chapters/teaching/answers"}  # for teachers only


@each_notebook
def test_notebook_is_valid_and_runs_in_any_python_3_kernel(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_no_outputs_are_committed():
    strip = [sys.executable, "-m", "nbstripout", "--keep-id", "--verify"]
    done = subprocess.run([*strip, *NOTEBOOKS, *REFERENCE], capture_output=True, text=True)
    assert done.returncode == 0, f"run: make format\n{done.stdout}"


@each_notebook
def test_first_cell_is_the_books_setup_cell(path):
    first = read(path).cells[0]
    assert first.source == repository.setup_cell(repository.address()), "run: make links"
    assert first.metadata == repository.METADATA, "run: make links"


@each_notebook
def test_text_reads_right_outside_the_book(path):
    found = [
        f"cell {i}: a MyST {kind}: {hit.group().strip()}"
        for i, cell in enumerate(read(path).cells)
        if cell.cell_type == "markdown"
        for kind, pattern in MYST.items()
        for hit in pattern.finditer(cell.source)
    ]
    assert not found, "\n".join(found)


@each_chapter
def test_chapter_states_claims_and_sets_exercises(path):
    notebook = read(path)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert len(re.findall(r"(?<!\w)claim\(", code)) >= 3
    assert len(exercises(notebook)) >= 2


@each_notebook
def test_chapter_opens_with_its_title(path):
    text = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    headings = re.findall(r"^# .+$", re.sub(r"```.*?```", "", "\n".join(text), flags=re.DOTALL), re.MULTILINE)
    assert len(headings) == 1
    assert text[0].startswith(headings[0])
