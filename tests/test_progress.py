"""The bar shows in a terminal and in a notebook, and nowhere when the book is built."""

from __future__ import annotations

import io

import pytest
import tqdm.auto

from nbutils import _progress as progress


@pytest.mark.parametrize(("setting", "shown"), [("", True), ("1", False)])
def test_the_bar_shows_unless_it_is_switched_off(monkeypatch, setting, shown):
    monkeypatch.setenv("TQDM_DISABLE", setting)
    screen = io.StringIO()
    monkeypatch.setattr(progress, "tqdm", lambda *a, delay, **k: tqdm.auto.tqdm(*a, **k, file=screen))
    assert list(progress.progress_bar(range(3), desc="counting")) == [0, 1, 2]
    assert ("counting" in screen.getvalue()) is shown
