"""Layers that are no plain tensors, modules that run several times, and inputs that are no pictures."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest
import torch
from test_activations import pictures
from torch import nn

from nbutils.extraction.activations import extract
from nbutils.extraction.recording import recording


def stored(model, images, layers, folder, **options):
    options = {"dtype": "float32", "device": "cpu", "batch_size": 4, **options}
    return extract(model, images, layers, folder, **options)


def plain(model: nn.Module, *arguments, **named):
    with torch.inference_mode():
        return model.eval()(*arguments, **named)


# --- modules that run several times


class Twice(nn.Module):
    """One ReLU for two places, as in torchvision's ResNets."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.second(self.relu(self.first(x))))


def test_the_calls_of_a_module_that_runs_twice(tmp_path):
    model, x = Twice(), pictures()
    store = stored(model, x, {"a": "relu:1", "b": "relu:2", "c": "second"}, tmp_path)
    first = plain(model.first, x).relu()
    second = plain(model.second, first)
    for name, value in {"a": first, "b": second.relu(), "c": second}.items():
        np.testing.assert_allclose(store[name], value.flatten(1), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "path, words",
    [
        ("relu", "layer 'here': relu runs 2 times in a forward pass; choose a call, from 'relu:1' to 'relu:2'"),
        ("relu:3", "layer 'here': relu runs 2 times in a forward pass; choose a call, from 'relu:1' to 'relu:2'"),
        ("relu:0", "'relu:0' .* is not a module of the network"),
        ("relu:x", "'relu:x' .* is not a module of the network"),
        ("rely:1", "'rely:1' .* is not a module of the network"),
        (":1", "':1' .* is not a module of the network"),
    ],
)
def test_calls_that_are_not_said_or_do_not_exist(tmp_path, path, words):
    with pytest.raises(ValueError, match=words):
        stored(Twice(), pictures(), {"here": path}, tmp_path)


def test_a_module_that_does_not_run_in_every_pass(tmp_path):
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.here = nn.Identity()

        def forward(self, x):
            return self.here(x) if x.mean() < 4 else x

    x = torch.arange(8.0).view(8, 1).expand(8, 3)
    with pytest.raises(ValueError, match="layer 'here' does not run when the network does"):
        stored(Sometimes(), x, {"here": "here"}, tmp_path)


def test_the_relu_of_a_torchvision_resnet():
    from torchvision.models import resnet18

    model, x = resnet18().eval(), torch.randn(2, 3, 40, 40)
    with recording(model, {"a": "layer1.0.relu"}), pytest.raises(ValueError, match=r"layer1\.0\.relu runs 2 times"):
        model(x)
    layers = {"a": "layer1.0.relu:1", "b": "layer1.0.relu:2", "block": "layer1.0", "bn1": "layer1.0.bn1"}
    with recording(model, layers) as outputs, torch.inference_mode():
        model(x)
        model(x)  # calls are counted anew in each pass
    assert torch.equal(outputs["b"], outputs["block"]) and torch.equal(outputs["a"], outputs["bn1"].relu())


def test_a_module_with_two_paths():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    x = torch.randn(2, 4)
    with recording(model, {"first": "0:1", "last": "2:2"}) as outputs, torch.inference_mode():
        end = model(x)
        assert torch.equal(outputs["first"], shared(x)) and torch.equal(outputs["last"], end)
    with recording(model, {"last": "2"}), pytest.raises(ValueError, match="2 runs 2 times"):
        model(x)


# --- outputs that are no plain tensor

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Output:
    state: torch.Tensor
    inner: tuple


class Making(nn.Module):
    """A module whose output is made by a function of the picture."""

    def __init__(self, make):
        super().__init__()
        self.make, self.here = make, nn.Identity()

    def forward(self, x):
        self.here(self.make(x))
        return x


PARTS = [
    (lambda x: (x, x + 1), 1, lambda x: x + 1),
    (lambda x: [x, x + 1], -1, lambda x: x + 1),
    (lambda x: {"out": x, "aux": x + 1}, "aux", lambda x: x + 1),
    (lambda x: Pair(x, x + 1), "right", lambda x: x + 1),
    (lambda x: Output(x, (x, [x + 2])), ("inner", 1, 0), lambda x: x + 2),
    (lambda x: {"out": (x, {"deep": x + 3})}, ("out", 1, "deep"), lambda x: x + 3),
    (lambda x: collections.OrderedDict(a=x, b=x + 1), "b", lambda x: x + 1),
]
KINDS = ["tuple", "list", "dict", "namedtuple", "dataclass", "nested dict", "ordered dict"]


