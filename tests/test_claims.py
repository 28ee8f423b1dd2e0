"""A claim fails when it is untrue, and says what it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from nbutils.book import claims
from nbutils.book.claims import ClaimFailed, Note, claim, show
from nbutils.dimension import Dimension

NAN = float("nan")


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, in order."""
    seen = []
    monkeypatch.setattr(claims, "display", seen.append)
    return seen


@pytest.mark.parametrize(
    "value, conditions",
    [
        (2, {"expect": 2}),
        (2.05, {"expect": 2, "within": 0.1}),
        (np.float32(2), {"expect": 2}),
        (np.int64(7), {"at_least": 7, "at_most": 7}),
        (True, {"expect": True}),
        (np.bool_(True), {"expect": True}),
        (np.array([1, 2]).max() == 2, {"expect": True}),
        (False, {"expect": False}),
        (0, {"expect": 0}),
        ("animal", {"expect": "animal"}),
        (Dimension(2.1, 0.05, 100, 0), {"expect": 2, "within": 0.2}),
        (Dimension(2.1, 0.05, 100, 0), {"at_least": 2}),
        (torch.tensor(2.0), {"expect": 2}),
        (np.array(2.0), {"at_most": 2}),
    ],
)
def test_what_is_so_is_said(shown, value, conditions):
    claim("This is so", value, **conditions)
    assert len(shown) == 1
    said = show(value)
    assert repr(shown[0]).startswith("✓ This is so" if said == "true" else f"✓ This is so: {said}")
    assert said != "true" or ":" not in repr(shown[0])


def test_a_statement_runs_on_into_its_number(shown):
    claim("The share of dogs is", 0.25, at_least=0.2)
    claim("There are fewer cats", 3, at_most=4)
    assert repr(shown[0]).startswith("✓ The share of dogs is 0.25")
    assert "The share of dogs is <strong>0.25</strong>" in shown[0]._repr_html_()
    assert repr(shown[1]).startswith("✓ There are fewer cats: 3")


def test_zero_has_no_sign(shown):
    claim("The index is", -0.0, at_most=0.1)
    assert repr(shown[0]).startswith("✓ The index is 0")


@pytest.mark.parametrize(
    "value, conditions",
    [
        (3, {"expect": 2}),
        (2.2, {"expect": 2, "within": 0.1}),
        (1.8, {"expect": 2, "within": 0.1}),
        (1.9, {"at_least": 2}),
        (2.1, {"at_most": 2}),
        (2.5, {"at_least": 1, "at_most": 2}),
        (2, {"expect": 2, "at_least": 3}),
        (False, {"expect": True}),
        (np.bool_(False), {"expect": True}),
        ("animals", {"expect": "animal"}),
        (Dimension(2.3, 5.0, 100, 0), {"expect": 2, "within": 0.2}),
        (Dimension(1.9, 5.0, 100, 0), {"at_least": 2}),
        (NAN, {"expect": NAN}),
        (NAN, {"expect": 0, "within": 1e9}),
        (NAN, {"at_least": -1e9}),
        (NAN, {"at_most": 1e9}),
        (2, {"expect": 2, "within": NAN}),
        (np.float32("nan"), {"at_least": 0}),
        (Dimension(NAN, NAN, 0, 0), {"at_most": 5}),
    ],
)
def test_what_is_not_so_fails(shown, value, conditions):
    with pytest.raises(ClaimFailed, match="This is so"):
        claim("This is so", value, **conditions)
    assert shown == []


def test_a_failure_says_both_numbers():
    with pytest.raises(ClaimFailed, match=r"The peaks: 7, but the claim is at least 8, at most 9"):
        claim("The peaks", 7, at_least=8, at_most=9)
    with pytest.raises(ClaimFailed, match=r"7, but the claim is 8$"):
        claim("The peaks", 7, expect=8)
    with pytest.raises(ClaimFailed, match=r"7\.5, but the claim is 8 ± 0\.1"):
        claim("The peaks", 7.5, expect=8, within=0.1)


