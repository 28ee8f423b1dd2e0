"""The landscape explorer: an atlas as a skyline, from layer to layer and at any sea level, on a page of its own.

`landscape_data` computes what is shown, from neighbour graphs alone; `write_page` puts it into a page that needs
nothing else. The other functions are its steps: who is the same mountain in the next layer, what a mountain is made
of, and in which order the mountains stand.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import networkx as nx
import numpy as np
from scipy.optimize import linear_sum_assignment

from .. import wordnet
from .._files import write_text
from ..contingency import category_counts
from ..density import Density, knn_density
from ..dimension import twonn
from ..graph import NeighborGraph
from ..hierarchy import peak_linkage
from ..peaks import Topography, at_levels
from ..semantics import hypernym_chain, kingdom_cut
from .thumbnails import CREDIT, SIDE, sheet_of

LEVELS = (1.65, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 15, 18, 20, 25, 30)
NEW = -1
SHOWN = 6  # categories of a mountain that are listed
MIXED, PURE = "mixed", 2 / 3  # a mountain has a name if at least two thirds of it are of one kingdom, or of none
HERE = Path(__file__).resolve().parent


class Photographs(Protocol):
    """What is used of an atlas (see `nbutils.atlas.Atlas`)."""

    graphs: Mapping[str, NeighborGraph]
    labels: np.ndarray
    class_names: tuple[str, ...]
    synsets: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Meaning:
    """What the categories of an atlas mean.

    Attributes
    ----------
    names : (c,) the name of each category, as it is shown
    kingdoms : (c,) int, 0 for an animal, 1 for an artifact, -1 for what is neither
    place : (c,) int, its place when WordNet is read branch by branch, animals before artifacts; without synset, last
    chains : (c,) the synset of each category and all above it, deepest first; empty where it has none
    words : the part of WordNet that they are from
    """

    names: tuple[str, ...]
    kingdoms: np.ndarray
    place: np.ndarray
    chains: tuple[list[str], ...]
    words: nx.DiGraph


def meaning(atlas: Photographs, words: nx.DiGraph) -> Meaning:
    """What the categories of `atlas` mean in WordNet (see `wordnet.load`)."""
    chains = tuple([] if s is None else hypernym_chain(words, s) for s in atlas.synsets)
    names = tuple(
        words.nodes[synset]["name"] if name == synset else name.replace("_", " ")
        for name, synset in zip(atlas.class_names, atlas.synsets, strict=True)
    )
    branch = sorted(range(len(chains)), key=lambda i: (not chains[i], chains[i][::-1], i))
    return Meaning(names, kingdom_cut(words, atlas.synsets).labels, np.argsort(branch), chains, words)


def common_group(counts: np.ndarray, meaning: Meaning) -> tuple[str, float] | None:
    """The deepest synset of WordNet to which more than half of the photographs belong, and their share.

    None if no synset has more than half.

    Parameters
    ----------
    counts : (c,) int, the number of photographs of each category.
    """
    inside: dict[str, int] = {}
    depth: dict[str, int] = {}
    for count, chain in zip(counts.tolist(), meaning.chains, strict=True):
        for steps, synset in enumerate(reversed(chain if count else [])):
            inside[synset] = inside.get(synset, 0) + count
            depth[synset] = steps
    total = int(counts.sum())
    # Synsets with more than half lie on one line through the tree, so no two of them are equally deep.
    half = [synset for synset, n in inside.items() if 2 * n > total]
    if not half:
        return None
    deepest = max(half, key=depth.__getitem__)
    return deepest, inside[deepest] / total


def match_peaks(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(c,) int, for each peak `after` the peak `before` that it continues, or -1 if it is new.

    Of all ways to pair the peaks one to one, take that in which the pairs share most photographs in all (an assignment
    problem). Of its pairs those count in which the shared photographs are more than half of at least one of the two
    peaks; a chance resemblance is no identity.

    Parameters
    ----------
    before, after : (n,) int, the peak of each photograph in two layers, as in ``Topography.labels`` without halo.
    """
    shared = category_counts(before, after)  # (after, before)
    rows, columns = linear_sum_assignment(shared, maximize=True)
    smaller = np.minimum(np.bincount(after)[rows], np.bincount(before)[columns])
    same = 2 * shared[rows, columns] > smaller
    match = np.full(len(shared), NEW)
    match[rows[same]] = columns[same]
    return match


