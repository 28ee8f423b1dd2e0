"""Which image each row of the published graphs is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    """What the rows of a graph are: all images of the first category, then of the second, and so on.

    The animals come first, then the artifacts, then the other categories.

    Attributes
    ----------
    animals, artifacts, others : numbers of categories
    images : number of images of each category
    """

    animals: int
    artifacts: int
    others: int
    images: int

    @property
    def categories(self) -> int:
        return self.animals + self.artifacts + self.others

    @property
    def n(self) -> int:
        return self.categories * self.images

    @property
    def labels(self) -> np.ndarray:
        """(n,) the category of each row."""
        return np.repeat(np.arange(self.categories), self.images)

    @property
    def families(self) -> np.ndarray:
        """(n,) "animal", "artifact" or "other"."""
        counts = np.array([self.animals, self.artifacts, self.others]) * self.images
        return np.repeat(["animal", "artifact", "other"], counts)


# From the authors' file of macro classes: 13 (animals) in the first 38,400 rows, 2 (artifacts) in the next 47,100, then
# twelve small groups. Their adjusted Rand indices use the first 85,500 rows: the animals and the artifacts.
PAPER = Layout(animals=128, artifacts=157, others=15, images=300)
