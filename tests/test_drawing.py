"""The small world: what is drawn is what the file says, chance decides only what it may, and bad files are refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
import yaml

from nbutils import wordnet
from nbutils.extraction.photographs import ImageFolder
from nbutils.neighbors import knn_graph
from nbutils.overlap import chance_label_overlap, label_overlap
from nbutils.smallworld.drawing import SIDE, Drawing, draw, drawn_folder, to_tensor
from nbutils.smallworld.things import THINGS, Thing, load_things


@pytest.fixture(scope="module")
def things() -> tuple[Thing, ...]:
    return load_things()


@pytest.fixture(scope="module")
def drawing(things) -> Drawing:
    return draw(things, 40 * len(things), seed=3)


def one_thing(tmp_path, **parts) -> tuple[Thing, ...]:
    """A world of one thing that is nothing but these parts."""
    path = tmp_path / "things.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "groups": {"group": {"synset": "n00000001"}},
                "families": {"family": {"group": "group", "synset": "n00000002", "parts": {}}},
                "things": {"thing": {"family": "family", "synset": "n00000003", "parts": parts}},
            },
            sort_keys=False,
        )
    )
    return load_things(path)


def portrait(things: tuple[Thing, ...], monkeypatch) -> np.ndarray:
    """(32, 32) True where the one thing is painted: in the middle, upright, in full size, white on black."""
    from nbutils.smallworld import drawing as module

    def plain(n, seed):
        fixed = {name: np.zeros_like(value) for name, value in latents(n, seed).items()}
        ones = ("size", "squeeze", "flipped", "light", "main", "other", "_stretch")
        # Litter far off the paper.
        return {**fixed, **{name: np.ones_like(fixed[name]) for name in ones}, "_litter": fixed["_litter"] + 9}

    latents = module._latents
    monkeypatch.setattr(module, "_latents", plain)
    return draw(things, 1).images[0].mean(-1) > 127


# --- the world


def test_the_world_is_large_enough(things):
    assert len(things) >= 30 and len({thing.name for thing in things}) == len(things)
    assert len({thing.family for thing in things}) >= 8 and len({thing.group for thing in things}) >= 3
    assert all(thing.parts for thing in things)


def test_each_thing_is_in_wordnet_what_its_family_says(things):
    words, world = wordnet.load(), yaml.safe_load(THINGS.read_text())
    stray = {t.name for t in things if not wordnet.is_a(words, t.synset, world["families"][t.family]["synset"])}
    assert stray == {"tulip"}  # to WordNet a bulbous plant, and no flower
    apart = {
        name
        for name, family in world["families"].items()
        if not wordnet.is_a(words, family["synset"], world["groups"][family["group"]]["synset"])
    }
    assert apart == {"fruit"}  # to WordNet a part of a plant, and no plant
    assert all(thing.name in words.nodes[thing.synset]["words"] for thing in things)


def test_wordnet_of_the_world_has_several_levels(things):
    words = wordnet.load()
    tree = wordnet.hypernym_tree(words, [thing.synset for thing in things])
    assert len({data["depth"] for node, data in tree.nodes(data=True) if not data["given"]}) >= 4


def test_a_family_shares_its_body_plan(things):
    """Each thing has at least half of its family's parts, as they are or in its own form."""
    world = yaml.safe_load(THINGS.read_text())
    for name, thing in world["things"].items():
        plan = {part for part, shapes in world["families"][thing["family"]]["parts"].items() if shapes}
        gone = {part for part, shapes in thing["parts"].items() if not shapes}
        assert len(plan & gone) <= len(plan) / 2, name


# --- the generator


def test_form_of_a_drawing(things, drawing):
    n = len(drawing)
    assert drawing.images.shape == (n, SIDE, SIDE, 3) and drawing.images.dtype == np.uint8
    assert np.array_equal(np.bincount(drawing.labels), np.full(len(things), 40))
    assert {name: value.shape[1:] for name, value in drawing.latents.items() if value.ndim > 1} == {
        "main": (3,),
        "other": (3,),
        "background": (3,),
        "stripe": (3,),
    }
    assert all(len(value) == n and np.isfinite(value).all() for value in drawing.latents.values())
    tensors = drawing.tensors()
    assert tensors.shape == (n, 3, SIDE, SIDE) and tensors.dtype == torch.float32
    assert tensors.min() >= -1 and tensors.max() <= 1
    assert torch.equal(((tensors + 1) * 127.5).round().byte().permute(0, 2, 3, 1), torch.from_numpy(drawing.images))


