"""Building an atlas, on drawn images and a network of three layers, and from the command line."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nbutils.atlas import __main__ as commands
from nbutils.atlas import build as atlas
from nbutils.atlas import estimate as estimates
from nbutils.atlas import load_atlas
from nbutils.extraction import activations, models
from nbutils.extraction.photographs import ImageFolder
from nbutils.neighbors import knn_graph


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.tensor(np.array(image)).permute(2, 0, 1) / 255


def network() -> models.Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(216, 5)).eval()
    return models.Network(
        "tiny",
        model,
        {"input": "", "stage 1": "1", "stage 2": "2", "logits": "4"},
        to_tensor,
        preprocessing="divided by 255",
        weights="random, seed 0",
    )


def draw(root, side=10, count=5):
    """Three categories of noise, each on a colour of its own."""
    rng = np.random.default_rng(0)
    for name, colour in {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(rng.normal(colour, 30, (side, side, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:02}.png")
    return root


@pytest.fixture
def images(tmp_path):
    return ImageFolder(draw(tmp_path / "drawn"), to_tensor)


def contents(folder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_build(tmp_path, images):
    made = atlas.build(
        network(),
        images,
        tmp_path / "mine",
        k=4,
        device="cpu",
        command="by a test",
        synsets={"red": "n04962784", "blue": None},
    )
    found = load_atlas(tmp_path / "mine")
    for a in (made, found):
        assert a.name == "mine" and a.layers == ("input", "stage 1", "stage 2", "logits")
        assert a.class_names == ("blue", "green", "red") and a.synsets == (None, None, "n04962784")
        assert a.files[0] == "blue/00.png" and a.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    meta = found.meta
    assert (meta["n"], meta["k"], meta["command"], meta["network"]) == (15, 4, "by a test", "tiny")
    assert (meta["preprocessing"], meta["weights"]) == ("divided by 255", "random, seed 0")
    assert meta["weights_sha256"] == models.fingerprint(network().model)
    assert meta["versions"]["torch"] and meta["layers"]["stage 2"]["shape"] == [6, 6, 6]
    # The graphs are those of what the network gives, computed here without the store.
    x = torch.stack([images[i] for i in range(15)])
    with torch.inference_mode():
        logits = network().model(x)
    for layer, value in (("input", x), ("logits", logits)):
        expected = knn_graph(value.half(), 4)
        np.testing.assert_array_equal(found.graphs[layer].indices, expected.indices)
        np.testing.assert_allclose(found.graphs[layer].distances, expected.distances, rtol=1e-2)
    assert not [file for file in os.listdir(tmp_path / "mine") if not file.endswith((".npz", ".json"))]


def test_chosen_layers_are_in_the_order_of_the_network(tmp_path, images):
    made = atlas.build(network(), images, tmp_path / "mine", layers=["logits", "input"], k=3, device="cpu")
    assert made.layers == ("input", "logits") and made.synsets == (None, None, None)


def test_building_again_makes_nothing_again(tmp_path, images, monkeypatch):
    atlas.build(network(), images, tmp_path / "mine", k=4, device="cpu")
    before = contents(tmp_path / "mine")
    monkeypatch.setattr(atlas, "knn_graph", lambda *a, **k: pytest.fail("made a graph again"))
    again, batches = network(), []
    again.model.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    atlas.build(again, images, tmp_path / "mine", k=4, device="cpu")
    assert batches == [1], "one image, which tells whether the network is the same"
    assert contents(tmp_path / "mine") == before


def test_another_k_needs_no_other_activations(tmp_path, images):
    atlas.build(network(), images, tmp_path / "mine", k=4, device="cpu")
    again, batches = network(), []
    again.model.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    made = atlas.build(again, images, tmp_path / "mine", k=6, device="cpu")
    assert batches == [1] and {graph.k for graph in made.graphs.values()} == {6} and made.meta["k"] == 6


def test_another_network_in_the_same_folder_is_refused(tmp_path, images):
    atlas.build(network(), images, tmp_path / "mine", k=4, device="cpu")
    before, other = contents(tmp_path / "mine"), network()
    other.model[4].bias.data += 1
    with pytest.raises(ValueError, match="made with another model; choose another folder or delete this one"):
        atlas.build(other, images, tmp_path / "mine", k=4, device="cpu")
    assert contents(tmp_path / "mine") == before


def test_graphs_at_once_are_those_of_an_atlas(tmp_path, images):
    built = atlas.build(network(), images, tmp_path / "out", k=4)
    tensors = torch.stack([images[i] for i in range(len(images))])
    graphs = atlas.layer_graphs(network(), tensors, k=4, layers=["logits", "stage 1"])
    assert list(graphs) == ["stage 1", "logits"]
    for layer, graph in graphs.items():
        assert np.array_equal(graph.indices, built.graphs[layer].indices)
        np.testing.assert_allclose(graph.distances, built.graphs[layer].distances, rtol=1e-3)
    assert list(atlas.layer_graphs(network(), tensors, k=2)) == list(network().layers)
    with pytest.raises(ValueError, match="'stage 9' is no layer"):
        atlas.layer_graphs(network(), tensors, layers=["stage 9"])


def test_bad_arguments(tmp_path, images):
    with pytest.raises(ValueError, match=r"layers: 'stage 7' is no layer of tiny; it has \['input'"):
        atlas.build(network(), images, tmp_path / "mine", layers=["stage 7"], k=4)
    for k in (0, 15):
        with pytest.raises(ValueError, match=f"k={k} must lie in 1 ... n - 1 = 14"):
            atlas.build(network(), images, tmp_path / "mine", k=k)
    assert os.listdir(tmp_path) == ["drawn"], "refused before anything was written"


# --- killed

KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import test_atlas
from pathlib import Path

from nbutils.atlas import build as atlas
when, left = sys.argv[3], [2]
def kill_at_the_third(*a, original=None, **k):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*a, **k)
if when == "images":
    transform = lambda image: kill_at_the_third(image, original=test_atlas.to_tensor)
    left[0] = 12  # the first twice, to see what it is, and ten in their order
else:
    transform = test_atlas.to_tensor
    made = atlas.knn_graph
    atlas.knn_graph = lambda *a, **k: kill_at_the_third(*a, original=made, **k)
images = ImageFolder(Path(sys.argv[2]) / "drawn", transform)
test_atlas.extract_in_small_batches()
atlas.build(test_atlas.network(), images, Path(sys.argv[2]) / "mine", k=4, device="cpu")
"""


