"""A look at a network with a few images before all of them: what it will store, and what would be wrong with it."""

from __future__ import annotations

import numpy as np
import torch

from .identity import described, fingerprint, names_of, sha256_of, structure, transform_of
from .inputs import Remaining, batch_of_one, image_of, layout, run
from .plan import asked
from .recording import converted, recording
from .reduction import reduction_of_each
from .request import Request
from .rows import check_different, check_precision, rounding_loss, to_rows
from .store import file_stem

MOST_PROBES = 8
IMAGES_A_PROBE = 100


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
            run(model, batch_of_one(image), device, cast=request.autocast is None)
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
                "select": as_list(request.select.get(name)),
                "reduce": described(reductions[name]),
                "file": f"{file_stem(name)}.npy",
                "shape": shapes[name],
            }
            for name, path in request.layers.items()
        },
    }
    return {**plan, "asked": asked(plan)}


def as_list(selection: object) -> object:
    """A selection as it is read back from JSON."""
    return list(selection) if isinstance(selection, (tuple, list)) else selection
