"""Statements that rest on a number: checked when the notebook runs, shown with the number, fatal when untrue."""

from __future__ import annotations

import html
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
from IPython.display import Markdown, display


class ClaimFailed(AssertionError):
    """What the book says is not what the computation gives."""


def claim(
    statement: str,
    value: object,
    *,
    expect: object = None,
    within: float = 0.0,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    """State something that rests on `value`, show both to the reader, and fail if it is not so.

    Parameters
    ----------
    statement : a sentence in plain words.
    value : a number, a truth value, a string, or an estimate with ``.value`` and ``.error``.
    expect : what the value must be, to within the distance `within`.
    at_least, at_most : bounds of the value.

    Raises
    ------
    ClaimFailed
        If the value is not as stated; NaN never is.
    ValueError
        If nothing is expected of the value: that would be no claim; or if it is an array.
    """
    if expect is None and at_least is None and at_most is None:
        raise ValueError("a claim needs expect, at_least or at_most")
    number = getattr(value, "value", value)
    if getattr(number, "ndim", 0):
        raise ValueError(f"a claim is about one value, not {show(number)}: reduce it with .all(), .max() or the like")
    terms, holds = [], True
    if expect is not None:
        holds &= abs(number - expect) <= within if within else bool(number == expect)
        terms.append(f"{show(expect)} ± {show(within)}" if within else "")
    if at_least is not None:
        holds &= bool(number >= at_least)
        terms.append(f"at least {show(at_least)}")
    if at_most is not None:
        holds &= bool(number <= at_most)
        terms.append(f"at most {show(at_most)}")
    asked = ", ".join(filter(None, terms))
    if not holds:
        raise ClaimFailed(f"{statement}: {show(value)}, but the claim is {asked or show(expect)}")
    _note("claim", "✓", statement, show(value), asked)


def check(answer: object, *arguments: object, expect: object, within: float = 0.0) -> None:
    """Tell a reader whether an exercise is solved; never stops the notebook.

    Parameters
    ----------
    answer : the reader's value, or the function that the reader has written, called with `arguments`. None,
        ``...`` and NotImplementedError mean that there is no answer yet.
    expect : the right value (number or array), compared to within `within`; or a function that says whether the
        answer is right.
    """
    name = getattr(answer, "__name__", "the answer")
    try:
        value = answer(*arguments) if callable(answer) else answer
    except NotImplementedError:
        value = None
    except Exception as error:
        _note("check", "✗", f"{name} stopped with {type(error).__name__}: {error}")
        return
    if value is None or value is ...:
        _note("check", "○", f"Not solved yet: replace the … in {name} and run both cells again.")
        return
    try:
        if callable(expect):
            right = bool(expect(value))
        elif isinstance(expect, str):
            right = value == expect
        else:
            right = bool(
                np.shape(value) == np.shape(expect) and np.allclose(value, expect, rtol=0, atol=within, equal_nan=True)
            )
        shown = show(value)
    except Exception as error:
        _note("check", "✗", f"{name} cannot be judged: {type(error).__name__}: {error}")
        return
    _note("check", "✓" if right else "✗", f"{name} is right" if right else f"{name} is not right yet", shown)


def say(text: str) -> None:
    """Show a sentence in Markdown whose numbers were computed."""
    display(Markdown(text))


def table(head: Sequence[object], *rows: Sequence[object]) -> None:
    """Show rows under their headings; text as it is, numbers as `show` writes them."""
    lines = [" | ".join(cell if isinstance(cell, str) else show(cell) for cell in row) for row in (head, *rows)]
    lines.insert(1, " | ".join("---" for _ in head))
    say("\n".join(f"| {line} |" for line in lines))


def show(value: object) -> str:
    """A number as prose has it: whole numbers in full, others to three significant digits."""
    if hasattr(value, "value") and hasattr(value, "error"):
        return f"{show(value.value)} ± {show(value.error)}"
    if hasattr(value, "item") and np.ndim(value) == 0:
        value = value.item()  # of NumPy or PyTorch
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if isinstance(value, Real):
        size = abs(float(value))
        if size != 0 and not 1e-4 <= size < 1e6:
            return f"{float(value):.2e}"
        if size >= 999.5:  # three digits of which would be written 1e+03
            return f"{float(value):,.0f}"
        return f"{float(value):.3g}"
    if callable(value):
        return getattr(value, "__name__", "a function")
    if isinstance(value, np.ndarray) and value.size > 6:
        return f"an array of shape {value.shape}"
    return str(value)


class _Note:
    """Shown as HTML where that is possible, as text where it is not."""

    def __init__(self, kind: str, mark: str, statement: str, value: str, asked: str):
        self.kind, self.parts = kind, (mark, statement, value, asked)

    def __repr__(self) -> str:
        mark, statement, value, asked = self.parts
        return f"{mark} {statement}" + (f": {value}" if value else "") + (f"  ({asked})" if asked else "")

    def _repr_html_(self) -> str:
        mark, statement, value, asked = (html.escape(part) for part in self.parts)
        word = {"✓": "holds", "✗": "not yet", "○": "open"}[mark]
        return (
            f'<div class="{self.kind}"><span role="img" aria-label="{word}">{mark}</span> {statement}'
            + (f": <strong>{value}</strong>" if value else "")
            + (f" <small>({asked})</small>" if asked else "")
            + "</div>"
        )


def _note(kind: str, mark: str, statement: str, value: str = "", asked: str = "") -> None:
    display(_Note(kind, mark, statement, value, asked))
