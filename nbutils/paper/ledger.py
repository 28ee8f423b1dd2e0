"""The numbers of the paper's table, computed from the graphs and compared with what was published."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

from .. import __version__
from .._files import sha256, write_json
from .._progress import progress_bar
from ..atlas import Atlas
from ..density import knn_density
from ..dimension import twonn
from ..graph import NeighborGraph
from ..overlap import label_overlap, neighborhood_overlap
from ..peaks import find_peaks
from .published import Layers, file_name
from .table import CHECKPOINTS, paper_columns, paper_table

K, Z = 30, 1.65
KEPT = "analysis.json"


def analyse_layer(graph: NeighborGraph, output: NeighborGraph, labels: np.ndarray, families: np.ndarray) -> dict:
    """The numbers of the paper's table for one layer.

    Parameters
    ----------
    graph, output : the graphs of the layer and of the output, with at least 30 neighbours.
    labels : (n,) the category of each image.
    families : (n,) "animal", "artifact" or "other"; as in the paper, the adjusted Rand indices leave out the others.
    """
    wide, narrow = twonn(graph, 0.99), twonn(graph, 0.9)
    topography = find_peaks(graph, knn_density(graph, wide, K), Z)
    judged = families != "other"
    return {
        "dimension_99": wide.value,
        "dimension_90": narrow.value,
        "peaks": topography.n_peaks,
        "peaks_90": find_peaks(graph, knn_density(graph, narrow, K), Z).n_peaks,
        "ari_classes": float(adjusted_rand_score(labels[judged], topography.labels[judged])),
        "ari_macro": float(adjusted_rand_score(families[judged], topography.labels[judged])),
        "overlap_labels": label_overlap(graph, labels, K),
        "overlap_output": neighborhood_overlap(graph, output, K),
    }


def analyse(atlas: Atlas, keep: str | os.PathLike | None = None) -> list[dict]:
    """`analyse_layer` for all published layers. The result of each layer is saved, and not computed again.

    A saved result is used only if the graphs and the version of this package are still the same.

    Parameters
    ----------
    atlas : the published graphs, as `published.open_graphs` gives them.
    keep : the file for the results, by default ``analysis.json`` beside the graphs.

    Raises
    ------
    TypeError
        If `atlas` is another atlas.
    """
    if not isinstance(atlas.graphs, Layers):
        raise TypeError(
            f"atlas={atlas.name!r} does not hold the published graphs: open those with published.open_graphs(path); "
            "for the layers of another atlas, call analyse_layer with the families of its images"
        )
    folder = atlas.graphs.folder
    file = Path(keep or folder / KEPT)
    kept = json.loads(file.read_text()) if file.exists() else {}
    last, output = atlas.layers[-1], None
    made_by = [__version__, sha256(folder / file_name(last))]
    rows = []
    for layer in progress_bar(atlas.layers, desc="layers"):
        made_of = [*made_by, sha256(folder / file_name(layer))]
        if kept.get(layer, {}).get("made_of") != made_of:
            output = output or atlas.graphs[last]
            graph = output if layer == last else atlas.graphs[layer]
            kept[layer] = {"made_of": made_of, **analyse_layer(graph, output, atlas.labels, atlas.meta["families"])}
            write_json(file, kept)
        row = {key: kept[layer][key] for key in kept[layer] if key != "made_of"}
        rows.append({"checkpoint": float(layer), **row, "planted": atlas.meta["planted"]})
    return rows


def ledger(found: list[dict] | None) -> list[dict]:
    """A row for each published number of the layers with graphs: its source, what was found, and the verdict.

    Parameters
    ----------
    found : the result of `analyse` for the authors' graphs, or None where they are not available. Only numbers from
        the authors' graphs count as reproduced, so none from planted graphs does.
    """
    rows = []
    for column in paper_columns():
        for i, published in enumerate(paper_table(graphs_only=True)):
            ours = None if found is None else found[i][column["column"]]
            said = published[column["column"]]
            planted = found is not None and found[i].get("planted", False)
            rows.append(
                {
                    **column,
                    "layer": CHECKPOINTS[i],
                    "published": said,
                    "found": ours,
                    "verdict": "planted" if planted else verdict(said, ours, column["within"]),
                }
            )
    return rows


def made_with(paper: Atlas | None) -> str:
    """A sentence that says from which graphs a page was made."""
    if paper is None:
        return "This page was made **without** the authors' graphs."
    if paper.meta["planted"]:
        return "This page was made with a **planted** archive in place of the authors' graphs."
    known = f"from an archive with the SHA-256 `{paper.meta['sha256']}`" if paper.meta["sha256"] else "unpacked by hand"
    return f"This page was made with the authors' graphs, {known}."


def verdict(published: float, found: float | None, within: float) -> str:
    """ "not run", "reproduced" (to `within`, the accuracy of what was published), or by how much the number differs."""
    if found is None:
        return "not run"
    off = found - published
    return "reproduced" if abs(off) <= within * (1 + 1e-9) else f"differs by {off:+.3g}"
