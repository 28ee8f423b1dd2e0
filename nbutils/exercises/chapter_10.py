"""Exercises of chapter 10, on the paper's scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, rand_score

from .exercise import Cases, Exercise

# --- 10.1


def macro_index(families: np.ndarray, peaks: np.ndarray, rows: np.ndarray) -> float:
    return float(adjusted_rand_score(families[rows], peaks[rows]))


def islands() -> Cases:
    rng = np.random.default_rng(101)
    names = np.array(["animal", "artifact", "other", "nothing"])
    families = rng.choice(names, 300, p=[0.4, 0.3, 0.2, 0.1])
    two = (families != "animal").astype(int)
    mixed = np.where(rng.random(300) < 0.8, two, rng.integers(0, 4, 300))
    return {
        "two islands, all rows": (families, two, np.ones(300, dtype=bool)),
        "two islands, animals and artifacts": (families, two, np.isin(families, names[:2])),
        "four mixed islands, all but one family": (families, mixed, families != "other"),
        "four images, with less agreement than by chance": (
            np.array(["animal", "animal", "artifact", "artifact"]),
            np.array([0, 1, 0, 1]),
            np.ones(4, dtype=bool),
        ),
    }


def judged(measure: Callable) -> Callable:
    return lambda families, peaks, rows: float(measure(families[rows], peaks[rows]))


MACRO = Exercise(
    "10.1",
    macro_index,
    islands,
    {
        "chance was not taken off: that is the Rand index, and not the adjusted one": judged(rand_score),
        "rows says which rows are judged": lambda families, peaks, rows: adjusted_rand_score(families, peaks),
        "the rows that were left out are judged": lambda families, peaks, rows: (
            adjusted_rand_score(families[~rows], peaks[~rows]) if not rows.all() else 0.0
        ),
        "that is the mutual information, and not the adjusted Rand index": judged(normalized_mutual_info_score),
        "that is the share of rows in the most frequent family of their peak": judged(
            lambda a, b: sum(np.unique(a[b == peak], return_counts=True)[1].max() for peak in np.unique(b)) / len(a)
        ),
        "an index below 0 says that there is less agreement than by chance: keep its sign": judged(
            lambda a, b: abs(adjusted_rand_score(a, b))
        ),
        "all families count, not only whether a row is an animal": judged(
            lambda a, b: adjusted_rand_score(a == "animal", b)
        ),
    },
    tolerance=1e-6,
)

# --- 10.2


def largest_k(labels: np.ndarray) -> int:
    return int(sizes(labels).min()) - 1


def sizes(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_counts=True)[1]


def categories() -> Cases:
    rng = np.random.default_rng(102)
    return {
        "four categories": (np.repeat([0, 1, 2, 3], [5, 3, 4, 5]),),
        "four large categories": (rng.permutation(np.repeat(np.arange(4), [140, 120, 200, 131])),),
        "ten categories": (rng.choice(10, 900, p=np.arange(3, 13) / 75),),
        "five categories in random order": (rng.permutation(np.repeat(np.arange(5), [31, 40, 36, 90, 33])),),
    }


LARGEST_K = Exercise(
    "10.2",
    largest_k,
    categories,
    {
        "an island needs one image more than neighbours": lambda labels: sizes(labels).min(),
        "an island of m images may have m - 1 neighbours, not m - 2": lambda labels: sizes(labels).min() - 2,
        "every category has to have a peak, also the smallest": lambda labels: sizes(labels).max() - 1,
        "the smallest category decides, not the mean": lambda labels: sizes(labels).mean() - 1,
        "the smallest category decides, not the median": lambda labels: np.median(sizes(labels)) - 1,
        "the smallest category decides, and not the first": lambda labels: sizes(labels)[0] - 1,
        "the smallest category decides, and not the last": lambda labels: sizes(labels)[-1] - 1,
        "that is the number of categories": lambda labels: len(sizes(labels)),
        "that is the number of categories less one": lambda labels: len(sizes(labels)) - 1,
        "that is the number of the smallest category; asked is its size less one": lambda labels: sizes(
            labels
        ).argmin(),
        "that is for two categories of the same size; each has its own": lambda labels: len(labels) // 2 - 1,
    },
)

# --- 10.3


def verdicts_with(rows: Sequence[dict[str, float]], tolerance: float) -> int:
    return counted(lambda found, said, tolerance: abs(found - said) <= tolerance * abs(said))(rows, tolerance)


def counted(rule: Callable) -> Callable:
    """The number of rows for which a rule holds."""
    return lambda rows, tolerance: sum(bool(rule(row["found"], row["published"], tolerance)) for row in rows)


def ledgers() -> Cases:
    rng = np.random.default_rng(103)
    few = [(10.0, 12.0), (10.0, 15.0), (10.0, 3.0), (0.0, 0.0), (0.0, 0.4), (-2.0, -2.5), (4.0, 7.0), (-1.0, 1.2)]
    said = np.round(rng.normal(size=80) * 10.0 ** rng.integers(-2, 3, 80), 3)
    found = said * (1 + rng.normal(size=80) * 0.6)

    def ledger(pairs: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
        return [{"published": float(a), "found": float(b)} for a, b in pairs]

    many = ledger(list(zip(said, found, strict=True)))
    return {
        "eight rows and a tolerance of one half": (ledger(few), 0.5),
        "80 rows and a tolerance of one tenth": (many, 0.1),
        "80 rows and a tolerance of one half": (many, 0.5),
    }


VERDICTS = Exercise(
    "10.3",
    verdicts_with,
    ledgers,
    {
        "the tolerance is a share of the published number": counted(lambda a, b, tolerance: abs(a - b) <= tolerance),
        "the share is of the published number, not of the one that was found": counted(
            lambda a, b, tolerance: abs(a - b) <= tolerance * abs(a)
        ),
        "a number that is off by just the tolerance counts: use <=": counted(
            lambda a, b, tolerance: abs(a - b) < tolerance * abs(b)
        ),
        "a number can be off in either direction: take the absolute value": counted(
            lambda a, b, tolerance: a - b <= tolerance * abs(b)
        ),
        "take the absolute value of the difference, not the difference of the absolute values": counted(
            lambda a, b, tolerance: abs(abs(a) - abs(b)) <= tolerance * abs(b)
        ),
        "the share is of the published number, not of the larger of the two": counted(
            lambda a, b, tolerance: abs(a - b) <= tolerance * max(abs(a), abs(b))
        ),
        "the tolerance is a share, not a percentage": counted(
            lambda a, b, tolerance: abs(a - b) <= tolerance / 100 * abs(b)
        ),
        "a published number can be negative: take its absolute value": counted(
            lambda a, b, tolerance: abs(a - b) <= tolerance * b
        ),
        "the argument tolerance is not used": lambda rows, tolerance: verdicts_with(rows, 0.5),
        "those are the rows that are not reproduced": lambda rows, tolerance: (
            len(rows) - verdicts_with(rows, tolerance)
        ),
        "that is their share; asked is the number of rows": lambda rows, tolerance: (
            verdicts_with(rows, tolerance) / len(rows)
        ),
        "a published 0 is reproduced by a 0": counted(
            lambda a, b, tolerance: b != 0 and abs(a - b) <= tolerance * abs(b)
        ),
        "that is the number of all rows": lambda rows, tolerance: len(rows),
    },
)

EXERCISES = (MACRO, LARGEST_K, VERDICTS)
