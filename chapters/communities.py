"""Communities of the neighbour graphs of the ImageNet atlas, for the page on other choices: a minute for each layer.

    python chapters/communities.py

Louvain communities (Blondel et al., 2008) take the place of density peaks. Each photograph is joined to its first ten
neighbours; the lists are all that counts, not the distances. The result, a community for each photograph in each layer,
is written to ``data/tiny-imagenet/communities.npz``. Interrupted, the same command continues with the next layer.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
from nbutils._data import data_folder
from nbutils._files import write_atomically
from nbutils._progress import progress_bar
from nbutils.atlas import load_atlas
from nbutils.graph import NeighborGraph

ATLAS, K = "tiny-imagenet", 10


def communities(
    graph: NeighborGraph, k: int = K, random_state: int = 0
) -> np.ndarray:
    """(n,) the community of each point, the largest first."""
    network = nx.Graph()
    network.add_edges_from(
        zip(
            np.repeat(np.arange(graph.n), k).tolist(),
            graph.indices[:, :k].ravel().tolist(),
            strict=True,
        )
    )
    found = np.empty(graph.n, np.uint8)
    parts = nx.community.louvain_communities(network, seed=random_state)
    for number, members in enumerate(sorted(parts, key=len, reverse=True)):
        found[list(members)] = number
    return found


def main() -> None:
    atlas, file = load_atlas(ATLAS), data_folder(ATLAS) / "communities.npz"
    done = dict(np.load(file)) if file.exists() else {}
    layers = [
        layer
        for layer in atlas.layers
        if layer.endswith(" mean") or layer in ("pool", "logits")
    ]
    for layer in progress_bar(layers, desc="layers"):
        if layer not in done:
            done[layer] = communities(atlas.graphs[layer])
            with write_atomically(file) as target:
                np.savez_compressed(target, **done)


if __name__ == "__main__":
    main()
