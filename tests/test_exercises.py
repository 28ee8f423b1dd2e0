"""Exercises: solutions are right, stubs are open, and wrong answers are wrong, with the message meant for them."""

from __future__ import annotations

import ast
import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from exercises import NOTEBOOKS, REFERENCE, exercises, read, tags
from wrong_answers import WRONG

from nbutils import exercises as room
from nbutils.exercises import MODULES, check, find, judge, of_chapter
from nbutils.exercises.exercise import Exercise, Recorded
from nbutils.exercises.recorded import record, unpacked
from nbutils.exercises.verdict import OPEN, RIGHT, plain, same, untouched
from nbutils.exercises.verdict import WRONG as IS_WRONG
from nbutils.smallworld.things import load_things

CHECK = re.compile(r'check\("([^"]+)", (\w+)\)')
HEADING = re.compile(r"^### Exercise (\w+\.\d+):", re.MULTILINE)
TRAINING = ("8.1", "8.4")  # judged by what must hold for any training
AVAILABLE = [
    chapter
    for chapter, module in MODULES.items()
    if (Path(__file__).parents[1] / "nbutils" / "exercises" / f"{module}.py").exists()
]
DECLARED = [exercise for chapter in AVAILABLE for exercise in of_chapter(chapter).values()]
EXACT = [exercise for exercise in DECLARED if exercise.number not in TRAINING]


def each(exercises: list[Exercise]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("exercise", exercises, ids=lambda exercise: exercise.number)


@dataclass
class Page:
    """An exercise as its notebook has it."""

    number: str
    name: str
    heading: str
    stub: str
    solution: str
    notebook: nbformat.NotebookNode


@cache
def pages() -> dict[str, Page]:
    """The exercises of all notebooks by number."""
    found = {}
    for path in [*NOTEBOOKS, *REFERENCE]:
        notebook = read(path)
        for exercise in exercises(notebook):
            if match := CHECK.fullmatch(notebook.cells[exercise.check].source.strip()):
                number, name = match.groups()
                above = "\n".join(
                    cell.source for cell in notebook.cells[: exercise.check] if cell.cell_type == "markdown"
                )
                stub = notebook.cells[exercise.check - 1].source
                assert number not in found, f"{path.stem} checks {number}, which another cell does"
                found[number] = Page(number, name, HEADING.findall(above)[-1], stub, exercise.solution, notebook)
    return found


def defined(page: Page, source: str) -> dict[str, object]:
    """What a cell defines, in a notebook of which only imports and functions were run: there are no variables."""
    space: dict[str, object] = {}
    for cell in page.notebook.cells:
        if cell.cell_type == "code" and not {"setup", "exercise", "check"} & set(tags(cell)):
            lines = [line for line in cell.source.splitlines() if not line.startswith(("%", "!"))]
            for node in ast.parse("\n".join(lines)).body:
                if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef)):
                    with suppress(NameError):  # a default value may be a variable
                        exec(compile(ast.Module([node], []), page.number, "exec"), space)
    exec(source, space)
    return space


@each(EXACT)
def test_an_exercise_has_cases_that_tell_answers_apart(exercise):
    cases, again = exercise.cases(), exercise.cases()
    assert len(cases) >= 2
    assert cases.keys() == again.keys()
    assert len(exercise.mistakes) >= 3
    results = [exercise.reference(*given) for given in copy.deepcopy(cases).values()]
    repeated = [exercise.reference(*given) for given in copy.deepcopy(again).values()]
    views = [
        [plain(exercise.compared(result, *given)) for result, given in zip(each, cases.values(), strict=True)]
        for each in (results, repeated)
    ]
    assert all(same(a, b, exercise.tolerance) for a, b in zip(*views, strict=True)), "the solution is not reproducible"


@each(EXACT)
def test_the_solution_and_what_the_notebook_says_is_right(exercise):
    assert judge(exercise, exercise.reference).mark == RIGHT
    page = pages()[exercise.number]
    verdict = judge(exercise, defined(page, page.solution)[page.name])
    assert verdict.mark == RIGHT, verdict.text
    assert verdict.text.startswith(page.name)


