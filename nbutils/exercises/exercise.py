"""What an exercise asks for, and what its answer is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Cases = Mapping[str, tuple[Any, ...]]


def itself(result: Any, *arguments: Any) -> Any:
    """The result as it is."""
    return result


@dataclass(frozen=True)
class Kind:
    """The kind of a result: in words, and the keys of a dictionary."""

    words: str
    keys: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Made:
    """What a function makes of each case: the kinds of its results, and what is compared of them."""

    kinds: Mapping[str, Kind]
    views: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Recorded:
    """A solution or a mistake of which only the results are known, as in the students' edition."""

    name: str
    made: Made

    @property
    def __name__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Exercise:
    """An exercise.

    Attributes
    ----------
    number : such as ``"6.1"``
    reference : the solution
    cases : makes the arguments of each case, under words that say which it is: "it is not right for ..."
    mistakes : an implementation of each usual mistake, under the message for those who made it
    tolerance : largest allowed difference of a number, above rounding
    compared : what is compared, computed from a result and the arguments; for answers that draw random numbers
    """

    number: str
    reference: Callable | Recorded
    cases: Callable[[], Cases]
    mistakes: Mapping[str, Callable | Recorded] = field(default_factory=dict)
    tolerance: float = 0.0
    compared: Callable = itself
