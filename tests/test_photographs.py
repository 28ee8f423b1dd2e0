"""Folders of images: what is in them, how each picture is read, samples of them, and downloads by name."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from serving import serving

from nbutils.extraction import photographs, pictures, sources
from nbutils.extraction.photographs import ImageFolder
from nbutils.extraction.pictures import read_picture


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
    with pytest.raises(ValueError, match=r"exclude: .* has no category 'cluter'; is it 'clutter'\?"):
        ImageFolder(folder, to_tensor, exclude=["cluter"])
    with pytest.raises(ValueError, match=r"has no category '9'; is it one of Z, a, b, clutter, empty \.\.\."):
        ImageFolder(folder, to_tensor, exclude=["9"])


def test_what_is_skipped_is_known(folder):
    assert ImageFolder(folder, to_tensor, exclude=["Z"]).skipped == ["read me.png", "b/notes.txt"]
    assert ImageFolder(folder, to_tensor, exclude=["b"]).choose(2).skipped == ["read me.png"]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_other_images_become_colour(tmp_path, mode):
    draw(tmp_path / "a" / "x.png", mode=mode)
    assert ImageFolder(tmp_path, to_tensor)[0].shape == (3, 10, 12)


@pytest.mark.parametrize("name", ["x.PPM", "x.pgm", "x.webp", "x.tiff"])
def test_other_formats(tmp_path, name):
    draw(tmp_path / "a" / name, mode="L" if name.endswith("pgm") else "RGB")
    assert ImageFolder(tmp_path, to_tensor)[0].shape == (3, 10, 12)


# --- the numbers of the pixels

VALUES = np.array([[0, 128, 129, 257], [32767, 32768, 65534, 65535]], np.uint16)
EIGHT = [[0, 0, 1, 1], [127, 128, 255, 255]]


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_sixteen_bits_are_scaled(tmp_path, name):
    Image.fromarray(VALUES).save(tmp_path / name)
    picture = np.asarray(read_picture(tmp_path / name))
    assert picture.shape == (2, 4, 3) and picture[:, :, 0].tolist() == EIGHT and (np.ptp(picture, 2) == 0).all()


def test_sixteen_bits_with_the_high_byte_first(tmp_path):
    Image.frombytes("I;16B", (4, 2), VALUES.astype(">u2").tobytes()).save(tmp_path / "x.tif")
    with Image.open(tmp_path / "x.tif") as image:
        assert image.mode == "I;16B"
    assert np.asarray(read_picture(tmp_path / "x.tif"))[:, :, 0].tolist() == EIGHT


def test_older_versions_of_pillow_read_sixteen_bits_as_integers():
    image = Image.fromarray(VALUES.astype(np.int32))
    assert image.mode == "I"
    image.format = "PNG"
    assert np.asarray(pictures.eight_bits(image)).tolist() == EIGHT


@pytest.mark.parametrize(
    "dtype, kind", [(np.int32, "32-bit integers"), (np.float32, "floating point numbers")], ids=["integers", "floats"]
)
def test_pixels_without_a_white_are_refused(folder, dtype, kind):
    Image.fromarray(VALUES.astype(dtype)).save(folder / "a" / "0.tif")
    images = ImageFolder(folder, to_tensor)
    with pytest.raises(ValueError, match=rf"^a/0\.tif has {kind} as pixels .*: convert it to 8 or 16 bits$"):
        images[1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, orientation):
    """Each orientation says how the stored picture is to be turned: EXIF 2.32, tag 0x0112."""
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = 255  # white in the upper left corner
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "x.jpg", exif=exif, quality=100)
    assert np.abs(np.asarray(read_picture(tmp_path / "x.jpg")).astype(int) - upright).max() < 10


# --- what cannot be read

DAMAGES = {
    "head only": lambda b: b[:50],
    "cut short": lambda b: b[:-30],
    "empty": lambda b: b"",
    "a web page": lambda b: b"<html>404</html>",
    "broken chunk": lambda b: b[:33] + b"\x00\x00\x00\x04Y\x07\x18," + b[41:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_unreadable_images_are_named(folder, damage):
    (folder / "b" / "2.png").write_bytes(damage((folder / "b" / "2.png").read_bytes()))
    images = ImageFolder(folder, to_tensor)
    with pytest.raises(ValueError, match=r"^b/2\.png is not a readable image .*: remove or replace it") as raised:
        images[3]
    assert images[2].shape == (3, 10, 12)
    assert photographs.unreadable(images) == [str(raised.value)]


@pytest.mark.parametrize(
    "error", [OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, ZeroDivisionError]
)
def test_whatever_pillow_raises_the_picture_is_named(folder, monkeypatch, error):
    def open_(*args):
        raise error("broken")

    monkeypatch.setattr(pictures.Image, "open", open_)
    with pytest.raises(ValueError, match=r"^Z/x\.jpeg is not a readable image \(broken"):
        ImageFolder(folder, to_tensor)[0]


def test_out_of_memory_is_no_damage(folder, monkeypatch):
    def open_(*args):
        raise MemoryError

    monkeypatch.setattr(pictures.Image, "open", open_)
    with pytest.raises(MemoryError):
        ImageFolder(folder, to_tensor)[0]


def test_a_file_that_has_gone_is_no_damage(folder):
    images = ImageFolder(folder, to_tensor)
    (folder / "Z" / "x.jpeg").unlink()
    with pytest.raises(FileNotFoundError, match=r"x\.jpeg"):
        images[0]


@pytest.mark.parametrize("error", [FileNotFoundError("labels.csv"), ValueError("no"), OSError("disk")])
def test_the_errors_of_a_transform_are_its_own(folder, error):
    def transform(image):
        raise error

    words = rf"^Z/x\.jpeg: the transform failed \({type(error).__name__}: {error}\)"
    with pytest.raises(RuntimeError, match=words) as raised:
        ImageFolder(folder, transform)[0]
    assert raised.value.__cause__ is error


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
    with pytest.raises(FileNotFoundError, match=r"it has .*a folder train, which has such folders"):
        ImageFolder(tmp_path, to_tensor)


def test_a_folder_of_other_files_says_which(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("1.heic", "2.HEIC", "3.gif", "4"):
        (tmp_path / "a" / name).write_text("x")
    words = r"one of the suffixes \.jpg .*\.pgm; it has 2 files with \.heic, 1 files with \.gif, 1 files with no suffix"
    with pytest.raises(FileNotFoundError, match=words):
        ImageFolder(tmp_path, to_tensor)


# --- a choice


@pytest.fixture
def many(tmp_path):
    for name, count in {"a": 3, "b": 6, "c": 5, "d": 5}.items():
        for i in range(count):
            draw(tmp_path / "many" / name / f"{i}.png", colour=(i, 0, ord(name)))
    return ImageFolder(tmp_path / "many", to_tensor)


def test_a_choice_is_random_and_stays_in_order(many):
    some = many.choose(2, 4)
    assert len(some) == 8 and some.labels.tolist() == [0] * 4 + [1] * 4 and len(some.class_names) == 2
    assert "a" not in some.class_names, "it has not enough"
    assert some.files == sorted(some.files) and set(some.files) <= set(many.files)
    for i, name in enumerate(some.files):
        assert some.class_names[some.labels[i]] == name.split("/")[0]
        assert some[i][:, 0, 0].tolist() == [int(name[2]), 0, ord(name[0])]
    assert some.files == many.choose(2, 4).files != many.choose(2, 4, random_state=1).files
    assert some.files == many.choose(2, 4, np.random.default_rng(0)).files
    assert len(many) == 19 and many.class_names == ("a", "b", "c", "d"), "itself unchanged"


def test_a_choice_stays_the_same(many):
    """What published atlases were made of."""
    assert many.choose(2, 2).files == ["c/1.png", "c/4.png", "d/0.png", "d/4.png"]


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
        ((None, 0), "per_category=0 must be at least 1"),
        ((2, -1), "per_category=-1 must be at least 1"),
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


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path) as address:
        yield address


def packed(tmp_path, monkeypatch, served, name, members, md5=None):
    """A zip file on the server, which the data set `name` is downloaded from."""
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)
    md5 = md5 or hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(sources, name, (served + archive.name, md5))
    return archive


def picture_bytes() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12, 10)).save(file, "JPEG")
    return file.getvalue()


def tiny(tmp_path, monkeypatch, served, names, md5=None):
    return packed(tmp_path, monkeypatch, served, "TINY_IMAGENET", dict.fromkeys(names, picture_bytes()), md5)


def test_tiny_imagenet(tmp_path, monkeypatch, served):
    names = [
        "tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG",
        "tiny-imagenet-200/train/n01443537/n01443537_boxes.txt",
        "tiny-imagenet-200/val/images/val_0.JPEG",
    ]
    archive = tiny(tmp_path, monkeypatch, served, names)
    images = photographs.photographs("tiny-imagenet", to_tensor, root=tmp_path / "p")
    assert images.files == ["n01443537/images/n01443537_0.JPEG"] and images.class_names == ("n01443537",)
    assert images.skipped == ["n01443537/n01443537_boxes.txt"]
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["tiny-imagenet"]
    archive.unlink()
    assert len(photographs.photographs("tiny-imagenet", to_tensor, root=tmp_path / "p")) == 1, "fetched once"


def test_caltech101(tmp_path, monkeypatch, served):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for name in ("ant/0.jpg", "BACKGROUND_Google/0.jpg"):
            info = tarfile.TarInfo(f"101_ObjectCategories/{name}")
            info.size = len(picture_bytes())
            tar.addfile(info, io.BytesIO(picture_bytes()))
    members = {
        "caltech-101/101_ObjectCategories.tar.gz": inner.getvalue(),
        "caltech-101/Annotations.tar": b"not needed",
        "__MACOSX/caltech-101/._101_ObjectCategories.tar.gz": b"",
    }
    packed(tmp_path, monkeypatch, served, "CALTECH101", members)
    images = photographs.photographs("caltech101", to_tensor, root=tmp_path / "p")
    assert images.class_names == ("ant",) and images.files == ["ant/0.jpg"]
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["caltech101"]


@pytest.mark.parametrize("damage", ["hash", "cut short", "missing"])
def test_a_download_that_is_not_what_was_published(tmp_path, monkeypatch, served, damage):
    names = ["tiny-imagenet-200/train/n01443537/images/0.JPEG"]
    archive = tiny(tmp_path, monkeypatch, served, names, md5="0" * 32 if damage == "hash" else None)
    if damage == "cut short":
        archive.write_bytes(archive.read_bytes()[:-40])
    if damage == "missing":
        archive.unlink()
    with pytest.raises(ConnectionError, match=r"tiny-imagenet-200\.zip could not be fetched.*put it at"):
        photographs.photographs("tiny-imagenet", to_tensor, root=tmp_path / "p")
    assert list((tmp_path / "p").iterdir()) == []


def test_unpacking_that_was_interrupted_starts_over(tmp_path, monkeypatch, served):
    tiny(tmp_path, monkeypatch, served, ["tiny-imagenet-200/train/n01443537/images/0.JPEG"])

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(zipfile.ZipFile, "extractall", interrupted)
        photographs.photographs("tiny-imagenet", to_tensor, root=tmp_path / "p")
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["tiny-imagenet-200.zip"], "not fetched again"
    assert len(photographs.photographs("tiny-imagenet", to_tensor, root=tmp_path / "p")) == 1


def test_an_archive_does_not_climb_out_of_its_folder(tmp_path, monkeypatch, served):
    tiny(tmp_path, monkeypatch, served, ["../../../out.JPEG", "tiny-imagenet-200/train/n01443537/images/0.JPEG"])
    photographs.photographs("tiny-imagenet", to_tensor, root=tmp_path / "a" / "b" / "c")
    assert not [path for path in tmp_path.rglob("out.JPEG") if "c" not in path.relative_to(tmp_path).parts]


def test_the_first_of_each_category_are_those_whose_names_come_first(many):
    some = many.first(2)
    assert some.class_names == many.class_names
    for c, name in enumerate(some.class_names):
        files = [file for file, label in zip(some.files, some.labels, strict=True) if label == c]
        assert files == sorted(file for file in many.files if file.startswith(f"{name}/"))[:2]
    with pytest.raises(ValueError, match="count=1000: one of the categories has only"):
        many.first(1000)
