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
    groups : numbers of categories in the macro classes of the others, which add up to `others`; by default one class
    """

    animals: int
    artifacts: int
    others: int
    images: int
    groups: tuple[int, ...] = ()

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

    @property
    def macros(self) -> np.ndarray:
        """(n,) the macro class of each row: "animal", "artifact", or "other 1", "other 2" ..."""
        groups = self.groups or (self.others,)
        counts = np.array([self.animals, self.artifacts, *groups]) * self.images
        return np.repeat(["animal", "artifact", *(f"other {i + 1}" for i in range(len(groups)))], counts)


# From the authors' file of macro classes: 13 (animals) in the first 38,400 rows, 2 (artifacts) in the next 47,100, then
# twelve small groups. The indices of their earlier notebook use the first 85,500 rows: the animals and the artifacts.
PAPER = Layout(animals=128, artifacts=157, others=15, images=300, groups=(1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 3, 1))