def extract_in_small_batches(monkeypatch=None):
    def small(*a, original=activations.extract, **k):
        return original(*a, **{**k, "batch_size": 1})

    if monkeypatch:
        monkeypatch.setattr(atlas, "extract", small)
    else:
        atlas.extract = small


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("when, graphs_left", [("images", 4), ("graphs", 2)])
def test_killed_and_resumed(tmp_path, images, monkeypatch, when, graphs_left):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, os.path.dirname(__file__), tmp_path, when],
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(FileNotFoundError, match="no atlas"):
        load_atlas(tmp_path / "mine")
    # Killed while it loaded the eleventh image in batches of one: of those before it, one may have been running and
    # one being written.
    done = activations.read_manifest(tmp_path / "mine.activations")["done"]
    assert done in ((8, 9, 10) if when == "images" else (15,))

    extract_in_small_batches(monkeypatch)
    made, seen, resumed = [], [], network()
    monkeypatch.setattr(atlas, "knn_graph", lambda *a, **k: made.append(a) or knn_graph(*a, **k))
    resumed.model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    found = atlas.build(resumed, images, tmp_path / "mine", k=4, device="cpu")
    assert sum(seen) - 1 == 15 - done and len(made) == graphs_left
    whole = atlas.build(network(), images, tmp_path / "whole", k=4, device="cpu")
    for layer in whole.layers:
        np.testing.assert_array_equal(found.graphs[layer].indices, whole.graphs[layer].indices)
        np.testing.assert_array_equal(found.graphs[layer].distances, whole.graphs[layer].distances)
    for folder in ("mine", "mine.activations"):
        assert not list((tmp_path / folder).glob("*.part"))


def test_graphs_are_made_where_the_network_runs(tmp_path, images, monkeypatch):
    asked = []
    monkeypatch.setattr(atlas, "knn_graph", lambda x, k, device=None: asked.append(device) or knn_graph(x, k, device))
    atlas.build(network(), images, tmp_path / "best", k=4)
    atlas.build(network(), images, tmp_path / "asked", k=4, device="cpu")
    atlas.layer_graphs(network(), [images[i] for i in range(15)], 4)
    assert asked == [None] * 4 + ["cpu"] * 4 + [None] * 4


def test_mixed_precision_is_recorded_and_its_activations_are_others(tmp_path, images):
    made = atlas.build(network(), images, tmp_path / "mixed", k=4, device="cpu", autocast="bfloat16")
    assert made.meta["autocast"] == "bfloat16"
    plain = atlas.build(network(), images, tmp_path / "plain", k=4, device="cpu")
    assert plain.meta["autocast"] is None
    assert not np.array_equal(made.graphs["logits"].distances, plain.graphs["logits"].distances)
    np.testing.assert_allclose(made.graphs["logits"].distances, plain.graphs["logits"].distances, rtol=0.3)
    np.testing.assert_array_equal(made.graphs["input"].distances, plain.graphs["input"].distances)
    with pytest.raises(ValueError, match="made with another autocast"):
        atlas.build(network(), images, tmp_path / "mixed", k=4, device="cpu")
    with pytest.raises(ValueError, match="autocast must be None, 'float16' or 'bfloat16', not 'half'"):
        atlas.build(network(), images, tmp_path / "half", k=4, device="cpu", autocast="half")


