"""What is asked of a network, how it is run for it, and a look with a few images at what it will store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .identity import described, fingerprint, names_of, sha256_of, structure, transform_of
from .inputs import Given, Remaining, batch_of_one, image_of, layout, length, parts, run
from .plan import asked
from .recording import Selection, converted, recording, selection_of_each
from .rows import Reduction, check_different, check_precision, reduction_of_each, rounding_loss, to_rows
from .store import file_stem

MOST_PROBES = 8
IMAGES_A_PROBE = 100


@dataclass(frozen=True)
class Request:
    """The arguments of `activations.extract` with these names, checked."""

    model: nn.Module
    images: Sequence
    layers: Mapping[str, str]
    dtype: str = "float16"
    autocast: str | None = None
    reduce: Reduction | Mapping[str, Reduction] = None
    select: Mapping[str, Selection] | None = None

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
        selection_of_each(self.layers, self.select)

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


def probe_numbers(n: int) -> list[int]:
    """Which of n images are looked at: the first, and of a hundred or more some that are spread over all."""
    return np.linspace(0, n - 1, min(MOST_PROBES, 1 + n // IMAGES_A_PROBE)).astype(int).tolist()


def probed(request: Request, device: torch.device) -> tuple[dict, list[str] | None, dict]:
    """Run the network on some of the images, one by one.

    Returns
    -------
    The manifest of the request, the names of the images (`identity.names_of`), and their layout.

    Raises
    ------
    ValueError
        If a layer cannot be stored.
    """
    model, n = request.placed(device), len(request.images)
    names = names_of(request.images)
    first = image_of(request.images[0])
    images = Remaining(request.images, 0, layout(first))
    probes: dict[str, str] = {}
    shapes: dict[str, list[int]] = {}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in request.layers}
    loss = {name: np.zeros(4) for name in request.layers}
    dtype = getattr(torch, request.dtype)
    with (
        recording(model, request.layers, None, request.reduce, request.select) as outputs,
        torch.inference_mode(),
        request.precision(device),
    ):
        for number in probe_numbers(n):
            image = images[number] if number else first
            probes[str(number)] = sha256_of(image)
            try:
                run(model, batch_of_one(image), device, cast=request.autocast is None)
            except RuntimeError as error:
                if isinstance(error, torch.cuda.OutOfMemoryError) or "allocate memory" in str(error):
                    raise
                given = ", ".join(f"{key} {tuple(v.shape)} {v.dtype}".strip() for key, v in parts(image).items())
                raise RuntimeError(f"the network fails on images[{number}], which is {given}: {error}") from error
            for name in request.layers:
                value = outputs.get(name)
                rounded = None if value is None else converted(name, value, dtype)
                rows[name].append(to_rows(name, rounded, 1, request.dtype)[0])
                if value is not None and rounded is not None:
                    loss[name] += rounding_loss(value, rounded)
                    shapes.setdefault(name, list(value.shape[1:]))
    for name in request.layers:
        check_precision(name, loss[name], request.dtype)
        if len(set(probes.values())) == MOST_PROBES:
            check_different(name, rows[name], f"images {', '.join(probes)} of {n}")
    return plan_of(request, names, probes, shapes), names, images.expected


def plan_of(request: Request, names: list[str] | None, probes: dict[str, str], shapes: dict[str, list[int]]) -> dict:
    """The manifest of a request: all that decides what will be stored."""
    reductions = reduction_of_each(request.layers, request.reduce)
    selections = selection_of_each(request.layers, request.select)
    plan = {
        "n": len(request.images),
        "dtype": request.dtype,
        "autocast": request.autocast,
        "model": fingerprint(request.model),
        "structure": structure(request.model),
        "images": asked({"names": names}) if names is not None else None,
        "transform": described(transform_of(request.images)),
        "probes": probes,
        "layers": {
            name: {
                "module": path,
                "select": list(selections[name]) or None,
                "reduce": described(reductions[name]),
                "file": f"{file_stem(name)}.npy",
                "shape": shapes[name],
            }
            for name, path in request.layers.items()
        },
    }
    return {**plan, "asked": asked(plan)}
