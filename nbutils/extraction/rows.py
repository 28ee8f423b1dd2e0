"""From what a layer outputs for a batch to rows: what is kept of it, and what no row may be.

All of it is kept, or the mean over positions, the class token, or what a function returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from .identity import name_of

Reduction = str | Callable[[torch.Tensor], torch.Tensor] | None
REDUCTIONS = ("mean", "token mean", "token")
MOST_LOST = 0.002  # of the size of a layer; of numbers that float16 can hold, rounding changes at most 0.0005


def reduction_of_each(layers: Iterable[str], reduce: Reduction | Mapping[str, Reduction]) -> dict[str, Reduction]:
    """The reduction of each layer.

    Raises
    ------
    ValueError
        If `reduce` names a layer that is not among `layers`, or an unknown reduction.
    TypeError
        If a reduction is neither a string nor callable.
    """
    layers = list(layers)
    if isinstance(reduce, Mapping):
        if unknown := [name for name in reduce if name not in layers]:
            raise ValueError(f"reduce: {unknown} are not among the layers {layers}")
        chosen: dict[str, Reduction] = {name: reduce.get(name) for name in layers}
    else:
        chosen = dict.fromkeys(layers, reduce)
    for name, how in chosen.items():
        if isinstance(how, str) and how not in REDUCTIONS:
            raise ValueError(
                f"reduce={how!r} (of layer {name!r}) must be one of {list(REDUCTIONS)}, a function or None"
            )
        if how is not None and not isinstance(how, str) and not callable(how):
            raise TypeError(f"reduce: {how!r} (of layer {name!r}) is neither a string nor a function")
    return chosen


def reduced(name: str, value: torch.Tensor, how: Reduction) -> torch.Tensor:
    """A layer's output for a batch after its reduction.

    Means are computed in float32 or better, whatever the type of `value`.

    Raises
    ------
    ValueError
        If the output has no axes that `how` could mean, or a function fails.
    TypeError
        If a function does not return a tensor.
    """
    if how is None:
        return value
    if callable(how):
        try:
            result = how(value.clone())  # the function may work in place, and the network goes on with `value`
        except MemoryError:
            raise
        except Exception as error:
            raise ValueError(
                f"layer {name!r} outputs {tuple(value.shape)}, for which reduce={name_of(how)} fails "
                f"({type(error).__name__}: {error})"
            ) from error
        if not isinstance(result, torch.Tensor):
            raise TypeError(f"layer {name!r}: reduce={name_of(how)} returns a {type(result).__name__}, not a tensor")
        return result
    if value.ndim <= 2:
        return value
    precise = torch.promote_types(value.dtype, torch.float32)
    shape = tuple(value.shape)
    if value.numel() == 0:
        raise ValueError(f"layer {name!r} outputs the shape {shape}, which has no numbers")
    if how == "token":
        if value.ndim != 3:
            raise ValueError(f"layer {name!r} outputs {shape}: reduce='token' needs (batch, tokens, channels)")
        return value[:, 0]
    if how == "token mean":
        return value.flatten(1, -2).mean(1, dtype=precise)
    if value.ndim == 3 or (value.ndim == 4 and shape[1] == shape[2] != shape[3]):
        raise ValueError(
            f"layer {name!r} outputs {shape}, where the channels may come last: reduce='mean' averages over the axes "
            "after the first of an image; use 'token mean' where the channels are the last axis, or else a function"
        )
    return value.flatten(2).mean(2, dtype=precise)


def to_rows(name: str, value: torch.Tensor | None, images: int, dtype: str) -> np.ndarray:
    """A batch of outputs in `dtype` as rows (images, features), channels first; ValueError where that cannot be."""
    if value is None:
        raise ValueError(f"layer {name!r} does not run when the network does: choose another module")
    if value.ndim < 1 or len(value) != images:
        raise ValueError(
            f"layer {name!r} outputs the shape {tuple(value.shape)} for {images} images: choose a module whose first "
            "axis is the image, or move that axis to the front with a function as reduce"
        )
    rows = value.contiguous().flatten(1).cpu() if value.ndim > 1 else value.contiguous().cpu()[:, None]
    if rows.numel() == 0:
        raise ValueError(f"layer {name!r} outputs the shape {tuple(value.shape)}, which has no numbers")
    if not all(map(math.isfinite, rows.aminmax())):  # one pass over the rows, where isfinite makes four
        too_large = dtype == "float16" and not rows.isnan().any()
        remedy = "use dtype='float32'" if too_large else "check the weights and the images"
        raise ValueError(f"layer {name!r} has values that are NaN or infinite in {dtype}: {remedy}")
    return rows.numpy()


def rounding_loss(value: torch.Tensor, rounded: torch.Tensor) -> np.ndarray:
    """What rounding takes: numbers other than zero, those that become zero, the sum of sizes, and of changes."""
    before, after = value.cpu().double(), rounded.cpu().double()
    vanished = (before != 0) & (after == 0)
    return np.array(
        [
            (before != 0).sum().item(),
            vanished.sum().item(),
            before.abs().sum().item(),
            (after - before).abs().sum().item(),
        ]
    )


def check_precision(name: str, loss: np.ndarray, dtype: str) -> None:
    """ValueError if rounding took more of a layer than can be stored, by the sum of its `rounding_loss`."""
    nonzero, vanished, size, change = loss
    if vanished > nonzero / 2 or change > MOST_LOST * size:
        raise ValueError(
            f"layer {name!r} is too small for {dtype}: of its numbers other than zero {vanished / nonzero:.0%} become "
            f"zero, and the layer changes by {change / size:.1%}; use dtype='float32'"
        )


def check_different(name: str, rows: Sequence[np.ndarray] | np.ndarray, which: str) -> None:
    """ValueError if all rows are the same, of which there is more than one."""
    if len(rows) > 1 and all(np.array_equal(rows[0], row) for row in rows):
        raise ValueError(
            f"layer {name!r} is the same for {which}: leave it out, or check the weights and the images; the batch "
            "normalisation of random weights needs models.calibrate"
        )