def test_same_bytes_on_every_machine(tmp_path):
    """The one number here that was not derived: what the first machine drew. Another must draw the same."""
    things = one_thing(
        tmp_path,
        body={"ellipse": [0.1, 0.2, 0.5, 0.3], "turn": 30},
        leg={"line": [0, 0, 0.3, -0.8], "width": 0.2, "colour": "dark", "mirror": True},
        star={"polygon": [[0.5, 0.5], [0.9, 0.5], [0.7, 0.9]], "colour": "other", "copies": 3},
    )
    digest = hashlib.sha256(draw(things, 200, seed=7).images.tobytes()).hexdigest()
    assert digest == "8f279293496ccd6848c23f58fffa3acc30e4d2a34b1e4d8227d3f7e5486a4508"


def test_seed_decides(things):
    first, again, other = (draw(things, 66, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.images, again.images) and (first.images != other.images).mean() > 0.9


def test_first_pictures_do_not_depend_on_how_many_follow(things):
    few, many = draw(things, 50, seed=1), draw(things, 500, seed=1)
    assert np.array_equal(few.images, many.images[:50]) and np.array_equal(few.labels, many.labels[:50])
    assert all(np.array_equal(value, many.latents[name][:50]) for name, value in few.latents.items())


def test_chance_knows_nothing_of_the_thing(things):
    """Each latent variable has the same mean for all things, to within what chance gives."""
    drawing = draw(things, 300 * len(things), seed=0)
    for name, value in drawing.latents.items():
        value = value.reshape(len(value), -1).mean(1)
        means = np.array([value[drawing.labels == label].mean() for label in range(len(things))])
        spread = (means - value.mean()) / (value.std() / 300**0.5)
        assert np.abs(spread).max() < 4.5, name  # 16 variables of 33 things: 4.5 has a chance of 0.4 %


def test_pixels_know_next_to_nothing_of_the_thing(things):
    drawing = draw(things, 100 * len(things), seed=2)
    pixels = knn_graph(drawing.tensors(), 15)
    assert label_overlap(pixels, drawing.labels, 15) < 2 * chance_label_overlap(drawing.labels)


@pytest.mark.parametrize("name", ["x", "y", "size", "light"])
def test_latents_are_what_is_seen(things, name):
    """A white thing on black, or a black on white, has its place, size and sign in the pixels themselves."""
    drawing = draw(things, 100 * len(things), seed=4)
    grey = drawing.images.mean(-1)
    border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1).mean(1)
    mask = np.abs(grey - border[:, None, None])
    mask = mask / mask.sum((1, 2), keepdims=True)
    step = (np.arange(SIDE) + 0.5) / (SIDE / 2) - 1
    middle = grey[:, 12:20, 12:20].mean((1, 2))
    seen = {
        "x": (mask.sum(1) * step).sum(1),
        "y": -(mask.sum(2) * step).sum(1),
        "size": (np.abs(grey - border[:, None, None]) > 40).mean((1, 2)),
        "light": middle - border,
    }[name]
    assert np.corrcoef(seen, drawing.latents[name])[0, 1] > 0.3


def test_grey_takes_the_colours_and_nothing_else(drawing):
    grey = drawing.tensors(grey=True)
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 0], grey[:, 2])
    assert torch.allclose(grey[:, 0], drawing.tensors().mean(1), atol=1e-6)


# --- the shapes


def test_a_box_covers_its_pixels(tmp_path, monkeypatch):
    seen = portrait(one_thing(tmp_path, body={"box": [0.25, 0.5, 0.25, 0.125]}), monkeypatch)
    expected = np.zeros((SIDE, SIDE), bool)
    expected[6:10, 16:24] = True  # y grows upwards: 0.375 to 0.625 are the rows 6 to 9 from above
    assert np.array_equal(seen, expected)


