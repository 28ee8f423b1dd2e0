"""The training of the small network with other seeds: which results of chapter 8 depend on the seed.

``python -m nbutils.smallworld.seeds`` trains the network twice more, with other initial weights and another order of
the pictures, and writes what its peaks agree with into ``data/small_world/seeds.json``. Seed 0 is the network whose
weights come with the book, so that chapter 8 can compute that part again. Interrupted, the same command continues with
the next seed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score

from .._files import write_json
from ..extraction.models import Network, calibrate
from ..extraction.recording import recording
from ..neighbors import knn_graph
from ..peaks import topography
from .drawing import Drawing, draw
from .network import small_network
from .things import load_things
from .training import PER_THING, WEIGHTS, load, train

SEEDS = (0, 1, 2)
EPOCHS = (0.5, 1, 2, 3, 4, 5, 8)
K = 15
FILE = WEIGHTS.with_name("seeds.json")


def stored() -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """For each seed, what `measure` found: in the logits for each epoch ("training"), and for each layer ("depth")."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def measure(network: Network, drawing: Drawing, layers: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each layer the number of density peaks, and their adjusted Rand index with groups, families and things."""
    names = {
        "groups": [thing.group for thing in drawing.things],
        "families": [thing.family for thing in drawing.things],
        "things": [thing.name for thing in drawing.things],
    }
    found: dict[str, dict[str, float]] = {}
    for layer in layers:
        peaks = topography(knn_graph(activations(network, drawing, layer), K), K)
        found[layer] = {"peaks": peaks.n_peaks}
        for level, of_thing in names.items():
            found[layer][level] = float(adjusted_rand_score(np.array(of_thing)[drawing.labels], peaks.labels))
    return found


def activations(network: Network, drawing: Drawing, layer: str) -> np.ndarray:
    """The flattened output (n, features) of a layer for each picture, in float16 as an atlas stores it."""
    rows = []
    with recording(network.model, {layer: network.layers[layer]}) as outputs, torch.inference_mode():
        for batch in drawing.tensors().split(500):
            network.model(batch)
            rows.append(outputs[layer].flatten(1).half().numpy())
    return np.concatenate(rows)


def in_half(network: Network) -> Network:
    """A copy whose weights are rounded to float16, as those are that come with the book."""
    rounded = copy.deepcopy(network)
    for value in rounded.model.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half())
    return rounded


def networks(seed: int) -> dict[float, Network]:
    """The network at each of `EPOCHS` of its training."""
    if seed == 0:
        return {epoch: load("things", epoch) for epoch in EPOCHS}
    things = load_things()
    lessons = draw(things, PER_THING * len(things), seed=0)
    network = small_network([thing.name for thing in things], seed)
    images, moments, found = lessons.tensors(), list(EPOCHS), {}

    def keep(epoch: float) -> None:
        if moments and epoch >= moments[0]:
            found[moments.pop(0)] = in_half(network)

    calibrate(network.model, images[:4096].split(512))
    train(network.model, images, lessons.labels, seed=seed, device="cpu", watch=keep)
    return found


def main() -> None:
    things = load_things()
    few, many = draw(things, 100 * len(things), seed=1), draw(things, 300 * len(things), seed=2)
    table = stored()
    for seed in SEEDS:
        if str(seed) not in table:
            trained = networks(seed)
            table[str(seed)] = {
                "training": {f"{epoch:g}": measure(trained[epoch], few, ["logits"])["logits"] for epoch in EPOCHS},
                "depth": measure(trained[EPOCHS[-1]], many, ["block 6", "block 7", "pool", "logits"]),
            }
            write_json(FILE, table)
            print(f"seed {seed} is done", flush=True)


if __name__ == "__main__":
    main()
