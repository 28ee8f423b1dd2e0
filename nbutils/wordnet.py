"""The hypernym hierarchy of WordNet, and distances between its synsets.

A synset is a set of words with the same meaning. Its id is that of ImageNet, an ``n`` and the eight digits of its
offset in WordNet 3.0: a dog is ``n02084071``. Its hypernyms are the more general synsets directly above it. Nearly
every synset has one hypernym, some have two or more, so the hierarchy is a directed acyclic graph, not a tree.

A graph comes from `load`, the part of WordNet that comes with the book, or from `whole_wordnet.all_nouns`. The
functions that take a graph raise KeyError if a synset is not in it, and ValueError if two have no common hypernym.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence

import networkx as nx
import numpy as np

from ._data import DATA

FILE = DATA / "wordnet.tsv"


def load(path: str | os.PathLike = FILE) -> nx.DiGraph:
    """The part of WordNet 3.0 that comes with the book: ImageNet-1k, the categories of the atlases, and all hypernyms.

    Returns
    -------
    networkx.DiGraph
        Each edge goes from a synset to a hypernym. The attributes of a node are `name`, its first word, and `words`, a
        tuple of all its words.

    Raises
    ------
    FileNotFoundError
        If there is no such file; ``python data/make_wordnet.py`` makes it.
    ValueError
        If the file is incomplete.
    """
    graph = nx.DiGraph()
    for row in _rows(path):
        words = tuple(row["words"].split(", "))
        graph.add_node(row["synset"], name=words[0], words=words)
        graph.add_edges_from((row["synset"], hypernym) for hypernym in row["hypernyms"].split())
    require_complete(graph, f"{os.fspath(path)} is damaged: make it again with `python data/make_wordnet.py`")
    return graph


def imagenet_ids(path: str | os.PathLike = FILE) -> list[str]:
    """The 1,000 categories of ImageNet-1k, in the order of a classifier's outputs."""
    classes = {int(row["imagenet"]): row["synset"] for row in _rows(path) if row["imagenet"]}
    return [classes[i] for i in sorted(classes)]


def synset_table(path: str | os.PathLike = DATA / "caltech101_synsets.csv") -> dict[str, str | None]:
    """The synset of each category, or None, from a table with the columns ``category`` and ``synset``."""
    with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte-order mark
        return {row["category"]: row["synset"] or None for row in csv.DictReader(file)}


def is_a(graph: nx.DiGraph, a: str, ancestor: str) -> bool:
    """Whether `ancestor` is `a` itself, one of its hypernyms, one of theirs, and so on."""
    _require(graph, ancestor)
    return ancestor in _steps_up(graph, a)


def depth(graph: nx.DiGraph, a: str) -> int:
    """Number of edges on the longest path from `a` up to the root.

    The longest path makes every synset deeper than its hypernyms. By the shortest path a person would have the depth 3
    and an organism the depth 5, although a person is an organism.
    """
    return _depths(graph, _steps_up(graph, a))[a]


def path_distance(graph: nx.DiGraph, a: str, b: str) -> int:
    """Number of edges of the shortest path that goes up from `a` to a common hypernym and down to `b`."""
    up_a, up_b = _steps_up(graph, a), _steps_up(graph, b)
    return min(up_a[node] + up_b[node] for node in _common(up_a, up_b))


def path_distances(graph: nx.DiGraph, ids: Sequence[str]) -> np.ndarray:
    """`path_distance` of each pair of the m `ids`: an (m, m) float array, symmetric, 0 on the diagonal."""
    ups = [_steps_up(graph, a) for a in ids]
    column = {node: j for j, node in enumerate(dict.fromkeys(node for up in ups for node in up))}
    steps = np.full((len(ups), len(column)), np.inf)
    for row, up in zip(steps, ups, strict=True):
        row[[column[node] for node in up]] = list(up.values())
    distances = np.empty((len(ups), len(ups)))
    for i, row in enumerate(steps):
        above = np.isfinite(row)
        distances[i] = (steps[:, above] + row[above]).min(axis=1)
    if np.isinf(distances).any():
        i, j = np.argwhere(np.isinf(distances))[0]
        raise ValueError(f"{ids[i]!r} and {ids[j]!r} have no common hypernym in this graph")
    return distances


def lowest_common_hypernym(graph: nx.DiGraph, a: str, b: str) -> str:
    """The deepest synset (see `depth`) of which `a` and `b` are both a kind (see `is_a`).

    It is `a` itself if `b` is a kind of `a`. Of equally deep synsets it is the one with the fewest steps to `a` and
    `b`, and then the one with the smallest id.
    """
    up_a, up_b = _steps_up(graph, a), _steps_up(graph, b)
    depths = _depths(graph, _common(up_a, up_b))
    return min(depths, key=lambda node: (-depths[node], up_a[node] + up_b[node], node))


