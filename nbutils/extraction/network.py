"""A network, its layers in the reader's words, and the preprocessing it was trained with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import nn

INPUT = ""  # the module path that stands for what the network is given


@dataclass(frozen=True)
class Network:
    """A network and what one must know to use it.

    Attributes
    ----------
    name : str
    model : torch.nn.Module, in evaluation mode
    layers : dict from the reader's word ("stage 1", "logits") to the module path ("blocks.0"); the path ``""`` is
        the input. In the order of the forward pass.
    transform : callable from an RGB ``PIL.Image`` to a float32 tensor (3, height, width)
    class_names : names of the logits, in order; empty if unknown
    preprocessing : one line that says what ``transform`` does
    weights : where the weights come from, or ``"random, seed 0"``
    """

    name: str
    model: nn.Module
    layers: dict[str, str]
    transform: Callable[[Image.Image], torch.Tensor]
    class_names: Sequence[str] = field(default=(), repr=False)
    preprocessing: str = ""
    weights: str = ""


# What the layers are called in the families of torchvision, those of the paper among them, and of timm. The stages of
# VGG end in features.N.
_WORDS = (
    (r"maxpool2?|stem|conv_stem|conv_proj|patch_embed|features\.(pool)?0", "stem"),
    (
        r"(layer|features\.|features\.denseblock|encoder\.layers\.encoder_layer_|trunk_output\.block|stage|blocks\.)\d+"
        r"|(stages|layers|levels)\.\d+|s\d|inception\w+|Mixed_\w+",
        "stage",
    ),
    (r"encoder\.ln|norm", "norm"),
    (r"avgpool|global_pool", "pool"),
    (r"fc|classifier|heads?", "logits"),
)


def named_layers(model: nn.Module) -> dict[str, str]:
    """Layers of a network in the reader's words, in the order in which the modules are defined.

    ``"input"``, then one name for the end of each stage that is recognised; where no stage is recognised, the
    top-level modules under their own names. Any other layer can be named by its module path directly.
    """
    layers, stages = {"input": INPUT}, 0
    for path, module in model.named_modules():
        word = next((word for pattern, word in _WORDS if re.fullmatch(pattern, path)), None)
        # A plain row of convolutions has no modules for its stages: each ends where the image is made smaller.
        plain = (
            path.startswith(("features.", "layers."))
            and not isinstance(module, nn.MaxPool2d)
            and not any(module.children())
        )
        if word is None or plain:
            continue
        if word == "stage":
            stages += 1
            word = f"stage {stages}"
        layers.setdefault(word, path)
    if not stages:
        layers = {"input": INPUT, **{child: child for child, _ in model.named_children()}}
    return layers