@each(EXACT)
def test_the_notebook_has_a_stub_of_the_same_arguments_under_its_number(exercise):
    page = pages()[exercise.number]
    assert page.heading == exercise.number
    assert page.name == exercise.reference.__name__
    stub = defined(page, page.stub)[page.name]
    code, solved = stub.__code__, exercise.reference.__code__
    assert code.co_varnames[: code.co_argcount] == solved.co_varnames[: solved.co_argcount]
    verdict = judge(exercise, stub)
    assert verdict.mark == OPEN
    assert verdict.text == f"Not solved yet: replace the … in {page.name} and run both cells again."


def wrong_answers() -> list:
    declared = [
        pytest.param((exercise, mistake, message), id=f"{exercise.number}: {message}")
        for exercise in DECLARED
        for message, mistake in exercise.mistakes.items()
    ]
    more = [
        pytest.param((find(number), answer, message), id=f"{number}: answer {i}")
        for number, answers in WRONG.items()
        for i, (answer, message) in enumerate(answers)
    ]
    return declared + more


@cache
def without_code(exercise: Exercise) -> Exercise:
    """An exercise as the students' edition has it, by way of its file."""
    known = json.loads(json.dumps(record(exercise)))
    name = known["name"]
    return Exercise(
        exercise.number,
        Recorded(name, unpacked(known["solution"])),
        exercise.cases,
        {message: Recorded(name, unpacked(made)) for message, made in known["mistakes"]},
        exercise.tolerance,
        exercise.compared,
    )


class Remembered:
    """A function that is called for the same cases again, and then gives what it gave before."""

    def __init__(self, function: Callable):
        self.function, self.outcomes, self.calls = function, [], 0

    def again(self) -> Remembered:
        self.calls = 0
        return self

    def __call__(self, *given: object) -> object:
        if self.calls == len(self.outcomes):
            try:
                self.outcomes.append((self.function(*given), None))
            except Exception as error:
                self.outcomes.append((None, error))
        result, error = self.outcomes[self.calls]
        self.calls += 1
        if error:
            raise error
        return copy.deepcopy(result)


@pytest.mark.parametrize("wrong", wrong_answers())
def test_a_wrong_answer_gets_the_message_meant_for_it_with_and_without_code(wrong):
    exercise, answer, message = wrong
    if callable(answer) and not untouched(answer):
        answer = Remembered(answer)
    for edition in (exercise, without_code(exercise)):
        verdict = judge(edition, answer.again() if isinstance(answer, Remembered) else answer)
        assert verdict.mark != RIGHT
        assert message in verdict.text


@each(DECLARED)
def test_without_code_the_solution_is_right(exercise):
    assert judge(without_code(exercise), exercise.reference).mark == RIGHT


@each(EXACT)
def test_at_least_four_wrong_answers_are_tried(exercise):
    assert len(exercise.mistakes) + len(WRONG.get(exercise.number, [])) >= 4


@each(EXACT)
def test_the_expected_result_of_one_case_is_no_answer(exercise):
    for given in exercise.cases().values():
        constant = exercise.reference(*given)
        assert judge(exercise, lambda *_, constant=constant: copy.deepcopy(constant)).mark != RIGHT


@each(EXACT)
def test_an_answer_cannot_change_what_it_is_compared_with(exercise):
    def spoil(value: object) -> None:
        if isinstance(value, (dict, list)):
            value.clear()
        elif isinstance(value, np.ndarray) and value.flags.writeable:
            value.fill(0)
        elif hasattr(value, "zero_"):
            value.zero_()
        for part in vars(value).values() if hasattr(value, "__dict__") else ():
            if isinstance(part, np.ndarray) and part.flags.writeable:
                part.fill(0)

    def spoiler(*given: object) -> object:
        result = exercise.reference(*given)
        for value in given:
            spoil(value)
        return result

    assert judge(exercise, spoiler).mark == RIGHT


def experiment(number: str, *given: object) -> object:
    """What the solution of an exercise of chapter 8 finds, with all things."""
    page = pages()[number]
    return defined(page, page.solution)[page.name](load_things(), *given)