def test_an_ellipse_has_its_area_and_its_turn(tmp_path, monkeypatch):
    seen = portrait(one_thing(tmp_path, body={"ellipse": [0, 0, 0.8, 0.2], "turn": 45}), monkeypatch)
    assert seen.sum() == pytest.approx(np.pi * 0.8 * 0.2 * (SIDE / 2) ** 2, rel=0.05)
    assert seen[7, 24] and not seen[7, 7]  # along the diagonal that climbs to the right


def test_a_line_is_as_wide_as_it_says(tmp_path, monkeypatch):
    seen = portrait(one_thing(tmp_path, body={"line": [-0.5, 0, 0.5, 0], "width": 0.25}), monkeypatch)
    assert seen.sum() == 16 * 4 and seen[14:18, 8:24].all()


def test_mirror_and_copies(tmp_path, monkeypatch):
    corner = {"box": [0.5, 0.5, 0.125, 0.125]}
    with monkeypatch.context() as patch:
        mirrored = portrait(one_thing(tmp_path, body={**corner, "mirror": True}), patch)
    with monkeypatch.context() as patch:
        copied = portrait(one_thing(tmp_path, body={**corner, "copies": 4}), patch)
    assert np.array_equal(mirrored, mirrored[:, ::-1]) and mirrored.sum() == 2 * 16
    assert np.array_equal(copied, np.rot90(copied)) and copied.sum() == 4 * 16


def test_later_parts_cover_earlier_ones(tmp_path, monkeypatch):
    seen = portrait(
        one_thing(tmp_path, under={"box": [0, 0, 0.5, 0.5]}, over={"box": [0, 0, 0.25, 0.25], "colour": "dark"}),
        monkeypatch,
    )
    assert seen[9, 9] and not seen[16, 16]


# --- bad input


@pytest.mark.parametrize(
    "part, message",
    [
        ({"ellipse": [0, 0, 1]}, "is no shape"),
        ({"ellipse": [0, 0, 1, -1]}, "is no shape"),
        ({"line": [0, 0, 1, 1]}, "is no shape"),
        ({"polygon": [[0, 0], [1, 1]]}, "is no shape"),
        ({"polygon": [[-0.4, 0], [-0.8, 0.3], [-0.6, 0], [-0.8, -0.3]]}, "not convex"),
        ({"circle": [0, 0, 1]}, "is no shape"),
        ({"ellipse": [0, 0, 1, 1], "box": [0, 0, 1, 1]}, "a shape is one of"),
        ({"ellipse": [0, 0, 1, 1], "colour": "red"}, "colour must be one of"),
        ({"ellipse": ["a", 0, 1, 1]}, "could not convert"),
    ],
)
def test_a_part_that_is_no_shape_is_named(tmp_path, part, message):
    with pytest.raises(ValueError, match=f"thing 'thing', part 'body': .*{message}"):
        one_thing(tmp_path, body=part)


def test_too_many_parts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="13 parts, but at most 12"):
        one_thing(tmp_path, **{f"part {i}": {"box": [0, 0, 1, 1]} for i in range(13)})


@pytest.mark.parametrize(
    "text, message",
    [
        ("groups: {}", "families"),
        ("", "must be as its head describes"),
        ("groups: {g: {}}\nfamilies: {f: {group: h}}\nthings: {}", "unknown group 'h'"),
        ("groups: {g: {}}\nfamilies: {}\nthings: {t: {family: f, synset: n, parts: {}}}", "unknown family 'f'"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, message):
    (tmp_path / "things.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_things(tmp_path / "things.yaml")


def test_nothing_to_draw(things):
    with pytest.raises(ValueError, match="things has 0 entries"):
        draw([], 5)
    with pytest.raises(ValueError, match="n=0"):
        draw(things, 0)


def test_a_folder_of_pictures(tmp_path):
    folder = drawn_folder(tmp_path / "drawn", 70)
    images = ImageFolder(folder, lambda image: to_tensor(np.array(image)))
    assert (len(images), len(images.class_names)) == (70, len(load_things()))
    pictures = draw(load_things(), 70, seed=9)
    i = images.files.index(f"{pictures.things[pictures.labels[5]].name}/0005.png")
    assert torch.equal(images[i], pictures.tensors()[5])
    assert not list(tmp_path.glob("*.part"))
    images.paths[0].unlink()
    drawn_folder(folder, 70)
    assert len(ImageFolder(folder, to_tensor)) == 69, "not made again"
