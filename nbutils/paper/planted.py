"""Archives in the layout of the published graphs, of clouds whose peaks, dimension and agreement are known beforehand.

Each layer is a set of islands: round clouds of one dimension, far apart. Which image lies on which island is decided
first, and nothing else about an image matters. So the peaks are the islands, and what follows from who shares an island
can be computed without looking at a neighbour.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from sklearn.metrics import adjusted_rand_score

from .._files import write_atomically
from .published import ARCHIVE, CHECKPOINTS, FOLDER, PLANTED, K, Layout, file_name

SMALL = Layout(animals=10, artifacts=12, others=2, images=60)
DIMENSIONS = dict(zip(CHECKPOINTS, (4, 5, 6, 6, 6, 5, 4, 4, 3, 3, 3), strict=True))
APART = 20  # between islands, in standard deviations


def islands(layout: Layout, seed: int = 0) -> dict[str, np.ndarray]:
    """For each layer the island (n,) on which each image lies: the story of the paper, told by hand.

    Layers 0 and 1 have three and two islands that have nothing to do with the categories, 10 and 34 a single one. Then
    come families, pairs of categories and categories, at 148 of animals alone. Of the images at 151, 152 and 153 some,
    30, 10 and 12 in a hundred, are astray and change places among themselves.
    """
    rng = np.random.default_rng(seed)
    category = layout.labels
    family = np.unique(layout.families, return_inverse=True)[1]
    animal = family == 0

    def astray(groups: np.ndarray, share: float) -> np.ndarray:
        groups, lost = groups.copy(), np.flatnonzero(rng.random(layout.n) < share)
        groups[lost] = groups[rng.permutation(lost)]
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
        astray(category // 2, 0.3),
        astray(category, 0.1),
        astray(category, 0.12),
    )
    return {layer: np.unique(groups, return_inverse=True)[1] for layer, groups in zip(CHECKPOINTS, story, strict=True)}


def truth(layout: Layout, seed: int = 0) -> list[dict]:
    """What an analysis should find, a row for each layer, from who shares an island with whom; overlaps on average."""
    story, judged = islands(layout, seed), layout.families != "other"
    last = story[CHECKPOINTS[-1]]
    rows = []
    for layer, groups in story.items():
        # Two independent neighbourhoods, each K of those who share an island.
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
    """(n,) how many others are in the same group as each in every one of the groupings."""
    _, group, count = np.unique(np.stack(groupings), axis=1, return_inverse=True, return_counts=True)
    return count[group.ravel()] - 1


def cloud(groups: np.ndarray, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """(n, dimension) points of islands on a cubic lattice; `dimension` is at least 3."""
    x = rng.normal(size=(len(groups), dimension))
    edge = int(np.ceil((groups.max() + 1) ** (1 / 3)))
    x[:, :3] += APART * np.stack([groups % edge, groups // edge % edge, groups // edge**2], axis=1)
    return x


def plant(folder: str | os.PathLike, layout: Layout = SMALL, seed: int = 0) -> Path:
    """Write an archive in the layout of the published one into a folder, whole or not at all, and return its path."""
    archive = Path(folder) / ARCHIVE
    archive.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 1])
    # Without the time in the header: the same seed gives the same bytes.
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
        add(tar, PLANTED, io.BytesIO(b"Made by nbutils.planted: no network has seen these points.\n"))
    return archive


def add(tar: tarfile.TarFile, name: str, file: io.BytesIO) -> None:
    info = tarfile.TarInfo(f"{FOLDER}/{name}")
    info.size = file.seek(0, os.SEEK_END)
    file.seek(0)
    tar.addfile(info, file)
