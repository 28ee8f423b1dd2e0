"""The paper's table, number by number: computed from the graphs, and compared with what was published."""

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
from .published import CHECKPOINTS, file_name
from .table import paper_columns, paper_table

K, Z = 30, 1.65
KEPT = "analysis.json"


def analyse_layer(graph: NeighborGraph, output: NeighborGraph, labels: np.ndarray, families: np.ndarray) -> dict:
    """The numbers of the paper's table for one layer; indices of animals and artifacts only, as in the paper."""
    wide, narrow = twonn(graph, 0.99), twonn(graph, 0.9)
    landscape = find_peaks(graph, knn_density(graph, wide, K), Z)
    judged = families != "other"
    return {
        "dimension_99": wide.value,
        "dimension_90": narrow.value,
        "peaks": landscape.n_peaks,
        "peaks_90": find_peaks(graph, knn_density(graph, narrow, K), Z).n_peaks,
        "ari_classes": float(adjusted_rand_score(labels[judged], landscape.labels[judged])),
        "ari_macro": float(adjusted_rand_score(families[judged], landscape.labels[judged])),
        "overlap_labels": label_overlap(graph, labels, K),
        "overlap_output": neighborhood_overlap(graph, output, K),
    }


def analyse(atlas: Atlas, keep: str | os.PathLike | None = None) -> list[dict]:
    """`analyse_layer` for all published layers; kept in a file after each layer, and not done again.

    What was kept counts only as long as the graphs and the version of this package are the same.

    Parameters
    ----------
    atlas : what `published.open_graphs` gives.
    keep : the file, by default ``analysis.json`` beside the graphs.
    """
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
    """A row for each number in the paper's table: what was published, how sure, what was found, and the verdict.

    Parameters
    ----------
    found : what `analyse` gave for the authors' graphs; None where they are not at hand: nothing counts as reproduced.
        Nor does anything from planted graphs.
    """
    rows = []
    for column in paper_columns():
        for i, published in enumerate(paper_table()):
            ours = found[i][column["column"]] if found else None
            said = published[column["column"]]
            planted = bool(found) and found[i].get("planted", False)
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
    """A sentence that says which graphs a page rests on."""
    if paper is None:
        return "This page was made **without** the authors' graphs."
    if paper.meta["planted"]:
        return "This page was made with a **planted** archive in place of the authors' graphs."
    known = f"from an archive with the SHA-256 `{paper.meta['sha256']}`" if paper.meta["sha256"] else "unpacked by hand"
    return f"This page was made with the authors' graphs, {known}."


def verdict(published: float, found: float | None, within: float) -> str:
    """ "not run", "reproduced" to the precision of what was published, or how far it is off."""
    if found is None:
        return "not run"
    off = found - published
    return "reproduced" if abs(off) <= within * (1 + 1e-9) else f"differs by {off:+.3g}"
