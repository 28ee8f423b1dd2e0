"""The editions for a course: what each must have, what it must not have, and that its checks and grades are right."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import nbformat
import pytest
from editions import answers, assignment, pages, slides, student, teacher
from exercises import CHAPTERS, NOTEBOOKS, REFERENCE, exercises, read, tags
from nbgrader.api import Gradebook

from nbutils.exercises import MODULES, of_chapter
from nbutils.exercises.exercise import Exercise
from nbutils.exercises.recorded import packed_view, unpacked_view
from nbutils.exercises.verdict import OPEN, RIGHT, WRONG, plain

QUICK = ("2", "7", "10")  # chapters whose exercises are judged in seconds
ROOM = Path(__file__).parents[1] / "nbutils" / "exercises"


def text_of(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells)


def spelled(node: ast.AST) -> str:
    """A function without what may differ between two that do the same: its name and docstring."""
    body = [line for line in node.body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
    return "\n".join(map(ast.unparse, body))


@cache
def declared(number: str) -> Exercise:
    return of_chapter(number.split(".")[0])[number]


# --- the students' edition


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The students' tree, with the answers of a few chapters recorded."""
    out = tmp_path_factory.mktemp("editions") / "student"
    student.build(out, QUICK)
    return out


@pytest.mark.parametrize("path", [*NOTEBOOKS, *REFERENCE], ids=lambda path: path.stem)
def test_a_students_notebook_has_exercises_and_hints_and_no_solution(path, tree):
    full, ours = read(path), read(tree / "chapters" / path.relative_to(CHAPTERS))
    nbformat.validate(ours)
    text = text_of(ours)
    assert "<summary>Solution" not in text
    assert "For teachers" not in text
    for exercise in exercises(full):
        assert exercise.solution.strip() not in text
    assert text.count("<summary>Hint</summary>") == text_of(full).count("<summary>Hint</summary>")
    for tag in ("exercise", "check"):
        kept = [[cell.source for cell in book.cells if tag in tags(cell)] for book in (full, ours)]
        assert kept[0] == kept[1]
    code = [[cell.source for cell in book.cells[1:] if cell.cell_type == "code"] for book in (full, ours)]
    assert code[0] == code[1]
    assert 'tag = f"v{version}-student"' in ours.cells[0].source
    compile(ours.cells[0].source, "setup", "exec")


def test_only_what_is_for_teachers_is_taken_from_a_page():
    def cells(*sources: str) -> list[nbformat.NotebookNode]:
        return [nbformat.v4.new_markdown_cell(source) for source in sources]

    given = cells(
        "# A\ntext\n## For teachers\nsecret", "secret too\n### deeper\n```\n# no heading\n```\nsecret", "## B\nb"
    )
    assert [cell.source for cell in pages.without_teachers(given)] == ["# A\ntext", "## B\nb"]
    given = cells("## For teachers\nsecret\n\nNext: [C](c.ipynb)")
    assert [cell.source for cell in pages.without_teachers(given)] == ["Next: [C](c.ipynb)"]


def test_the_students_package_has_no_solution_and_no_mistake(tree):
    folder = tree / "nbutils" / "exercises"
    assert not (tree / "tests" / "wrong_answers.py").exists()
    assert not (tree / "chapters" / "teaching").exists()
    package = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    functions = {spelled(node) for node in ast.walk(ast.parse(package)) if isinstance(node, ast.FunctionDef)}
    for chapter, name in MODULES.items():
        ours = (folder / f"{name}.py").read_text(encoding="utf-8")
        solutions = {exercise.reference.__name__ for exercise in of_chapter(chapter).values()}
        tree_of = ast.parse((ROOM / f"{name}.py").read_text(encoding="utf-8"))
        for node in tree_of.body:
            if isinstance(node, ast.FunctionDef) and node.name in solutions:
                assert f"def {node.name}(" not in ours
                assert spelled(node) not in functions
        for exercise in of_chapter(chapter).values():
            for message in exercise.mistakes:
                assert message not in ours
        assert "Exercise(" not in ours


def test_cases_that_need_a_solution_are_refused():
    source = textwrap.dedent("""
        '''A chapter.'''
        from __future__ import annotations
        def solve(x): return 2 * x
        def helper(x): return solve(x) + 1
        A = Exercise("1.1", solve, lambda: {"one": (1,)}, {"wrong": lambda x: x}, compared=COMPARED)
        EXERCISES = (A,)
    """)
    assert "solve" not in answers.without_answers(source.replace("COMPARED", "float"))
    with pytest.raises(ValueError, match=r"\['solve'\] are solutions"):
        answers.without_answers(source.replace("COMPARED", "helper"))


