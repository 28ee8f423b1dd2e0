"""Build an atlas from the command line.

    python -m nbutils.atlas --images 101_ObjectCategories --exclude BACKGROUND_Google --estimate
    python -m nbutils.atlas --images 101_ObjectCategories --exclude BACKGROUND_Google --out my-atlas

The first line shows the network, the space that its layers need and the time, and stops. The second builds the atlas.
Interrupted at any moment, the same command continues where it stopped. `load_atlas("my-atlas")` opens the atlas; to
share it, copy the folder.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..extraction import models
from ..extraction.listed import listed, read_image_list
from ..extraction.photographs import SOURCES, ImageFolder, photographs
from ..extraction.store import read_manifest
from ..wordnet import synset_table
from . import Atlas, layer_table
from .build import build, checked_places
from .estimate import drawing, duration, estimate, size
from .layers import output_shapes

if TYPE_CHECKING:
    from distributed import Client

PROGRAM = "python -m nbutils.atlas"
EXPECTED = (OSError, ValueError, TypeError, RuntimeError, ImportError, MemoryError)  # what wrong input may raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0, 1 after an error, or 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parsed(arguments)
    try:
        run(options, shlex.join(["python", "-m", "nbutils.atlas", *arguments]))
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    except EXPECTED as error:
        text = " ".join(str(error).split()) or "out of memory"
        print(f"{PROGRAM}: error: {text}", file=sys.stderr)
        return 1
    return 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--images",
        required=True,
        metavar="DIR",
        help=f"folder with one folder of images for each category, or a name: {', '.join(SOURCES)}",
    )
    add("--out", type=Path, metavar="DIR", help="folder for the atlas")
    add("--estimate", action="store_true", help="show the network and what it will take, and stop")
    add("--exclude", nargs="*", default=[], metavar="NAME", help="categories to leave out")
    add(
        "--categories",
        type=number_or_names,
        metavar="N",
        help="number of categories, sampled at random, or a file with one name on each line (default: all)",
    )
    add("--per-category", type=int, metavar="N", help="images of each category, sampled at random (default: all)")
    add("--first", type=int, metavar="N", help="images of each category, the first in the order of their names")
    add("--image-list", type=Path, metavar="FILE", help="ImageNet images to take, one name (n01443537_10014) on a line")
    add(
        "--network",
        default="efficientnet_lite0",
        metavar="NAME",
        help="efficientnet_lite0 (default), efficientnet_lite0_128, or a torchvision model",
    )
    add(
        "--weights",
        default="imagenet",
        metavar="FILE",
        help="imagenet (default), random, or a file that torch.save has made of a state_dict",
    )
    add("--layers", nargs="*", metavar="NAME", help="layers to keep (default: all that have a name)")
    add("--mean-layers", nargs="*", default=[], metavar="NAME", help="layers to average over positions")
    add("--reduce", choices=["mean"], help="average all of --layers over positions")
    add("--k", type=int, default=40, help="number of neighbours (default 40)")
    add(
        "--mantissa-bits",
        type=int,
        choices=range(1, 24),
        metavar="N",
        help="round distances, so that the files of the graphs become smaller: 12 is enough",
    )
    add("--synsets", type=Path, metavar="FILE", help="CSV table with the columns category and synset")
    add("--scratch", type=Path, metavar="DIR", help="folder for the activations (default: beside --out)")
    add("--workers", type=int, default=2, metavar="N", help="processes that read images (default 2)")
    add("--device", help="cuda, cpu ... (default: the best there is)")
    add("--autocast", choices=["float16", "bfloat16"], help="mixed precision; may change neighbours")
    add("--dask", metavar="ADDRESS", help="scheduler of a Dask cluster that shares the disk")
    options = parser.parse_args(arguments)
    if options.out is None and not options.estimate:
        parser.error("the following arguments are required: --out (or --estimate)")
    if options.image_list and (options.categories or options.per_category or options.first or options.exclude):
        parser.error("--image-list names every image: leave out --categories, --per-category, --first and --exclude")
    if options.reduce and options.mean_layers:
        parser.error("give either --reduce mean, for all layers, or --mean-layers, for some")
    return options


def number_or_names(text: str) -> int | list[str]:
    """A number, or the lines of the file of that name."""
    if text.isdecimal():
        return int(text)
    try:
        return Path(text).read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a file with names ({error})") from error


def run(options: argparse.Namespace, command: str) -> None:
    began = time.perf_counter()
    out, scratch = checked_places(options.out or "atlas", options.scratch)
    if options.device:
        check_device(options.device)
    network = models.load(options.network, options.weights)
    images = photographs(
        options.images,
        network.transform,
        exclude=options.exclude,
        categories=options.categories,
        per_category=options.per_category,
    )
    if options.first is not None:
        images = images.first(options.first)
    if options.image_list:
        images = listed(images, read_image_list(options.image_list))
    print(f"{len(images):,} images of {len(images.class_names)} categories in {network.name} ({network.weights})")
    if skipped := images.skipped:
        print(f"Skipped {len(skipped):,} files that are no images, for instance {', '.join(skipped[:3])}")
    synsets = matching_synsets(options.synsets, images) if options.synsets else None
    print(drawing(output_shapes(network, images, network.layers), len(images)), flush=True)
    if options.weights == "random":
        network = models.calibrated(network, images)
    layers, mean_layers = options.layers, options.mean_layers
    if options.reduce:
        layers, mean_layers = None, options.layers or list(network.layers)
    shared = dict(
        layers=layers,
        mean_layers=mean_layers,
        k=options.k,
        workers=options.workers,
        device=options.device,
        autocast=options.autocast,
    )
    begun = read_manifest(scratch)
    if options.estimate or (begun is None and not options.dask):
        print(estimate(network, images, out=scratch, batches=3 if options.estimate else 1, **shared), flush=True)
    if options.estimate:
        return
    atlas = build(
        network,
        images,
        out,
        scratch=scratch,
        mantissa_bits=options.mantissa_bits,
        client=dask_client(options.dask),
        synsets=synsets,
        command=command,
        **shared,
    )
    print(summary(atlas, out, scratch, time.perf_counter() - began))


def check_device(name: str) -> None:
    """ValueError if torch cannot compute on a device."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # the latter in a torch that was built without CUDA
        raise ValueError(f"--device {name} cannot be used ({str(error).splitlines()[0]})") from error


