"""The modules of the exercises without the answers.

What makes the cases stays, and what is compared of a result. The solution and
the mistakes are not there; what they make of the cases is in a file.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable

from nbutils.exercises.exercise import Exercise
from nbutils.exercises.recorded import record

FIELDS = (
    "number",
    "reference",
    "cases",
    "mistakes",
    "tolerance",
    "compared",
)
HIDDEN = ("reference", "mistakes")


def file_of(exercises: Iterable[Exercise]) -> str:
    """The text of the file with what solutions and mistakes make."""
    known = {exercise.number: record(exercise) for exercise in exercises}
    return json.dumps(known, ensure_ascii=False, indent=0) + "\n"


def without_answers(source: str) -> str:
    """A module of exercises that knows its answers from the file alone.

    Raises
    ------
    ValueError
        If the cases or the comparison of an exercise need a solution.
    """
    module = Hiding().visit(ast.parse(source))
    solutions = {name for call in calls(source) for name in reference(call)}
    used = needed(module)
    if told := solutions & used:
        raise ValueError(
            f"{sorted(told)} are solutions, but cases or `compared` of an "
            "exercise call them: write there what they need once more"
        )
    module.body = [kept for node in module.body for kept in part(node, used)]
    module.body.insert(2, ast.parse("from .recorded import recorded").body[0])
    return ast.unparse(ast.fix_missing_locations(module)) + "\n"


class Hiding(ast.NodeTransformer):
    """Puts ``recorded(...)`` where ``Exercise(...)`` stands."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if not is_exercise(node):
            return node
        given = arguments(node)
        shown = {k: v for k, v in given.items() if k not in HIDDEN}
        first = [shown.pop("number"), shown.pop("cases")]
        rest = [ast.keyword(name, value) for name, value in shown.items()]
        return ast.Call(ast.Name("recorded", ast.Load()), first, rest)


def is_exercise(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "Exercise"


def calls(source: str) -> list[ast.Call]:
    """Where a module makes an exercise."""
    return [node for node in ast.walk(ast.parse(source)) if is_exercise(node)]


def arguments(call: ast.Call) -> dict[str, ast.expr]:
    """The arguments of ``Exercise(...)`` by their names."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    return dict(zip(FIELDS, call.args, strict=False)) | named


def reference(call: ast.Call) -> set[str]:
    """The names in what an exercise gives as its solution."""
    return names(arguments(call)["reference"])


def names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def defined(node: ast.stmt) -> set[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(a.asname or a.name).split(".")[0] for a in node.names}
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    return {
        n.id
        for n in ast.walk(node)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def needed(module: ast.Module) -> set[str]:
    """The names that the exercises need, and what these need in turn."""
    found: set[str] = set()
    new = {"EXERCISES"}
    while new:
        found |= new
        new = {
            name
            for node in module.body
            if defined(node) & found
            for name in names(node)
        } - found
    return found


def part(node: ast.stmt, used: set[str]) -> list[ast.stmt]:
    """What stays of a statement: of an import the names that are used."""
    if isinstance(node, ast.Expr):  # the docstring
        return [node]
    if not isinstance(node, (ast.Import, ast.ImportFrom)):
        return [node] if defined(node) & used else []
    if isinstance(node, ast.ImportFrom) and node.module == "__future__":
        return [node]
    node.names = [
        alias
        for alias in node.names
        if (alias.asname or alias.name).split(".")[0] in used
    ]
    return [node] if node.names else []
