"""What is asked of a network, and how it is run for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .inputs import Given, length, run
from .recording import Selection, recording
from .reduction import Reduction, reduction_of_each
from .rows import to_rows


@dataclass(frozen=True)
class Request:
    """The arguments of `activations.extract` with these names, checked."""

    model: nn.Module
    images: Sequence
    layers: Mapping[str, str]
    dtype: str = "float16"
    autocast: str | None = None
    reduce: Reduction | Mapping[str, Reduction] = None
    select: Mapping[str, Selection] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", "float32"):
            raise ValueError(f"dtype must be 'float16' or 'float32', not {self.dtype!r}")
        if not hasattr(self.images, "__len__") or not hasattr(self.images, "__getitem__"):
            raise TypeError(
                f"images is a {type(self.images).__name__}: it must have a length and give images by number"
            )
        for argument, given in (("images", self.images), ("layers", self.layers)):
            if len(given) == 0:
                raise ValueError(f"{argument} is empty: nothing to extract")
        if self.autocast not in (None, "float16", "bfloat16"):
            raise ValueError(f"autocast must be None, 'float16' or 'bfloat16', not {self.autocast!r}")
        reduction_of_each(self.layers, self.reduce)

    def placed(self, device: torch.device) -> nn.Module:
        """The network in evaluation mode on a device, and in the layout that suits convolutions of pictures."""
        values = [*self.model.parameters(), *self.model.buffers()]
        if not any(is_lazy(value) or value.ndim == 5 for value in values):
            self.model.to(memory_format=torch.channels_last)
        return self.model.to(device).eval()

    def precision(self, device: torch.device) -> AbstractContextManager:
        """The context of mixed precision, which changes nothing where `autocast` is None."""
        dtype = getattr(torch, self.autocast or "bfloat16")
        return torch.autocast(device.type, dtype, enabled=self.autocast is not None)


@contextmanager
def forwarding(request: Request, device: torch.device) -> Iterator[Callable[[Given], dict[str, np.ndarray]]]:
    """A function from a batch of images to what each layer outputs for it, as rows."""
    model, dtype = request.placed(device), getattr(torch, request.dtype)
    with (
        recording(model, request.layers, dtype, request.reduce, request.select) as outputs,
        torch.inference_mode(),
        request.precision(device),
    ):

        def forward(batch: Given) -> dict[str, np.ndarray]:
            run(model, batch, device, cast=request.autocast is None)
            return {name: to_rows(name, outputs.get(name), length(batch), request.dtype) for name in request.layers}

        yield forward
