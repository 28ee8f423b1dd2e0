"""Which layers an atlas has: in full, or averaged over positions."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch

from ..extraction.activations import image_of
from ..extraction.models import Network
from ..extraction.recording import recording
from ..graph import checked_integer


class Layer(NamedTuple):
    """A layer of an atlas: the path of its module, and "mean" if it is averaged over positions, else None."""

    path: str
    reduce: str | None = None


def chosen_layers(
    network: Network, images: Sequence, layers: Sequence[str] | None = None, mean_layers: Sequence[str] = ()
) -> dict[str, Layer]:
    """The layers of an atlas by name, in the order of the network; see `build`.

    Parameters
    ----------
    layers, mean_layers : names of layers to keep in full, and of layers to average over positions.

    Raises
    ------
    ValueError
        If the network has no layer of a name.
    """
    full = set(checked(layers or (() if mean_layers else list(network.layers)), network))
    mean = set(checked(mean_layers, network))
    shapes = output_shapes(network, images, mean) if mean else {}
    chosen = {}
    for name in checked(full | mean, network):
        averaged = name in mean and has_positions(shapes[name])
        if name in full or not averaged:
            chosen[name] = Layer(network.layers[name])
        if averaged:
            chosen[f"{name} mean"] = Layer(network.layers[name], "mean")
    return chosen


def output_shapes(network: Network, images: Sequence, layers: Collection[str]) -> dict[str, tuple[int, ...]]:
    """The shape of the output of each layer for the first of the images."""
    first = image_of(images[0])[None]
    parameter = next(network.model.parameters(), first)
    network.model.eval()
    with recording(network.model, {name: network.layers[name] for name in layers}) as outputs, torch.inference_mode():
        network.model(first.to(parameter.device))
        return {name: tuple(outputs[name].shape[1:]) for name in checked(layers, network)}


def has_positions(shape: tuple[int, ...]) -> bool:
    """Whether a layer has more than one number for each channel."""
    return len(shape) > 1 and math.prod(shape[1:]) > 1


def checked(layers: Collection[str], network: Network) -> list[str]:
    """The layers in the order of the network; ValueError if it has no layer of a name."""
    for name in layers:
        if name not in network.layers:
            raise ValueError(f"layers: {name!r} is no layer of {network.name}; it has {list(network.layers)}")
    return [name for name in network.layers if name in layers]


def check_neighbors(k: int, images: Sequence) -> None:
    """TypeError or ValueError unless `k` is a possible number of neighbours."""
    checked_integer("k", k, 1, len(images) - 1, f"because there are {len(images)} images")


def batch_of(images: Sequence) -> int:
    """Images in a batch: 32 of 224 x 224 pixels or more, and up to 256 smaller ones."""
    return 32 * max(1, min(8, 3 * 224 * 224 // image_of(images[0]).numel()))
