"""Archives in the layout of the published graphs, made from clouds of points whose correct analysis is known.

Each layer consists of islands: Gaussian clouds of one dimension, far apart. First each image is assigned to an island,
and its place on the island is random. So the peaks are the islands, and the agreement with the categories follows from
the assignment alone, without any neighbour graph.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from sklearn.metrics import adjusted_rand_score

from .._files import write_atomically
from .layout import Layout
from .published import ARCHIVE, FOLDER, PLANTED, K, file_name
from .table import CHECKPOINTS

SMALL = Layout(animals=10, artifacts=12, others=2, images=60)
DIMENSIONS = dict(zip(CHECKPOINTS, (4, 5, 6, 6, 6, 5, 4, 4, 3, 3, 3), strict=True))
APART = 20  # between islands, in standard deviations


def islands(layout: Layout, seed: int = 0) -> dict[str, np.ndarray]:
    """For each layer the island (n,) of each image, chosen so that the layers develop as in the paper.

    Layers 0 and 1 have three and two islands unrelated to the categories, and layers 10 and 34 a single one. At 97 the
    animals have an island and all others another, and at 142 each family has one. Then come pairs of animal categories
    (145) and single animal categories (148) beside the other families, pairs of categories (151) and single categories
    (152 and 153). At 151, 152 and 153 a random 30, 10 and 12 percent of the images exchange their islands at random.
    """
    rng = np.random.default_rng(seed)
    category = layout.labels
    family = np.unique(layout.families, return_inverse=True)[1]
    animal = family == 0

    def exchanged(groups: np.ndarray, share: float) -> np.ndarray:
        groups, moved = groups.copy(), np.flatnonzero(rng.random(layout.n) < share)
        groups[moved] = groups[rng.permutation(moved)]
        return groups

    story = (
        rng.integers(0, 3, layout.n),
        rng.integers(0, 2, layout.n),
        0 * category,
        0 * category,
        np.minimum(family, 1),
        family,
        np.where(animal, category // 2, layout.categories + family),
        np.where(animal, category, layout.categories + family),
        exchanged(category // 2, 0.3),
        exchanged(category, 0.1),
        exchanged(category, 0.12),
    )
    return {layer: np.unique(groups, return_inverse=True)[1] for layer, groups in zip(CHECKPOINTS, story, strict=True)}


def truth(layout: Layout, seed: int = 0) -> list[dict]:
    """What an analysis should find in each layer, computed from the islands; the overlaps are expected values."""
    story, judged = islands(layout, seed), layout.families != "other"
    last = story[CHECKPOINTS[-1]]
    rows = []
    for layer, groups in story.items():
        # Two independent neighbourhoods, each K random images of the same island.
        common = K * shared(groups, last) / (shared(groups) * shared(last))
        rows.append(
            {
                "checkpoint": float(layer),
                "dimension_99": DIMENSIONS[layer],
                "dimension_90": DIMENSIONS[layer],
                "peaks": groups.max() + 1,
                "peaks_90": groups.max() + 1,
                "ari_classes": adjusted_rand_score(layout.labels[judged], groups[judged]),
                "ari_macro": adjusted_rand_score(layout.families[judged], groups[judged]),
                "overlap_labels": float((shared(groups, layout.labels) / shared(groups)).mean()),
                "overlap_output": 1.0 if layer == CHECKPOINTS[-1] else float(common.mean()),
            }
        )
    return rows


def shared(*groupings: np.ndarray) -> np.ndarray:
    """(n,) how many other images share the group of each image in every one of the groupings."""
    _, group, count = np.unique(np.stack(groupings), axis=1, return_inverse=True, return_counts=True)
    return count[group.ravel()] - 1


def cloud(groups: np.ndarray, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Points (n, dimension) whose islands lie on a cubic lattice; `dimension` is at least 3."""
    x = rng.normal(size=(len(groups), dimension))
    edge = int(np.ceil((groups.max() + 1) ** (1 / 3)))
    x[:, :3] += APART * np.stack([groups % edge, groups // edge % edge, groups // edge**2], axis=1)
    return x


def plant(folder: str | os.PathLike, layout: Layout = SMALL, seed: int = 0) -> Path:
    """Write an archive in the layout of the published one into a folder, atomically, and return its path.

    It holds one file more, which says what the rows are and that no network has seen these points.
    """
    archive = Path(folder) / ARCHIVE
    archive.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 1])
    # No time in the header, so that the same seed gives the same bytes.
    with (
        write_atomically(archive) as whole,
        gzip.GzipFile("", "wb", 1, whole, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for layer, groups in islands(layout, seed).items():
            x = cloud(groups, DIMENSIONS[layer], rng)
            distances, indices = cKDTree(x).query(x, K + 1, workers=-1)
            file = io.BytesIO()
            np.savez(file, dist=distances.astype(np.float32), index=indices.astype(np.int32))
            add(tar, file_name(layer), file)
        add(tar, PLANTED, io.BytesIO(json.dumps(asdict(layout)).encode()))
    return archive


def add(tar: tarfile.TarFile, name: str, file: io.BytesIO) -> None:
    info = tarfile.TarInfo(f"{FOLDER}/{name}")
    info.size = file.seek(0, os.SEEK_END)
    file.seek(0)
    tar.addfile(info, file)