@pytest.mark.long
@pytest.mark.slow
def test_what_chapter_8_says_of_labels_known_by_heart():
    known, new = experiment("8.1", 330, 40)
    assert known > 0.9 and new < 0.12


@pytest.mark.long
@pytest.mark.slow
def test_what_chapter_8_says_of_two_networks():
    pools, pixels = experiment("8.4", 3300, 3)
    assert pools > 2 * pixels


@pytest.mark.parametrize(
    "number, answer, mark",
    [
        ("8.1", lambda things, n, epochs: (0.97, 1.4 / len(things)), RIGHT),
        ("8.1", lambda things, n, epochs: (0.97, 0.03), IS_WRONG),
        ("8.1", lambda things, n, epochs: (0.97, 0.95), IS_WRONG),
        ("8.1", lambda things, n, epochs: (0.05, 1 / len(things)), IS_WRONG),
        ("8.4", lambda things, n, epochs: (0.3, 30 / n), RIGHT),
        ("8.4", lambda things, n, epochs: (0.3, 0.05), IS_WRONG),
        ("8.4", lambda things, n, epochs: (1.0, 0.05), IS_WRONG),
        ("8.4", lambda things, n, epochs: (0.05, 0.3), IS_WRONG),
        ("8.4", lambda things, n, epochs: (0.3, 1.0), IS_WRONG),
    ],
)
def test_trainings_are_judged_by_what_must_hold_for_any(number, answer, mark):
    assert judge(find(number), answer).mark == mark


def test_every_exercise_of_the_book_is_declared():
    assert pages().keys() == {exercise.number for exercise in DECLARED}
    for exercise in DECLARED:
        assert find(exercise.number).number == exercise.number


# --- what a check says and does, with an exercise made for it


def double(x: np.ndarray, times: int) -> np.ndarray:
    return 2 * x * times


TOY = Exercise(
    "6.1",
    double,
    lambda: {"one number": (np.array([1.5]), 1), "three numbers": (np.array([1.0, 2, np.nan]), 3)},
    {
        "times is not used": lambda x, times: 2 * x,
        "that is a mistake some cases do not allow": lambda x, times: 1 / 0,
    },
    tolerance=0.01,
)


class Sulky:
    def __array__(self, *args: object, **kwargs: object) -> None:
        raise RuntimeError("not in the mood")


def returned(value: object) -> object:
    return lambda x, times: value


def unfinished(x: np.ndarray, times: int) -> None:
    raise NotImplementedError


def forgetful(x: np.ndarray, times: int) -> None:
    2 * x * times


def spoiling(x: np.ndarray, times: int) -> np.ndarray:
    x *= 2 * times
    return x


def documented(x: np.ndarray, times: int) -> None:
    """The double."""


def partly_written(x: np.ndarray, times: int) -> np.ndarray:
    """The double, with a gap, as an exercise in the middle of a chapter has it."""
    twice = ...
    return twice * times


def with_its_end_missing(x: np.ndarray, times: int) -> np.ndarray:
    x = 2 * x
    return ...


def with_a_gap_in_a_loop(x: np.ndarray, times: int) -> np.ndarray:
    total = 0 * x
    for _ in range(times):
        step = ...
        total = total + step
    return total


def with_an_ellipsis(x: np.ndarray, times: int) -> np.ndarray:
    column = x[:, None]
    column[..., 0] *= 2
    first = column[..., 0]
    return first * times


def sliced(x: np.ndarray, times: int) -> np.ndarray:
    return x[...]


