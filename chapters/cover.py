"""Draw the figure of the README and the front page: ``python chapters/cover.py`` writes _static/cover.png."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from nbutils import wordnet
from nbutils.atlas import load_atlas
from nbutils.book.plots import COLOURS, agreement_map, style
from nbutils.peaks import topography
from nbutils.semantics import (
    Cut,
    agreement_by_depth,
    kingdom_cut,
    wordnet_cut,
)


def draw() -> plt.Figure:
    """Peaks through the layers, and how they agree with WordNet cut at each depth: Figure 6.3 with its margin."""
    style()
    atlas, words = load_atlas("tiny-imagenet"), wordnet.load()
    depths = range(5, 11)
    cuts = [
        kingdom_cut(words, atlas.synsets),
        *(wordnet_cut(words, atlas.synsets, depth) for depth in depths),
        Cut.of_categories(atlas.class_names),
    ]
    layers = [
        layer
        for layer in atlas.layers
        if layer.endswith(" mean") or layer in ("pool", "logits")
    ]
    found = [topography(atlas.graphs[layer]) for layer in layers]
    names = [layer.removesuffix(" mean") for layer in layers]
    figure, (left, right) = plt.subplots(
        1,
        2,
        figsize=(10.5, 4.6),
        width_ratios=[1, 2.4],
    )
    left.barh(
        range(len(found)),
        [peaks.n_peaks for peaks in found],
        color=COLOURS[0],
    )
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set(xlabel="density peaks", title="how many peaks")
    agreement = [
        agreement_by_depth(peaks.labels, atlas.labels, cuts) for peaks in found
    ]
    agreement_map(
        np.array(agreement),
        names,
        ["kingdom", *(f"depth {depth}" for depth in depths), "category"],
        right,
    )
    right.set_title("what they agree with, in WordNet")
    return figure


if __name__ == "__main__":
    place = Path(__file__).resolve().parent.parent / "_static" / "cover.png"
    draw().savefig(place, dpi=120)
