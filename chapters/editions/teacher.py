"""The teachers' edition: solutions open, with usual mistakes and points."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

from nbutils.exercises import MODULES

from .answers import arguments, calls
from .pages import CHAPTERS, ROOT, Place, exercises, notebooks, read, write

FOLDED = "<details><summary>Solution</summary>"
OPEN = "<details open><summary>Solution</summary>"


def build(out: Path) -> None:
    """Write the notebooks, and what else is for teachers."""
    shutil.rmtree(out, ignore_errors=True)
    known = mistakes()
    for path in notebooks():
        notebook = read(path)
        for place in exercises(notebook):
            cell = notebook.cells[place.text]
            text = cell.source.replace(FOLDED, OPEN)
            end = text.index("</details>", text.index(OPEN)) + len("</details>")
            added = notes(place, known[place.number])
            cell.source = text[:end] + "\n\n" + added + text[end:]
        write(notebook, out / path.relative_to(CHAPTERS))
    for name in ("reference", "teaching"):
        for path in CHAPTERS.glob(f"{name}/*.md"):
            (out / name).mkdir(exist_ok=True)
            shutil.copy(path, out / name)


def notes(place: Place, wrong: dict[str, str]) -> str:
    """How an exercise is graded, and what goes wrong in it."""
    many = "s" if place.points > 1 else ""
    text = (
        f"**Grading {place.number}.** {place.points} point{many}, all or none: "
    )
    text += "the check decides."
    if not wrong:
        return (
            text + " It judges by what must hold for any training, and knows "
            "no mistake by name."
        )
    listed = "\n".join(f"- {message}" for message in wrong)
    code = "\n\n".join(
        f"# {message}\n{code}" for message, code in wrong.items()
    )
    return f"""\
{text} It tells those who made one of these mistakes:

{listed}

<details><summary>The mistakes as code</summary>

From `nbutils/exercises`, which has the functions that they call.

```python
{code}
```

</details>"""


def mistakes() -> dict[str, dict[str, str]]:
    """The code of the mistakes of each exercise, under their messages."""
    found = {}
    for name in MODULES.values():
        path = ROOT / "nbutils" / "exercises" / f"{name}.py"
        for call in calls(path.read_text(encoding="utf-8")):
            given = arguments(call)
            made = given.get("mistakes", ast.Dict([], []))
            found[given["number"].value] = {
                ast.literal_eval(message): ast.unparse(code)
                for message, code in zip(made.keys, made.values, strict=True)
            }
    return found