def test_nothing_claimed_is_no_claim(shown):
    with pytest.raises(ValueError, match="expect, at_least or at_most"):
        claim("It is what it is", 3)
    with pytest.raises(ValueError, match="expect, at_least or at_most"):
        claim("It is what it is", 3, within=0.1)
    assert shown == []


@pytest.mark.parametrize("value", [np.array([1.0, 2.0]), np.array([1.0]), np.array([]), torch.ones(3)])
@pytest.mark.parametrize("conditions", [{"expect": 1}, {"expect": 1, "within": 0.5}, {"at_least": 0}])
def test_an_array_is_not_one_value(shown, value, conditions):
    # A claim about an array must say whether it holds for all elements or for any.
    with pytest.raises(ValueError, match=r"\.all\(\)"):
        claim("All are one", value, **conditions)
    assert shown == []


def test_the_reader_sees_statement_value_and_condition(shown):
    claim("The ID falls", 19.25, at_most=20)
    claim("Two peaks", 2, expect=2)
    page = BeautifulSoup(shown[0]._repr_html_(), "html.parser")
    assert page.div["class"] == ["claim"]
    assert page.text == "✓ The ID falls: 19.2 (at most 20)"
    assert page.strong.text == "19.2"
    assert page.find(attrs={"role": "img"})["aria-label"] == "holds"
    # Where the value is what was expected there is nothing to add.
    assert BeautifulSoup(shown[1]._repr_html_(), "html.parser").text == "✓ Two peaks: 2"


def test_html_is_text(shown):
    claim('If a < b & b > "c" <b>then</b>', "<script>x</script>", expect="<script>x</script>")
    shown.append(Note("check", "✗", "gave <i>"))
    for note, text in zip(shown, ['✓ If a < b & b > "c" <b>then</b>: <script>x</script>', "✗ gave <i>"], strict=True):
        page = BeautifulSoup(note._repr_html_(), "html.parser")
        assert page.text == text
        assert not page.find(["script", "b", "i"])


@dataclass
class Estimate:
    value: float
    error: float


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0"),
        (7, "7"),
        (-3, "-3"),
        (1234, "1,234"),
        (90_000, "90,000"),
        (12_345_678, "12,345,678"),
        (np.int32(8677), "8,677"),
        (np.uint8(255), "255"),
        (0.0, "0"),
        (1.0, "1"),
        (2.5, "2.5"),
        (0.123456, "0.123"),
        (-0.123456, "-0.123"),
        (12.345, "12.3"),
        (123.45, "123"),
        (999.4, "999"),
        (999.6, "1,000"),
        (-999.6, "-1,000"),
        (1234.5, "1,234"),
        (98765.4, "98,765"),
        (0.00012345, "0.000123"),
        (0.000012345, "1.23e-05"),
        (1234567.0, "1.23e+06"),
        (NAN, "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (np.float32(0.1), "0.1"),
        (np.float64(1 / 3), "0.333"),
        (np.array(1 / 3), "0.333"),
        (torch.tensor(0.25), "0.25"),
        (True, "true"),
        (np.bool_(False), "false"),
        (torch.tensor(True), "true"),
        (Estimate(2.0345, 0.0512), "2.03 ± 0.0512"),
        (Dimension(19.25, 0.5, 9, 0), "19.2 ± 0.5"),
        ("animal", "animal"),
        ((1, 2), "(1, 2)"),
        (None, "None"),
        (np.arange(3), "[0 1 2]"),
        (np.zeros((90, 2)), "an array of shape (90, 2)"),
        (len, "len"),
    ],
)
def test_numbers_as_prose_has_them(value, text):
    assert show(value) == text


def test_a_table_shows_its_rows_under_their_heads(shown):
    claims.table(["layer", "peaks"], ["logits", 1234], ["pool", np.float64(0.12345)])
    assert shown[-1].data.splitlines() == [
        "| layer | peaks |",
        "| --- | --- |",
        "| logits | 1,234 |",
        "| pool | 0.123 |",
    ]
