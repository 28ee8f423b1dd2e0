"""What is kept of a layer's output: all of it, the mean over positions, the class token, or what a function returns."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

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
        If the output has no axes that `how` could mean.
    TypeError
        If a function does not return a tensor.
    """
    if how is None:
        return value
    if callable(how):
        # The function may work in place, and the network goes on with `value`.
        result = how(value.clone())
        if not isinstance(result, torch.Tensor):
            raise TypeError(f"layer {name!r}: reduce={name_of(how)} returns a {type(result).__name__}, not a tensor")
        return result
    if value.ndim <= 2:
        return value
    precise = torch.promote_types(value.dtype, torch.float32)
    shape = tuple(value.shape)
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


def described(how: Reduction) -> str | dict[str, str] | None:
    """A reduction as the manifest records it: a function by its name and the SHA-256 of its source."""
    if how is None or isinstance(how, str):
        return how
    return {"function": name_of(how), "sha256": hashlib.sha256(source_of(how).encode()).hexdigest()}


def name_of(function: Callable) -> str:
    """The qualified name of a function, a partial function or a callable object."""
    if isinstance(function, functools.partial):
        return f"partial of {name_of(function.func)}"
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def source_of(function: Callable) -> str:
    """Text that is another if the function computes something else: its source, with the values that it encloses."""
    if isinstance(function, functools.partial):
        return source_of(function.func) + without_addresses([function.args, sorted(function.keywords.items())])
    held: list[object] = []
    if inspect.isfunction(function):
        text: object = function
        held = [function.__defaults__, function.__kwdefaults__]
        held += [cell.cell_contents for cell in function.__closure__ or ()]
    else:
        text = function if inspect.isroutine(function) or inspect.isclass(function) else type(function)
        held = [vars(function)] if hasattr(function, "__dict__") and not isinstance(function, nn.Module) else []
    try:
        source = inspect.getsource(text)  # type: ignore[arg-type]
    except (OSError, TypeError):  # typed at a prompt, or compiled
        code = getattr(function, "__code__", None)
        source = without_addresses([code.co_code.hex(), code.co_consts, code.co_names]) if code else name_of(function)
    return source + without_addresses(held)


def without_addresses(values: object) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(values))
