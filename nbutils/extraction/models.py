"""Networks by name, random weights that are fit for comparison, and what a network says of images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .checkpoints import with_weights
from .families import LITE0, efficientnet_lite0, timm_network, torchvision_network
from .identity import fingerprint
from .inputs import device_of
from .network import INPUT, Network, named_layers

__all__ = [
    "INPUT",
    "Network",
    "calibrate",
    "calibrated",
    "fingerprint",
    "load",
    "named_layers",
    "predict",
    "with_weights",
]


def load(name: str = "efficientnet_lite0", weights: str = "imagenet", seed: int = 0) -> Network:
    """Load a network by name.

    Parameters
    ----------
    name : ``"efficientnet_lite0"``, whose weights install as a Python package and need no download;
        ``"efficientnet_lite0_128"``, the same network for pictures of 128 x 128 pixels, with the end of every block as
        a layer ("stage 4.2"); the name of a torchvision classifier (``"resnet152"``, ``"vgg16"`` ...) or else of a timm
        model (``"vit_tiny_patch16_224"`` ...), whose weights these libraries download. Where both have a name,
        ``"timm/resnet50"`` is that of timm. Each comes with its own preprocessing.
    weights : ``"imagenet"``, or ``"random"`` for the untrained network (call `calibrate` before you use it), or the
        path of a file with its weights, as in `with_weights`. Inside ``torch.device("meta")`` random weights take no
        time and no memory, for a look at `layer_shapes`.
    seed : seed of the random weights.

    Raises
    ------
    ValueError
        If `name` or `weights` is unknown, or the file does not fit the network.
    OSError
        If weights cannot be downloaded.
    """
    from torchvision import models as tv_models  # as in families

    path = Path(weights)
    if weights not in ("imagenet", "random") and not path.is_file():
        raise ValueError(f"weights must be 'imagenet', 'random' or the path of a file, not {str(weights)!r}")
    short = name.removeprefix("timm/")
    loader = timm_network
    if name in LITE0:
        loader = efficientnet_lite0
    elif name in tv_models.list_models(tv_models):
        loader = torchvision_network
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # GoogLeNet and Inception announce for years that their random weights will be drawn in another way.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*weight initialization")
        torch.manual_seed(seed)
        network = loader(short, weights == "imagenet", f"random, seed {seed}")
    return network if weights in ("imagenet", "random") else with_weights(network, path)


def calibrate(model: nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """Set the running statistics of every batch normalisation from the given batches, in place.

    An untrained network whose normalisation has seen no data shrinks or blows up its signal from layer to layer.
    Measuring the statistics, with no weight changed, keeps the signal at unit scale: a fair control.

    Parameters
    ----------
    batches : tensors (batch, 3, height, width), averaged with equal weight.

    Raises
    ------
    ValueError
        If there are no batches.
    """
    if len(batches) == 0:
        raise ValueError("batches is empty: there is nothing to measure the statistics on")
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        with torch.inference_mode():
            for batch in batches:
                model(batch)
    finally:
        for norm, (momentum, training) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.train(training)


def calibrated(network: Network, images: Sequence[torch.Tensor], most: int = 256) -> Network:
    """The network after `calibrate` on at most `most` of the images, spread over all; its weights say so.

    Parameters
    ----------
    images : preprocessed images (3, height, width), of which one after the other is asked for.
    """
    # Images are often sorted by category: take some of all, in batches of one size since each counts the same.
    spread = np.linspace(0, len(images) - 1, min(most, len(images))).astype(int)
    calibrate(network.model, torch.stack([images[i] for i in spread]).tensor_split(-(-len(spread) // 32)))
    return replace(
        network,
        weights=f"{network.weights}, statistics of the batch normalisation measured on {len(spread)} of the images",
    )


def predict(network: Network, images: torch.Tensor, top: int = 3) -> list[list[tuple[str, float]]]:
    """The `top` most probable classes of each image.

    Parameters
    ----------
    images : tensor (n, 3, height, width), preprocessed with ``network.transform``.

    Returns
    -------
    For each image a list of (class name, probability), most probable first.

    Raises
    ------
    ValueError
        If the network's classes have no names.
    """
    if not network.class_names:
        raise ValueError("network has no class_names: give them to Network(...), one for each logit, in order")
    # `extract` may have moved the network to a GPU.
    device = device_of(network.model)
    with torch.inference_mode():
        probability, index = network.model(images.to(device)).softmax(-1).topk(top)
    return [
        [(network.class_names[i], p) for i, p in zip(row_i, row_p, strict=True)]
        for row_i, row_p in zip(index.tolist(), probability.tolist(), strict=True)
    ]
