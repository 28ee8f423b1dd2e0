"""Data with a name: what is opened is what was made, and clouds of known truth are what they are said to be."""

from __future__ import annotations

import csv
import json
from collections import Counter

import numpy as np
import pytest
import torch

from nbutils._data import DATA
from nbutils._files import sha256
from nbutils.atlas import load_atlas
from nbutils.dimension import twonn
from nbutils.extraction.photographs import sample_photographs
from nbutils.neighbors import knn_graph
from nbutils.paper.table import paper_table
from nbutils.synthetic import MANIFOLDS, gaussian_mixture, manifold, mixture_log_density
from nbutils.wordnet import synset_table

# --- the atlas that ships with the book

SHIPPED = "caltech101-efficientnet_lite0"


@pytest.fixture(scope="module")
def atlas():
    try:
        return load_atlas()
    except FileNotFoundError as error:
        pytest.fail(f"the atlas of the book is not there: build it with the command in data/README.md ({error})")


def test_shipped_atlas(atlas):
    assert atlas.name == SHIPPED and len(atlas.labels) == len(atlas.files) == len(set(atlas.files)) == 8677
    assert len(atlas.class_names) == len(set(atlas.class_names)) == 101 and "BACKGROUND_Google" not in atlas.class_names
    assert len(atlas.layers) >= 10 and atlas.layers[0] == "input" and atlas.layers[-1] == "logits"
    assert repr(atlas).startswith(f"Atlas('{SHIPPED}': 8677 images of 101 categories")
    counts = Counter(atlas.labels.tolist())
    assert sorted(counts) == list(range(101)) and min(counts.values()) == 31  # inline_skate, the smallest


def test_names_of_the_files_match_their_labels(atlas):
    assert [atlas.class_names[label] for label in atlas.labels] == [file.split("/")[0] for file in atlas.files]


def test_synsets_of_the_atlas_are_those_of_the_table(atlas):
    with open(DATA / "caltech101_synsets.csv", newline="", encoding="utf-8") as file:
        table = {row["category"]: row["synset"] for row in csv.DictReader(file)}
    assert dict(zip(atlas.class_names, (synset or "" for synset in atlas.synsets), strict=True)) == table


@pytest.mark.parametrize("name, k", [(SHIPPED, 40), (f"{SHIPPED}-random", 30)])
def test_every_graph_is_the_one_described(name, k):
    atlas = load_atlas(name)
    for layer in atlas.layers:  # reading one checks its SHA-256 and its form
        assert atlas.graphs[layer].n == 8677 and atlas.graphs[layer].k >= k
    assert list(atlas.graphs) == list(atlas.layers) == list(atlas.meta["layers"])
    assert atlas.meta["n"] == 8677 and atlas.meta["k"] >= k
    assert len({atlas.meta["layers"][layer]["sha256"] for layer in atlas.layers}) == len(atlas.layers)


def test_random_control_is_of_the_same_photographs(atlas):
    control = load_atlas(f"{SHIPPED}-random")
    assert control.files == atlas.files and control.synsets == atlas.synsets
    assert set(control.layers) <= set(atlas.layers) and "random" in control.meta["weights"]
    assert control.meta["weights_sha256"] != atlas.meta["weights_sha256"]


@pytest.mark.slow
def test_shipped_network_is_the_installed_one(atlas):
    from nbutils.extraction import models

    network = models.load(atlas.meta["network"])
    assert models.fingerprint(network.model) == atlas.meta["weights_sha256"]
    assert network.preprocessing == atlas.meta["preprocessing"]
    assert {name: layer["module"] for name, layer in atlas.meta["layers"].items()} == network.layers


def test_commands_in_the_readme_are_those_that_made_the_atlases():
    readme = (DATA / "README.md").read_text(encoding="utf-8").replace("\\\n", "").replace('"', "'")
    for name in (SHIPPED, f"{SHIPPED}-random"):
        assert load_atlas(name).meta["command"] in " ".join(readme.split())


