"""The numbers of the paper's table, computed from the graphs and compared with what was published."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from .. import __version__
from .._files import sha256, write_json
from .._progress import progress_bar
from ..atlas import Atlas
from ..graph import NeighborGraph
from ..overlap import label_overlap, neighborhood_overlap
from .conventions import AUTHORS_EARLY, AUTHORS_EARLY_90, AUTHORS_RELEASED, OURS, K, measure
from .published import Layers, file_name
from .table import CHECKPOINTS, paper_columns, paper_table

KEPT = "analysis.json"


def analyse_layer(graph: NeighborGraph, output: NeighborGraph, labels: np.ndarray, macros: np.ndarray) -> dict:
    """The numbers of the paper's table for one layer, and the same quantities with other conventions.

    The columns of the table are those of `table.paper_columns`, with the conventions of the authors' earlier notebook.
    Under ``"released"`` and ``"ours"`` are the results of `measure` with those of their released notebook and of this
    book. The overlaps depend on no convention.

    Parameters
    ----------
    graph, output : the graphs of the layer and of the output, with at least 30 neighbours.
    labels : (n,) the category of each image.
    macros : (n,) the macro category of each image: "animal", "artifact", or another.
    """
    early, early_90 = (measure(graph, labels, macros, c) for c in (AUTHORS_EARLY, AUTHORS_EARLY_90))
    return {
        "dimension_99": early["dimension"],
        "dimension_90": early_90["dimension"],
        "peaks": early["peaks"],
        "peaks_90": early_90["peaks"],
        "ari_classes": early["ari_classes"],
        "ari_macro": early["ari_macro"],
        "overlap_labels": label_overlap(graph, labels, K),
        "overlap_output": neighborhood_overlap(graph, output, K),
        "released": measure(graph, labels, macros, AUTHORS_RELEASED),
        "ours": measure(graph, labels, macros, OURS),
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
            "for the layers of another atlas, call analyse_layer with the macro categories of its images"
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
            kept[layer] = {"made_of": made_of, **analyse_layer(graph, output, atlas.labels, atlas.meta["macros"])}
            write_json(file, kept)
        row = {key: kept[layer][key] for key in kept[layer] if key != "made_of"}
        rows.append({"checkpoint": float(layer), **row, "planted": atlas.meta["planted"]})
    return rows


def ledger(found: list[dict] | None) -> list[dict]:
    """A row for each published number of the layers with graphs: its source, what was found, and the verdict.

    ``"found"`` has the authors' conventions, and decides the verdict; ``"ours"`` and ``"released"`` have ours and those
    of their released notebook, so that a difference can be explained. They are None where nothing was found.

    Parameters
    ----------
    found : the result of `analyse` for the authors' graphs, or None where they are not available. Only numbers from
        the authors' graphs count as reproduced, so none from planted graphs does.
    """
    rows = []
    for column in paper_columns():
        for i, published in enumerate(paper_table(graphs_only=True)):
            here = {} if found is None else found[i]
            value, said = here.get(column["column"]), published[column["column"]]
            rows.append(
                {
                    **column,
                    "layer": CHECKPOINTS[i],
                    "published": said,
                    "found": value,
                    **{name: here.get(name, {}).get(column["quantity"], value) for name in ("ours", "released")},
                    "verdict": "planted" if here.get("planted") else verdict(said, value, column["within"]),
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
