"""Make ``dadapy.npz``: what DADApy 0.3.4 answers on fixed data, for ``tests/test_oracles.py`` to compare with.

Environment
-----------
DADApy wants numpy < 2 and jax 0.4.30, so it lives in an environment of its own, with Python 3.9 to 3.11; a C
compiler builds it from source. From the root of the repository::

    uv venv --python 3.11 dadapy-env
    uv pip install --python dadapy-env/bin/python dadapy==0.3.4
    OMP_NUM_THREADS=1 dadapy-env/bin/python tests/golden/make_golden.py

The versions that were used are in the array ``versions``. It takes ten seconds.

What it holds
-------------
The data are multiples of 2^-16, so squared distances are exact in float64 whatever the order of the sum: the graph
that `nbutils.neighbors.knn_graph` finds has the same bits as the one that DADApy sees here. Distances are rounded to
float32, as `NeighborGraph` holds them, and given to DADApy as float64.

``CASE/x`` is the data times 2^16, ``CASE/crc`` a checksum of the graph, the other arrays of ``CASE/`` are DADApy's
answers with maxk = 100. ``random/`` holds many small landscapes one after the other; ``atlas/`` the answers on graphs
of this repository's data. In all of them peaks are in DADApy's order, by index; saddles are NaN where two peaks do not
touch, where DADApy writes a number below all densities. Two runs give the same arrays but for a few of
``random/compiled_labels``: the compiled clustering writes outside its table there.

Licence
-------
DADApy (Glielmo et al., Patterns 2022) is under the Apache License 2.0. This file calls it and stores its numbers; no
part of it is copied.
"""

from __future__ import annotations

import os
import platform
import warnings
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
from dadapy import Data

HERE = Path(__file__).resolve().parent
ATLAS = HERE.parents[1] / "data" / "caltech101-efficientnet_lite0"
GRID = 2**16
MAXK, K, Z = 100, 30, 1.65
N_RANDOM = 320


def on_grid(x: np.ndarray) -> np.ndarray:
    return np.round(x * GRID).astype(np.int32)