@pytest.mark.parametrize(
    "answer, mark, words",
    [
        (lambda x, times: 2 * x * times, RIGHT, "double is right in all 2 cases."),
        (lambda x, times: list(2 * x * times), RIGHT, "right"),
        (lambda x, times: torch.tensor(2 * x * times), RIGHT, "right"),
        (lambda x, times: 2 * x * times + 0.009, RIGHT, "right"),
        (lambda x, times: 2 * x * times + 0.011, IS_WRONG, "not right yet for one number and three numbers"),
        (lambda x, times: 2 * x * min(times, 2), IS_WRONG, "not right yet for three numbers, although it is for one"),
        (lambda x, times: 2 * x * min(times, 2), IS_WRONG, "It gives [ 4.,  8., nan] for three numbers."),
        (lambda x, times: 2 * x, IS_WRONG, "double is not right yet: times is not used."),
        (lambda x, times: (2 * x * times)[:, None], IS_WRONG, "an array of shape (1, 1), but 1 numbers in a row are"),
        (lambda x, times: float(x[0]), IS_WRONG, "For one number double returns a number, but"),
        (lambda x, times: x if times == 1 else missing, IS_WRONG, "NameError for three numbers: name 'miss"),  # noqa: F821
        (lambda x: x, IS_WRONG, "double stopped with TypeError for one number"),
        (returned("3"), IS_WRONG, "returns a text"),
        (returned({1: 2}), IS_WRONG, "returns a dictionary of 1 entries"),
        (returned([[1], [1, 2]]), IS_WRONG, "returns parts of different lengths"),
        (returned({1, 2}), IS_WRONG, "returns something of the type set"),
        (returned(Sulky()), IS_WRONG, "cannot be judged: RuntimeError: not in the mood"),
        (np.array([3.0]), IS_WRONG, 'Give the function itself, check("6.1", double)'),
        (None, OPEN, "Not solved yet"),
        (..., OPEN, "Not solved yet"),
        (unfinished, OPEN, "replace the … in double"),
        (documented, OPEN, "replace the … in documented"),
        (partly_written, OPEN, "replace the … in partly_written"),
        (with_its_end_missing, OPEN, "replace the … in with_its_end_missing"),
        (with_a_gap_in_a_loop, OPEN, "replace the … in with_a_gap_in_a_loop"),
        (with_an_ellipsis, RIGHT, "right in all 2 cases"),
        (sliced, IS_WRONG, "is not right yet for"),
        (forgetful, OPEN, "for one number double returns nothing. Is a `return` missing at its end?"),
        (returned(...), OPEN, "Is a `return` missing"),
        (spoiling, RIGHT, "right"),
    ],
)
def test_the_verdict_on_an_answer(answer, mark, words):
    for _ in range(2):  # what an answer does to its arguments is gone
        verdict = judge(TOY, answer)
        assert verdict.mark == mark
        assert words in verdict.text


@pytest.fixture
def shown(monkeypatch):
    notes: list = []
    monkeypatch.setattr(room, "display", notes.append)
    monkeypatch.setattr(room, "find", lambda number: TOY)
    return notes


@pytest.mark.parametrize("answer, mark", [(double, RIGHT), (lambda x, times: x, IS_WRONG), (None, OPEN)])
def test_a_check_shows_its_verdict_and_stops_nobody_but_a_grader(shown, monkeypatch, answer, mark):
    monkeypatch.delenv("BOOK_GRADE", raising=False)
    check("6.1", answer)
    page = BeautifulSoup(shown[0]._repr_html_(), "html.parser")
    assert repr(shown[0]).startswith(mark)
    assert page.div["class"] == ["check"]
    assert page.span["aria-label"] == {RIGHT: "holds", IS_WRONG: "not yet", OPEN: "open"}[mark]
    monkeypatch.setenv("BOOK_GRADE", "1")
    if mark == RIGHT:
        check("6.1", answer)
    else:
        with pytest.raises(AssertionError) as failed:
            check("6.1", answer)
        assert str(failed.value) == f"exercise 6.1: {judge(TOY, answer).text}"
    assert repr(shown[1]) == repr(shown[0])


def test_stopping_the_kernel_stops_the_check(shown):
    def endless(x, times):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("6.1", endless)


def test_an_exercise_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"'6\.99' is no exercise"):
        check("6.99", double)
    with pytest.raises(ValueError, match="chapter='77'"):
        check("77.1", double)


def test_a_chapter_is_loaded_when_its_exercise_is_checked():
    code = """
import sys
from nbutils.exercises import check
def stub(first, second): ...
check("6.1", stub)
assert not [name for name in sys.modules if "exercises.chapter" in name or name == "torch"], "stub"
check("10.2", lambda labels: 1)
assert [name for name in sys.modules if "exercises.chapter" in name] == ["nbutils.exercises.chapter_10"]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(OPEN)
    assert "✗ largest_k is not right yet" in done.stdout
