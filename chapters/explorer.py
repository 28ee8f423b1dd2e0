"""Write the landscape explorer beside the built book: ``python chapters/explorer.py`` (`make book` runs it)."""

from __future__ import annotations

from pathlib import Path

from nbutils.atlas import load_atlas
from nbutils.book.explorer import landscape_data, pictures, write_page

PAGE = Path(__file__).resolve().parent.parent / "_build/html/explorer.html"


def averaged(layers: tuple[str, ...]) -> list[str]:
    """The layers averaged over positions, and those that have none."""
    return [
        layer
        for layer in layers
        if layer.endswith(" mean") or layer in ("pool", "logits")
    ]


def landscapes() -> dict:
    """Both atlases, with trained and with random weights."""
    imagenet = load_atlas("tiny-imagenet")
    caltech = load_atlas("caltech101-efficientnet_lite0")
    without = {
        "imagenet": load_atlas("tiny-imagenet-random"),
        "caltech": load_atlas("caltech101-efficientnet_lite0-random"),
    }
    shown = {
        "imagenet": landscape_data(imagenet, averaged(imagenet.layers)),
        "caltech": landscape_data(caltech, caltech.layers, grain=3),
    }
    chance = {
        "imagenet": landscape_data(
            without["imagenet"], without["imagenet"].layers
        ),
        "caltech": landscape_data(
            without["caltech"], without["caltech"].layers, grain=3
        ),
    }
    return {
        "sets": [
            {
                "key": "imagenet",
                "title": "ImageNet",
                "note": "30,000 photographs of 100 categories of ImageNet, in "
                "EfficientNet-Lite0.",
                "trained": shown["imagenet"],
                "random": chance["imagenet"],
            },
            {
                "key": "caltech",
                "title": "Caltech-101",
                "note": "8,677 photographs of 101 categories, in "
                "EfficientNet-Lite0 as trained on ImageNet.",
                "trained": shown["caltech"],
                "random": chance["caltech"],
                "pictures": pictures([shown["caltech"], chance["caltech"]]),
            },
        ]
    }


if __name__ == "__main__":
    write_page(PAGE, landscapes())
    print(f"wrote {PAGE}")