IN_THE_TREE = """
import json, sys
import nbutils
from nbutils.exercises import find, judge
from pathlib import Path
assert Path(nbutils.__file__).is_relative_to(Path.cwd()), nbutils.__file__
said = []
for number, name, code in json.load(sys.stdin):
    space = {}
    exec("import numpy as np\\nfrom scipy.stats import rankdata\\n" + code, space)
    verdict = judge(find(number), space[name])
    said.append([verdict.mark, verdict.text])
print(json.dumps(said))
"""

RANDOM_NAMES = """
def shared(a, b):
    return np.mean([len(np.intersect1d(x, y)) for x, y in zip(a, b)]) / a.shape[1]

"""

TRIED = [
    ("2.1", "unnamed", None, RIGHT, "right in all"),
    ("2.1", "unnamed", "def unnamed(graph): ...", OPEN, "Not solved yet"),
    ("2.1", "unnamed", "def unnamed(graph): return len(np.unique(graph.indices)) / graph.n", WRONG, "that are named"),
    ("2.1", "unnamed", "def unnamed(graph): return 0.25", WRONG, "is not right yet for"),
    ("2.1", "unnamed", "def unnamed(graph): return [0.25]", WRONG, "but a number is asked for"),
    ("2.1", "unnamed", "def unnamed(graph): return missing", WRONG, "NameError"),
    ("2.3", "chance_spread", None, RIGHT, "right in all"),
    ("2.3", "chance_spread", "def chance_spread(n, k, pairs): return k / (n - 1)", WRONG, "that is the mean overlap"),
    ("10.2", "largest_k", None, RIGHT, "right in all"),
    ("10.2", "largest_k", "def largest_k(labels): return np.bincount(labels).min()", WRONG, "one image more"),
    ("10.2", "largest_k", "def largest_k(labels): ...", OPEN, "Not solved yet"),
]


def test_the_students_checks_know_right_open_and_wrong(tree):
    solutions = {}
    for path in NOTEBOOKS:
        notebook = read(path)
        for place in pages.exercises(notebook):
            solutions[place.number] = place.solution
    given = [(number, name, RANDOM_NAMES + (code or solutions[number])) for number, name, code, _, _ in TRIED]
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_TREE], input=json.dumps(given), cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for (number, _, code, mark, words), (found, text) in zip(TRIED, json.loads(done.stdout), strict=True):
        assert found == mark, (number, code, text)
        assert words in text


@pytest.mark.parametrize("number", ["2.2", "9.2", "8.5"])
def test_what_is_compared_survives_the_file(number):
    exercise = declared(number)
    for given in exercise.cases().values():
        view = plain(exercise.reference(*given))
        again = unpacked_view(json.loads(json.dumps(packed_view(view))))
        assert repr(again) == repr(view)


# --- the teachers' edition


@pytest.fixture(scope="module")
def for_teachers(tmp_path_factory):
    out = tmp_path_factory.mktemp("editions") / "teacher"
    teacher.build(out)
    return out


@pytest.mark.parametrize("path", [*NOTEBOOKS, *REFERENCE], ids=lambda path: path.stem)
def test_a_teachers_notebook_has_open_solutions_mistakes_and_points(path, for_teachers):
    full, ours = read(path), read(for_teachers / path.relative_to(CHAPTERS))
    nbformat.validate(ours)
    text = text_of(ours)
    found = exercises(full)
    assert text.count("<details open><summary>Solution") == len(found)
    assert text.count("**Grading ") == len(found)
    assert text.count("<details") == text.count("</details>")
    for exercise, place in zip(found, pages.exercises(full), strict=True):
        assert exercise.solution in text
        assert f"**Grading {place.number}.** {place.points} point" in text
        for message in declared(place.number).mistakes:
            assert f"- {message}\n" in text
    assert ("For teachers" in text) == ("For teachers" in text_of(full))


# --- slides

SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'


def test_a_deck_has_every_figure_with_its_caption_and_the_takeaways():
    def output(**data: str) -> nbformat.NotebookNode:
        return nbformat.v4.new_output("display_data", {kind.replace("_", "/"): text for kind, text in data.items()})

    def shown(*outputs: nbformat.NotebookNode, alt: str = "") -> nbformat.NotebookNode:
        return nbformat.v4.new_code_cell(outputs=list(outputs), metadata={"mystnb": {"image": {"alt": alt}}})

    embedded = base64.b64encode(SVG.encode()).decode()
    pictures = "".join(
        f'<img src="data:image/svg+xml;base64,{embedded}" alt="{alt}" hidden>' for alt in ("a &amp; b", "c")
    )
    markdown = nbformat.v4.new_markdown_cell
    ran = nbformat.v4.new_notebook(
        cells=[
            markdown("# A chapter\n\n## Where?"),
            shown(output(**{"image_svg+xml": SVG}), alt="A line [left]."),
            markdown("*Figure 1.1. A [line](a.md), $Z = 1$. More. Photographs: A. Body, CC BY.*\n\nText."),
            shown(output(text_html=pictures)),
            markdown("*Figure 1.2. A flipbook; move the slider.*"),
            markdown("## Takeaways\n\n- One.\n- Two.\n\n## For teachers\n\nsecret"),
        ]
    )
    text, files = slides.deck(ran, "one")
    deck = text.split("\n---\n")
    assert [re.search(r"^#+ (.*)", slide, re.MULTILINE)[1] for slide in deck[1:]] == [
        "A chapter",
        "Where?",
        "Where?",
        "Where?",
        "Takeaways",
    ]
    assert (
        "![A line (left).](one/Figure-1.1.svg)\n\n*Figure 1.1.* A line, $Z = 1$. Photographs: A. Body, CC BY."
        in deck[2]
    )
    assert "<!--\nMore.\n-->" in deck[2]
    assert "*Figure 1.2.* A flipbook.\n" in deck[3] + "\n"
    assert "![a & b](one/Figure-1.2-1.svg)" in deck[3]
    assert deck[-1].strip().endswith("- One.\n- Two.")
    assert files.keys() == {"one/Figure-1.1.svg", "one/Figure-1.2-1.svg", "one/Figure-1.2-2.svg"}
    assert set(files.values()) == {SVG.encode()}