@pytest.mark.parametrize("make, select, wanted", PARTS, ids=KINDS)
def test_a_part_of_an_output(tmp_path, make, select, wanted):
    store = stored(Making(make), pictures(), {"here": "here"}, tmp_path, select={"here": select})
    np.testing.assert_array_equal(store["here"], wanted(pictures()).flatten(1))
    stored(Making(make), pictures(), {"here": "here"}, tmp_path, select={"here": select})
    with pytest.raises(ValueError, match=r"another .*layers \('here' with select="):
        stored(Making(lambda x: x), pictures(), {"here": "here"}, tmp_path)


@pytest.mark.parametrize("make", [make for make, *_ in PARTS], ids=KINDS)
def test_outputs_of_which_no_part_is_chosen(tmp_path, make):
    with pytest.raises(TypeError, match=r"layer 'here' outputs a \w+ \(.*, not a tensor: choose a part with select="):
        stored(Making(make), pictures(), {"here": "here"}, tmp_path)


@pytest.mark.parametrize(
    "make, select, error, words",
    [
        (
            lambda x: (x,),
            1,
            ValueError,
            r"select=1 of layer 'here': there is no 1 in a tuple \(0: tensor \(1, 3, 10, 8",
        ),
        (lambda x: {"a": x}, "b", ValueError, r"there is no 'b' in a dict \('a': tensor"),
        (lambda x: Output(x, ()), "nothing", ValueError, "there is no 'nothing' in a Output"),
        (lambda x: x, 0, ValueError, r"select=0 of layer 'here': there is no 0 in a tensor \(1, 3, 10, 8\)"),
        (lambda x: (x, None), 1, TypeError, "outputs a NoneType, not a tensor"),
        (lambda x: {"a": (x,)}, "a", TypeError, r"outputs a tuple \(0: tensor"),
    ],
)
def test_parts_that_do_not_exist(tmp_path, make, select, error, words):
    with pytest.raises(error, match=words):
        stored(Making(make), pictures(), {"here": "here"}, tmp_path, select={"here": select})


def test_a_selection_for_no_layer(tmp_path):
    with pytest.raises(ValueError, match=r"select: 'there' is not among the layers \['here'\]"):
        stored(Making(lambda x: x), pictures(), {"here": "here"}, tmp_path, select={"there": 0})


@pytest.mark.parametrize(
    "select, words",
    [
        (1, r"select=1 must be a mapping from layers, as in \{'here': 0\}"),
        ({"here": 1.5}, "select=1.5 of layer 'here' must be an index, a key, an attribute or several"),
        ({"here": (0, None)}, r"select=\(0, None\) of layer 'here' must be an index"),
        ({"here": slice(1)}, "of layer 'here' must be an index"),
    ],
)
def test_selections_that_cannot_be(tmp_path, select, words):
    with pytest.raises(TypeError, match=words):
        stored(Making(lambda x: (x,)), pictures(), {"here": "here"}, tmp_path, select=select)
    assert not list(tmp_path.glob("*.npy"))