def test_folders_named_by_synset_need_no_table(tmp_path):
    folder = draw(tmp_path / "drawn")
    (folder / "red").rename(folder / "n02084071")
    made = atlas.build(network(), ImageFolder(folder, to_tensor), tmp_path / "mine", k=4, device="cpu")
    assert made.class_names == ("blue", "green", "n02084071") and made.synsets == (None, None, "n02084071")


# --- what it will take


def test_estimate_knows_the_bytes_and_scales_the_time(tmp_path, images, monkeypatch):
    loaded = []
    slow = ImageFolder(tmp_path / "drawn", lambda image: loaded.append(image) or to_tensor(image))
    # By this clock each image takes a second, and a graph nothing.
    monkeypatch.setattr(estimates, "time", types.SimpleNamespace(perf_counter=lambda: len(loaded)))
    slow.paths, slow.files, slow.labels = slow.paths * 40, slow.files * 40, np.tile(slow.labels, 40)
    found = estimates.estimate(
        network(), slow, layers=["stage 1", "logits"], k=4, batches=1, device="cpu", out=tmp_path
    )
    assert (found.images, found.layers, found.device) == (600, 2, "CPU")
    # One batch to warm up, one that is timed, the first image of each; and the first of all, for the size of a batch.
    assert len(loaded) == 2 * (256 + 1) + 1
    assert found.activations_bytes == 2 * 600 * (4 * 8 * 8 + 5) and found.atlas_bytes == 8 * 600 * 4 * 2
    assert found.activations_seconds == (256 + 1) * 600 / 256 and found.graphs_seconds == 0
    assert found.memory >= 1e9 and found.free > 0
    assert "600 images in 2 layers on CPU: about" in str(found) and "free" in str(found)
    lacking = dataclasses.replace(found, activations_bytes=found.free + int(3e9))
    assert "THE DISK LACKS 3.0 GB: choose fewer layers" in str(lacking)
    with pytest.raises(ValueError, match="'stage 9' is no layer"):
        estimates.estimate(network(), images, layers=["stage 9"])


@pytest.mark.parametrize(
    "n, features, tried, times",
    [
        (600, 30, (600, 30), 1),
        (16_000, 30, (8000, 30), 4),
        (600, 4096, (600, 1024), 4),
        (80_000, 2048, (8000, 1024), 200),
    ],
)
def test_graphs_are_estimated_from_a_part(n, features, tried, times, monkeypatch):
    asked = []
    monkeypatch.setattr(estimates, "noise_seconds", lambda *a: asked.append(a[:2]) or 0.5)
    assert estimates.graph_seconds(n, features, 20, torch.device("cpu")) == 0.5 * times
    assert asked == [tried]


@pytest.mark.parametrize("side, batch", [(32, 256), (64, 256), (112, 128), (224, 32), (500, 32)])
def test_smaller_images_come_in_larger_batches(side, batch):
    assert atlas.batch_of(torch.zeros(2, 3, side, side)) == batch


@pytest.mark.parametrize(
    "value, words",
    [(0.1, "1 s"), (59, "59 s"), (89, "89 s"), (95, "1.6 min"), (3000, "50 min"), (7200, "2.0 h"), (86400 * 3, "72 h")],
)
def test_duration(value, words):
    assert estimates.duration(value) == words


@pytest.mark.parametrize(
    "value, words", [(10, "0 kB"), (5e5, "500 kB"), (1.24e6, "1.2 MB"), (335e9, "335 GB"), (2.4e12, "2.4 TB")]
)
def test_size(value, words):
    assert estimates.size(value) == words


# --- the command line


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "nbutils.atlas", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_help():
    done = command("--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: python -m nbutils.atlas")
    for option in (
        "--images",
        "--exclude",
        "--network",
        "--weights",
        "--layers",
        "--k",
        "--synsets",
        "--out",
        "--estimate",
        "--dask",
        "--device",
        "--autocast",
        "--categories",
        "--per-category",
    ):
        assert option in done.stdout