def test_data_is_small_and_holds_no_pickle_and_no_photographs_but_thumbnails(root):
    left_out = {*(root / "data").glob("*.activations"), root / "data" / "__pycache__"}  # not committed
    files = [path for path in (root / "data").rglob("*") if path.is_file() and left_out.isdisjoint(path.parents)]
    assert len(files) > 15
    assert sum(file.stat().st_size for file in files) < 110e6
    assert {file.suffix for file in files} <= {
        ".npz",
        ".json",
        ".csv",
        ".tsv",
        ".md",
        ".py",
        ".yaml",
        ".pt",
        ".txt",
        ".webp",
        "",
    }
    # The thumbnails of Caltech-101, which may be shown; those of ImageNet may not.
    assert {file.parent.name for file in files if file.suffix == ".webp"} == {"caltech101-thumbnails"}
    for file in files:
        if file.suffix == ".pt":
            assert all(
                value.dtype in (torch.float16, torch.int64) for value in torch.load(file, weights_only=True).values()
            )
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as stored:
                dtypes = {name: stored[name].dtype.str for name in stored}
            vectors = {"pool_means": "<f4", "classifier_rows": "<f2"}
            graph = {"distances": "<f4", "indices": "<i4"}
            communities = dict.fromkeys(dtypes, "|u1")
            assert dtypes == {"class_vectors": vectors, "communities": communities}.get(file.stem, graph)


def test_paper_table():
    table = paper_table(graphs_only=True)
    assert [row["checkpoint"] for row in table] == [0, 1, 10, 34, 97, 142, 145, 148, 151, 152, 153]
    assert (table[0]["peaks"], table[8]["peaks"], table[-1]["peaks"]) == (4, 115, 217)
    assert table[-1]["overlap_output"] == 1


# --- an atlas of one's own


