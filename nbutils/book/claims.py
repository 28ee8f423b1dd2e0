"""Statements about computed numbers, and tables, as the notebooks show them.

A claim is shown with its number. If it is false, it stops the notebook, and so the build of the book.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
from IPython.display import Markdown, display

# A statement that ends in one of these runs on into its value; after any other a colon stands between them.
RUNS_ON = re.compile(r"\b(are|at|be|by|in|is|least|most|namely|of|only|still|than|the|to|within)$")


class ClaimFailed(AssertionError):
    """A claim of the book does not agree with the computed value."""


def claim(
    statement: str,
    value: object,
    *,
    expect: object = None,
    within: float = 0.0,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    """Check a statement about `value`, and show both to the reader.

    Parameters
    ----------
    statement : a sentence in plain words, which the value completes.
    value : a number, a bool, a string, or an estimate with the attributes ``value`` and ``error``.
    expect : the expected value.
    within : the largest allowed difference between the value and `expect`.
    at_least, at_most : bounds of the value, both included.

    Raises
    ------
    ClaimFailed
        If the value does not satisfy the conditions; NaN satisfies none.
    ValueError
        If there is no condition, or the value is an array.
    """
    if expect is None and at_least is None and at_most is None:
        raise ValueError("a claim needs a condition: give expect, at_least or at_most")
    number = getattr(value, "value", value)
    if getattr(number, "ndim", 0):
        raise ValueError(f"value must be a single value, not {show(number)}: reduce it with .all() or .max(), say")
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
    said = show(value)
    display(Note("claim", "✓", statement, "" if said == "true" else said, asked))


def say(text: str) -> None:
    """Show a text in Markdown."""
    display(Markdown(text))


def table(head: Sequence[object], *rows: Sequence[object]) -> None:
    """Show a table: strings as Markdown, all other values as in `show`.

    Parameters
    ----------
    head : headings of the columns.
    rows : the cells of each row, one for each heading.
    """
    lines = [" | ".join(cell if isinstance(cell, str) else show(cell) for cell in row) for row in (head, *rows)]
    lines.insert(1, " | ".join("---" for _ in head))
    say("\n".join(f"| {line} |" for line in lines))


def show(value: object) -> str:
    """A value as text: integers with commas, other numbers to three significant digits, estimates with their error."""
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
        if size == 0:  # also if it is negative
            return "0"
        if not 1e-4 <= size < 1e6:
            return f"{float(value):.2e}"
        if size >= 999.5:  # the format .3g would give 1e+03
            return f"{float(value):,.0f}"
        return f"{float(value):.3g}"
    if callable(value):
        return getattr(value, "__name__", "a function")
    if isinstance(value, np.ndarray) and value.size > 6:
        return f"an array of shape {value.shape}"
    return str(value)


class Note:
    """A line that is shown as HTML in a notebook, and as text elsewhere."""

    def __init__(self, kind: str, mark: str, statement: str, value: str = "", asked: str = ""):
        self.kind, self.parts = kind, (mark, statement, value, asked)

    @property
    def between(self) -> str:
        """What stands between the statement and its value."""
        return " " if RUNS_ON.search(self.parts[1]) else ": "

    def __repr__(self) -> str:
        mark, statement, value, asked = self.parts
        return f"{mark} {statement}" + (self.between + value if value else "") + (f"  ({asked})" if asked else "")

    def _repr_html_(self) -> str:
        mark, statement, value, asked = (html.escape(part) for part in self.parts)
        word = {"✓": "holds", "✗": "not yet", "○": "open"}[mark]
        return (
            f'<div class="{self.kind}"><span role="img" aria-label="{word}">{mark}</span> {statement}'
            + (f"{self.between}<strong>{value}</strong>" if value else "")
            + (f" <small>({asked})</small>" if asked else "")
            + "</div>"
        )
