"""What teachers rely on: questions with their answers apart, times that add up, and a Binder that installs the book."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from exercises import CHAPTERS, NOTEBOOKS, read
from packaging.specifiers import SpecifierSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEACHING = CHAPTERS / "teaching"
NUMBERED = re.compile(r"^\*\*Q(\d+\.\d+)\*\* (.+)$", re.MULTILINE)


def words(text: str) -> str:
    """The text in lower case, without punctuation and markup."""
    return " ".join(re.findall(r"\w+", text.lower()))


def numbered(page: str) -> list[tuple[str, str]]:
    """The numbers on a page of questions or answers, and what stands after each."""
    return NUMBERED.findall((TEACHING / page).read_text(encoding="utf-8"))


def section(title: str) -> str:
    """A section of the guide, without its heading."""
    guide = (TEACHING / "guide.md").read_text(encoding="utf-8")
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", guide, re.DOTALL | re.MULTILINE).group(1)


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of the table in a text, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def all_exercises() -> dict[str, tuple[int, int]]:
    """The points and the minutes of each exercise, as its chapter states them."""
    heading = re.compile(r"^### Exercise (\d+\.\d+)[^\n]*\n+([●○]{3}),? (\d+) minutes", re.MULTILINE)
    cells = [cell.source for path in NOTEBOOKS for cell in read(path).cells if cell.cell_type == "markdown"]
    return {number: (stars.count("●"), int(minutes)) for number, stars, minutes in heading.findall("\n".join(cells))}


# --- questions


def test_every_question_has_exactly_one_answer():
    asked, answered = ([number for number, _ in numbered(page)] for page in ("questions.md", "answers.md"))
    assert [number for number, times in Counter(asked).items() if times > 1] == []
    assert answered == asked


def test_every_chapter_has_questions():
    asked = Counter(int(number.split(".")[0]) for number, _ in numbered("questions.md"))
    assert asked.keys() == {int(path.name[:2]) for path in NOTEBOOKS}
    assert min(asked.values()) >= 3 and asked.total() >= 40


def test_no_page_that_students_read_has_an_answer():
    contents = yaml.safe_load((CHAPTERS.parent / "_toc.yml").read_text(encoding="utf-8"))
    listed = {chapter["file"] for part in contents["parts"] for chapter in part["chapters"]}
    assert "chapters/teaching/questions" in listed and "chapters/teaching/answers" not in listed
    # Sphinx would put a file that a page links to into the book.
    linking = [path.name for path in CHAPTERS.rglob("*.md") if re.search(r"\]\([^)]*answers", path.read_text("utf-8"))]
    assert not linking
    questions = words((TEACHING / "questions.md").read_text(encoding="utf-8"))
    sentences = [words(part) for _, answer in numbered("answers.md") for part in re.split(r"(?<=[.:;]) ", answer)]
    assert [sentence for sentence in sentences if len(sentence.split()) > 3 and sentence in questions] == []


# --- the guide


@pytest.mark.parametrize(("plan", "minutes"), [("A laboratory of 90 minutes", 90), ("A day", 8 * 60)])
def test_the_minutes_of_a_plan_add_up(plan, minutes):
    assert sum(int(row[0]) for row in rows(section(plan))) == minutes


def test_the_work_at_home_is_that_of_its_exercises():
    known = all_exercises()
    assert len(known) > 30
    given = []
    for week, _, numbers, minutes, points in rows(section("A term")):
        chosen = numbers.split(", ") if numbers else []
        total = [sum(known[number][part] for number in chosen) for part in (0, 1)]
        assert [int(points or 0), int(minutes or 0)] == total, f"week {week}"
        given += chosen
    assert len(given) == len(set(given))


def test_the_sections_that_the_plans_name_are_in_their_chapters():
    lost = []
    for plan in ("A laboratory of 90 minutes", "A day", "A term"):
        for row in rows(section(plan)):
            text = " ".join(row)
            if found := re.search(r"Chapter (\d+)", text, re.IGNORECASE):
                there = read(next(CHAPTERS.glob(f"{int(found[1]):02}_*.ipynb")))
                text_of = "\n".join(cell.source for cell in there.cells if cell.cell_type == "markdown")
                headings = re.findall(r"^## (.+)$", text_of.replace("*", ""), re.MULTILINE)
                lost += [f"{found[0]}: {name}" for name in re.findall(r"\*([^*]+)\*", text) if name not in headings]
    assert not lost


def test_the_guide_has_every_chapter_and_is_short():
    wrong = section("What students get wrong")
    assert re.findall(r"^### Chapter (\d+)$", wrong, re.MULTILINE) == [str(int(path.name[:2])) for path in NOTEBOOKS]
    assert len((TEACHING / "guide.md").read_text(encoding="utf-8").split()) <= 3000


# --- Binder


def test_binder_installs_this_copy_of_the_book_with_what_the_chapters_import(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [line for line in Path(root, ".binder/requirements.txt").read_text().splitlines() if line[:1] != "#"]
    packages = [line for line in lines if not line.startswith(("-f", "--extra-index-url", "--index-url"))]
    assert packages == ["--editable .[notebooks]"]  # an installed package without a clone has no atlases
    assert "notebooks" in project["optional-dependencies"]


def test_binder_has_the_python_that_the_book_is_built_with(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = Path(root, ".binder/runtime.txt").read_text().strip().removeprefix("python-")
    assert SpecifierSet(project["requires-python"]).contains(f"{version}.0")
    steps = yaml.safe_load((root / ".github/workflows/book.yml").read_text())["jobs"]["book"]["steps"]
    assert version in [step["with"]["python-version"] for step in steps if "python-version" in step.get("with", {})]