@pytest.fixture
def tiny(tmp_path):
    """A sound atlas of 12 points in 2 layers; tests then damage it."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    layers = {}
    for seed, name in enumerate(["stage 1", "logits"]):
        file = folder / f"{name.replace(' ', '_')}.npz"
        knn_graph(np.random.default_rng(seed).normal(size=(12, 3)), 4).save(file)
        layers[name] = {"module": f"m{seed}", "shape": [3], "file": file.name, "sha256": sha256(file)}
    (folder / "meta.json").write_text(json.dumps({"layers": layers, "n": 12}))
    (folder / "images.json").write_text(
        json.dumps(
            {
                "classes": [{"name": "ant", "synset": "n02219486"}, {"name": "blob", "synset": None}],
                "labels": [0] * 6 + [1] * 6,
                "files": [f"{i}.png" for i in range(12)],
            }
        )
    )
    return folder


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_load_one_of_your_own(tiny, monkeypatch):
    for name in (tiny, str(tiny)):
        atlas = load_atlas(name)
        assert atlas.name == "tiny" and atlas.layers == ("stage 1", "logits") and atlas.class_names == ("ant", "blob")
        assert atlas.synsets == ("n02219486", None) and atlas.labels.tolist() == [0] * 6 + [1] * 6
        assert atlas.files[11] == "11.png" and atlas.labels.dtype.kind == "i"
    expected = knn_graph(np.random.default_rng(1).normal(size=(12, 3)), 4)
    np.testing.assert_array_equal(atlas.graphs["logits"].indices, expected.indices)
    assert atlas.graphs["logits"] is atlas.graphs["logits"], "read once"
    monkeypatch.chdir(tiny.parent)
    assert load_atlas("tiny").name == "tiny"
    with pytest.raises(KeyError, match=r"'stage 2' is not in this atlas; it has \['stage 1', 'logits'\]"):
        atlas.graphs["stage 2"]


def test_unknown_atlas(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"no atlas 'nowhere'.*{SHIPPED}'"):
        load_atlas("nowhere")
    with pytest.raises(FileNotFoundError, match="no atlas"):
        load_atlas(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "meta.json").write_text('{"layers": {'),
        lambda f: (f / "meta.json").write_bytes(b"\xff\xfe\x00 not text"),
        lambda f: (f / "meta.json").write_text("[1, 2]"),
        lambda f: (f / "meta.json").write_text("{}"),
        lambda f: (f / "images.json").unlink(),
        lambda f: (f / "images.json").write_text("{}"),
        lambda f: edit(f / "images.json", lambda c: c["classes"][0].pop("synset")),
        lambda f: edit(f / "images.json", lambda c: c.update(labels=["ant"] * 12)),
    ],
    ids=["half meta", "no text", "meta a list", "meta empty", "no images", "images empty", "no synset", "no numbers"],
)
def test_damaged_atlas(tiny, damage):
    damage(tiny)
    with pytest.raises(ValueError, match=r"atlas '.*tiny' is damaged \(.*\): fetch or build it again"):
        load_atlas(tiny)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["labels"].pop(),
        lambda c: c["labels"].append(1),
        lambda c: c["labels"].__setitem__(3, 2),
        lambda c: c["labels"].__setitem__(3, -1),
        lambda c: c.update(labels=[], files=[]),
        lambda c: c["classes"].pop(),
    ],
    ids=["too few", "too many", "too large", "negative", "none", "too few classes"],
)
def test_labels_that_do_not_fit(tiny, change):
    edit(tiny / "images.json", change)
    with pytest.raises(ValueError, match=r"images\.json does not name one category for each image"):
        load_atlas(tiny)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: knn_graph(np.random.default_rng(9).normal(size=(12, 3)), 4).save(file),
    ],
    ids=["missing", "cut short", "another sound graph"],
)
def test_changed_graphs_are_refused_when_first_read(tiny, damage):
    damage(tiny / "stage_1.npz")
    atlas = load_atlas(tiny)
    assert atlas.graphs["logits"].n == 12
    for _ in range(2):
        with pytest.raises(ValueError, match=r"stage_1\.npz is missing, or not the file that meta\.json describes"):
            atlas.graphs["stage 1"]


# --- photographs that come with packages, and names


def test_sample_photographs():
    photographs = sample_photographs()
    assert len(photographs) >= 8 and "cat" in photographs
    for name, photograph in photographs.items():
        pixels = np.asarray(photograph)
        assert photograph.mode == "RGB" and min(photograph.size) >= 224, name
        assert pixels.std() > 20, f"{name} is blank"


def test_synset_table(tmp_path):
    table = synset_table()
    assert len(table) == 101 and table["crab"].startswith("n") and table["garfield"] is None
    (tmp_path / "mine.csv").write_text("category,synset\ncat,n02121620\nblob,\n")
    assert synset_table(tmp_path / "mine.csv") == {"cat": "n02121620", "blob": None}


# --- clouds of known truth

MEANS, SCALES, WEIGHTS = np.array([[-2.0], [1.0], [4.0]]), [0.5, 1.0, 0.25], [0.2, 0.5, 0.3]


def test_density_of_a_mixture_integrates_to_one():
    x = np.linspace(-12, 14, 20001)
    density = np.exp(mixture_log_density(x[:, None], MEANS, SCALES, WEIGHTS))
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-9)
    side = np.linspace(-9, 9, 301)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    density = np.exp(mixture_log_density(grid, [[0, 0], [2, 1]], 0.7))
    assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-9)


def test_points_of_a_mixture_follow_its_density():
    points, which = gaussian_mixture(200_000, MEANS, SCALES, WEIGHTS, random_state=3)
    assert points.shape == (200_000, 1) and which.shape == (200_000,)
    count, edges = np.histogram(points[:, 0], bins=60, range=(-4, 5))
    middle, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    # Simpson's rule within each bin; a count has the deviation of a binomial.
    left, centre, right = (
        np.exp(mixture_log_density(at[:, None], MEANS, SCALES, WEIGHTS)) for at in (edges[:-1], middle, edges[1:])
    )
    expected = 200_000 * width * (left + 4 * centre + right) / 6
    assert np.abs((count - expected) / np.sqrt(expected)).max() < 4.5
    for i in range(3):
        mine = points[which == i, 0]
        assert len(mine) / 200_000 == pytest.approx(WEIGHTS[i], abs=0.005)
        assert (mine.mean(), mine.std()) == (pytest.approx(MEANS[i, 0], abs=0.02), pytest.approx(SCALES[i], rel=0.02))


def test_far_from_every_component_the_log_density_is_still_right():
    peak = -0.5 * np.log(2 * np.pi)  # of one dimension
    assert mixture_log_density(np.array([[1e4]]), [[0.0]])[0] == pytest.approx(-5e7 + peak)
    assert mixture_log_density(np.zeros((1, 500)), np.zeros((1, 500)))[0] == pytest.approx(500 * peak)
    assert mixture_log_density(np.zeros((1, 1)), [[0.0], [9.0]], 1.0, [1, 0])[0] == pytest.approx(peak)


def test_seeds():
    for make in (
        lambda seed: gaussian_mixture(9, MEANS, random_state=seed)[0],
        lambda seed: manifold("cube", 9, 2, random_state=seed),
    ):
        np.testing.assert_array_equal(make(4), make(4))
        np.testing.assert_array_equal(make(np.random.default_rng(4)), make(4))
        assert not np.array_equal(make(4), make(5))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"means": [0.0, 1.0]}, r"means must have the shape \(c, d\), not \(2,\)"),
        ({"means": np.zeros((0, 2))}, "means must have the shape"),
        ({"scales": [1.0, 2.0]}, "scales must be one positive number or 3"),
        ({"scales": -1.0}, "scales must be one positive number"),
        ({"weights": [0.5, 0.5]}, "weights must be 3 probabilities"),
        ({"weights": [0.5, 0.5, 0.5]}, "weights must be 3 probabilities that sum to 1"),
        ({"weights": [1.5, -0.5, 0.0]}, "weights must be 3 probabilities"),
    ],
)
def test_mixtures_that_cannot_be(arguments, words):
    arguments = {"means": MEANS} | arguments
    with pytest.raises(ValueError, match=words):
        gaussian_mixture(5, **arguments)
    with pytest.raises(ValueError, match=words):
        mixture_log_density(np.zeros((5, 1)), **arguments)


@pytest.mark.parametrize("x", [np.zeros(3), np.zeros((3, 2)), 0.0])
def test_density_at_points_of_another_space(x):
    with pytest.raises(ValueError, match=r"x must have the shape \(n, 1\)"):
        mixture_log_density(x, MEANS)


LEAST = {"cube": 0, "gaussian": 0, "sphere": 1, "torus": 3}  # more than its dimension, for a dimension of 3


@pytest.mark.parametrize("kind", MANIFOLDS)
def test_manifolds_have_their_dimension_in_any_space(kind):
    flat, turned = manifold(kind, 3000, 3, random_state=1), manifold(kind, 3000, 3, ambient=40, random_state=1)
    assert flat.shape == (3000, 3 + LEAST[kind]) and turned.shape == (3000, 40)
    assert np.linalg.matrix_rank(turned - turned.mean(0), tol=1e-8) == 3 + LEAST[kind]
    assert twonn(knn_graph(turned, 2)).value == pytest.approx(3, abs=0.2)
    # A rotation: the same sample has the same distances in either space.
    np.testing.assert_allclose(
        np.linalg.norm(turned[:50, None] - turned[:50], axis=-1),
        np.linalg.norm(flat[:50, None] - flat[:50], axis=-1),
        atol=1e-12,
    )
    assert (np.abs(turned).max(0) > 0.01).all(), "the manifold lies along the axes"


def test_sizes_of_the_manifolds():
    np.testing.assert_allclose(np.linalg.norm(manifold("sphere", 500, 2, ambient=9), axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(manifold("torus", 500, 4, ambient=9), axis=1), 2 / (2 * np.pi))
    cube = manifold("cube", 20_000, 2, random_state=2)
    assert np.ptp(np.linalg.norm(cube, axis=1)) == pytest.approx(np.sqrt(2), abs=0.05), "from corner to corner"
    # Turning does not change the sum of the variances, 1/12 for each edge of length 1.
    assert cube.var(0).sum() == pytest.approx(2 / 12, rel=0.02)
    assert manifold("gaussian", 20_000, 3).var(0).sum() == pytest.approx(3, rel=0.03)


def test_a_torus_is_uniform_and_has_circumference_one():
    # The mean distance along a circle to its nearest neighbour of n is 1 / (2 n) of the circumference.
    graph = knn_graph(manifold("torus", 5000, 1, random_state=5), 1)
    assert graph.distances.mean() == pytest.approx(1 / 10_000, rel=0.05)


def test_manifolds_that_cannot_be():
    with pytest.raises(ValueError, match=r"kind must be one of .*'torus'.*, not 'klein bottle'"):
        manifold("klein bottle", 10, 2)
    with pytest.raises(ValueError, match="ambient=2 is too small: a sphere of dimension 2 needs 3"):
        manifold("sphere", 10, 2, ambient=2)
