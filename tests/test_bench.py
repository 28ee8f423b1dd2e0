"""The benchmark runs, measures what it says, and what is stored can be drawn. No test asserts a time."""

from __future__ import annotations

import io
import json
import os
import sys

import bench
import numpy as np
import pytest

from nbutils import _blocks, _nearest, neighbors

proc = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")


@pytest.mark.slow
@proc
@pytest.mark.parametrize(
    "task",
    [
        {"what": "graph", "who": "nbutils", "n": 300, "d": 20},
        {"what": "graph", "who": "half product", "n": 300, "d": 20},
        {"what": "graph", "who": "nbutils", "n": 300, "d": 20, "data": "categories"},
        {"what": "graph", "who": "scikit-learn", "n": 300, "d": 20},
        {"what": "parts", "who": "nbutils", "n": 300, "d": 20},
        {"what": "parts", "who": "half product", "n": 300, "d": 20},
        {"what": "peaks", "who": "nbutils", "c": 20},
        {"what": "pak", "who": "nbutils", "n": 300},
        {"what": "pipeline", "who": "nbutils", "n": 4000, "d": 50},
    ],
    ids=lambda task: "-".join(map(str, task.values())),
)
def test_a_contestant_answers_each_line_it_reads(task, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench.py", "--run"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(2 * (json.dumps(task) + "\n")))
    bench.main()
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(answers) == 2
    assert all(answer["seconds"] > 0 and answer["peak"] >= 0 for answer in answers)
    assert ("candidates" in answers[0]) == (task["what"] in ("peaks", "pipeline"))
    assert ("parts" in answers[0]) == (task["what"] in ("parts", "pipeline") and task["who"] == "nbutils")


@proc
def test_the_parts_make_up_the_whole_and_leave_nothing_behind():
    functions = _blocks.Blocks.read, _nearest.Nearest.update, _nearest.pairs_above, neighbors.refine
    watch = bench.parts("nbutils", 3000, 200)
    assert all(seconds > 0 for seconds in watch.parts.values()) and len(watch.parts) == 8
    assert sum(watch.parts.values()) <= watch.seconds
    assert functions == (_blocks.Blocks.read, _nearest.Nearest.update, _nearest.pairs_above, neighbors.refine)


@proc
def test_the_watch_sees_memory_that_is_held_only_for_a_while():
    with bench.Watch() as watch:
        held = np.ones(10_000_000)
        for _ in range(20):
            held += 1
        del held
    assert 7e7 < watch.peak < 1.2e8


@pytest.mark.parametrize(
    "name, whats", [("bench", {"graph", "peaks", "pak", "pipeline", "extract"}), ("bench_large", {"graph", "peaks"})]
)
def test_what_is_stored_has_all_that_the_page_draws(name, whats, root):
    stored = json.loads((root / "data" / f"{name}.json").read_text())
    assert {"processor", "cores", "torch"} <= stored["machine"].keys() and "/" not in str(stored["machine"])
    lines = stored["lines"]
    assert whats <= {line["what"] for line in lines}
    for line in lines:
        assert line["runs"]["nbutils"], line
        for runs in line["runs"].values():
            assert all(run["seconds"] > 0 for run in runs)
    asked = {
        tuple(sorted((key, value) for key, value in line.items() if key not in ("who", "repeat")))
        for line in bench.lines(large=name == "bench_large")
    }
    found = {tuple(sorted((key, value) for key, value in line.items() if key != "runs")) for line in lines}
    assert found <= asked, "measured with another benchmark; run: make bench"
