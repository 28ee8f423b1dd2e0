"""From a layer's output for a batch to rows, and what no row may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

MOST_LOST = 0.002  # of the size of a layer; of numbers that float16 can hold, rounding changes at most 0.0005


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
