"""Draw the figure of the README and the front page: ``python chapters/cover.py`` writes _static/cover.png."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from nbutils.atlas import load_atlas
from nbutils.book.plots import layer_profile, style
from nbutils.density import knn_density
from nbutils.dimension import twonn
from nbutils.overlap import label_overlap
from nbutils.peaks import find_peaks
from sklearn.metrics import adjusted_rand_score


def draw() -> plt.Figure:
    """Peaks, and their agreement with the categories, through the layers of a trained and of an untrained network."""
    style()
    atlas, control = (
        load_atlas(),
        load_atlas("caltech101-efficientnet_lite0-random"),
    )

    def topographies(source):
        return {
            layer: find_peaks(graph, knn_density(graph, twonn(graph)))
            for layer, graph in source.graphs.items()
        }

    trained, untrained = topographies(atlas), topographies(control)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2))
    layer_profile(
        atlas.layers,
        {
            "trained": [trained[layer].n_peaks for layer in atlas.layers],
            "random weights": [
                untrained[layer].n_peaks if layer in untrained else np.nan
                for layer in atlas.layers
            ],
        },
        "density peaks",
        log=True,
        ax=left,
    )
    layer_profile(
        atlas.layers,
        {
            "neighbourhoods: overlap with the labels": [
                label_overlap(atlas.graphs[layer], atlas.labels)
                for layer in atlas.layers
            ],
            "peaks: adjusted Rand index": [
                adjusted_rand_score(atlas.labels, trained[layer].labels)
                for layer in atlas.layers
            ],
        },
        "agreement with the categories",
        ax=right,
    )
    right.set_ylim(-0.03, 1)
    return figure


if __name__ == "__main__":
    draw().savefig(
        Path(__file__).resolve().parent.parent / "_static" / "cover.png",
        dpi=120,
    )