@pytest.mark.parametrize(
    "make, error, words",
    [
        (
            lambda x: torch.fft.fft(x),
            TypeError,
            r"layer 'here' outputs complex numbers: .*reduce=\{'here': torch\.abs\}",
        ),
        (lambda x: x.flatten(1).to_sparse(), TypeError, "layer 'here' outputs a sparse, quantized or nested tensor"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), TypeError, "outputs a sparse, quantized or"),
        (lambda x: x.sum(), ValueError, r"layer 'here' outputs the shape \(\) for 1 images"),
        (
            lambda x: x.transpose(0, 1),
            ValueError,
            r"layer 'here' outputs the shape \(3, 1, 10, 8\) for 1 images: .*reduce",
        ),
        (lambda x: x[:, :0], ValueError, r"layer 'here' outputs the shape \(1, 0, 10, 8\), which has no numbers"),
        (lambda x: "text", TypeError, "layer 'here' outputs a str, not a tensor"),
        (lambda x: None, TypeError, "layer 'here' outputs a NoneType, not a tensor"),
        (lambda x: x.flatten(1)[:, : 3 + (len(x) > 1)], ValueError, "outputs 4 numbers for an image, but 3 for images"),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_outputs_that_are_refused(tmp_path, make, error, words):
    with pytest.raises(error, match=words):
        stored(Making(make), pictures(), {"here": "here"}, tmp_path)


def test_a_function_takes_complex_numbers_and_moves_the_batch_to_the_front(tmp_path):
    spectrum = Making(torch.fft.fft)
    store = stored(spectrum, pictures(), {"here": "here"}, tmp_path / "a", reduce=torch.abs)
    np.testing.assert_allclose(store["here"], torch.fft.fft(pictures()).abs().flatten(1), rtol=1e-4, atol=1e-5)
    turned = Making(lambda x: x.transpose(0, 1))
    store = stored(turned, pictures(), {"here": "here"}, tmp_path / "b", reduce=lambda x: x.transpose(0, 1))
    np.testing.assert_array_equal(store["here"], pictures().flatten(1))


def test_attention(tmp_path):
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.attention = nn.MultiheadAttention(3, 1, batch_first=True)

        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)
            return self.attention(tokens, tokens, tokens)[0]

    model, layers = Attending(), {"values": "attention", "weights": "attention"}
    store = stored(model, pictures(), layers, tmp_path, select={"values": 0, "weights": 1})
    tokens = pictures().flatten(2).transpose(1, 2)
    for name, value in zip(layers, plain(model.attention, tokens, tokens, tokens), strict=True):
        np.testing.assert_allclose(store[name], value.flatten(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype, error", [("float16", True), ("float32", False)])
def test_integers_are_kept_or_refused(tmp_path, dtype, error):
    ids = torch.arange(40_000, 40_010).view(10, 1)
    model = nn.Sequential(nn.Identity())
    if error:
        with pytest.raises(ValueError, match="layer 'ids' holds integers that are not the same in float16: use dtype="):
            stored(model, ids, {"ids": "0"}, tmp_path, dtype=dtype)
    else:
        np.testing.assert_array_equal(stored(model, ids, {"ids": "0"}, tmp_path, dtype=dtype)["ids"], ids)
    assert stored(model, ids > 40_003, {"ids": "0"}, tmp_path / "b", dtype=dtype)["ids"].sum() == 6


# --- inputs that are no pictures


class Language(nn.Module):
    """Token ids and a mask as keyword arguments, and an output as of language models."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.block = nn.Embedding(50, 6), nn.Linear(6, 6)

    def forward(self, input_ids, mask=None):
        state = self.block(self.embedding(input_ids))
        return {"last": state if mask is None else state * mask[..., None], "all": (state,)}


def sentences(n: int = 11):
    ids = torch.randint(0, 50, (n, 5), generator=torch.Generator().manual_seed(2))
    return ids, (ids % 3 > 0).float()


def as_dictionaries():
    return [{"input_ids": i.tolist(), "mask": m} for i, m in zip(*sentences(), strict=True)]


def test_token_ids(tmp_path):
    model, (ids, _) = Language(), sentences()
    store = stored(model, ids, {"in": "", "embedding": "embedding"}, tmp_path, reduce={"embedding": "token"})
    np.testing.assert_array_equal(store["in"], ids)
    np.testing.assert_allclose(store["embedding"], plain(model.embedding, ids)[:, 0])
    # A list of numbers is one input, and not a pair.
    listed = stored(model, ids.tolist(), {"in": ""}, tmp_path / "lists")
    np.testing.assert_array_equal(listed["in"], ids)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Language()

    def forward(self, **named):
        return self.inner(**named)["last"]


def test_keyword_arguments(tmp_path):
    model, (ids, mask) = Wrapped(), sentences()
    layers = {"ids": "", "mask": "", "last": "inner", "block": "inner.block"}
    select = {"ids": "input_ids", "mask": "mask", "last": "last"}
    store = stored(model, as_dictionaries(), layers, tmp_path, select=select, reduce={"block": "token mean"})
    np.testing.assert_array_equal(store["ids"], ids)
    np.testing.assert_array_equal(store["mask"], mask)
    wanted = plain(model.inner, ids, mask)
    np.testing.assert_allclose(store["last"], wanted["last"].flatten(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(store["block"], wanted["all"][0].mean(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 1])
def test_keyword_arguments_through_workers(tmp_path, workers):
    store = stored(Wrapped(), as_dictionaries(), {"last": "inner"}, tmp_path, select={"last": "last"}, workers=workers)
    ids, mask = sentences()
    np.testing.assert_allclose(store["last"], plain(Language(), ids, mask)["last"].flatten(1), rtol=1e-5, atol=1e-6)


def changed(i, **arguments):
    items = as_dictionaries()
    items[i] = {key: value for key, value in {**items[i], **arguments}.items() if value is not None}
    return items


class Anything(nn.Module):
    def forward(self, *given, **named):
        return None


@pytest.mark.parametrize(
    "images, error, words",
    [
        (changed(3, input_ids=[1, 2]), ValueError, r"images\[3\]\['input_ids'\] has the shape \(2,\), but images\[0\]"),
        (changed(3, mask=None), ValueError, r"images\[3\] has the arguments \['input_ids'\], but images\[0\] has"),
        (changed(0, text="words"), TypeError, "images hold a str in 'text', which is no tensor"),
        (as_dictionaries(), TypeError, r"layer 'in' outputs a dict \('input_ids': tensor \(1, 5\), 'mask': .*select="),
        ([*pictures(3), torch.zeros(3, 10, 8, dtype=torch.uint8)], ValueError, r"images\[3\] has the type torch.uint8"),
        (["cat.jpg"], TypeError, "images hold a str, which is no tensor: preprocess them"),
        ([None], TypeError, "images hold a NoneType, which is no tensor"),
        ([[]], TypeError, "images hold a NoneType, which is no tensor"),
        (iter(pictures()), TypeError, "images is a .*: it must have a length and give images by number"),
    ],
)
def test_inputs_that_are_refused(tmp_path, images, error, words):
    select = {"in": "input_ids"} if "input_ids" in words and "select" not in words else {}
    with pytest.raises(error, match=words):
        stored(Anything(), images, {"in": ""}, tmp_path, select=select)


@pytest.mark.parametrize(
    "images, words",
    [
        (torch.zeros(3, 1, 8, 8), r"the network fails on images\[0\], which is \(1, 8, 8\) torch.float32: .*channels"),
        (torch.zeros(3, 3, 8, 8, dtype=torch.uint8), r"images\[0\], which is \(3, 8, 8\) torch.uint8: Input type"),
        ([{"input": torch.zeros(8)}] * 3, r"images\[0\], which is input \(8,\) torch.float32: "),
    ],
)
def test_inputs_at_which_the_network_fails(tmp_path, images, words):
    with pytest.raises(RuntimeError, match=words):
        stored(
            nn.Conv2d(3, 4, 3), images, {"in": ""}, tmp_path, select={"in": "input"} if isinstance(images, list) else {}
        )


def test_volumes(tmp_path):
    torch.manual_seed(0)
    model, volumes = nn.Sequential(nn.Conv3d(2, 3, 2), nn.ReLU()), torch.randn(7, 2, 4, 5, 6)
    layers = {"in": "", "all": "1", "mean": "1"}
    store = stored(model, volumes, layers, tmp_path, reduce={"mean": "mean"})
    wanted = plain(model, volumes)
    assert store.shapes == {"in": (2, 4, 5, 6), "all": (3, 3, 4, 5), "mean": (3,)}
    np.testing.assert_allclose(store["all"], wanted.flatten(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(store["mean"], wanted.mean((2, 3, 4)), rtol=1e-5, atol=1e-6)


# --- networks of other kinds


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("given", [torch.float32, torch.float64])
def test_networks_in_another_precision(tmp_path, dtype, given):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 5), nn.Tanh()).to(dtype)
    x = torch.randn(6, 8, dtype=given)
    store = stored(model, x, {"in": "", "end": "1", "mean": "1"}, tmp_path, batch_size=6)
    np.testing.assert_array_equal(store["in"], x.to(dtype).float())
    np.testing.assert_allclose(store["end"], plain(model, x.to(dtype)).float(), rtol=1e-6, atol=1e-7)


def test_a_network_without_parameters(tmp_path):
    model = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
    store = stored(model, pictures(), {"end": "1"}, tmp_path)
    np.testing.assert_allclose(store["end"], plain(model, pictures()), rtol=1e-6)
    with pytest.raises(ValueError, match="another structure of the model"):
        stored(nn.Sequential(nn.MaxPool2d(2), nn.Flatten()), pictures(), {"end": "1"}, tmp_path)


class Stateful(nn.Module):
    """A module with a state that is no tensor, as calibrated and quantised ones have."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def get_extra_state(self):
        return {"scale": self.scale}

    def set_extra_state(self, state):
        self.scale = state["scale"]

    def forward(self, x):
        return x * self.scale


def test_a_state_that_is_no_tensor(tmp_path):
    store = stored(nn.Sequential(Stateful(2.0)), pictures(), {"end": "0"}, tmp_path)
    np.testing.assert_array_equal(store["end"], 2 * pictures().flatten(1))
    stored(nn.Sequential(Stateful(2.0)), pictures(), {"end": "0"}, tmp_path)
    with pytest.raises(ValueError, match="another model"):
        stored(nn.Sequential(Stateful(3.0)), pictures(), {"end": "0"}, tmp_path)


def test_a_complex_buffer_and_a_lazy_module(tmp_path):
    class Spectrum(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("phase", torch.tensor([1j, 2 + 1j]))
            self.linear = nn.LazyLinear(4)

        def forward(self, x):
            return self.linear(x.flatten(1)) * self.phase.abs().sum()

    model = Spectrum()
    store = stored(model, pictures(), {"end": "linear"}, tmp_path)
    np.testing.assert_allclose(store["end"], plain(model.linear, pictures().flatten(1)), rtol=1e-5, atol=1e-6)
