"""Whether an answer is right: it is run on each case, and compared with the solution and with the usual mistakes."""

from __future__ import annotations

import copy
import dis
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .exercise import Cases, Exercise

RIGHT, WRONG, OPEN = "✓", "✗", "○"
ROUNDING = 1e-9  # relative difference of numbers that count as equal
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
    """The verdict on a function that does nothing, as the notebook has it; None for all others."""
    if answer is None or answer is ...:
        return not_solved("the cell above")
    if (code := getattr(answer, "__code__", None)) is None:
        return None
    steps = list(dis.get_instructions(code))
    constants = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    nothing = {step.opname for step in steps} <= NOTHING_DONE and constants[-1] in (None, ...)
    return not_solved(code.co_name) if nothing else None


@cache
def cases_of(exercise: Exercise) -> Cases:
    """The arguments of all cases. They are never handed out, only copies of them."""
    return exercise.cases()


@cache
def results_of(exercise: Exercise, function: Callable) -> dict[str, Any]:
    """What the solution or a mistake makes of each case; they are only compared, and never handed out."""
    return {case: run(exercise, case, function) for case in cases_of(exercise)}


@cache
def views_of(exercise: Exercise, function: Callable) -> dict[str, Any]:
    """These results, ready to be compared."""
    return {case: _view(exercise, case, result) for case, result in results_of(exercise, function).items()}


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
            _fits(result, results_of(exercise, exercise.reference)[case])
            found[case], shown[case] = _view(exercise, case, result), _short(result)
        except Unfit as problem:
            return Verdict(WRONG, f"For {case} {name} returns {problem}.")
        except Exception as error:
            return Verdict(WRONG, f"The result of {name} cannot be judged: {type(error).__name__}: {error}")

    truth = views_of(exercise, exercise.reference)
    wrong = [case for case in found if not same(found[case], truth[case], exercise.tolerance)]
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


def _makes(exercise: Exercise, mistake: Callable, found: dict[str, Any]) -> bool:
    """Whether a mistake leads to what was found, in every case."""
    try:
        made = views_of(exercise, mistake)
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


def _fits(found: Any, expected: Any) -> None:
    """Unfit unless two results are of the same kind and shape."""
    have, want = describe(found), describe(expected)
    none_of_several = want.startswith("several") and np.size(found) == 0
    if have != want and not none_of_several:
        raise Unfit(f"{have}, but {want} {'is' if want.startswith('a') else 'are'} asked for")
    if isinstance(found, dict) and (unknown := [key for key in found if key not in expected]):
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
