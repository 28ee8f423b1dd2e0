"""The figures of the book, in one style that is readable with colour blindness and in dark mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy.cluster.hierarchy import leaves_list

from ..hierarchy import cophenetic_distances, peak_linkage
from ..peaks import Topography

# Okabe and Ito (2008): distinguishable with all common forms of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
GREY = "#8a8a8a"
MARKS = "osD^vPX*"
WIDTH = 7  # inches; at this width text of 11 points is 8 pixels high on a phone


def style() -> None:
    """Use the style of the book for all figures from now on. In a notebook they become SVG, crisp at every size."""
    shell = get_ipython()
    if hasattr(shell, "kernel"):
        shell.run_line_magic("config", "InlineBackend.figure_formats = ['svg']")
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 4),
            "figure.dpi": 160,
            "svg.hashsalt": "book",  # the same figure gives the same bytes
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "axes.prop_cycle": plt.cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.titlelocation": "left",
            "axes.grid": True,
            "grid.color": "#e6e6e6",
            "axes.axisbelow": True,
            "font.size": 11,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "image.cmap": "viridis",
            "figure.constrained_layout.use": True,
        }
    )


def layer_profile(
    layers: Sequence[str],
    series: Mapping[str, Sequence[float]],
    ylabel: str,
    *,
    chance: float | None = None,
    errors: Mapping[str, Sequence[float]] | None = None,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """One line for each series over the layers of a network, dotted across missing values (NaN).

    Parameters
    ----------
    series : name and (layers,) values of each line.
    chance : level of a dashed horizontal line, the value expected by chance.
    errors : for some or all of the series, the (layers,) half-lengths of the error bars.
    """
    ax = ax or plt.subplots()[1]
    place = np.arange(len(layers))
    for i, (name, values) in enumerate(series.items()):
        values = np.asarray(values, float)
        bars = None if errors is None or name not in errors else np.asarray(errors[name], float)
        line = ax.errorbar(place, values, bars, marker=MARKS[i % len(MARKS)], markersize=5, capsize=3, label=name)
        known = np.isfinite(values)
        ax.plot(place[known], values[known], ":", color=line[0].get_color(), linewidth=1.2)
    if chance is not None:
        ax.axhline(chance, color=GREY, linestyle="--", linewidth=1.2, label="chance")
    ax.set_xticks(place, layers, rotation=45, ha="right")
    ax.set(ylabel=ylabel, yscale="log" if log else "linear")
    if len(series) > 1 or chance is not None:
        ax.legend()
    return ax


def layer_sizes(shapes: Mapping[str, Sequence[int]], ax: Axes | None = None) -> Axes:
    """The layers of a network from top to bottom: a bar for the number of features of each, with the shape as text."""
    ax = ax or plt.subplots(figsize=(WIDTH, 0.32 * len(shapes) + 1))[1]
    features = [int(np.prod(shape)) for shape in shapes.values()]
    bars = ax.barh(np.arange(len(shapes)), features, color=COLOURS[0], height=0.7)
    ax.bar_label(bars, [" x ".join(map(str, shape)) for shape in shapes.values()], padding=4, fontsize=9)
    ax.set_yticks(np.arange(len(shapes)), list(shapes))
    ax.set(xscale="log", xlabel="features of one image", xlim=(min(features) / 4, max(features) * 12))
    ax.invert_yaxis()
    return ax


def image_grid(images: Sequence[np.ndarray | Image.Image], titles: Sequence[str], columns: int = 4) -> Figure:
    """Images in rows, each with its title above; arrays (height, width) are drawn as colour maps."""
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.1 * columns, 2.25 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.imshow(image)
        ax.set_title(title, fontsize=9, loc="center")
    return figure


def matrix(values: np.ndarray, names: Sequence[str], label: str, ax: Axes | None = None) -> Axes:
    """A square matrix as colours from 0 to 1, with the names of the rows, which are also those of the columns."""
    ax = ax or plt.subplots(figsize=(6.2, 5.2))[1]
    image = ax.imshow(values, vmin=0, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=60, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.85)
    return ax


def topography_map(x: np.ndarray, topography: Topography, ax: Axes | None = None) -> Axes:
    """Points in the plane in the colour of their peak, with the peaks (triangles) and the saddles (crosses).

    Parameters
    ----------
    x : (n, 2) the points.
    """
    ax = ax or plt.subplots(figsize=(6, 4.8))[1]
    shades = np.array(["#cfcfcf", *COLOURS])
    of_point = np.where(topography.labels < 0, 0, 1 + topography.labels % len(COLOURS))
    ax.scatter(*x.T, s=max(5, 6000 / len(x)), c=shades[of_point], alpha=0.55, linewidths=0, rasterized=True)
    a, b = topography.pairs.T
    path = x[np.stack([topography.peaks[a], topography.pair_points, topography.peaks[b]], 1)]
    # NaN lifts the pen: one line for all ridges is drawn much faster than a line for each.
    ridges = np.pad(path, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan)
    ax.plot(*ridges.reshape(-1, 2).T, color="black", linewidth=1)
    white = {"color": "white", "markeredgecolor": "black", "linestyle": "none"}
    ax.plot(*x[topography.pair_points].T, marker="X", markersize=9, **white)
    ax.plot(*x[topography.peaks].T, marker="^", markersize=11, **white)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return ax


def skyline(topography: Topography, colours: Sequence[str], ax: Axes | None = None) -> Axes:
    """A side view of a topography: a mountain for each peak, whose width is its number of points.

    The mountains are in the order of the single-linkage tree, so the pass between two neighbouring mountains is the
    highest possible lowest saddle of a path between them. Heights are log densities relative to the least dense point.

    Parameters
    ----------
    colours : the colour of each peak.
    """
    ax = ax or plt.subplots(figsize=(WIDTH, 3.6))[1]
    size = np.bincount(topography.labels[topography.labels >= 0], minlength=topography.n_peaks)
    top = topography.peak_log_density.max()
    order, saddles = np.array([0]), np.array([])
    if topography.n_peaks > 1:
        tree = peak_linkage(topography, "single")
        order = leaves_list(tree)
        apart = cophenetic_distances(tree)
        saddles = top - apart[order[:-1], order[1:]] - topography.floor
    feet = np.concatenate([[0], saddles, [0]])
    edges = np.concatenate([[0], np.cumsum(size[order])])
    slope = np.linspace(0, 1, 30) ** 1.7
    for i, peak in enumerate(order):
        height, middle = topography.peak_log_density[peak] - topography.floor, edges[i : i + 2].mean()
        left, right = feet[i] + (height - feet[i]) * slope, feet[i + 1] + (height - feet[i + 1]) * slope
        x = np.concatenate([np.linspace(edges[i], middle, 30), np.linspace(middle, edges[i + 1], 30)])
        y = np.concatenate([left, right[::-1]])
        ax.fill_between(x, y, color=colours[peak], linewidth=0)
        ax.plot(x, y, color="black", linewidth=0.7)
    ax.set(xlim=(0, edges[-1]), ylim=(0, None), xlabel="points", ylabel="log density above the lowest")
    return ax


def agreement_map(values: np.ndarray, rows: Sequence[str], columns: Sequence[str], ax: Axes | None = None) -> Axes:
    """Adjusted Rand indices as colours and numbers, for example for each layer (row) and depth of WordNet (column).

    The largest value of each row has a frame.

    Parameters
    ----------
    values : (rows, columns) the indices.
    """
    ax = ax or plt.subplots(figsize=(WIDTH, 0.36 * len(rows) + 1.4))[1]
    image = ax.imshow(values, cmap="viridis", vmin=0, vmax=max(0.25, float(np.max(values))), aspect="auto")
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            light = value < 0.6 * image.get_clim()[1]
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=9, color="white" if light else "black")
        j = int(np.argmax(row))
        ax.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=COLOURS[1], linewidth=2))
    ax.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    ax.set_yticks(range(len(rows)), rows)
    ax.grid(False)
    return ax
