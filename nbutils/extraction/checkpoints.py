"""Weights from files as training loops leave them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from .network import Network

# Under which keys training loops keep the weights, and what wrappers put before the names.
KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")


def with_weights(network: Network, path: str | os.PathLike) -> Network:
    """The network with the weights of a file that ``torch.save`` wrote.

    The file holds ``model.state_dict()``, or a dictionary with it under one of the usual keys (``"state_dict"``,
    ``"model"`` ...). What data parallelism or compilation put before the names ("module.", "_orig_mod.") is removed.
    A file for another number of classes gives the network as many outputs, and no names for them.

    Raises
    ------
    ValueError
        If the file is damaged, holds anything but tensors and plain values, or does not fit; with the first weight that
        does not.
    OSError
        If the file cannot be read.
    MemoryError
        If there is not enough memory.
    """
    said = f"weights={str(path)!r}"
    found = state_of(read(path, said), said)
    ours = network.model.state_dict()
    found = without_prefixes(found, ours)
    heads = other_heads(network.model, found)
    if problem := first_misfit(found, {**ours, **heads}):
        raise ValueError(f"{said} do not fit {network.name}: {problem}")
    for name, value in heads.items():
        path, _, entry = name.rpartition(".")
        layer = network.model.get_submodule(path)
        setattr(layer, entry, nn.Parameter(value.to(ours[name].dtype)))
        setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", len(value))
    try:
        network.model.load_state_dict(found)
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise ValueError(f"{said} do not fit {network.name}: {str(error).splitlines()[0]}") from error
    return replace(network, weights=Path(path).name, class_names=() if heads else network.class_names)


def read(path: str | os.PathLike, said: str) -> object:
    """The content of a file, without running any code in it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file can fail in any way
        if "allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        if found := re.search(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)", str(error)):
            raise ValueError(
                f"{said} holds a {found[1]}, and to load more than tensors and plain values could run code: save the "
                "weights with torch.save(model.state_dict(), path)"
            ) from error
        raise ValueError(f"{said} is damaged, or not a file that torch.save wrote") from error


def state_of(content: object, said: str) -> dict[str, torch.Tensor]:
    """The names and weights in the content of a file."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in KEYS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not any(isinstance(value, torch.Tensor) for value in content.values()):
        keys = f" with {', '.join(map(repr, list(content)[:5]))}" if isinstance(content, Mapping) and content else ""
        raise ValueError(
            f"{said} holds a {type(content).__name__}{keys}, not the weights of a network: save them with "
            "torch.save(model.state_dict(), path)"
        )
    return dict(content)


def without_prefixes(found: dict, ours: Mapping) -> dict:
    """The same weights, without what all their names begin with and none of the network's does."""
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in found)), None):
        if any(name.startswith(prefix) for name in ours):
            break
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def other_heads(model: nn.Module, found: Mapping) -> dict[str, torch.Tensor]:
    """The weights of the layers with one output for each class, if the file has another number of classes."""
    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}
    classes = len([*layers.values()][-1].weight) if layers else 0
    heads: dict[str, object] = {}
    for path, layer in layers.items():
        weight = found.get(f"{path}.weight")
        same_inputs = isinstance(weight, torch.Tensor) and weight.shape[1:] == layer.weight.shape[1:]
        if same_inputs and len(layer.weight) == classes != len(weight):
            bias = {f"{path}.bias": found.get(f"{path}.bias")} if layer.bias is not None else {}
            heads |= {f"{path}.weight": weight, **bias}
    return {name: value for name, value in heads.items() if isinstance(value, torch.Tensor)}


def first_misfit(found: Mapping, ours: Mapping) -> str | None:
    """The first weight that is missing, has another shape, or belongs to no module."""
    for name, value in ours.items():
        if name not in found:
            if name.endswith("num_batches_tracked"):  # files from before 2018 lack it, and nothing is computed with it
                continue
            return f"{name} is missing"
        shapes = [tuple(getattr(x, "shape", ())) for x in (found[name], value)]
        if shapes[0] != shapes[1]:
            return f"{name} has the shape {shapes[0]}, and in the network {shapes[1]}"
    extra = next((name for name in found if name not in ours), None)
    return f"the network has no {extra}" if extra else None
