"""What the paper's authors published, number by number, how well each is known, and where our network compares."""

from __future__ import annotations

import csv

from .._data import DATA

# The checkpoints whose neighbour graphs were published.
CHECKPOINTS = ("0", "1", "10", "34", "97", "142", "145", "148", "151", "152", "153")

# How a number of the table is known. What the rows are, k and Z are of the kind "rel" too.
SOURCES = {
    "rel": "read in the authors' released notebook or source",
    "early": "printed in an earlier notebook that their repository also holds",
    "plot": "read off a plot in their released notebook",
    "calc": "recomputed by us from numbers that they published, and not printed by them",
}

# For each layer of EfficientNet-Lite0 (the atlas "tiny-imagenet") the checkpoints of ResNet-152 at the same kind of
# place: where the picture has been halved as often, and equally far from the ends of these layers. The numbers of the
# two networks play no role, and neither do their results.
PLACES = {
    "input": (0,),
    "stage 2.2": (1, 10),
    "stage 3.2": (16, 25, 34),
    "stage 4.3": (43, 52, 61, 70, 79, 88),
    "stage 5.3": (97, 106, 115, 124, 133, 142),
    "stage 6.4": (145,),
    "stage 7.1": (148, 151),
    "pool": (152,),
    "logits": (153,),
}


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
    """For each column of `paper_table`: its ``quantity``, ``what`` it is, its ``source``, and the accuracy ``within``.

    The source is one of `SOURCES`. ``within`` is half a unit of the last published digit, or what can be read off a
    plot.
    """
    with open(DATA / "paper_columns.csv", newline="", encoding="utf-8") as file:
        return [{**row, "within": float(row["within"])} for row in csv.DictReader(file)]


def place_of(checkpoint: float) -> str:
    """The layer of the atlas "tiny-imagenet" at the same kind of place as a checkpoint of ResNet-152."""
    return next(layer for layer, checkpoints in PLACES.items() if checkpoint in checkpoints)
