"""Building an atlas of drawn images in a network of three layers, estimating it, and describing it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nbutils._files import sha256
from nbutils.atlas import build as atlas
from nbutils.atlas import damage, describe, load_atlas
from nbutils.atlas import estimate as estimates
from nbutils.atlas import layers as atlas_layers
from nbutils.extraction import activations, models, writing
from nbutils.extraction.photographs import ImageFolder
from nbutils.graph import NeighborGraph
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
    with pytest.raises(ValueError, match=r"made with another model \(other weights\); choose another folder or delete"):
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
        with pytest.raises(ValueError, match=f"k={k} must lie in 1 ... 14, because there are 15 images"):
            atlas.build(network(), images, tmp_path / "mine", k=k)
    assert os.listdir(tmp_path) == ["drawn"], "refused before anything was written"


# --- averaged over positions


def test_averaged_layers(tmp_path, images):
    made = atlas.build(
        network(), images, tmp_path / "mine", layers=["stage 1", "stage 2"], mean_layers=["logits", "stage 2"], k=4
    )
    assert made.layers == ("stage 1", "stage 2", "stage 2 mean", "logits"), "logits have no positions"
    described = made.meta["layers"]
    assert [described[layer]["reduce"] for layer in made.layers] == [None, None, "mean", None]
    assert described["stage 2 mean"]["shape"] == [6] and described["stage 2 mean"]["module"] == "2"
    x = torch.stack([images[i] for i in range(15)])
    with torch.inference_mode():
        means = network().model[:3](x).mean((2, 3))
    expected = knn_graph(means.half(), 4)
    np.testing.assert_array_equal(made.graphs["stage 2 mean"].indices, expected.indices)
    np.testing.assert_allclose(made.graphs["stage 2 mean"].distances, expected.distances, rtol=1e-2)


def test_averages_alone_need_no_room_for_the_rest(tmp_path, images):
    made = atlas.build(network(), images, tmp_path / "mine", mean_layers=list(network().layers), k=4)
    assert made.layers == ("input mean", "stage 1 mean", "stage 2 mean", "logits")
    stored = sum(rows.nbytes for rows in activations.ActivationStore(tmp_path / "mine.activations").values())
    assert stored == 2 * 15 * (3 + 4 + 6 + 5)
    found = estimates.estimate(network(), images, mean_layers=list(network().layers), k=4, device="cpu")
    assert found.activations_bytes == stored and found.layers == 4
    graphs = atlas.layer_graphs(network(), images, 4, mean_layers=["stage 2"])
    assert list(graphs) == ["stage 2 mean"]
    np.testing.assert_array_equal(graphs["stage 2 mean"].indices, made.graphs["stage 2 mean"].indices)
    with pytest.raises(ValueError, match="'stage 9' is no layer"):
        atlas.build(network(), images, tmp_path / "other", mean_layers=["stage 9"], k=4)


def test_averaging_leaves_the_network_as_it_is(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = models.fingerprint(model)
    untrained = models.Network("tiny", model, {"norm": "1"}, to_tensor)
    assert list(atlas_layers.chosen_layers(untrained, images, mean_layers=["norm"])) == ["norm mean"]
    assert models.fingerprint(model) == before


# --- rounded distances


@pytest.mark.parametrize("bits", [1, 12, 22, 23])
def test_rounding_keeps_the_order_and_the_accuracy(bits):
    graph = knn_graph(np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32), 20)
    found = atlas.rounded(graph, bits)
    np.testing.assert_array_equal(found.indices, graph.indices)
    np.testing.assert_allclose(found.distances, graph.distances, rtol=2.0 ** -(bits + 1), atol=0)
    assert (found.distances.view(np.uint32) % 2 ** (23 - bits) == 0).all(), "the other bits are zero"
    assert np.array_equal(found.distances, graph.distances) == (bits == 23)


def test_rounding_leaves_zeros_and_halves_the_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    x[1] = x[0]
    graph = knn_graph(x, 30)
    found = atlas.rounded(graph, 12)
    assert found.distances[0, 0] == 0 and isinstance(found, NeighborGraph)
    for name, saved in (("all.npz", graph), ("rounded.npz", found)):
        saved.save(tmp_path / name)
    assert (tmp_path / "rounded.npz").stat().st_size < 0.75 * (tmp_path / "all.npz").stat().st_size


def test_rounded_atlas(tmp_path, images):
    whole = atlas.build(network(), images, tmp_path / "whole", k=4)
    made = atlas.build(
        network(), images, tmp_path / "rounded", k=4, mantissa_bits=12, scratch=tmp_path / "whole.activations"
    )
    assert made.meta["mantissa_bits"] == 12 and whole.meta["mantissa_bits"] is None
    for layer in made.layers:
        np.testing.assert_array_equal(made.graphs[layer].indices, whole.graphs[layer].indices)
        np.testing.assert_array_equal(made.graphs[layer].distances, atlas.rounded(whole.graphs[layer], 12).distances)
    for wrong in (0, 24):
        with pytest.raises(ValueError, match=f"mantissa_bits={wrong} must lie in 1 ... 23"):
            atlas.build(network(), images, tmp_path / "other", k=4, mantissa_bits=wrong)


# --- the right graphs for the right images


def test_other_images_never_get_the_graphs_of_these(tmp_path):
    """As many images as before, the first of them the same: the old graphs must not get the new labels."""
    folder = draw(tmp_path / "drawn")
    first, second = (ImageFolder(folder, to_tensor, exclude=[name]) for name in ("green", "red"))
    assert len(first) == len(second) and first.files[0] == second.files[0]
    atlas.build(network(), first, tmp_path / "mine", k=4)
    before = contents(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"another images \(number 5 was red/00\.png, now green/00\.png\); choose"):
        atlas.build(network(), second, tmp_path / "mine", k=4)
    assert contents(tmp_path / "mine") == before


def test_graphs_count_only_for_the_activations_they_were_made_from(tmp_path, images):
    atlas.build(network(), images, tmp_path / "mine", k=4)
    other = network()
    other.model[4].bias.data += 1
    scratch = tmp_path / "mine.activations"
    for file in [*scratch.glob("*.npy"), scratch / "manifest.json"]:
        file.unlink()
    made = atlas.build(other, images, tmp_path / "mine", k=4)
    assert made.meta["weights_sha256"] == models.fingerprint(other.model)
    assert len(list(scratch.glob("logits.k4.*.npz"))) == 2, "the old graph is there and is not used"


def test_unreadable_images_are_found_before_anything_is_made(tmp_path, images):
    for name in ("blue/03.png", "red/04.png"):
        path = tmp_path / "drawn" / name
        path.write_bytes(path.read_bytes()[:60])
    words = r"^blue/03.png is not a readable image .*; red/04.png is not .* \(2 in all\)$"
    with pytest.raises(ValueError, match=words):
        atlas.build(network(), images, tmp_path / "mine", k=4)
    assert os.listdir(tmp_path) == ["drawn"]
    (tmp_path / "drawn/blue/03.png").unlink()
    with pytest.raises(ValueError, match=r"^red/04.png is not a readable image [^;]*: remove or replace it$"):
        atlas.build(network(), ImageFolder(tmp_path / "drawn", to_tensor), tmp_path / "mine", k=4)


# --- the folders


def test_folders_that_cannot_be_used(tmp_path, images, monkeypatch):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    monkeypatch.chdir(tmp_path)
    cases = [
        ({"out": "file"}, r"out='file' is a file"),
        ({"out": "full"}, r"out='full' holds other files \(thesis\.tex \.\.\.\): give a new folder"),
        ({"out": "."}, r"out='\.' holds other files"),
        ({"out": "new", "scratch": "file"}, r"scratch='file' is a file"),
        ({"out": "new", "scratch": "./new"}, r"scratch and out are both 'new'"),
    ]
    for places, words in cases:
        with pytest.raises(ValueError, match=words):
            atlas.build(network(), images, **places, k=4)
    assert sorted(os.listdir()) == ["drawn", "file", "full"] and os.listdir("full") == ["thesis.tex"]


def test_the_folder_one_is_in(tmp_path, images, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for _ in range(2):
        assert atlas.build(network(), images, ".", k=4).layers == tuple(network().layers)
    assert (tmp_path / "here.activations").is_dir()


# --- two runs at once


@pytest.mark.parametrize("where", ["mine", "mine.activations"])
def test_a_second_run_in_a_folder_says_so_also_while_graphs_are_made(tmp_path, images, monkeypatch, where):
    """The second run is of another network, as that of a reader who forgot the first."""
    made, other = [], atlas.build(network(), images, tmp_path / "other", k=4)

    def graph(*arguments):
        if not made:
            made.append(True)
            folders = {"out": tmp_path / "mine"} if where == "mine" else {"out": tmp_path / "b"}
            with pytest.raises(BlockingIOError, match=rf"out=.*{where}' is being filled by another thread"):
                atlas.build(network(), images, **folders, scratch=tmp_path / "mine.activations", k=5)
        return knn_graph(*arguments)

    monkeypatch.setattr(atlas, "knn_graph", graph)
    mine = atlas.build(network(), images, tmp_path / "mine", k=4)
    assert made and damage(tmp_path / "mine") == {}
    assert {layer: entry["sha256"] for layer, entry in mine.meta["layers"].items()} == {
        layer: entry["sha256"] for layer, entry in other.meta["layers"].items()
    }
    assert not list(tmp_path.glob(f"*/{writing.LOCK}"))


# --- a description


def test_description(tmp_path, images):
    made = atlas.build(network(), images, tmp_path / "mine", mean_layers=["stage 2"], k=4, command="by a test")
    text = describe(tmp_path / "mine")
    for words in (
        "Atlas 'mine'",
        "15 of 3 categories, of which 0 have a WordNet id",
        "tiny (random, seed 0)",
        "by a test",
        "stage 2 mean  6",
        "All files are whole.",
    ):
        assert words in text
    assert damage(tmp_path / "mine") == {}
    (tmp_path / "mine" / "stage_2_mean.npz").write_bytes(b"damaged")
    assert list(damage(tmp_path / "mine")) == list(made.layers) == ["stage 2 mean"]
    text = describe(tmp_path / "mine")
    assert "stage 2 mean: " in text and "is missing, or not the file" in text and "All files" not in text
    with pytest.raises(FileNotFoundError, match="no atlas"):
        describe(tmp_path)


def test_a_graph_of_other_images_is_damage(tmp_path, images):
    atlas.build(network(), images, tmp_path / "mine", layers=["logits"], k=4)
    knn_graph(np.random.default_rng(0).normal(size=(9, 3)), 4).save(tmp_path / "mine" / "logits.npz")
    meta = json.loads((tmp_path / "mine" / "meta.json").read_text())
    meta["layers"]["logits"]["sha256"] = sha256(tmp_path / "mine" / "logits.npz")
    (tmp_path / "mine" / "meta.json").write_text(json.dumps(meta))
    assert "a graph of 9 points for 15 images" in damage(tmp_path / "mine")["logits"]


def test_the_atlas_of_the_book_is_described():
    text = describe("caltech101-efficientnet_lite0")
    assert "8,677 of 101 categories, of which 98 have a WordNet id" in text and "All files are whole." in text


# --- killed

KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import test_atlas
from pathlib import Path

from nbutils.atlas import build as atlas
from nbutils.extraction.photographs import ImageFolder
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
        atlas.extract, writing.SYNC_SECONDS = small, 0


@pytest.mark.slow
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
    # One batch to warm up, one that is timed, three images of each that are looked at before; and the first of all, for
    # the size of a batch.
    assert len(loaded) == 2 * (256 + 3) + 1
    assert found.activations_bytes == 2 * 600 * (4 * 8 * 8 + 5) and found.atlas_bytes == 8 * 600 * 4 * 2
    assert found.activations_seconds == (256 + 3) * 600 / 256 and found.graphs_seconds == 0
    assert found.memory >= 1e9 and found.free > 0
    assert "600 images in 2 layers on CPU: about" in str(found) and "free" in str(found)
    lacking = dataclasses.replace(found, activations_bytes=found.free + int(3e9))
    assert "THE DISK LACKS 3.0 GB: choose fewer layers" in str(lacking)
    with pytest.raises(ValueError, match="'stage 9' is no layer"):
        estimates.estimate(network(), images, layers=["stage 9"], k=4)


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
    assert atlas_layers.batch_of(torch.zeros(2, 3, side, side)) == batch


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


def test_the_network_is_drawn():
    lines = estimates.drawing({"input": (3, 32, 32), "pool": (64, 1, 1), "logits": (10,)}, n=1_000_000).split("\n")
    assert lines == [
        "                     in full  averaged",
        "input   3 x 32 x 32   6.1 GB    6.0 MB  " + "#" * 26,
        "pool    64 x 1 x 1    128 MB    128 MB  " + "#" * 9,
        "logits  10             20 MB     20 MB  #",
        "together              6.3 GB    154 MB",
    ]
