"""What a network is given: single images or other tensors, or its keyword arguments, in batches."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

Given = torch.Tensor | dict[str, torch.Tensor]


def image_of(item: object) -> Any:
    """What the network is given of an item of a data set: a tensor, or a dictionary of them; of a pair, the first.

    Raises
    ------
    TypeError
        If it is not a tensor or anything that becomes one.
    """
    if isinstance(item, (tuple, list)) and not (item and isinstance(item[0], numbers.Number)):
        item = item[0] if item else None
    if isinstance(item, Mapping):
        return {str(key): as_tensor(value, f" in {key!r}") for key, value in item.items()}
    return as_tensor(item, "")


def as_tensor(value: object, where: str) -> torch.Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"images hold a {type(value).__name__}{where}, which is no tensor: preprocess them, for instance with "
            "network.transform, and leave out what the network does not take"
        ) from None


def parts(given: Given) -> dict[str, torch.Tensor]:
    """The tensors by the names of the arguments; "" is the name of a single one."""
    return given if isinstance(given, dict) else {"": given}


def layout(image: Given) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of an image, or of each argument."""
    return {key: (value.shape, value.dtype) for key, value in parts(image).items()}


def batch_of_one(image: Given) -> Given:
    return {key: value[None] for key, value in image.items()} if isinstance(image, dict) else image[None]


def collate(images: Sequence[Given]) -> Given:
    """Images of one layout as a batch."""
    if isinstance(images[0], dict):
        return {key: torch.stack([image[key] for image in images]) for key in images[0]}  # type: ignore[index]
    return torch.stack(list(images))  # type: ignore[arg-type]


def length(batch: Given) -> int:
    """Images in a batch."""
    return len(next(iter(parts(batch).values())))


def device_of(model: nn.Module) -> torch.device:
    """Where the network is: the device of its first parameter or buffer, or the CPU if it has none."""
    return next((value.device for value in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def run(model: nn.Module, batch: Given, device: torch.device, cast: bool = True) -> None:
    """Run the network on a batch. Floating-point inputs get the type of the network's parameters.

    Parameters
    ----------
    cast : False under autocast, which chooses the types itself.
    """
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None) if cast else None

    def there(value: torch.Tensor) -> torch.Tensor:
        if value.ndim == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        floating = value.is_floating_point() and dtype is not None
        return value.to(device, dtype if floating else value.dtype, non_blocking=True)

    if isinstance(batch, dict):
        model(**{key: there(value) for key, value in batch.items()})
    else:
        model(there(batch))


class Remaining(Dataset):
    """The images from `start` on, all of one layout. A class of the module, so that it can be sent to workers."""

    def __init__(self, images: Sequence, start: int, expected: dict[str, tuple[torch.Size, torch.dtype]]):
        self.images, self.start, self.expected = images, start, expected

    def __len__(self) -> int:
        return len(self.images) - self.start

    def __getitem__(self, i: int) -> Given:
        image = image_of(self.images[self.start + i])
        found = layout(image)
        if found.keys() != self.expected.keys():
            raise ValueError(
                f"images[{self.start + i}] has the arguments {list(found)}, but images[0] has {list(self.expected)}"
            )
        for key, (shape, dtype) in self.expected.items():
            which = f"[{key!r}]" if key else ""
            if found[key][0] != shape:
                raise ValueError(
                    f"images[{self.start + i}]{which} has the shape {tuple(found[key][0])}, but images[0]{which} has "
                    f"{tuple(shape)}: resize, crop or pad them to one shape"
                )
            if found[key][1] != dtype:
                raise ValueError(
                    f"images[{self.start + i}]{which} has the type {found[key][1]}, but images[0]{which} has {dtype}: "
                    "convert them to one"
                )
        return image