def test_end_to_end(tmp_path, capsys):
    draw(tmp_path / "drawn", side=40, count=4)
    (tmp_path / "table.csv").write_text("category,synset\nred,n04962784\ngreen,\n")
    arguments = [
        "--images",
        str(tmp_path / "drawn"),
        "--exclude",
        "blue",
        "--weights",
        "random",
        "--k",
        "3",
        "--workers",
        "0",
        "--layers",
        "stage 7",
        "stem",
        "logits",
        "--synsets",
        str(tmp_path / "table.csv"),
        "--out",
        str(tmp_path / "my atlas"),
    ]
    commands.main(arguments)
    said = capsys.readouterr().out
    assert "8 images of 2 categories in efficientnet_lite0 (random, seed 0)" in said
    assert re.search(r"Done in \d+ s: the 3 nearest neighbours of 8 images of 2 categories in 3 layers", said)
    assert "stem     32 x 112 x 112\nstage 7  320 x 7 x 7\nlogits   1000\n" in said
    assert f"load_atlas('{tmp_path / 'my atlas'}')" in said and "my atlas.activations (6.7 MB)" in said
    found = load_atlas(tmp_path / "my atlas")
    assert found.layers == ("stem", "stage 7", "logits") and len(found.labels) == 8
    assert found.class_names == ("green", "red") and found.synsets == (None, "n04962784")
    assert found.meta["weights"].startswith("random, seed 0, statistics of the batch normalisation measured on 8 ")
    assert "--layers 'stage 7' stem logits" in found.meta["command"], "can be pasted into a shell"
    for layer in found.layers:
        graph = found.graphs[layer]
        assert (graph.n, graph.k) == (8, 3) and (graph.distances > 0).all()
    # With calibrated statistics the signal neither dies out nor blows up on its way.
    store = activations.ActivationStore(tmp_path / "my atlas.activations")
    for layer in store:
        assert 0.05 < store[layer].astype(float).std() < 20, layer
    commands.main(arguments)
    assert json.loads((tmp_path / "my atlas" / "meta.json").read_text()) == found.meta


@pytest.mark.parametrize("count, batches", [(3, [3]), (33, [17, 16]), (256, [32] * 8), (300, [32] * 8)])
def test_calibration_sees_all_categories_in_batches_of_one_size(tmp_path, monkeypatch, count, batches):
    class Numbers:
        class_names, labels, files = ("a",), np.zeros(count, int), [""] * count

        def __len__(self):
            return count

        def __getitem__(self, i):
            return torch.full((3, 2, 2), float(i))

    given = []
    monkeypatch.setattr(commands, "photographs", lambda *a, **k: Numbers())
    monkeypatch.setattr(commands, "summary", lambda *a: "")
    monkeypatch.setattr(models, "calibrate", lambda model, batches: given.extend(batches))
    monkeypatch.setattr(commands, "build", lambda *a, **k: None)
    commands.main(["--images", "x", "--out", str(tmp_path / "out"), "--weights", "random"])
    assert [len(batch) for batch in given] == batches
    seen = torch.cat(given)[:, 0, 0, 0]
    assert seen[0] == 0 and seen[-1] == count - 1 and len(seen.unique()) == min(count, 256)
    assert seen.diff().max() <= 2


def test_weights_from_a_file_and_an_estimate_first(tmp_path, capsys):
    draw(tmp_path / "drawn", side=40, count=2)
    model = models.load("squeezenet1_1", "random", seed=3).model
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    arguments = [
        "--images",
        str(tmp_path / "drawn"),
        "--network",
        "squeezenet1_1",
        "--weights",
        str(tmp_path / "mine.pt"),
        "--k",
        "2",
        "--workers",
        "0",
        "--categories",
        "2",
        "--per-category",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    layers = list(models.load("squeezenet1_1", "random").layers)[-1:]
    commands.main([*arguments, "--layers", *layers, "--estimate"])
    assert "4 images in 1 layers on " in capsys.readouterr().out and not (tmp_path / "out").exists()
    commands.main([*arguments, "--layers", *layers])
    meta = load_atlas(tmp_path / "out").meta
    assert meta["weights"] == "mine.pt" and meta["weights_sha256"] == models.fingerprint(model) and meta["n"] == 4


def test_network_without_weights_on_this_machine(tmp_path, capsys):
    draw(tmp_path / "drawn")
    for wrong in (["--network", "resnet9999"], ["--k", "99"], ["--layers", "stage 99"]):
        with pytest.raises(ValueError, match=r"name='resnet9999'|k=99|'stage 99'"):
            commands.main(["--images", str(tmp_path / "drawn"), "--out", str(tmp_path / "out"), *wrong])
    with pytest.raises(SystemExit):
        commands.main(["--images", str(tmp_path / "drawn")])
    assert "--out" in capsys.readouterr().err