# --- nbgrader


def grader(course: Path, *words: str) -> str:
    """What a command of nbgrader says, in the folder of a course."""
    done = subprocess.run(
        ["nbgrader", *words],
        cwd=course,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of one short assignment, made of the exercises of chapter 10 and the imports that they need."""
    out = tmp_path_factory.mktemp("editions") / "nbgrader"
    assignment.build(out)
    for path in out.glob("source/*"):
        if path.name != "10_paper_scale":
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    path = out / "source" / "10_paper_scale" / "10_paper_scale.ipynb"
    notebook = read(path)
    assert 'f"v{version}-student"' in notebook.cells[0].source
    start = nbformat.v4.new_code_cell("import numpy as np\nfrom sklearn.metrics import adjusted_rand_score")
    notebook.cells = [start, *(cell for cell in notebook.cells if "nbgrader" in cell.metadata)]
    nbformat.write(notebook, path)
    said = grader(out, "generate_assignment", "10_paper_scale")
    assert (out / "release").exists(), said
    return out


@pytest.mark.slow
def test_a_released_assignment_has_stubs_points_and_no_solution(course):
    full = read(CHAPTERS / "10_paper_scale.ipynb")
    released = read(course / "release" / "10_paper_scale" / "10_paper_scale.ipynb")
    text = text_of(released)
    assert "SOLUTION" not in text
    places = pages.exercises(full)
    for place in places:
        assert place.solution.strip() not in text
        assert full.cells[place.stub].source.strip() in text
    points = {
        c.metadata.nbgrader.grade_id: c.metadata.nbgrader.points
        for c in released.cells
        if c.metadata.get("nbgrader", {}).get("grade")
    }
    assert points == {f"check-{place.number.replace('.', '-')}": place.points for place in places}


@pytest.mark.slow
def test_nbgrader_validates_solutions_and_not_stubs(course):
    assert "Success! Your notebook passes all the tests." in grader(
        course, "validate", "source/10_paper_scale/10_paper_scale.ipynb"
    )
    said = grader(course, "validate", "release/10_paper_scale/10_paper_scale.ipynb")
    assert f"VALIDATION FAILED ON {len(pages.exercises(read(CHAPTERS / '10_paper_scale.ipynb')))} CELL(S)" in said
    assert "Not solved yet" in said


@pytest.mark.slow
def test_nbgrader_gives_full_marks_to_solutions_and_nothing_to_the_rest(course):
    released = course / "release" / "10_paper_scale" / "10_paper_scale.ipynb"
    solved = read(course / "source" / "10_paper_scale" / "10_paper_scale.ipynb")
    wrong = "def {name}(*arguments):\n    return 0.5"
    hands = {
        "right": lambda cell: next(c.source for c in solved.cells if c.id == cell.id),
        "stub": lambda cell: cell.source,
        "wrong": lambda cell: wrong.format(name=re.search(r"def (\w+)", cell.source)[1]),
        "crashing": lambda cell: "def broken(:",
        "cheating": lambda cell: f"{cell.source}\ncheck = print",
    }
    for name, answer in hands.items():
        notebook = read(released)
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                cell.source = answer(cell)
        pages.write(notebook, course / "submitted" / name / "10_paper_scale" / "10_paper_scale.ipynb")
    said = grader(course, "autograde", "10_paper_scale")
    assert (course / "autograded" / "crashing").exists(), said
    full = sum(place.points for place in pages.exercises(read(CHAPTERS / "10_paper_scale.ipynb")))
    assert scores(course) == dict.fromkeys(hands, 0) | {"right": full}


def scores(course: Path) -> dict[str, float]:
    """The score of each student in nbgrader's database."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {one.student.id: one.score for one in book.assignment_submissions("10_paper_scale")}
