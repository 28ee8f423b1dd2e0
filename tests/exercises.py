"""How exercises stand in a notebook, for the tests that look at them and the tests that solve them.

A code cell tagged `exercise` (the stub), a code cell tagged `check`, then a markdown cell with a hint and a solution,
each in <details>; the solution holds one python block, which takes the place of what the reader writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

CHAPTERS = Path(__file__).resolve().parents[1] / "chapters"
NOTEBOOKS = sorted(CHAPTERS.glob("*.ipynb"))
REFERENCE = sorted(CHAPTERS.glob("reference/*.ipynb"))
DETAILS = re.compile(r"<details>\s*<summary>\s*(\w+)\s*</summary>(.*?)</details>", re.DOTALL)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass
class Exercise:
    """Where the check cell is, and the code that solves it."""

    check: int
    solution: str


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook as it lies on the disk."""
    return nbformat.read(path, as_version=4)


def tags(cell: nbformat.NotebookNode) -> list[str]:
    """A cell's tags, none if it has none."""
    return cell.metadata.get("tags", [])


def exercises(notebook: nbformat.NotebookNode) -> list[Exercise]:
    """The exercises in order; ValueError says which one is not as it should be."""
    cells, found = notebook.cells, []
    for i, cell in enumerate(cells):
        if "check" in tags(cell) and "exercise" not in tags(cells[i - 1]):
            raise ValueError(f"cell {i} is tagged check, but the cell before it is not tagged exercise")
        if "exercise" not in tags(cell):
            continue
        where = f"the exercise in cell {i} ({cell.source.splitlines()[0]})"
        check, text = (cells[i + 1], cells[i + 2]) if i + 2 < len(cells) else (None, None)
        if check is None or check.cell_type != "code" or "check" not in tags(check) or "check(" not in check.source:
            raise ValueError(f"{where} is not followed by a code cell that is tagged check and calls check(...)")
        details = dict(DETAILS.findall(text.source)) if text.cell_type == "markdown" else {}
        if missing := {"Hint", "Solution"} - details.keys():
            raise ValueError(f"{where}: the cell after its check has no <details> for {', '.join(sorted(missing))}")
        blocks = BLOCK.findall(details["Solution"])
        if len(blocks) != 1:
            raise ValueError(f"{where}: its solution has {len(blocks)} python blocks instead of one")
        found.append(Exercise(i + 1, blocks[0]))
    return found
