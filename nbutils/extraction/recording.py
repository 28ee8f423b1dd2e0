"""Hooks that record what the layers of a network output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from .network import INPUT
from .rows import Reduction, reduced, reduction_of_each

Selection = int | str | Sequence[int | str]


@contextmanager
def recording(
    model: nn.Module,
    layers: Mapping[str, str],
    dtype: torch.dtype | None = None,
    reduce: Reduction | Mapping[str, Reduction] = None,
    select: Mapping[str, Selection] | None = None,
) -> Iterator[dict[str, torch.Tensor]]:
    """Record what the layers output while the block runs; the hooks are removed however the block ends.

    Parameters
    ----------
    layers : from any name to the path of a module of `model`; the path ``""`` records the input of the network. Of a
        module that runs several times in a forward pass, ``"layer1.0.relu:2"`` is the second call. One path may have
        several names.
    dtype : what the outputs are converted to, after their reduction; by default they stay what they are.
    reduce, select : what is kept of each output, as in `activations.extract`.

    Yields
    ------
    A dictionary that each forward pass refills: layer name to output tensor (batch, ...).

    Raises
    ------
    ValueError
        If a path names no module; or in the forward pass, if a module runs several times and the path does not say
        which call is meant, or a selection or reduction does not fit an output.
    TypeError
        If the network is compiled by TorchScript; or in the forward pass, if what is selected is not a tensor of real
        numbers.
    """
    reductions, selections = reduction_of_each(layers, reduce), selection_of_each(layers, select)
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("model is compiled by TorchScript, which runs no hooks: give the network that it was made from")
    places = {name: place(model, name, path) for name, path in layers.items()}
    outputs: dict[str, torch.Tensor] = {}
    calls: Counter[str] = Counter()
    hooks = []

    def begin(*_: object) -> None:
        calls.clear()
        outputs.clear()

    def given(name: str, args: tuple, kwargs: dict) -> None:
        keep(name, args[0] if len(args) == 1 and not kwargs else {**dict(enumerate(args)), **kwargs})

    def count(name: str, output: object) -> None:
        calls[name] += 1
        if places[name][1] in (None, calls[name]):
            keep(name, output)

    def keep(name: str, output: object) -> None:
        chosen = tensor_of(name, output, selections[name], function=callable(reductions[name]))
        kept = reduced(name, chosen.detach(), reductions[name])
        # Some modules work in place on what the one before them returned: keep a copy, not a view.
        outputs[name] = converted(name, kept, dtype or kept.dtype)

    def end(*_: object) -> None:
        for name, (_, call) in places.items():
            if (calls[name] > 1 and call is None) or 0 < calls[name] < (call or 0):
                path = layers[name].rpartition(":")[0] if call else layers[name]
                raise ValueError(
                    f"layer {name!r}: {path} runs {calls[name]} times in a forward pass; choose a call, from "
                    f"'{path}:1' to '{path}:{calls[name]}'"
                )

    try:
        hooks.append(model.register_forward_pre_hook(begin, prepend=True))
        for name, (module, _) in places.items():
            if layers[name] == INPUT:
                hook = model.register_forward_pre_hook(
                    lambda _, args, kwargs, name=name: given(name, args, kwargs), with_kwargs=True
                )
            else:
                hook = module.register_forward_hook(lambda _, args, output, name=name: count(name, output))
            hooks.append(hook)
        hooks.append(model.register_forward_hook(end))
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def place(model: nn.Module, name: str, path: str) -> tuple[nn.Module, int | None]:
    """The module at a path, and which of its calls is meant; None is the only one."""
    modules = dict(model.named_modules(remove_duplicate=False))
    if path in modules:
        return modules[path], None
    start, _, call = path.rpartition(":")
    if start and start in modules and call.isdecimal() and int(call) > 0:
        return modules[start], int(call)
    raise ValueError(
        f"layers: {path!r} (for {name!r}) is not a module of the network; model.named_modules() lists them"
    )


def selection_of_each(
    layers: Mapping[str, str], select: Mapping[str, Selection] | None
) -> dict[str, tuple[int | str, ...]]:
    """The steps from the output of each layer to the part that is selected.

    Raises
    ------
    ValueError
        If `select` names a layer that is not among `layers`.
    TypeError
        If it is no mapping from layers to indices, keys and attributes.
    """
    if not isinstance(select or {}, Mapping):
        raise TypeError(f"select={select!r} must be a mapping from layers, as in {{{next(iter(layers))!r}: 0}}")
    selections = {}
    for name, selection in (select or {}).items():
        if name not in layers:
            raise ValueError(f"select: {name!r} is not among the layers {list(layers)}")
        steps = (selection,) if isinstance(selection, (int, str)) else selection
        if not isinstance(steps, (tuple, list)) or not all(isinstance(step, (int, str)) for step in steps):
            raise TypeError(f"select={selection!r} of layer {name!r} must be an index, a key, an attribute or several")
        selections[name] = tuple(steps)
    return {name: selections.get(name, ()) for name in layers}


def tensor_of(name: str, output: object, steps: Sequence[int | str], function: bool = False) -> torch.Tensor:
    """The selected part of what a module outputs; TypeError or ValueError if it is not a tensor of real numbers.

    Parameters
    ----------
    function : whether a function will take the tensor, which may then also be complex.
    """
    said = steps[0] if len(steps) == 1 else tuple(steps)
    for step in steps:
        try:
            if isinstance(output, torch.Tensor):
                raise LookupError
            attribute = isinstance(step, str) and not isinstance(output, Mapping)
            output = getattr(output, step) if attribute else output[step]  # type: ignore[index, arg-type]
        except (LookupError, AttributeError, TypeError):
            raise ValueError(f"select={said!r} of layer {name!r}: there is no {step!r} in {told(output)}") from None
    if not isinstance(output, torch.Tensor):
        raise TypeError(
            f"layer {name!r} outputs {told(output)}, not a tensor: choose a part with select={{{name!r}: ...}}, or "
            "another module"
        )
    if output.layout != torch.strided or output.is_quantized or output.is_nested:
        raise TypeError(f"layer {name!r} outputs a sparse, quantized or nested tensor: choose another module")
    if output.is_complex() and not function:
        raise TypeError(
            f"layer {name!r} outputs complex numbers: choose what to keep of them with reduce={{{name!r}: torch.abs}} "
            "or torch.view_as_real"
        )
    return output


def told(output: object) -> str:
    """What an output is, and what one may select from it."""
    kind = type(output).__name__
    if isinstance(output, torch.Tensor):
        return f"a tensor {tuple(output.shape)}"
    held: dict[object, object] = {}
    if isinstance(output, Mapping):
        held = dict(output)
    elif isinstance(output, (tuple, list)):
        held = dict(enumerate(output))
    elif hasattr(output, "__dict__"):
        held = vars(output)
    inside = ", ".join(f"{key!r}: {brief(value)}" for key, value in list(held.items())[:8])
    return f"a {kind} ({inside})" if held else f"a {kind}"


def brief(value: object) -> str:
    return f"tensor {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


def converted(name: str, value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A copy in another type; ValueError if integers are not the same in it."""
    copy = value.to(dtype, copy=True)
    if not value.is_floating_point() and dtype.is_floating_point and not torch.equal(copy.to(value.dtype), value):
        raise ValueError(
            f"layer {name!r} holds integers that are not the same in {str(dtype).removeprefix('torch.')}: "
            "use dtype='float32' or choose another layer"
        )
    return copy
