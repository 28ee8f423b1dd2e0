"""What the paper's authors published, number by number, and how well each number is known."""

from __future__ import annotations

import csv

from .._data import DATA


def paper_table() -> list[dict]:
    """The numbers of Doimo et al. (2020) for ResNet-152, a row for each layer; `paper_columns` says how sure."""
    with open(DATA / "paper_resnet152.csv", newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def paper_columns() -> list[dict]:
    """For each column of `paper_table` what it is, its ``source``, and ``within`` what its numbers are right."""
    with open(DATA / "paper_columns.csv", newline="", encoding="utf-8") as file:
        return [{**row, "within": float(row["within"])} for row in csv.DictReader(file)]
