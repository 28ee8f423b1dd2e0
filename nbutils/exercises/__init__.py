"""The exercises of the chapters: how their answers are judged, and what goes wrong most often.

A notebook calls ``check("6.1", rand_index)``. What the exercise asks for stands in the module of its chapter, which is
loaded only then: a reader does not see the expected values, and no variable of the notebook can change them.
"""

from __future__ import annotations

import os
from importlib import import_module

from IPython.display import display

from ..book.claims import Note
from .exercise import Exercise as Exercise
from .verdict import judge, untouched

MODULES = {**{str(n): f"chapter_{n:02}" for n in range(1, 11)}, "L": "landscape"}


def check(number: str, answer: object) -> None:
    """Show whether the answer to an exercise is right and, if not, what may have gone wrong.

    If the environment variable ``BOOK_GRADE`` is 1, an answer that is wrong or missing also raises AssertionError, so
    that a grader sees it. Otherwise it stops nobody.

    Parameters
    ----------
    number : of the exercise, such as ``"6.1"``.
    answer : the reader's function. Each case calls it with fresh arguments.

    Raises
    ------
    ValueError
        If there is no such exercise.
    AssertionError
        With the message that is shown, if ``BOOK_GRADE`` is 1.
    """
    verdict = untouched(answer) or judge(find(number), answer)  # what is not solved needs no chapter
    display(Note("check", verdict.mark, verdict.text))
    if os.environ.get("BOOK_GRADE") == "1" and not verdict.right:
        raise AssertionError(f"exercise {number}: {verdict.text}")


def find(number: str) -> Exercise:
    """The exercise of that number; ValueError if there is none."""
    known = of_chapter(str(number).split(".")[0])
    if number not in known:
        raise ValueError(f"number={number!r} is no exercise of this chapter, which has {list(known)}")
    return known[number]


def of_chapter(chapter: str) -> dict[str, Exercise]:
    """The exercises of a chapter by their numbers; ValueError if it has none."""
    if chapter not in MODULES:
        raise ValueError(f"chapter={chapter!r} has no exercises: choose one of {list(MODULES)}")
    module = import_module(f".{MODULES[chapter]}", __name__)
    return {exercise.number: exercise for exercise in module.EXERCISES}
