"""Hooks that record what the layers of a network output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from .models import INPUT
from .reduction import Reduction, reduced, reduction_of_each


@contextmanager
def recording(
    model: nn.Module,
    layers: Mapping[str, str],
    dtype: torch.dtype | None = None,
    reduce: Reduction | Mapping[str, Reduction] = None,
) -> Iterator[dict[str, torch.Tensor]]:
    """Record what the layers output while the block runs; the hooks are removed however the block ends.

    Parameters
    ----------
    layers : from any name to the path of a module of `model`; the path ``""`` records the input of the network. One
        path may have several names.
    dtype : what the outputs are converted to, after their reduction; by default they stay what they are.
    reduce : what is kept of each output, as in `activations.extract`.

    Yields
    ------
    A dictionary that each forward pass refills: layer name to output tensor (batch, ...).

    Raises
    ------
    ValueError
        If a path names no module, or a reduction does not fit an output.
    TypeError
        If the output of a layer is not a tensor.
    """
    modules = dict(model.named_modules())
    reductions = reduction_of_each(layers, reduce)
    outputs: dict[str, torch.Tensor] = {}
    hooks = []

    def keep(name: str, value: object) -> None:
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"layer {name!r} outputs a {type(value).__name__}, not a tensor: choose a module inside it")
        kept = reduced(name, value.detach(), reductions[name])
        # Some modules work in place on what the one before them returned: keep a copy, not a view.
        outputs[name] = kept.to(dtype or kept.dtype, copy=True)

    try:
        for name, path in layers.items():
            if path not in modules:
                raise ValueError(
                    f"layers: {path!r} (for {name!r}) is not a module of the network; model.named_modules() lists them"
                )
            if path == INPUT:
                hooks.append(model.register_forward_pre_hook(lambda _, args, name=name: keep(name, args[0])))
            else:
                hooks.append(modules[path].register_forward_hook(lambda _, args, out, name=name: keep(name, out)))
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
