"""A residual network small enough to be trained in two minutes on a laptop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from ..extraction.models import INPUT, Network
from .drawing import SIDE, to_tensor

WIDTHS, BLOCKS = (16, 32, 48), (1, 2, 4)  # channels of each stage, and its blocks


class Block(nn.Module):
    """Two convolutions with a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(outputs)
        self.cut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        y = F.relu(self.norm_1(self.first(x)))
        return F.relu(self.norm_2(self.second(y)) + self.cut(x))


class SmallNet(nn.Module):
    """A residual network for pictures of 32 x 32 pixels, as in He et al. (2016), with few channels."""

    def __init__(self, classes: int):
        super().__init__()
        width = WIDTHS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.blocks = nn.Sequential()
        for outputs, count in zip(WIDTHS, BLOCKS, strict=True):
            for _ in range(count):
                self.blocks.append(Block(width, outputs, stride=1 if width == outputs else 2))
                width = outputs
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.logits = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From pictures (batch, 3, 32, 32), of values from -1 to 1, to logits (batch, classes)."""
        return self.logits(self.pool(self.blocks(self.stem(x))).flatten(1))


def small_network(class_names: Sequence[str], seed: int = 0) -> Network:
    """An untrained `SmallNet` as a `Network`, with names for its layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SmallNet(len(class_names))
    blocks = {f"block {i + 1}": f"blocks.{i}" for i in range(len(model.blocks))}
    return Network(
        name="small",
        model=model.eval(),
        layers={"input": INPUT, "stem": "stem", **blocks, "pool": "pool", "logits": "logits"},
        transform=_transform,
        class_names=tuple(class_names),
        preprocessing="32 x 32 pixels from -1 to 1",
        weights=f"random, seed {seed}",
    )


def _transform(image: Image.Image) -> torch.Tensor:
    return to_tensor(np.array(image.convert("RGB").resize((SIDE, SIDE))))
