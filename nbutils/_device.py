"""On which device torch computes, and with what precision."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def best_device() -> torch.device:
    """CUDA if there is a GPU for it, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def as_device(device: torch.device | str | None) -> torch.device:
    """The device named, or the best one if it is None."""
    return best_device() if device is None else torch.device(device)


class _HighestMatmulPrecision:
    """The highest precision of torch's float32 products while any thread is inside the context.

    The setting is one for the whole process: the first thread in saves it, and the last one out restores it.
    """

    def __init__(self) -> None:
        self.lock, self.users, self.before = threading.Lock(), 0, "highest"

    def __enter__(self) -> None:
        with self.lock:
            if self.users == 0:
                self.before = torch.get_float32_matmul_precision()
                torch.set_float32_matmul_precision("highest")
            self.users += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                torch.set_float32_matmul_precision(self.before)


_highest_matmul_precision = _HighestMatmulPrecision()


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute products of float32 in float32 whatever the caller has chosen: without TF32 and without autocast.

    Inference mode is left too: it holds for one thread only, and the other threads could not write to its tensors.
    """
    with (
        _highest_matmul_precision,
        torch.autocast(device.type, enabled=False),
        torch.inference_mode(False),
        torch.no_grad(),
    ):
        yield
