"""What a notebook says about its exercises, and how parts are taken out."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "chapters"

CHECK = re.compile(r'check\("(\w+\.\d+)", *(\w+)\)')
SOLUTION = re.compile(
    r"<details>\s*<summary>\s*Solution\s*</summary>(.*?)</details>\n*",
    re.DOTALL,
)
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"(#+) (.*)")
TEACHERS = "For teachers"
POINTS = {"●○○": 1, "●●○": 2, "●●●": 3}


@dataclass(frozen=True)
class Place:
    """An exercise in a notebook.

    Attributes
    ----------
    number : such as "6.1"
    points : by the difficulty that its text gives
    stub : the position of the cell that the reader fills in; the check is next
    text : the position of the cell with hint and solution
    solution : the code that solves it
    """

    number: str
    points: int
    stub: int
    text: int
    solution: str


def notebooks(folder: Path = CHAPTERS) -> list[Path]:
    """The chapters, and the pages of the reference that are notebooks."""
    return [*sorted(folder.glob("*.ipynb")), *references(folder)]


def references(folder: Path = CHAPTERS) -> list[Path]:
    """The pages of the reference that are notebooks."""
    return sorted(folder.glob("reference/*.ipynb"))


def read(path: Path) -> NotebookNode:
    """A notebook as it lies on the disk."""
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a valid notebook, and the folders that it needs."""
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def exercises(notebook: NotebookNode) -> list[Place]:
    """The exercises of a notebook.

    Raises
    ------
    ValueError
        If one lacks its check, its difficulty or its solution.
    """
    cells, found = notebook.cells, []
    for i, cell in enumerate(cells):
        if "exercise" not in tags(cell):
            continue
        after = [c.source for c in cells[i + 1 : i + 3]]
        check = CHECK.search(after[0]) if after else None
        solved = SOLUTION.search(after[-1]) if check else None
        code = CODE.findall(solved[1]) if solved else []
        level = difficulty(cells[:i])
        if len(code) != 1 or level is None:
            raise ValueError(
                f"the exercise in cell {i} needs a difficulty such as ●○○ "
                "above it, a check below it, and then a solution with one "
                f"block of code: {cell.source.splitlines()[0]}"
            )
        found.append(Place(check[1], POINTS[level], i, i + 2, code[0]))
    return found


def difficulty(above: list[NotebookNode]) -> str | None:
    """The last difficulty in the text above an exercise, None without any."""
    text = "\n".join(c.source for c in above if c.cell_type == "markdown")
    levels = re.findall("|".join(POINTS), text)
    return levels[-1] if levels else None


def for_students(notebook: NotebookNode) -> NotebookNode:
    """A copy without solutions and without what is for teachers."""
    copied = copy.deepcopy(notebook)
    copied.cells = list(without_teachers(copied.cells))
    for cell in copied.cells:
        if cell.cell_type == "markdown":
            cell.source = SOLUTION.sub("", cell.source).rstrip()
    copied.cells = [c for c in copied.cells if c.source or is_code(c)]
    return copied


def is_code(cell: NotebookNode) -> bool:
    return cell.cell_type == "code"


def without_teachers(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    """The cells without the section for teachers.

    It goes on to the next heading of its level or above, or to the line that
    leads to the next chapter.
    """
    level = 0  # of the section for teachers, 0 outside of it
    for cell in cells:
        if is_code(cell):
            if not level:
                yield cell
            continue
        kept, fenced = [], False
        for line in cell.source.splitlines():
            fenced ^= line.startswith("```")
            if not fenced and (heading := HEADING.fullmatch(line)):
                depth = len(heading[1])
                if heading[2].strip() == TEACHERS:
                    level = depth
                elif depth <= level:
                    level = 0
            elif line.startswith("Next"):
                level = 0
            if not level:
                kept.append(line)
        if kept:
            cell.source = "\n".join(kept)
            yield cell
