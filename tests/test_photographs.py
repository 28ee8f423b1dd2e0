"""Folders of images: what is in them, a choice of it, and what is fetched, whole or not at all."""

from __future__ import annotations

import hashlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from serving import serving

from nbutils.extraction import photographs
from nbutils.extraction.photographs import ImageFolder


def draw(path, colour=(9, 90, 200), size=(12, 10), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


def to_tensor(image: Image.Image) -> torch.Tensor:
    assert image.mode == "RGB"
    return torch.tensor(np.array(image)).permute(2, 0, 1)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    hidden = (".ipynb_checkpoints/0.png", "b/._2.png")
    for name in ("b/2.png", "b/10.JPG", "Z/x.jpeg", "a/1.bmp", "clutter/0.png", *hidden):
        draw(root / name)
    (root / "empty").mkdir()
    (root / "b" / "notes.txt").write_text("no image")
    (root / "read me.png").write_text("a file beside the folders")
    return root


def test_image_folder(folder):
    images = ImageFolder(folder, to_tensor)
    assert images.class_names == ("Z", "a", "b", "clutter"), "in the order of the bytes, on every system"
    assert images.files == ["Z/x.jpeg", "a/1.bmp", "b/10.JPG", "b/2.png", "clutter/0.png"]
    assert images.labels.tolist() == [0, 1, 2, 2, 3] and len(images) == 5
    assert [image.shape for image in images] == [(3, 10, 12)] * 5
    assert images[1][:, 0, 0].tolist() == [9, 90, 200]


def test_excluded_categories(folder):
    images = ImageFolder(folder, to_tensor, exclude=["clutter", "Z"])
    assert images.class_names == ("a", "b") and images.labels.tolist() == [0, 1, 1]
    with pytest.raises(TypeError, match=r"exclude must be a list of categories: write \['clutter'\]"):
        ImageFolder(folder, to_tensor, exclude="clutter")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_other_images_become_colour(tmp_path, mode):
    draw(tmp_path / "a" / "x.png", mode=mode)
    assert ImageFolder(tmp_path, to_tensor)[0].shape == (3, 10, 12)


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:50],
        lambda b: b[:-30],
        lambda b: b"",
        lambda b: b"<html>404</html>",
        lambda b: b[:33] + b"\x00\x00\x00\x04Y\x07\x18," + b[41:],
    ],
    ids=["head only", "cut short", "empty", "a web page", "broken chunk"],
)
def test_unreadable_images_are_named(folder, damage):
    (folder / "b" / "2.png").write_bytes(damage((folder / "b" / "2.png").read_bytes()))
    images = ImageFolder(folder, to_tensor)
    with pytest.raises(ValueError, match=r"^b/2\.png is not a readable image .*: remove or replace it"):
        images[3]
    assert images[2].shape == (3, 10, 12)


def test_folders_without_images(tmp_path):
    for root in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError, match="has no folders of images: expected root/<category>/<image>"):
            ImageFolder(root, to_tensor)
    draw(tmp_path / "beside.png")
    draw(tmp_path / "a" / "deeper" / "0.png")
    with pytest.raises(FileNotFoundError, match="root="):
        ImageFolder(tmp_path, to_tensor)
    draw(tmp_path / "train" / "a" / "0.png")
    (tmp_path / "a" / "deeper" / "0.png").unlink()
    with pytest.raises(FileNotFoundError, match="its folder train has such folders"):
        ImageFolder(tmp_path, to_tensor)


# --- a choice


@pytest.fixture
def many(tmp_path):
    for name, count in {"a": 3, "b": 6, "c": 5, "d": 5}.items():
        for i in range(count):
            draw(tmp_path / "many" / name / f"{i}.png", colour=(i, 0, ord(name)))
    return ImageFolder(tmp_path / "many", to_tensor)


def test_a_choice_is_drawn_by_lot_and_stays_in_order(many):
    some = many.choose(2, 4)
    assert len(some) == 8 and some.labels.tolist() == [0] * 4 + [1] * 4 and len(some.class_names) == 2
    assert "a" not in some.class_names, "it has not enough"
    assert some.files == sorted(some.files) and set(some.files) <= set(many.files)
    for i, name in enumerate(some.files):
        assert some.class_names[some.labels[i]] == name.split("/")[0]
        assert some[i][:, 0, 0].tolist() == [int(name[2]), 0, ord(name[0])]
    assert some.files == many.choose(2, 4).files != many.choose(2, 4, seed=1).files
    assert len(many) == 19 and many.class_names == ("a", "b", "c", "d"), "itself unchanged"


def test_a_choice_by_name_or_of_all(many):
    named = many.choose(["d", "a"])
    assert named.class_names == ("a", "d") and np.bincount(named.labels).tolist() == [3, 5]
    assert np.bincount(many.choose(per_category=3).labels).tolist() == [3] * 4
    assert pickle.loads(pickle.dumps(named)).files == named.files


