"""Assignments for nbgrader 0.9: one for each chapter, with points."""

from __future__ import annotations

import shutil
from pathlib import Path

from nbformat import NotebookNode

from .pages import CHAPTERS, exercises, for_students, read, write
from .student import first_cell

# A check raises for the grader only: a student's notebook runs to its end.
CONFIG = '''\
"""nbgrader reads this. Run its commands in this folder."""

import os

os.environ["BOOK_GRADE"] = "1"  # a check that fails raises

c = get_config()
c.CourseDirectory.course_id = "nucleation"
c.ClearSolutions.code_stub = {"python": ""}  # a stub is there already
c.ExecutePreprocessor.timeout = 600
'''


def build(out: Path) -> None:
    """Write a course: its settings, and an assignment for each chapter."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    for path in sorted(CHAPTERS.glob("*.ipynb")):
        to = out / "source" / path.stem / path.name
        write(assignment(read(path)), to)


def assignment(notebook: NotebookNode) -> NotebookNode:
    """The notebook from which nbgrader makes the students' and grades it."""
    places = exercises(notebook)
    marked = for_students(notebook)
    marked.cells[0].source = first_cell()  # the students' tag has no answers
    at = {cell.id: i for i, cell in enumerate(marked.cells)}
    for place in places:
        first = at[notebook.cells[place.stub].id]
        stub, check = marked.cells[first : first + 2]
        stub.source = (
            f"{stub.source}\n\n### BEGIN SOLUTION\n"
            f"{place.solution}### END SOLUTION"
        )
        label = place.number.replace(".", "-")
        stub.metadata["nbgrader"] = marks(f"answer-{label}", solution=True)
        check.source = "from nbutils.exercises import check\n\n" + check.source
        check.metadata["nbgrader"] = marks(
            f"check-{label}", grade=True, locked=True, points=place.points
        )
    return marked


def marks(
    grade_id: str,
    grade: bool = False,
    solution: bool = False,
    locked: bool = False,
    points: int | None = None,
) -> dict:
    """What nbgrader knows of a cell."""
    found = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    return found if points is None else found | {"points": points}