def hypernym_distances(graph: nx.DiGraph, ids: Sequence[str]) -> np.ndarray:
    """Height at which each pair of the m `ids` is joined: an (m, m) float array, symmetric, 0 for the same synset.

    The height is the largest depth among `ids` minus the depth of the pair's `lowest_common_hypernym` (see `depth`).
    As for cophenetic distances, only the place where two branches join counts, not their length below it.
    """
    ups = {a: _steps_up(graph, a) for a in ids}
    depths = _depths(graph, set().union(*ups.values()))
    deepest = max((depths[a] for a in ups), default=0)
    return np.array(
        [[0.0 if a == b else deepest - max(depths[node] for node in _common(ups[a], ups[b])) for b in ids] for a in ids]
    ).reshape(len(ids), len(ids))


def wu_palmer(graph: nx.DiGraph, a: str, b: str) -> float:
    """Similarity of two synsets: 1 for the same one, close to 0 if they have only the root in common.

    It is 2 d / (s_a + s_b + 2 d), where d is the number of synsets on the longest path from the
    `lowest_common_hypernym` to the root, both included, and s_a and s_b are the steps from it down to `a` and `b`.

    Source: Wu and Palmer (1994), "Verb semantics and lexical selection".
    """
    meet = lowest_common_hypernym(graph, a, b)
    above = depth(graph, meet) + 1
    return 2 * above / (_steps_up(graph, a)[meet] + _steps_up(graph, b)[meet] + 2 * above)


def hypernym_tree(graph: nx.DiGraph, ids: Iterable[str]) -> nx.DiGraph:
    """The tree that joins the given synsets; its inner nodes are the synsets where branches meet.

    Each synset keeps one hypernym, the deepest (see `depth`), or of equally deep ones the one with the smallest id. Of
    the rest of `graph` only the nodes with at least two children remain. One of `ids` need not be a leaf: chair is
    above Windsor chair. Repeated ids count once.

    Returns
    -------
    networkx.DiGraph
        Each edge goes from a synset up to its parent. The attributes of a node are those in `graph`, its `depth` in
        `graph`, and `given`, whether it is one of `ids`.

    Raises
    ------
    ValueError
        If `ids` is empty, or not all of them have the same root.
    KeyError
        If one of them is not in `graph`.
    """
    given = set(ids)
    if not given:
        raise ValueError("ids is empty: a tree needs at least one synset")
    depths = _depths(graph, set().union(*(_steps_up(graph, a) for a in given)))
    tree = nx.DiGraph()
    for node in given:
        tree.add_node(node)
        while hypernyms := list(graph.successors(node)):
            parent = min(hypernyms, key=lambda h: (-depths[h], h))
            tree.add_edge(node, parent)
            node = parent
    if (roots := [node for node in tree if not tree.out_degree(node)]) != roots[:1]:
        raise ValueError(f"ids have no common hypernym: they are below the separate roots {sorted(roots)}")
    for node in sorted(tree, key=lambda node: (depths[node], node)):
        children = list(tree.predecessors(node))
        if node not in given and len(children) == 1:
            tree.add_edges_from((children[0], parent) for parent in list(tree.successors(node)))
            tree.remove_node(node)
        else:
            tree.add_node(node, **graph.nodes[node], depth=depths[node], given=node in given)
    return tree


def _rows(path: str | os.PathLike) -> Iterator[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        yield from csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")


def _require(graph: nx.DiGraph, a: str) -> None:
    if a not in graph:
        raise KeyError(
            f"synset {a!r} is not in this graph: check the id (a dog is 'n02084071'). The whole of WordNet "
            "comes with whole_wordnet.all_nouns; to add to the part here, put it in a data/*_synsets.csv and run "
            "data/make_wordnet.py"
        )


def require_complete(graph: nx.DiGraph, message: str) -> None:
    # An edge to a synset without a line of its own makes a node without a name.
    if not graph or any("name" not in data for _, data in graph.nodes(data=True)):
        raise ValueError(message)
    if not nx.is_directed_acyclic_graph(graph):
        raise ValueError(message)


def _steps_up(graph: nx.DiGraph, a: str) -> dict[str, int]:
    """`a` and all synsets above it, with the number of edges of the shortest path up."""
    _require(graph, a)
    return nx.single_source_shortest_path_length(graph, a)


def _common(up_a: dict[str, int], up_b: dict[str, int]) -> set[str]:
    if not (common := up_a.keys() & up_b.keys()):
        raise ValueError(f"{next(iter(up_a))!r} and {next(iter(up_b))!r} have no common hypernym in this graph")
    return common


def _depths(graph: nx.DiGraph, nodes: Iterable[str]) -> dict[str, int]:
    """`depth` of each of `nodes`, which must include all synsets above them."""
    depths: dict[str, int] = {}
    for node in reversed(list(nx.topological_sort(graph.subgraph(nodes)))):
        depths[node] = 1 + max((depths[hypernym] for hypernym in graph.successors(node)), default=-1)
    return depths