@pytest.mark.parametrize(
    "choice, words",
    [
        ((4, 5), r"categories=4: of 4 categories in .* only 3 have 5 images"),
        ((0, None), "categories=0"),
        ((None, 4), "only 3 have 4 images"),
        ((["a", "x"], None), r"\['x'\] are not in"),
        ((["a", "b"], 4), "per_category=4: one of the categories has only 3"),
        (([], 1), "has only 0 images"),
    ],
)
def test_choices_that_cannot_be(many, choice, words):
    with pytest.raises(ValueError, match=words):
        many.choose(*choice)


# --- by name


def test_a_folder_of_ones_own(many):
    again = photographs.photographs(many.root, to_tensor, exclude=["a"])
    assert again.class_names == ("b", "c", "d")
    assert len(photographs.photographs(str(many.root), to_tensor, categories=3, per_category=5)) == 15
    with pytest.raises(FileNotFoundError, match=r"source='nowhere' is no folder, and none of \['caltech"):
        photographs.photographs("nowhere", to_tensor)


def fake_caltech(monkeypatch, fails=None):
    def download(root, download):
        assert download
        draw(photographs.Path(root) / "caltech101/101_ObjectCategories/ant/0.png")
        draw(photographs.Path(root) / "caltech101/101_ObjectCategories/BACKGROUND_Google/0.png")
        if fails:
            raise fails

    monkeypatch.setattr(torchvision.datasets, "Caltech101", download)


def test_caltech101_through_torchvision(tmp_path, monkeypatch):
    fake_caltech(monkeypatch)
    images = photographs.photographs("caltech101", to_tensor, root=tmp_path)
    assert images.class_names == ("ant",) and images.files == ["ant/0.png"]
    fake_caltech(monkeypatch, fails=AssertionError("downloaded again"))
    assert len(photographs.photographs("caltech101", to_tensor, root=tmp_path)) == 1


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("File not found or corrupted.")])
def test_without_network_nothing_is_left_and_the_way_out_is_named(tmp_path, monkeypatch, error):
    fake_caltech(monkeypatch, fails=error)
    with pytest.raises(ConnectionError, match=f"caltech101 could not be fetched .{error}.*data.caltech.edu.*unpack it"):
        photographs.photographs("caltech101", to_tensor, root=tmp_path / "photographs")
    assert list((tmp_path / "photographs").iterdir()) == []


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path) as address:
        yield address


def tiny(tmp_path, monkeypatch, served, names, md5=None):
    archive = tmp_path / "tiny-imagenet-200.zip"
    draw(tmp_path / "0.JPEG")
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.write(tmp_path / "0.JPEG", name)
    md5 = md5 or hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(photographs, "TINY_IMAGENET", (served + archive.name, md5))
    return archive


def test_tiny_imagenet(tmp_path, monkeypatch, served):
    tiny(
        tmp_path,
        monkeypatch,
        served,
        [
            "tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG",
            "tiny-imagenet-200/train/n01443537/n01443537_boxes.txt",
            "tiny-imagenet-200/val/images/val_0.JPEG",
        ],
    )
    images = photographs.photographs("tiny-imagenet", to_tensor, root=tmp_path / "p")
    assert images.files == ["n01443537/images/n01443537_0.JPEG"] and images.class_names == ("n01443537",)
    assert not list((tmp_path / "p").rglob("*.zip"))


@pytest.mark.parametrize("damage", ["hash", "cut short", "missing"])
def test_a_download_that_is_not_what_was_published(tmp_path, monkeypatch, served, damage):
    archive = tiny(
        tmp_path,
        monkeypatch,
        served,
        ["tiny-imagenet-200/train/n01443537/images/0.JPEG"],
        md5="0" * 32 if damage == "hash" else None,
    )
    if damage == "cut short":
        archive.write_bytes(archive.read_bytes()[:-40])
    if damage == "missing":
        archive.unlink()
    with pytest.raises(ConnectionError, match="tiny-imagenet could not be fetched"):
        photographs.photographs("tiny-imagenet", to_tensor, root=tmp_path / "p")
    assert list((tmp_path / "p").iterdir()) == []


def test_an_archive_does_not_climb_out_of_its_folder(tmp_path, monkeypatch, served):
    tiny(tmp_path, monkeypatch, served, ["../../../out.JPEG", "tiny-imagenet-200/train/n01443537/images/0.JPEG"])
    photographs.photographs("tiny-imagenet", to_tensor, root=tmp_path / "a" / "b" / "c")
    assert not [path for path in tmp_path.rglob("out.JPEG") if "c" not in path.relative_to(tmp_path).parts]
