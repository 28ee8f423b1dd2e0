"""Families of categories from WordNet, coarse and fine, and how well the peaks agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from . import wordnet
from .contingency import adjusted_rand, category_counts, checked_numbers
from .graph import checked_integer

KINGDOMS = {"animal": "n00015388", "artifact": "n00021939"}
NO_GROUP = -1


@dataclass(frozen=True, eq=False)
class Cut:
    """A grouping of the categories.

    Attributes
    ----------
    labels : (c,) int, the group of each category; -1 for one that has none, which every measure leaves out
    names : names of the groups, not always unique: WordNet has two cranes
    synsets : WordNet ids of the groups; empty where they have none

    Raises
    ------
    ValueError
        If `labels` are not integers from -1 to the number of `names` less one.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    synsets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        labels = checked_numbers("labels", self.labels, least=NO_GROUP)
        if labels.max() >= len(self.names):
            raise ValueError(f"labels must be below the number of names, {len(self.names)}, but has {labels.max()}")
        object.__setattr__(self, "labels", labels)

    @classmethod
    def of_categories(cls, names: Sequence[str]) -> Cut:
        """The finest cut: each category is a group of its own."""
        return cls(np.arange(len(names)), tuple(names))

    @property
    def sizes(self) -> np.ndarray:
        """(groups,) int, the number of categories in each group."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.names))

    def __repr__(self) -> str:
        return f"Cut({len(self.names)} groups of {(self.labels >= 0).sum()} categories)"


def hypernym_chain(wordnet_graph: nx.DiGraph, synset: str) -> list[str]:
    """The synset and what is above it, up to the root: at each step the deepest hypernym, as in `hypernym_tree`.

    Depths fall by one at each step, since the depth of a synset is the longest way up (see `wordnet.depth`); read from
    the end, the chain has the ancestor at depth 0, 1, 2 ...

    Raises
    ------
    KeyError
        If `synset` is not in `wordnet_graph`.
    """
    wordnet.is_a(wordnet_graph, synset, synset)  # raises if it is not there

    @cache
    def depth(node: str) -> int:
        return 1 + max(map(depth, wordnet_graph.successors(node)), default=-1)

    chain = [synset]
    while hypernyms := list(wordnet_graph.successors(chain[-1])):
        chain.append(min(hypernyms, key=lambda h: (-depth(h), h)))
    return chain


def wordnet_cut(wordnet_graph: nx.DiGraph, synsets: Sequence[str | None], depth: int) -> Cut:
    """The categories by their hypernym at a depth of WordNet.

    A category that is itself no deeper is a group of its own, with all that are below it at that depth. Two categories
    of the same synset are always together. A category without synset (None) has no group.

    Parameters
    ----------
    wordnet_graph : as made by `wordnet.load`.
    synsets : WordNet id of each of the c categories, or None.
    depth : 0 for the root, where all are together; as in `wordnet.depth`, by the longest way up.

    Returns
    -------
    Cut
        Its groups are in the order of their WordNet ids.

    Raises
    ------
    KeyError
        If a synset is not in `wordnet_graph`.
    TypeError, ValueError
        If `depth` is not an integer, or negative; if no category has a synset.
    """
    depth = checked_integer("depth", depth, 0)
    chains = {s: hypernym_chain(wordnet_graph, s)[::-1] for s in set(synsets) if s is not None}
    group = {s: chain[min(depth, len(chain) - 1)] for s, chain in chains.items()}
    return _cut(wordnet_graph, [None if s is None else group[s] for s in synsets], sorted(set(group.values())))


def kingdom_cut(wordnet_graph: nx.DiGraph, synsets: Sequence[str | None]) -> Cut:
    """The paper's macro classes: group 0 the animals, group 1 the artifacts; all others have no group (-1).

    Here all hypernyms count and not just the deepest: whatever is in any way a kind of animal is an animal. One that
    is both is an animal.

    Source: Doimo et al. (2020), whose published indices leave out the categories that are neither.

    Raises
    ------
    KeyError
        If a synset is not in `wordnet_graph`.
    ValueError
        If no category is an animal or an artifact.
    """
    groups = [
        next((k for k in KINGDOMS.values() if s is not None and wordnet.is_a(wordnet_graph, s, k)), None)
        for s in synsets
    ]
    return _cut(wordnet_graph, groups, list(KINGDOMS.values()))


def agreement_by_depth(peak_labels: ArrayLike, labels: ArrayLike, cuts: Sequence[Cut]) -> np.ndarray:
    """(m,) adjusted Rand index of the peaks with each of m cuts.

    Points in the halo, and those of a category without a group in the cut, are left out of its index. A single peak
    agrees with nothing: its index is 0.

    Parameters
    ----------
    peak_labels : (n,) int, the peak of each point, as in ``Topography.labels``.
    labels : (n,) int, the category of each point, 0 ... c - 1.
    cuts : of the same c categories; usually one for each depth of WordNet, from `wordnet_cut`.

    Raises
    ------
    ValueError
        If lengths do not fit, or the points are all in one group of a cut.
    """
    c = cut_length(cuts)
    counts = category_counts(peak_labels, labels, c)
    return np.array([adjusted_rand(grouped(counts, cut, i)) for i, cut in enumerate(cuts)])


def grouped(counts: np.ndarray, cut: Cut, number: int = 0) -> np.ndarray:
    """(groups, p) points of each group of `cut` on each peak, from those of its categories; `number` is for errors.

    Raises
    ------
    ValueError
        If fewer than two groups have points.
    """
    table = np.zeros((len(cut.names), counts.shape[1]), dtype=counts.dtype)
    inside = cut.labels >= 0
    np.add.at(table, cut.labels[inside], counts[inside])
    if (present := table.any(1).sum()) < 2:
        raise ValueError(f"cuts[{number}] has {present} group with points: cut deeper, where there are at least two")
    return table


def cut_length(cuts: Sequence[Cut]) -> int:
    """The number of categories that all of `cuts` are of; ValueError if they differ or there are none."""
    lengths = sorted({len(cut.labels) for cut in cuts})
    if len(lengths) != 1:
        raise ValueError(f"cuts must be one or more cuts of the same categories, but are of {lengths or 'none'}")
    return lengths[0]


def _cut(wordnet_graph: nx.DiGraph, groups: Sequence[str | None], order: Sequence[str]) -> Cut:
    number = {synset: i for i, synset in enumerate(order)}
    if not any(group in number for group in groups):
        raise ValueError(f"synsets: none of the {len(groups)} categories has a group here; give WordNet ids")
    labels = np.array([NO_GROUP if group is None else number[group] for group in groups])
    return Cut(labels, tuple(wordnet_graph.nodes[synset]["name"] for synset in order), tuple(order))
