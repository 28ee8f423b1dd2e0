"""What the paper's authors published, number by number, and how well each number is known."""

from __future__ import annotations

import csv

from .._data import DATA

# The checkpoints whose neighbour graphs were published.
CHECKPOINTS = ("0", "1", "10", "34", "97", "142", "145", "148", "151", "152", "153")


def paper_table(graphs_only: bool = False) -> list[dict[str, float]]:
    """The numbers of Doimo et al. (2020) for ResNet-152, one row for each checkpoint, from the input to the output.

    A number that is not known is NaN. `paper_columns` says what the columns are and how accurate their numbers are.

    Parameters
    ----------
    graphs_only : only the 11 checkpoints whose neighbour graphs were published, for which every number is known, and
        not all 23.
    """
    with open(DATA / "paper_resnet152.csv", newline="", encoding="utf-8") as file:
        rows = [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]
    return [row for row in rows if not graphs_only or f"{row['checkpoint']:g}" in CHECKPOINTS]


def paper_columns() -> list[dict]:
    """For each column of `paper_table` what it is, its ``source``, and ``within``, the accuracy of its numbers.

    ``within`` is half a unit of the last published digit, or what can be read off a plot.
    """
    with open(DATA / "paper_columns.csv", newline="", encoding="utf-8") as file:
        return [{**row, "within": float(row["within"])} for row in csv.DictReader(file)]