def graph_of(x: np.ndarray, maxk: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices (n, maxk + 1) by (distance, index), the point itself in the first column."""
    y = x / GRID
    squared = np.zeros((len(y), len(y)))
    for column in y.T:
        squared += (column[:, None] - column) ** 2
    np.fill_diagonal(squared, -1)
    order = np.argsort(squared, axis=1, kind="stable")[:, : maxk + 1]
    distances = np.sqrt(np.maximum(np.take_along_axis(squared, order, 1), 0))
    return distances.astype(np.float32).astype(np.float64), order


def checksum(distances: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return np.array(
        [zlib.crc32(distances[:, 1:].astype("<f4").tobytes()), zlib.crc32(indices[:, 1:].astype("<i4").tobytes())]
    )


def data_of(distances: np.ndarray, indices: np.ndarray) -> Data:
    return Data(distances=(distances.copy(), indices.copy()), maxk=distances.shape[1] - 1, n_jobs=1)


def shapes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2020)
    normal = rng.normal
    five = np.array([[0, 0], [5, 0], [0, 5], [5, 5], [2.2, 2.4]])
    of = rng.integers(5, size=800)
    mixture2 = five[of] + normal(size=(800, 2)) * np.array([0.6, 1, 0.8, 0.5, 0.4])[of, None]
    centres = 3 * normal(size=(6, 5))
    mixture5 = centres[rng.integers(6, size=900)] + normal(size=(900, 5))
    touching = np.array([[0.0, 0, 0], [2.6, 0, 0], [0, 3, 0]])[rng.integers(3, size=700)] + 0.8 * normal(size=(700, 3))
    angle = 1.5 * np.pi * (1 + 2 * rng.uniform(size=600))
    roll = np.stack([angle * np.cos(angle), 21 * rng.uniform(size=600), angle * np.sin(angle)], 1)
    angles = 2 * np.pi * rng.uniform(size=(512, 2))
    twice = normal(size=(500, 3))
    twice[250:] = twice[:250]
    return {
        "mixture2": mixture2,
        "mixture5": mixture5,
        "touching3": touching,
        "swissroll": roll + 0.05 * normal(size=roll.shape),
        "gaussian20": normal(size=(500, 20)),
        "cube1": rng.uniform(size=(300, 1)),
        "torus2": np.concatenate([np.cos(angles), np.sin(angles)], 1),
        "integers": rng.integers(0, 12, size=(600, 3)).astype(float),
        "duplicates": twice,
    }


def clustering(data: Data, function: str, z: float, halo: bool = False) -> dict[str, np.ndarray]:
    getattr(data, function)(Z=z, halo=halo)
    points = np.array(data.bord_indices)
    np.fill_diagonal(points, -1)
    return {
        "labels": np.array(data.cluster_assignment, np.int16),
        "peaks": np.array(data.cluster_centers, np.int32),
        "saddles": np.where(points >= 0, data.log_den_bord, np.nan),
        "saddle_errors": np.where(points >= 0, data.log_den_bord_err, np.nan),
    }


def clusterings(data: Data, z: float) -> dict[str, np.ndarray]:
    found = clustering(data, "compute_clustering_ADP_pure_python", z)
    found["halo"] = clustering(data, "compute_clustering_ADP_pure_python", z, halo=True)["labels"]
    found["compiled_labels"] = clustering(data, "compute_clustering_ADP", z)["labels"]
    return found


def answers(x: np.ndarray) -> dict[str, np.ndarray]:
    """Everything about one data set."""
    distances, indices = graph_of(x, MAXK)
    out = {"x": x, "crc": checksum(distances, indices)}
    data = data_of(distances, indices)
    for name, settings in {"twonn": {}, "twonn_ml": {"algorithm": "ml", "mu_fraction": 1}}.items():
        try:
            out[name] = np.array(data.compute_id_2NN(**settings)[0])
        except ValueError:  # an infinite ratio that the fraction does not cut off
            out[name] = np.array(np.nan)
    out["gride"] = np.array(data.return_id_scaling_gride(range_max=64))  # value, error, scale

    # With its own TwoNN where that is sound, so that the dimension is no round number.
    d = out["d"] = out["twonn"] if 0.1 < out["twonn"] < 50 else np.array(float(x.shape[1]))
    for kind in ("knn", "kstar", "pak"):
        data = data_of(distances, indices)
        data.intrinsic_dim = float(d)
        if kind == "knn":
            density = data.compute_density_kNN(K)
        else:
            data.compute_kstar()
            density = data.compute_density_PAk() if kind == "pak" else data.compute_density_kstarNN()
            out["k"] = data.kstar.astype(np.int16)
        out[f"{kind}/log_density"], out[f"{kind}/error"] = density
        if np.isfinite(density).all():
            out |= {f"{kind}/{name}": value for name, value in clusterings(data, Z).items()}
    return out


class Recorder:
    """A random generator that keeps what it has drawn."""

    def __init__(self) -> None:
        self.generator, self.drawn = np.random.default_rng(42), []

    def choice(self, *args, **kwargs) -> np.ndarray:
        self.drawn.append(self.generator.choice(*args, **kwargs))
        return self.drawn[-1]


def decimation(x: np.ndarray) -> dict[str, np.ndarray]:
    """TwoNN of all points, of 2 halves, 4 quarters, 8 eighths (drawn independently); means and standard errors."""
    data = Data(coordinates=x / GRID, maxk=MAXK, n_jobs=1)
    data.rng = Recorder()
    value, error, sizes = data.return_id_scaling_2NN(n_min=len(x) // 16 + 1, return_sizes=True)
    return {"value": value, "error": error, "sizes": sizes, "subsets": np.concatenate(data.rng.drawn).astype(np.int16)}


def overlaps(x: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Of the data with their first two coordinates, and with labels."""
    data, other = data_of(*graph_of(x, MAXK)), graph_of(x[:, :2], MAXK)
    return {
        "data": data.return_data_overlap(distances=other[0], dist_indices=other[1], k=K),
        "label": data.return_label_overlap(labels, k=K, weighted=False),
        "label_weighted": data.return_label_overlap(labels, k=K, weighted=True),
    }


def landscape(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A small landscape and what DADApy sees in it."""
    rng = np.random.default_rng(seed)
    n, dimension = int(rng.integers(40, 100)), int(rng.integers(1, 5))
    if rng.random() < 0.6:
        means = rng.normal(size=(4, dimension)) * rng.uniform(1, 5)
        x = means[rng.integers(4, size=n)] + rng.uniform(0.3, 1.5, size=(n, 1)) * rng.normal(size=(n, dimension))
    else:
        x = 4 * rng.uniform(size=(n, dimension))
    x = on_grid(x)
    k = int(rng.integers(5, 21))
    maxk = k + int(rng.choice([0, 1, 10, 19])) if rng.random() < 0.6 else k + 4
    kind = str(rng.choice(["knn", "kstar", "pak"], p=[0.4, 0.3, 0.3]))
    z = float(rng.choice([0.5, 1, 1.65, 3]))
    data = data_of(*graph_of(x, maxk))
    data.intrinsic_dim = float(dimension)
    if kind == "knn":
        data.compute_density_kNN(k)
    else:
        data.compute_kstar()
        data.compute_density_PAk() if kind == "pak" else data.compute_density_kstarNN()
    given = {
        "n": n,
        "dimension": dimension,
        "maxk": maxk,
        "z": z,
        "x": x.ravel(),
        "log_density": data.log_den,
        "error": data.log_den_err,
        "k": data.kstar.astype(np.int8),
    }
    found = clusterings(data, z)
    found["n_peaks"] = len(found["peaks"])
    for name in ("labels", "halo", "compiled_labels", "peaks"):
        found[name] = found[name].astype(np.int8)
    found["saddles"] = found["saddles"].ravel()
    del found["saddle_errors"]
    return given, found


def atlas_layer(name: str) -> dict[str, np.ndarray]:
    with np.load(ATLAS / f"{name}.npz") as stored:
        distances, indices = stored["distances"].astype(np.float64), stored["indices"].astype(np.int64)
    n = len(distances)
    itself = np.arange(n)[:, None]
    data = data_of(np.concatenate([0.0 * itself, distances], 1), np.concatenate([itself, indices], 1))
    d, *_ = data.compute_id_2NN()
    log_density, _ = data.compute_density_kNN(K)
    out = {"twonn": d, "log_density_sum": log_density.sum()}
    return out | {f"knn/{name}": value for name, value in clusterings(data, Z).items()}


def main() -> None:
    # DADApy warns of equal distances and of data without coordinates, which are given on purpose.
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    out: dict[str, np.ndarray] = {
        "versions": np.array(
            [f"python {platform.python_version()}"]
            + [f"{package} {version(package)}" for package in ("dadapy", "numpy", "scipy", "jax")]
        )
    }

    clouds = {name: on_grid(x) for name, x in shapes().items()}
    for name, x in clouds.items():
        out |= {f"{name}/{key}": value for key, value in answers(x).items()}
    out |= {f"decimation/{key}": value for key, value in decimation(clouds["torus2"]).items()}
    labels = np.random.default_rng(1).choice(4, len(clouds["mixture5"]), p=[0.1, 0.2, 0.3, 0.4])
    labels[clouds["mixture5"][:, 0] > 0] = 4
    out["overlap/labels"] = labels.astype(np.int8)
    out |= {f"overlap/{key}": value for key, value in overlaps(clouds["mixture5"], labels).items()}

    cases = [{**given, **found} for given, found in map(landscape, range(N_RANDOM))]
    for key in cases[0]:
        out[f"random/{key}"] = np.concatenate([np.atleast_1d(case[key]) for case in cases])
    for layer in ("logits", "pool"):
        out |= {f"atlas/{layer}/{key}": value for key, value in atlas_layer(layer).items()}

    path = HERE / "dadapy.npz"
    with (HERE / "dadapy.npz.part").open("wb") as file:
        np.savez_compressed(file, **out)
    os.replace(HERE / "dadapy.npz.part", path)
    print(f"{path.name}: {len(out)} arrays, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
