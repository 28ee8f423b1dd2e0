"""Exercises without their solutions and mistakes: what these make of the cases was computed before, and is in a file.

``make student`` writes the files, and puts `recorded` where the modules of the chapters have `Exercise`.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .exercise import Cases, Exercise, Kind, Made, Recorded
from .verdict import made_by

FOLDER = Path(__file__).resolve().parent


def recorded(number: str, cases: Callable[[], Cases], **how: Any) -> Exercise:
    """The exercise of that number, with what its file knows of the solution and the mistakes."""
    known = read(number.split(".")[0])[number]
    name = known["name"]
    mistakes = {message: Recorded(name, unpacked(made)) for message, made in known["mistakes"]}
    return Exercise(number, Recorded(name, unpacked(known["solution"])), cases, mistakes, **how)


@cache
def read(chapter: str) -> dict[str, Any]:
    """The file of a chapter: its exercises by number."""
    return json.loads((FOLDER / f"recorded_{chapter}.json").read_text(encoding="utf-8"))


def record(exercise: Exercise) -> dict[str, Any]:
    """What the file has of an exercise, without mistakes that some cases do not allow: nobody can have made them."""
    mistakes = []
    for message, mistake in exercise.mistakes.items():
        try:
            mistakes.append([message, packed(made_by(exercise, mistake))])
        except Exception:
            continue
    solution = packed(made_by(exercise, exercise.reference))
    return {"name": exercise.reference.__name__, "solution": solution, "mistakes": mistakes}


def packed(made: Made) -> list[list[Any]]:
    """For each case its words, the kind of the result, and what is compared, as JSON."""
    return [
        [case, made.kinds[case].words, made.kinds[case].keys, packed_view(view)] for case, view in made.views.items()
    ]


def unpacked(cases: list[list[Any]]) -> Made:
    """The inverse of `packed`."""
    kinds = {case: Kind(words, tuple(keys)) for case, words, keys, _ in cases}
    return Made(kinds, {case: unpacked_view(view) for case, _, _, view in cases})


def packed_view(view: Any) -> Any:
    """An array as text that nobody reads by accident, objects as a list, a dictionary as a list of keys and values."""
    if isinstance(view, dict):
        return {"entries": [[key, packed_view(value)] for key, value in view.items()]}
    if view.dtype.kind == "O":
        return {"objects": view.tolist()}
    file = io.BytesIO()
    np.save(file, view, allow_pickle=False)
    return base64.b85encode(zlib.compress(file.getvalue(), 9)).decode()


def unpacked_view(view: Any) -> Any:
    """The inverse of `packed_view`."""
    if isinstance(view, str):
        return np.load(io.BytesIO(zlib.decompress(base64.b85decode(view))), allow_pickle=False)
    if "objects" in view:
        return np.array(view["objects"], dtype=object)
    return {key: unpacked_view(value) for key, value in view["entries"]}
