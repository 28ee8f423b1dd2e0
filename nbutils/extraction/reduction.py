"""What is kept of a layer's output: all of it, the mean over positions, the class token, or what a function returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch

from .identity import name_of

Reduction = str | Callable[[torch.Tensor], torch.Tensor] | None
REDUCTIONS = ("mean", "token mean", "token")


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
