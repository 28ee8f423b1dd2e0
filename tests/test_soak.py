"""A sample of the soak, and that it would notice what it looks for. `python tests/soak.py` runs all of it."""

from __future__ import annotations

import numpy as np
import pytest
import soak
import torch

from nbutils.extraction.activations import extract


def judged(networks: int, seed: int, kind) -> tuple[soak.Counter, list[str]]:
    said: list[str] = []
    counts = soak.soak(networks, seed, kinds=(kind,), say=said.append)
    return counts, [line for line in said if "WRONG" in line]


def test_random_networks_made_by_hand():
    counts, wrong = judged(25, 1000, soak.hand_made)
    assert not wrong and not counts["WRONG"]
    assert counts["right"] > 100 and sum("refused" in what for what in counts) >= 8


@pytest.mark.slow
def test_random_networks_of_torchvision_and_timm():
    counts, wrong = judged(8, 2000, soak.by_name)
    assert not wrong and not counts["WRONG"]
    assert counts["right"] > 40


@pytest.mark.parametrize("fault", ["another order", "nothing refused", "too much refused"])
def test_the_soak_notices_what_is_wrong(monkeypatch, fault):
    def faulty(model, images, layers, out, **options):
        if fault == "nothing refused":
            return {name: np.zeros((soak.IMAGES, 5)) for name in layers}
        if fault == "too much refused":
            raise ValueError(f"layer {next(iter(layers))!r} is refused")
        store = extract(model, images, layers, out, **options)
        return {name: np.array(rows)[::-1] for name, rows in store.items()}

    monkeypatch.setattr(soak, "extract", faulty)
    counts, wrong = judged(3, 1000, soak.hand_made)
    assert counts["WRONG"] == len(wrong) > 5


def test_a_run_that_was_killed_is_the_same(tmp_path):
    found = soak.kills(1, tmp_path, images=60)
    assert found["files"] == 6 and found["files that differ"] == 0


def test_copies_of_outputs_are_copies():
    x = torch.ones(2)
    held = soak.copied({"a": (x, [x])})
    x.zero_()
    assert held["a"][0].sum() == 2 and held["a"][1][0].sum() == 2
