"""Every exercise has a solution that its own check accepts, and the check of an unsolved one stops nobody."""

from __future__ import annotations

import nbformat
import pytest
from exercises import CHAPTERS, NOTEBOOKS, exercises, read
from nbclient import NotebookClient


def shown(cell: nbformat.NotebookNode) -> str:
    """What a cell shows, as text."""
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_pass_their_checks(path, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = read(path)
    found = exercises(notebook)
    checks = [notebook.cells[exercise.check] for exercise in found]
    for exercise in reversed(found):  # from the end, so that the positions still to come stay right
        notebook.cells.insert(exercise.check, nbformat.v4.new_code_cell(exercise.solution))
    place = {"metadata": {"path": str(CHAPTERS)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    failed = [
        f"{cell.source}\n -> {text or 'nothing shown'}"
        for cell in checks
        if "✓" not in (text := shown(cell)) or "✗" in text or "○" in text
    ]
    assert not failed, "\n".join(failed)
