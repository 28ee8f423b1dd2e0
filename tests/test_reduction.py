"""What is kept of a layer: means, tokens and functions, the same as computed from the whole output."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import torch
from test_activations import expected, network, pictures
from torch import nn

from nbutils.extraction.activations import ActivationStore, extract
from nbutils.extraction.identity import described
from nbutils.extraction.recording import recording
from nbutils.extraction.store import MANIFEST

BOTH = {"convolution": "0", "averaged": "0", "logits": "6"}


def greatest(batch: torch.Tensor) -> torch.Tensor:
    return batch.flatten(2).amax(2)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_one_module_in_full_and_averaged_in_one_pass(tmp_path, dtype):
    model, passes = network(), []
    model.register_forward_pre_hook(lambda _, args: passes.append(len(args[0])))
    store = extract(
        model, pictures(), BOTH, tmp_path, dtype=dtype, device="cpu", batch_size=4, reduce={"averaged": "mean"}
    )
    assert passes == [1, 4, 4, 3]
    assert store.shapes == {"convolution": (5, 8, 6), "averaged": (5,), "logits": (7,)}
    full = torch.tensor(expected(pictures())["convolution"]).unflatten(1, (5, 8, 6))
    tolerance = {"float16": 1e-3, "float32": 1e-5}[dtype]
    np.testing.assert_allclose(store["convolution"], full.flatten(1), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(store["averaged"], full.mean((2, 3)), rtol=tolerance, atol=tolerance)
    assert list(ActivationStore(tmp_path)["averaged"].shape) == [11, 5]


def test_a_mean_is_rounded_once():
    # Summed in float16, 2048 + 1 is 2048; and rounded one by one, 4096 + 1 is 4096.
    x = torch.full((1, 2, 64, 64), 4097.0)
    model = nn.Sequential(nn.Identity())
    with recording(model, {"mean": "0"}, torch.float16, "mean") as outputs:
        model(x + torch.tensor([0.0, 3.0]).view(1, 2, 1, 1))
    assert outputs["mean"].tolist() == [[4096.0, 4100.0]]
    # The sum of so many, 3e5, is beyond float16.
    with recording(model, {"mean": "0"}, None, "mean") as outputs:
        model(torch.full((1, 1, 2, 75_000), 2.0).half())
    assert outputs["mean"].dtype == torch.float32 and outputs["mean"].item() == 2


@pytest.mark.parametrize("how", ["mean", "token", "token mean"])
def test_outputs_without_positions_stay_as_they_are(how):
    model, x = nn.Sequential(nn.Identity()), torch.randn(3, 5)
    with recording(model, {"a": "0"}, reduce=how) as outputs:
        model(x)
    assert torch.equal(outputs["a"], x)


@pytest.mark.parametrize(
    "how, shape, wanted",
    [
        ("mean", (2, 5, 3, 4), lambda x: x.mean((2, 3))),
        ("mean", (2, 5, 3, 4, 6), lambda x: x.mean((2, 3, 4))),
        ("token mean", (2, 5, 3), lambda x: x.mean(1)),
        ("token mean", (2, 7, 7, 3), lambda x: x.mean((1, 2))),
        ("token", (2, 5, 3), lambda x: x[:, 0]),
        (greatest, (2, 5, 3, 4), lambda x: x.amax((2, 3))),
        (None, (2, 5, 3, 4), lambda x: x),
    ],
)
def test_reductions(how, shape, wanted):
    model, x = nn.Sequential(nn.Identity()), torch.randn(shape)
    with recording(model, {"a": "0"}, reduce=how) as outputs:
        model(x)
    torch.testing.assert_close(outputs["a"], wanted(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "how, shape, words",
    [
        ("mean", (2, 5, 3), r"'a' outputs \(2, 5, 3\).*channels may come last.*'token mean'"),
        ("mean", (2, 7, 7, 96), r"'a' outputs \(2, 7, 7, 96\).*channels may come last.*'token mean'"),
        ("token", (2, 0, 3), r"'a' outputs the shape \(2, 0, 3\), which has no numbers"),
        ("token", (2, 5, 3, 4), r"'a' outputs \(2, 5, 3, 4\): reduce='token' needs \(batch, tokens, channels\)"),
    ],
)
def test_reductions_that_do_not_fit_an_output(how, shape, words):
    model = nn.Sequential(nn.Identity())
    with recording(model, {"a": "0"}, reduce=how), pytest.raises(ValueError, match=words):
        model(torch.zeros(shape))


@pytest.mark.parametrize(
    "reduce, error, words",
    [
        ("median", ValueError, r"reduce='median' \(of layer 'convolution'\) must be one of \['mean'"),
        ({"convolution": "average"}, ValueError, "reduce='average'"),
        ({"stage 2": "mean"}, ValueError, r"reduce: \['stage 2'\] are not among the layers \['convolution'"),
        ({"convolution": 3}, TypeError, "reduce: 3 .* neither a string nor a function"),
        (
            lambda x: x[:, 99],
            ValueError,
            r"layer 'convolution' outputs \(1, 5, 8, 6\), for which .* fails \(IndexError: ",
        ),
        (lambda x: None, TypeError, "layer 'convolution': reduce=test_reduction.*lambda.* returns a NoneType"),
        (lambda x: x.mean(), ValueError, r"layer 'convolution' outputs the shape \(\) for 1 image"),
    ],
)
def test_reductions_that_cannot_be(tmp_path, reduce, error, words):
    with pytest.raises(error, match=words):
        extract(network(), pictures(), BOTH, tmp_path, device="cpu", reduce=reduce)


def test_a_function_that_works_in_place_does_not_change_the_network(tmp_path):
    store = extract(
        network(),
        pictures(),
        BOTH,
        tmp_path,
        dtype="float32",
        device="cpu",
        reduce={"convolution": lambda x: x.mul_(0).add_(1) * torch.arange(len(x)).view(-1, 1, 1, 1)},
    )
    np.testing.assert_allclose(store["logits"], expected(pictures())["logits"], rtol=1e-5, atol=1e-6)


def test_the_manifest_names_the_reduction_and_another_is_refused(tmp_path):
    reduce = {"convolution": "mean", "averaged": greatest}
    extract(network(), pictures(), BOTH, tmp_path, device="cpu", reduce=reduce)
    layers = json.loads((tmp_path / MANIFEST).read_text())["layers"]
    assert layers["convolution"]["reduce"] == "mean" and layers["logits"]["reduce"] is None
    assert layers["averaged"]["reduce"] == described(greatest)
    assert layers["averaged"]["reduce"]["name"] == "test_reduction.greatest"
    extract(network(), pictures(), BOTH, tmp_path, device="cpu", reduce=reduce)
    for other in (None, "mean", {**reduce, "averaged": lambda x: x.flatten(2).amin(2)}):
        with pytest.raises(ValueError, match="layers"):
            extract(network(), pictures(), BOTH, tmp_path, device="cpu", reduce=other)


def powers(batch: torch.Tensor, power: int = 1) -> torch.Tensor:
    return batch.flatten(2).pow(power).mean(2)


class Power:
    def __init__(self, power):
        self.power = power

    def __call__(self, batch):
        return powers(batch, self.power)


def enclosing(power):
    return lambda batch: powers(batch, power)


@pytest.mark.parametrize("make", [lambda p: functools.partial(powers, power=p), Power, enclosing])
def test_functions_are_told_apart_by_what_they_hold(make):
    assert described(make(2)) == described(make(2)) != described(make(3))
    assert (
        described(eval("lambda x: x + 1")) == described(eval("lambda x: x + 1")) != described(eval("lambda x: x + 2"))
    )
