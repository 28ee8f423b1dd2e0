"""What an atlas holds, how it was made, and whether its files are whole."""

from __future__ import annotations

import os
from collections.abc import Mapping

from . import load_atlas


def damage(folder: str | os.PathLike) -> dict[str, str]:
    """What is wrong with the graph of each layer that cannot be used; empty if the atlas is whole.

    Raises
    ------
    FileNotFoundError
        If there is no such atlas.
    ValueError
        If the descriptions in ``meta.json`` or ``images.json`` are damaged.
    """
    atlas, found = load_atlas(folder), {}
    for layer in atlas.layers:
        try:
            graph = atlas.graphs[layer]
        except ValueError as error:
            found[layer] = str(error)
        else:
            if graph.n != len(atlas.labels):
                found[layer] = f"a graph of {graph.n:,} points for {len(atlas.labels):,} images: build the atlas again"
    return found


def describe(folder: str | os.PathLike) -> str:
    """A text for reading: the images, the network and the layers of an atlas, how it was made, and what is damaged.

    Raises
    ------
    FileNotFoundError
        If there is no such atlas.
    ValueError
        If the descriptions in ``meta.json`` or ``images.json`` are damaged.
    """
    atlas, damaged = load_atlas(folder), damage(folder)
    meta, n, named = atlas.meta, len(atlas.labels), sum(synset is not None for synset in atlas.synsets)
    rows = {
        "images": f"{n:,} of {len(atlas.class_names)} categories, of which {named} have a WordNet id",
        "network": f"{meta.get('network', 'unknown')} ({meta.get('weights', 'unknown')})",
        "preprocessing": meta.get("preprocessing"),
        "autocast": meta.get("autocast"),
        "activations": meta.get("activations"),
        "distances": meta.get("distance", "unknown")
        + (f", rounded to {bits} bits of mantissa" if (bits := meta.get("mantissa_bits")) else ""),
        "versions": ", ".join(f"{name} {version}" for name, version in meta.get("versions", {}).items()),
        "command": meta.get("command"),
    }
    wide = max(map(len, rows))
    lines = [f"{name:{wide}}  {value}" for name, value in rows.items() if value]
    layers = layer_table({name: tuple(layer["shape"]) for name, layer in meta["layers"].items()})
    state = [f"{layer}: {problem}" for layer, problem in damaged.items()] or ["All files are whole."]
    return "\n".join([f"Atlas {atlas.name!r}", *lines, "", *layers, "", *state])


def layer_table(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """A line for each layer with its name and its shape."""
    wide = max(map(len, shapes))
    return [f"{name:{wide}}  {' x '.join(map(str, shape))}" for name, shape in shapes.items()]
