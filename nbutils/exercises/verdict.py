"""Whether an answer is right: it is run on each case, and compared with the solution and with the usual mistakes."""

from __future__ import annotations

import copy
import dis
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .exercise import Cases, Exercise, Kind, Made, Recorded

RIGHT, WRONG, OPEN = "✓", "✗", "○"
ROUNDING = 1e-5  # relative difference of numbers that count as equal: those of 32 bits, on any machine
SMALL = 6  # entries of a result that is shown
NOTHING_DONE = {"RESUME", "NOP", "LOAD_CONST", "POP_TOP", "RETURN_VALUE", "RETURN_CONST"}


@dataclass(frozen=True)
class Verdict:
    """What is said about an answer, and its mark: right, wrong, or open."""

    mark: str
    text: str

    @property
    def right(self) -> bool:
        return self.mark == RIGHT


class Unfit(Exception):
    """A result that cannot be compared; the message says why."""


def not_solved(name: str) -> Verdict:
    return Verdict(OPEN, f"Not solved yet: replace the … in {name} and run both cells again.")


def untouched(answer: object) -> Verdict | None:
    """The verdict on what is still as the notebook has it, with ... for what is missing; None for all others."""
    if answer is None or answer is ...:
        return not_solved("the cell above")
    if (code := getattr(answer, "__code__", None)) is None:
        return None
    steps = list(dis.get_instructions(code))
    constants = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    nothing = {step.opname for step in steps} <= NOTHING_DONE and constants[-1] in (None, ...)
    gap = any(
        step.argval is ... and (step.opname == "RETURN_CONST" or after.opname.startswith(("STORE_", "RETURN_")))
        for step, after in itertools.pairwise([*steps, steps[-1]])
    )
    return not_solved(code.co_name) if nothing or gap else None


@cache
def cases_of(exercise: Exercise) -> Cases:
    """The arguments of all cases. They are never handed out, only copies of them."""
    return exercise.cases()


@cache
def made_by(exercise: Exercise, function: Callable | Recorded) -> Made:
    """What the solution or a mistake makes of each case, ready to be compared; it is never handed out."""
    if isinstance(function, Recorded):
        return function.made
    results = {case: run(exercise, case, function) for case in cases_of(exercise)}
    views = {case: _view(exercise, case, result) for case, result in results.items()}
    return Made({case: kind_of(result) for case, result in results.items()}, views)


def run(exercise: Exercise, case: str, function: Callable) -> Any:
    """The result of a function for copies of the arguments of a case."""
    return function(*copy.deepcopy(cases_of(exercise)[case]))


def judge(exercise: Exercise, answer: object) -> Verdict:
    """Run an answer on the cases of its exercise. Errors in the answer are part of the verdict, and are not raised."""
    name = exercise.reference.__name__
    if verdict := untouched(answer):
        return verdict
    if not callable(answer):
        return Verdict(WRONG, f'Give the function itself, check("{exercise.number}", {name}), not its result.')
    truth = made_by(exercise, exercise.reference)
    found, shown = {}, {}
    for case in cases_of(exercise):
        try:
            result = run(exercise, case, answer)
        except NotImplementedError:
            return not_solved(name)
        except Exception as error:
            return Verdict(WRONG, f"{name} stopped with {type(error).__name__} for {case}: {error}")
        if result is None or result is ...:
            missing = f"for {case} {name} returns nothing. Is a `return` missing at its end?"
            return Verdict(OPEN, f"Not solved yet: {missing}")
        try:
            _fits(result, truth.kinds[case])
            found[case], shown[case] = _view(exercise, case, result), _short(result)
        except Unfit as problem:
            return Verdict(WRONG, f"For {case} {name} returns {problem}.")
        except Exception as error:
            return Verdict(WRONG, f"The result of {name} cannot be judged: {type(error).__name__}: {error}")

    wrong = [case for case in found if not same(found[case], truth.views[case], exercise.tolerance)]
    if not wrong:
        return Verdict(RIGHT, f"{name} is right in all {len(found)} cases.")
    for message, mistake in exercise.mistakes.items():
        if _makes(exercise, mistake, found):
            return Verdict(WRONG, f"{name} is not right yet: {message}.")
    text = f"{name} is not right yet for {_listed(wrong)}"
    if right := [case for case in found if case not in wrong]:
        text += f", although it is for {_listed(right)}"
    return Verdict(WRONG, f"{text}." + (f" It gives {shown[wrong[0]]} for {wrong[0]}." if shown[wrong[0]] else ""))


def _view(exercise: Exercise, case: str, result: Any) -> Any:
    return plain(exercise.compared(result, *copy.deepcopy(cases_of(exercise)[case])))


def _makes(exercise: Exercise, mistake: Callable | Recorded, found: dict[str, Any]) -> bool:
    """Whether a mistake leads to what was found, in every case."""
    try:
        made = made_by(exercise, mistake).views
    except Exception:  # some cases do not allow the mistake
        return False
    return all(same(found[case], made[case], exercise.tolerance) for case in found)


def plain(value: Any) -> Any:
    """A result as an array, or as a dictionary of arrays; Unfit if it is neither a number, a text nor many of these."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError:
        raise Unfit("parts of different lengths") from None
    if array.dtype.kind not in "biufcUOS" or (array.dtype.kind == "O" and array.ndim == 0 and value is not None):
        raise Unfit(f"something of the type {type(value).__name__}")
    return array


def describe(value: Any) -> str:
    """A result in words, by its type and shape."""
    array = plain(value)
    if isinstance(array, dict):
        return f"a dictionary of {len(array)} entries"
    what = {"U": "text", "S": "bytes", "O": "object"}.get(array.dtype.kind, "number")
    if array.ndim == 0:
        return f"a {what}"
    if what == "number":
        return f"an array of shape {array.shape}" if array.ndim > 1 else f"{array.size} numbers in a row"
    return f"several {what}s"  # how many may be what is asked


def kind_of(value: Any) -> Kind:
    """The kind of a result."""
    return Kind(describe(value), tuple(value) if isinstance(value, dict) else ())


def _fits(found: Any, asked: Kind) -> None:
    """Unfit unless a result is of the kind and shape that is asked for."""
    have = kind_of(found)
    none_of_several = asked.words.startswith("several") and np.size(found) == 0
    if have.words != asked.words and not none_of_several:
        raise Unfit(f"{have.words}, but {asked.words} {'is' if asked.words.startswith('a') else 'are'} asked for")
    if unknown := [key for key in have.keys if key not in asked.keys]:
        raise Unfit(f"a dictionary with the key {unknown[0]!r}, which is not asked for")


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two results are equal, numbers up to `tolerance`; both as made by `plain`."""
    if isinstance(a, dict) or isinstance(b, dict):
        return (
            isinstance(a, dict)
            and isinstance(b, dict)
            and a.keys() == b.keys()
            and all(same(a[key], b[key], tolerance) for key in b)
        )
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "biufc" and b.dtype.kind in "biufc":
        return bool(np.allclose(a, b, rtol=ROUNDING, atol=max(tolerance, 1e-12), equal_nan=True))
    return bool(np.array_equal(a, b))


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _short(result: Any) -> str:
    """A result as text if it is short, otherwise nothing."""
    if isinstance(result, dict) or np.size(plain(result)) > SMALL:
        return ""
    return np.array2string(plain(result), precision=4, suppress_small=True, separator=", ")
