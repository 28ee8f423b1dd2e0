"""The scales: what each of them opens, that it does what it says, and what is missing is named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from test_atlas import draw, network

from nbutils import scales
from nbutils.atlas import load_atlas
from nbutils.atlas.__main__ import main
from nbutils.extraction import activations, models, photographs
from nbutils.extraction.listed import read_image_list


def test_the_atlas_needs_nothing(tmp_path):
    choice = scales.choose("atlas", folder=tmp_path)
    made = choice.build(layers=["logits"])
    assert choice.images is None and made.name == "caltech101-efficientnet_lite0" and made.graphs["pool"].k == choice.k
    assert choice.shapes["stem"] == (32, 112, 112) and list(choice.shapes) == list(made.layers)
    assert "othing to download" in choice.estimate()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="network: the graphs of the scale 'atlas' are made"):
        scales.choose("atlas", "resnet152")


@pytest.mark.slow
def test_the_drawn_scale(tmp_path):
    choice = scales.choose("drawn", folder=tmp_path)
    assert len(choice.images) == 3300 and choice.network.name == "small" and choice.images[0].shape == (3, 32, 32)
    assert choice.shapes["block 7"] == (48, 4, 4) and choice.name == "drawn"
    some = dataclasses.replace(choice, images=choice.images.choose(4, 10), k=5)
    made = some.build(layers=["pool", "logits"])
    again = some.build(layers=["logits", "pool"])
    other = some.build(layers=["logits"])
    assert made.meta == again.meta and made.name == again.name != other.name, "other layers, another folder"
    assert made.name.startswith("drawn-small-") and made.graphs["logits"].k == 5
    mixed, means = (some.build(layers=["logits"], autocast="bfloat16"), some.build(mean_layers=["block 7", "logits"]))
    assert len({made.name, other.name, mixed.name, means.name}) == 4, "another precision or reduction, another folder"
    assert (mixed.meta["autocast"], other.meta["autocast"]) == ("bfloat16", None)
    assert means.layers == ("block 7 mean", "logits")
    needs = some.estimate(layers=["pool", "logits"], batches=1)
    assert needs.images == 40 and needs.activations_bytes == 2 * 40 * (48 + 33)


def test_a_folder_and_a_network_of_ones_own(tmp_path):
    folder = draw(tmp_path / "holiday")
    choice = scales.choose(folder, network(), folder=tmp_path / "my")
    assert choice.name == "holiday" and choice.images.class_names == ("blue", "green", "red")
    made = dataclasses.replace(choice, k=4).build(device="cpu")
    assert load_atlas(tmp_path / "my" / made.name).layers == tuple(network().layers)


def test_the_paper_scale_takes_its_share_of_imagenet(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    few = dataclasses.replace(scales.SCALES["paper"], categories=2, per_category=3)
    assert (scales.SCALES["paper"].categories, scales.SCALES["paper"].per_category) == (300, 300)
    monkeypatch.setitem(scales.SCALES, "paper", few)
    for name in ("n01440764", "n02084071", "n02121808"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(int(rng.integers(3, 6))):
            Image.new("RGB", (10, 10)).save(tmp_path / "train" / name / f"{i}.JPEG")
    choice = scales.choose("paper", network(), folder=tmp_path / "my", imagenet=tmp_path / "train")
    assert len(choice.images) == 6 and len(choice.images.class_names) == 2
    monkeypatch.setenv("IMAGENET", str(tmp_path / "train"))
    assert scales.choose("paper", network(), folder=tmp_path / "my").images.files == choice.images.files
    monkeypatch.delenv("IMAGENET")
    for missing in (None, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="the paper's scale needs the folder `train` of ImageNet"):
            scales.choose("paper", network(), imagenet=missing)


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """A training folder in the layout of ImageNet, and a scale "paper" of two categories with three images each."""
    few = dataclasses.replace(scales.SCALES["paper"], categories=2, per_category=3)
    monkeypatch.setitem(scales.SCALES, "paper", few)
    for category in ("n01440764", "n01443537", "n04099969"):
        (tmp_path / "train" / category).mkdir(parents=True)
        for i in (2, 10, 100, 7):
            Image.new("RGB", (10, 10), (i, 0, 0)).save(tmp_path / "train" / category / f"{category}_{i}.JPEG")
    return tmp_path / "train"


# As in the authors' list, neither the categories nor the images need be in the order of their numbers.
LISTED = ["n04099969_100", "n04099969_10", "n04099969_2", "n01443537_7", "n01443537_10", "n01443537_2"]


def write(folder, lines):
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    return folder / "list.txt"


def test_the_paper_scale_takes_the_very_images_of_a_list(imagenet, tmp_path):
    file = write(tmp_path, LISTED)
    choice = scales.choose("paper", network(), folder=tmp_path / "my", imagenet=imagenet, image_list=file)
    assert choice.images.files == [f"{name.split('_')[0]}/{name}.JPEG" for name in LISTED]
    assert choice.images.class_names == ("n04099969", "n01443537")
    np.testing.assert_array_equal(choice.images.labels, np.arange(6) // 3)
    assert [path.name for path in choice.images.paths] == [f"{name}.JPEG" for name in LISTED]
    made = dataclasses.replace(choice, k=2).build(device="cpu")
    assert list(made.files) == choice.images.files and made.class_names == choice.images.class_names


def test_the_command_takes_a_list_too(imagenet, tmp_path, capsys):
    command = ["--images", str(imagenet), "--weights", "random", "--layers", "logits", "--k", "2"]
    command += ["--out", str(tmp_path / "atlas"), "--image-list", str(write(tmp_path, LISTED))]
    assert main(command) == 0, capsys.readouterr().err
    assert [file.split("/")[1] for file in load_atlas(tmp_path / "atlas").files] == [f"{name}.JPEG" for name in LISTED]
    with pytest.raises(SystemExit):
        main([*command, "--per-category", "2"])
    assert "--image-list names every image" in capsys.readouterr().err


@pytest.mark.parametrize(
    "lines, words",
    [
        (["n01443537_10014", "goldfish.JPEG"], r"list\.txt, line 2: 'goldfish\.JPEG' is no name such as"),
        (["n01443537_1", "", "n01443537_2"], "line 2: '' is no name"),
        ([""], "is empty"),
        ([*LISTED[:3], LISTED[0]], "1 names more than once, for instance n04099969_100"),
        (LISTED[:5], "1 categories have another number of images than 3, for instance n01443537 has 2"),
        ([*LISTED[:2], LISTED[3], LISTED[2]], "the images of n04099969 are not in one piece"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        read_image_list(write(tmp_path, lines), 3)


def test_images_of_the_list_that_are_not_there_are_counted(imagenet, tmp_path):
    (imagenet / "n01443537" / "n01443537_7.JPEG").unlink()
    file = write(tmp_path, [*LISTED, "n07714990_1", "n07714990_2", "n07714990_3"])
    with pytest.raises(FileNotFoundError, match=r"4 of the 9 images of the list .* n01443537/n01443537_7\.JPEG, n077"):
        scales.choose("paper", network(), imagenet=imagenet, image_list=file)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        scales.choose("paper", network(), imagenet=imagenet, image_list=tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match="image_list: the scale 'drawn' takes no list"):
        scales.choose("drawn", image_list=file)


def test_what_there_is_not():
    with pytest.raises(FileNotFoundError, match=r"scale='no folder' is neither one of \['drawn', 'atlas'"):
        scales.choose("no folder")
    with pytest.raises(ValueError, match="resnet9999"):
        scales.choose("drawn", "resnet9999")


def gigabytes(name, images, weights="random"):
    with torch.device("meta"):
        shapes = activations.layer_shapes(models.load(name, weights))
    return sum(2 * images * np.prod(shape) for shape in shapes.values()) / 1e9


@pytest.mark.parametrize(
    "scale, network, images",
    [("photographs", "efficientnet_lite0", photographs.SOURCES["caltech101"].images), ("paper", "resnet152", 90_000)],
)
def test_the_disk_that_is_announced_is_what_the_activations_take(scale, network, images):
    announced = float(scales.SCALES[scale].takes.split(" GB of disk")[0].split()[-1])
    needed = gigabytes(network, images)
    assert needed <= announced <= 1.3 * needed
    assert scales.SCALES[scale].network == network