def matching_synsets(path: Path, images: ImageFolder) -> dict[str, str | None]:
    """The table of synsets; ValueError if it has none of the categories, and a note if it lacks some."""
    try:
        table = synset_table(path)
    except KeyError as error:
        raise ValueError(f"--synsets {path} needs the columns category and synset, and lacks {error}") from error
    missing = [name for name in images.class_names if name not in table]
    if len(missing) == len(images.class_names):
        raise ValueError(
            f"--synsets {path} has none of the categories of the images ({', '.join(missing[:3])} ...), but "
            f"{', '.join([*table][:3])} ..."
        )
    if missing:
        print(f"No synset in {path} for {len(missing)} categories, for instance {', '.join(missing[:3])}")
    return table


def dask_client(address: str | None) -> Client | None:
    """A client of the Dask scheduler at an address, or None."""
    if address is None:
        return None
    from distributed import Client

    return Client(address)


def summary(atlas: Atlas, out: Path, scratch: Path, seconds: float) -> str:
    """What was made, where it is, and how to open it."""
    shapes = {name: tuple(layer["shape"]) for name, layer in atlas.meta["layers"].items()}
    used = [size(sum(file.stat().st_size for file in folder.iterdir())) for folder in (out, scratch)]
    return "\n".join(
        [
            f"Done in {duration(seconds)}: the {atlas.meta['k']} nearest neighbours of {len(atlas.labels):,} images of "
            f"{len(atlas.class_names)} categories in {len(shapes)} layers of {atlas.meta['network']}.",
            *layer_table(shapes),
            f"Atlas: {out} ({used[0]}). Open it with load_atlas({str(out)!r}); share it by copying the folder.",
            f"Activations: {scratch} ({used[1]}). Delete them when the atlas is as you want it.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
