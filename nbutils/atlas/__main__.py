"""Build an atlas from the command line.

    python -m nbutils.atlas --images 101_ObjectCategories --exclude BACKGROUND_Google --out my-atlas

Interrupted at any moment, the same command takes up where it stopped. `load_atlas("my-atlas")` opens it, and to share
it is to copy the folder.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..extraction import models
from ..extraction.photographs import SOURCES, photographs
from ..wordnet import synset_table
from . import Atlas
from .build import build
from .estimate import duration, estimate, size


def summary(atlas: Atlas, out: Path, scratch: Path, seconds: float) -> str:
    """What was made, where it lies, and how to open it."""
    shapes = {name: " x ".join(map(str, layer["shape"])) for name, layer in atlas.meta["layers"].items()}
    wide = max(map(len, shapes))
    lines = [f"{name:{wide}}  {shape}" for name, shape in shapes.items()]
    used = [size(sum(file.stat().st_size for file in folder.iterdir())) for folder in (out, scratch)]
    return "\n".join(
        [
            f"Done in {duration(seconds)}: the {atlas.meta['k']} nearest neighbours of {len(atlas.labels):,} images of "
            f"{len(atlas.class_names)} categories in {len(shapes)} layers of {atlas.meta['network']}.",
            *lines,
            f"Atlas: {out} ({used[0]}). Open it with load_atlas({str(out)!r}); share it by copying the folder.",
            f"Activations: {scratch} ({used[1]}). Delete them when the atlas is as you want it.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m nbutils.atlas", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--images",
        required=True,
        metavar="DIR",
        help="folder with one folder of images for each "
        f"category; or one that can be had by name: {', '.join(SOURCES)}",
    )
    parser.add_argument("--exclude", nargs="*", default=[], help="categories to leave out")
    parser.add_argument("--categories", type=int, help="so many categories, drawn by lot (default: all)")
    parser.add_argument("--per-category", type=int, help="so many images of each, drawn by lot (default: all)")
    parser.add_argument("--network", default="efficientnet_lite0", help="efficientnet_lite0, or a torchvision model")
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="imagenet (default), random, or a file that torch.save has made of a state_dict",
    )
    parser.add_argument("--layers", nargs="*", help="by default all that have a name")
    parser.add_argument("--k", type=int, default=40, help="neighbours to keep (default 40)")
    parser.add_argument("--synsets", type=Path, help="table with the columns category and synset")
    parser.add_argument("--scratch", type=Path, help="folder for the activations (default: beside --out)")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images (default 2)")
    parser.add_argument("--device", help="cuda, cpu ... (default: the best there is)")
    parser.add_argument("--autocast", choices=["float16", "bfloat16"], help="mixed precision; may change neighbours")
    parser.add_argument("--dask", metavar="ADDRESS", help="scheduler of a Dask cluster that shares the disk")
    parser.add_argument("--estimate", action="store_true", help="say what it will take, and stop")
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args(arguments)

    began = time.perf_counter()
    network = models.load(options.network, options.weights)
    images = photographs(
        options.images,
        network.transform,
        exclude=options.exclude,
        categories=options.categories,
        per_category=options.per_category,
    )
    print(
        f"{len(images)} images of {len(images.class_names)} categories in {network.name} ({network.weights})",
        flush=True,
    )
    if options.weights == "random":
        network = models.calibrated(network, images)
    shared = dict(
        layers=options.layers, k=options.k, workers=options.workers, device=options.device, autocast=options.autocast
    )
    if options.estimate:
        print(estimate(network, images, out=options.scratch or options.out, **shared))
        return
    client = None
    if options.dask:
        from distributed import Client

        client = Client(options.dask)
    scratch = options.scratch or options.out.with_name(options.out.name + ".activations")
    atlas = build(
        network,
        images,
        options.out,
        scratch=scratch,
        client=client,
        synsets=synset_table(options.synsets) if options.synsets else None,
        command=shlex.join(["python", "-m", "nbutils.atlas", *(arguments or sys.argv[1:])]),
        **shared,
    )
    print(summary(atlas, options.out, scratch, time.perf_counter() - began))


if __name__ == "__main__":
    main()
