"""Write one edition: ``python -m editions student``."""

from __future__ import annotations

import sys

from . import assignment, slides, student, teacher
from .pages import ROOT

EDITIONS = {
    "student": student.build,
    "teacher": teacher.build,
    "nbgrader": assignment.build,
    "slides": slides.build,
}

if __name__ == "__main__":
    name = sys.argv[1]
    out = ROOT / "_build" / name
    EDITIONS[name](out)
    files = [path for path in out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{out.relative_to(ROOT)}: {len(files)} files, {size:.1f} MB")
    if name == "student":
        print(f"Its notebooks fetch the tag {student.TAG}.")
