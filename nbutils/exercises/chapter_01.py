"""Exercises of chapter 1, on activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from ..extraction.activations import recording
from ..graph import NeighborGraph
from ..neighbors import knn_graph
from ..smallworld import training
from ..smallworld.drawing import draw
from ..smallworld.things import load_things
from .exercise import Cases, Exercise

# --- 1.1


def largest_output(model: nn.Module, image: torch.Tensor) -> int:
    return max(output.numel() for output in outputs(model, image).values())


def outputs(model: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """The output of every module, under its path."""
    with torch.inference_mode(), recording(model, {path: path for path, _ in model.named_modules()}) as recorded:
        model(image)
    return dict(recorded)


def models() -> Cases:
    with torch.random.fork_rng():
        torch.manual_seed(11)  # the same weights wherever the exercise is checked
        wide = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 20, 1), nn.ReLU(), nn.Conv2d(20, 2, 3)), nn.Flatten()
        )
        deep = nn.Sequential(
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 900), nn.ReLU(), nn.Linear(900, 7), nn.Linear(7, 9)
        )
        large = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 2, 3))
    image = torch.zeros(1, 3, 16, 12)
    return {
        "a network that is wide inside of a part": (wide.eval(), image),
        "a network that is wide at a linear layer": (deep.eval(), image),
        "a network that enlarges its pictures": (large.eval(), image),
        "the small network of the book": (training.small_network(["a", "b"]).model, torch.zeros(1, 3, 32, 32)),
    }


def of_outputs(formula: Callable) -> Callable:
    return lambda model, image: formula(list(outputs(model, image).values()))


def largest_of_parts(model: nn.Module, image: torch.Tensor) -> int:
    found = outputs(model, image)
    return max(found[path].numel() for path, _ in model.named_children())


LARGEST = Exercise(
    "1.1",
    largest_output,
    models,
    {
        "only the parts of the network were looked at, not the modules inside of them: use named_modules": (
            largest_of_parts
        ),
        "that is the last output; asked is the largest": lambda model, image: model(image).numel(),
        "that is the sum of all outputs; asked is the largest": of_outputs(lambda all: sum(x.numel() for x in all)),
        "those are the channels; count all numbers of the output": of_outputs(lambda all: max(x.shape[1] for x in all)),
        "those are the positions; count the numbers of all channels": of_outputs(
            lambda all: max(x[0, 0].numel() for x in all)
        ),
        "that is the largest number in an output; asked is how many there are": of_outputs(
            lambda all: max(float(x.max()) for x in all)
        ),
        "those are weights of the largest layer; count what it puts out": lambda model, image: max(
            p.numel() for p in model.parameters()
        ),
        "those are all weights; count what the largest layer puts out": lambda model, image: sum(
            p.numel() for p in model.parameters()
        ),
        "that is the number of modules": of_outputs(len),
        "that is the image itself; asked is the largest output": lambda model, image: image.numel(),
    },
)

# --- 1.2


def logits_by_hand(head: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return head.mean(axis=(2, 3)) @ weight.T + bias


def heads() -> Cases:
    rng = np.random.default_rng(12)

    def world(n: int, channels: int, classes: int) -> tuple[np.ndarray, ...]:
        shapes = (n, channels, 7, 7), (classes, channels), (classes,)
        return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)

    return {
        "three photographs, 20 channels and five categories": world(3, 20, 5),
        "six photographs, as many channels as categories": world(6, 8, 8),
    }


LOGITS = Exercise(
    "1.2",
    logits_by_hand,
    heads,
    {
        "the bias is missing": lambda head, weight, bias: head.mean(axis=(2, 3)) @ weight.T,
        "the bias has to be added": lambda head, weight, bias: head.mean(axis=(2, 3)) @ weight.T - bias,
        "the pool is the mean over the positions, not the sum": lambda head, weight, bias: (
            head.sum(axis=(2, 3)) @ weight.T + bias
        ),
        "the pool is the mean over the positions, not the largest value": lambda head, weight, bias: (
            head.max(axis=(2, 3)) @ weight.T + bias
        ),
        "only one position was used: take the mean of all": lambda head, weight, bias: (
            head[:, :, 0, 0] @ weight.T + bias
        ),
        "only the position in the middle was used: take the mean of all": lambda head, weight, bias: (
            head[:, :, 3, 3] @ weight.T + bias
        ),
        "there is no bend after the last step: negative logits stay": lambda head, weight, bias: np.maximum(
            logits_by_hand(head, weight, bias), 0
        ),
        "there is no bend before the mean: negative values stay": lambda head, weight, bias: logits_by_hand(
            np.maximum(head, 0), weight, bias
        ),
        "there is no bend after the mean: negative values stay": lambda head, weight, bias: (
            np.maximum(head.mean(axis=(2, 3)), 0) @ weight.T + bias
        ),
        "those are probabilities; the logits are what comes before them": lambda head, weight, bias: (
            np.exp(logits := logits_by_hand(head, weight, bias)) / np.exp(logits).sum(axis=1, keepdims=True)
        ),
        "the bias was averaged with the positions": lambda head, weight, bias: (
            head.mean(axis=(2, 3)) @ weight.T + bias / 49
        ),
    },
    tolerance=1e-4,
)

# --- 1.3


def field_width(convolutions: Sequence[tuple[int, int]]) -> int:
    return window(convolutions)


def window(convolutions: Sequence[tuple[int, int]], start: int = 1, beyond: int = 1, stride_first: bool = False) -> int:
    """The width of the window, from a first width and how much less than its width a convolution adds."""
    field, apart = start, 1
    for wide, stride in convolutions:
        if stride_first:
            apart *= stride
        field += (wide - beyond) * apart
        if not stride_first:
            apart *= stride
    return field


def stacks() -> Cases:
    rng = np.random.default_rng(13)
    random = [(int(w), int(s)) for w, s in zip(rng.choice([3, 5, 7], 7), rng.choice([1, 2, 3], 7), strict=True)]
    even = [(int(w), int(s)) for w, s in zip(rng.integers(2, 9, 9), rng.choice([1, 2, 4], 9), strict=True)]
    return {
        "four convolutions of width 3": ([(3, 2), (3, 1), (3, 2), (3, 1)],),
        "convolutions of several widths": ([(3, 2), (3, 1), (5, 2), (5, 1), (7, 1)],),
        "seven random convolutions": (random,),
        "nine random convolutions, some of even widths": (even,),
        "no convolution at all": ([],),
    }


def strides(convolutions: Sequence[tuple[int, int]]) -> int:
    return int(np.prod([stride for _, stride in convolutions]))


WIDTH = Exercise(
    "1.3",
    field_width,
    stacks,
    {
        "the width of a convolution is not used: they were all taken for 3": lambda convolutions: window(
            [(3, stride) for _, stride in convolutions]
        ),
        "the stride is not used": lambda convolutions: window([(wide, 1) for wide, _ in convolutions]),
        "all strides were taken for 2": lambda convolutions: window([(wide, 2) for wide, _ in convolutions]),
        "a stride makes the windows after it wider, not its own": lambda convolutions: window(
            convolutions, stride_first=True
        ),
        "a convolution of width w reaches w - 1 positions further, not w": lambda convolutions: window(
            convolutions, beyond=0
        ),
        "a field begins with one pixel, not with none": lambda convolutions: window(convolutions, start=0),
        "the convolutions were taken in reverse": lambda convolutions: window(convolutions[::-1]),
        "a stride multiplies the distance of positions; it is not added to it": lambda convolutions: (
            1 + sum((w - 1) * (1 + sum(s - 1 for _, s in convolutions[:i])) for i, (w, _) in enumerate(convolutions))
        ),
        "a convolution of width w reaches w - 1 positions further, and not half of that": (
            lambda convolutions: window([(wide // 2 + 1, stride) for wide, stride in convolutions])
        ),
        "the strides of all convolutions before it count, not only the last one": lambda convolutions: (
            1 + sum((w - 1) * ([1] + [s for _, s in convolutions])[i] for i, (w, _) in enumerate(convolutions))
        ),
        "that is the sum of the widths": lambda convolutions: sum(wide for wide, _ in convolutions),
        "that is the product of the widths": lambda convolutions: int(np.prod([wide for wide, _ in convolutions])),
        "that is how many pixels apart two positions are at the end": strides,
        "the distance of positions at the end was used for all convolutions": lambda convolutions: (
            1 + sum((wide - 1) * strides(convolutions) for wide, _ in convolutions)
        ),
    },
)

# --- 1.4


def agreement(graph: NeighborGraph, latent: np.ndarray) -> float:
    """How much neighbours agree on a latent: 0 as much as random pictures, 1 entirely."""
    own = latent[: graph.n].reshape(graph.n, -1)
    apart = np.square(own[:, None] - own[graph.indices]).sum(-1).mean()
    return float(1 - apart / (2 * own.var(0).sum()))


def untrained_agreement(layer: str, pictures: torch.Tensor, latent: np.ndarray) -> float:
    return agreed(layer, pictures, latent, 0)


def agreed(layer: str, pictures: torch.Tensor, latent: np.ndarray, epoch: float | None, k: int = 15) -> float:
    network = training.load("things", epoch)
    with torch.inference_mode(), recording(network.model, {layer: network.layers[layer]}) as recorded:
        network.model(pictures)
    return agreement(knn_graph(recorded[layer], k), latent)


def drawings() -> Cases:
    drawing = draw(load_things(), 198, seed=14)
    pictures, latents = drawing.tensors(), drawing.latents
    colour = latents["background"] - latents["background"].mean(1, keepdims=True)
    chance = np.random.default_rng(16).normal(size=198)  # on which neighbours happen to agree less than strangers
    return {
        "the stem and the colour": ("stem", pictures, colour),
        "block 3 and the place": ("block 3", pictures, latents["x"]),
        "the logits and light or dark": ("logits", pictures, latents["light"]),
        "the pool and a latent of random numbers": ("pool", pictures, chance),
    }


def of_layer(layer: str) -> Callable:
    return lambda asked, pictures, latent: untrained_agreement(layer, pictures, latent)


UNTRAINED = Exercise(
    "1.4",
    untrained_agreement,
    drawings,
    {
        "the argument layer is not used: that is the stem in every case": of_layer("stem"),
        "the argument layer is not used: those are the logits in every case": of_layer("logits"),
        "the argument layer is not used: that is the pool in every case": of_layer("pool"),
        "those are the pixels in every case": lambda layer, pictures, latent: agreement(
            knn_graph(pictures, 15), latent
        ),
        "an agreement can be negative: no absolute value is asked for": lambda layer, pictures, latent: abs(
            untrained_agreement(layer, pictures, latent)
        ),
        "that is the trained network: load it at epoch 0": lambda layer, pictures, latent: agreed(
            layer, pictures, latent, None
        ),
        "the argument latent is not used: it belongs to the pictures in their order": lambda layer, pictures, latent: (
            untrained_agreement(layer, pictures, latent[::-1])
        ),
        "the agreement is with 15 neighbours, not with one": lambda layer, pictures, latent: agreed(
            layer, pictures, latent, 0, 1
        ),
        "the agreement is with 15 neighbours, not with 30": lambda layer, pictures, latent: agreed(
            layer, pictures, latent, 0, 30
        ),
    },
    tolerance=0.005,
)

EXERCISES = (LARGEST, LOGITS, WIDTH, UNTRAINED)