def skyline_order(topography: Topography, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order in which the peaks stand from left to right, and the passes between neighbours.

    They stand as the leaves of the single-linkage tree of saddles, so that the pass between two neighbours is the
    lowest point on the highest way from one to the other. A tree leaves open which of two branches is on the left: it
    is the one with the lower mean `place`. As `place` is the same in all layers, a mountain stays about where it is.

    Parameters
    ----------
    place : (n,) a number for each photograph.

    Returns
    -------
    order : (c,) int, peaks from left to right
    passes : (c - 1,) log density of the passes between neighbours; that of the least dense point if there is no way
    """
    size = np.bincount(topography.labels, minlength=topography.n_peaks).astype(float)
    total = np.bincount(topography.labels, place, topography.n_peaks)
    branches: list[tuple[list[int], list[float]]] = [([i], []) for i in range(topography.n_peaks)]
    sizes, totals = list(size), list(total)
    if topography.n_peaks > 1:
        for a, b, distance, _ in peak_linkage(topography, "single"):
            left, right = sorted((int(a), int(b)), key=lambda i: (totals[i] / sizes[i], i))
            joint = topography.peak_log_density.max() - distance
            branches.append((branches[left][0] + branches[right][0], [*branches[left][1], joint, *branches[right][1]]))
            sizes.append(sizes[left] + sizes[right])
            totals.append(totals[left] + totals[right])
    order, passes = branches[-1]
    return np.array(order), np.array(passes, float)


def mountains(topography: Topography, density: Density, labels: np.ndarray, meaning: Meaning) -> list[dict]:
    """What is shown of each peak, from left to right.

    Returns
    -------
    list of dict
        ``peak``, the photograph at the top; ``size``, the number of photographs; ``top``, its log density above that
        of the least dense photograph; ``pass``, that of the pass to the next on the right, absent for the last;
        ``name``, that of its group, or "mixed" if less than two thirds are animals, or artifacts, or neither;
        ``kingdoms``, the number of animals and of artifacts; ``categories``, the most frequent as [number,
        photographs, the densest of them]; ``group``, the WordNet name of `common_group` with its share, or None.
    """
    counts = category_counts(topography.labels, labels, len(meaning.names))
    order, passes = skyline_order(topography, meaning.place[labels])
    densest = np.argsort(-density.log_density, kind="stable")
    found = []
    for position, i in enumerate(order):
        here = densest[topography.labels[densest] == i]
        frequent = np.argsort(-counts[:, i], kind="stable")[:SHOWN]
        group = common_group(counts[:, i], meaning)
        name = meaning.words.nodes[group[0]]["name"] if group else MIXED
        kingdoms = [int(counts[meaning.kingdoms == kingdom, i].sum()) for kingdom in (0, 1, -1)]
        found.append(
            {
                "peak": int(topography.peaks[i]),
                "size": int(counts[:, i].sum()),
                "top": round(float(topography.peak_log_density[i] - topography.floor), 3),
                "name": name if max(kingdoms) >= PURE * sum(kingdoms) else MIXED,
                "kingdoms": kingdoms[:2],
                "categories": [
                    [int(c), int(counts[c, i]), int(here[labels[here] == c][0])] for c in frequent if counts[c, i]
                ],
                "group": group and [name, round(group[1], 4)],
            }
        )
        if position < len(passes):
            found[-1]["pass"] = round(float(passes[position] - topography.floor), 3)
    return found


def landscape_data(
    atlas: Photographs, layers: Sequence[str], k: int = 30, levels: Sequence[float] = LEVELS, grain: int = 10
) -> dict:
    """All that the explorer shows of some layers of an atlas, at some sea levels.

    A sea level is a threshold z of `find_peaks`: a peak must be higher than its passes by more than z times the errors
    of both together, else it belongs to its neighbour. As every photograph has the same k, a higher sea only merges
    peaks: those of any level are unions of those of the lowest.

    Along the layers a mountain keeps its ``id`` while `match_peaks` finds it again in the next one.

    Parameters
    ----------
    k : number of neighbours that measure the density.
    levels : rising values of z.
    grain : every how many-th photograph is drawn as a grain.

    Returns
    -------
    dict
        ``categories``, ``kingdoms``: of the categories, names and 0, 1 or -1 as in `Meaning`; ``levels``, ``grain``;
        ``of``, the category of each grain; ``layers``, a list with, for each layer, ``name``; ``error``, how far two
        log densities must lie apart to differ by one z; ``heights``, of the grains in tenths above the lowest
        photograph; ``home``, the mountain of each grain at the lowest level; and ``views``, for each level
        ``mountains`` (see `mountains`, and their ``id``) and ``merged``, for each mountain of the lowest level that
        to which it belongs.

    Raises
    ------
    ValueError
        If `levels` is empty or does not rise, or `layers` is empty.
    KeyError
        If the atlas lacks a layer.
    """
    if not len(layers):
        raise ValueError("layers is empty: name at least one layer of the atlas")
    if not len(levels) or np.any(np.diff(levels) <= 0):
        raise ValueError(f"levels must be one or more rising values of z, not {list(levels)}")
    meant = meaning(atlas, wordnet.load())
    seen: list[dict] = []
    ids: list[tuple[np.ndarray, np.ndarray]] = []  # of the layer before: labels and ids at each level
    fresh = [0] * len(levels)
    for layer in layers:
        graph = atlas.graphs[layer]
        density = knn_density(graph, twonn(graph), k)
        views, known, first = [], [], None
        for j, topography in enumerate(at_levels(graph, density, levels)):
            standing = mountains(topography, density, atlas.labels, meant)
            place = {mountain["peak"]: i for i, mountain in enumerate(standing)}
            position = np.array([place[int(peak)] for peak in topography.peaks])[topography.labels]
            own = np.full(len(standing), NEW)
            if ids:
                match = match_peaks(ids[j][0], position)
                own[match >= 0] = ids[j][1][match[match >= 0]]
            own[own == NEW] = fresh[j] + np.arange((own == NEW).sum())
            fresh[j] = max(fresh[j], int(own.max()) + 1)
            known.append((position, own))
            if first is None:
                first, summits = position, [mountain["peak"] for mountain in standing]
            for mountain, number in zip(standing, own.tolist(), strict=True):
                mountain["id"] = number
            views.append({"mountains": standing, "merged": position[summits].tolist()})
        ids = known
        heights = 10 * (density.log_density[::grain] - density.log_density.min())
        seen.append(
            {
                "name": layer,
                "error": round(float(2 * density.error.max()), 4),
                "heights": heights.round().astype(int).tolist(),
                "home": first[::grain].tolist(),
                "views": views,
            }
        )
    return {
        "categories": list(meant.names),
        "kingdoms": meant.kingdoms.tolist(),
        "levels": list(levels),
        "grain": grain,
        "photographs": len(atlas.labels),
        "of": atlas.labels[::grain].tolist(),
        "layers": seen,
    }


def pictures(landscapes: Sequence[dict]) -> dict:
    """The thumbnails that landscapes of Caltech-101 show, in one sheet as a data address.

    Returns
    -------
    dict
        ``sheet``, the address; ``side``, pixels of a thumbnail; ``numbers``, the photographs on the sheet in reading
        order; ``columns``, how many are in a row; ``credit``.
    """
    named = {
        picture
        for landscape in landscapes
        for layer in landscape["layers"]
        for view in layer["views"]
        for mountain in view["mountains"]
        for picture in (mountain["peak"], *(category[2] for category in mountain["categories"]))
    }
    numbers = sorted(named)
    whole, columns = sheet_of(numbers)
    stored = io.BytesIO()
    whole.save(stored, "WEBP", quality=70, method=6)
    return {
        "sheet": "data:image/webp;base64," + base64.b64encode(stored.getvalue()).decode(),
        "side": SIDE,
        "columns": columns,
        "numbers": numbers,
        "credit": CREDIT,
    }


def write_page(path: Path, data: Mapping[str, object]) -> None:
    """Write the explorer to `path`: ``explorer.html`` with its style, its script and the data in their places."""
    page = (HERE / "explorer.html").read_text(encoding="utf-8")
    for mark, text in (
        ("/* STYLE */", (HERE / "explorer.css").read_text(encoding="utf-8")),
        ("/* SCRIPT */", (HERE / "explorer.js").read_text(encoding="utf-8")),
        ('"DATA"', json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
    ):
        page = page.replace(mark, text)
    write_text(path, page)
