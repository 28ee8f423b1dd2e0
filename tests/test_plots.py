"""Figures are drawn without warnings for all kinds of data, and show the right values."""

from __future__ import annotations

import itertools
import warnings

import matplotlib
import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from scipy.cluster.hierarchy import leaves_list
from skimage.color import deltaE_ciede2000, rgb2lab

from nbutils.book import plots
from nbutils.density import knn_density
from nbutils.neighbors import knn_graph
from nbutils.peaks import Topography, find_peaks

matplotlib.use("Agg")
NONE = float("nan")


@pytest.fixture(autouse=True)
def quiet_and_tidy():
    with warnings.catch_warnings(), plt.rc_context():
        warnings.simplefilter("error")
        plots.style()
        yield
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()  # some warnings come only when a figure is drawn
    plt.close("all")


def curves(ax) -> dict[str, np.ndarray]:
    """What each line of a layer profile goes through, by its name: (layers, 2)."""
    handles, labels = ax.get_legend_handles_labels()
    return {
        label: np.column_stack(handle.lines[0].get_data())
        for handle, label in zip(handles, labels, strict=True)
        if hasattr(handle, "lines")
    }


def test_a_profile_keeps_the_order_of_the_layers():
    layers = ["input", "conv_10", "conv_2", "output"]  # neither alphabetical nor numerical
    ax = plots.layer_profile(
        layers, {"ID": [4, 1, 3, 2], "peaks": [1, 2, 3, 4]}, "value", chance=0.5, errors={"ID": [0.1, 0.2, 0.3, 0.4]}
    )
    assert [tick.get_text() for tick in ax.get_xticklabels()] == layers
    np.testing.assert_array_equal(ax.get_xticks(), range(4))
    lines = curves(ax)
    np.testing.assert_array_equal(lines["ID"], [[0, 4], [1, 1], [2, 3], [3, 2]])
    np.testing.assert_array_equal(lines["peaks"][:, 1], [1, 2, 3, 4])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["chance", "ID", "peaks"]
    assert ax.get_ylabel() == "value"


def test_error_bars_stand_where_the_errors_are():
    ax = plots.layer_profile("abc", {"ID": [4, NONE, 3]}, "ID", errors={"ID": [0.5, NONE, 0.25]})
    segments = [part for part in ax.collections[0].get_segments() if len(part) and np.isfinite(part).all()]
    bars = [segment[:, 1] for segment in segments]
    np.testing.assert_allclose(bars, [[3.5, 4.5], [2.75, 3.25]])


def test_the_line_is_broken_at_an_unknown_value():
    ax = plots.layer_profile("abcd", {"ID": [4, NONE, 3, 2]}, "ID")
    path = curves(ax)["ID"]
    # The line is broken at b, not drawn from a to c as if b lay between them.
    assert len(path) == 4 and np.isnan(path[1, 1])


@pytest.mark.parametrize(
    "values, log",
    [
        *itertools.product([[2.0], [1, NONE, 2], [0, 1, 2], [None, 1, 2], [NONE, 1, NONE]], [False, True]),
        ([NONE], False),
        ([NONE, NONE, NONE], False),
        ([0, 0, 0], False),  # a logarithm has no place for these
    ],
)
@pytest.mark.parametrize("with_errors", [False, True])
def test_profiles_of_odd_values(values, log, with_errors):
    layers = [f"layer {i}" for i in range(len(values))]
    ax = plots.layer_profile(
        layers, {"a": values}, "a", log=log, chance=0.1, errors={"a": np.full(len(values), 3)} if with_errors else None
    )
    assert ax.get_yscale() == ("log" if log else "linear")
    assert len(ax.get_xticks()) == len(values)


def test_a_profile_of_more_series_than_marks():
    series = {f"series {i}": np.arange(3) + i for i in range(12)}
    ax = plots.layer_profile("abc", series, "value")
    assert len(ax.get_legend().get_texts()) == 12


def test_a_given_axis_is_drawn_on():
    ax = plt.figure().add_subplot()
    assert plots.layer_profile("ab", {"a": [1, 2]}, "a", ax=ax) is ax
    assert plots.matrix(np.eye(2), "ab", "overlap", ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_a_matrix_has_its_names_on_both_sides():
    ax = plots.matrix(np.array([[1, 0.2], [NONE, 1]]), ["one", "two"], "overlap")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["one", "two"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["one", "two"]
    assert ax.images[0].get_clim() == (0, 1)
    np.testing.assert_array_equal(np.ma.filled(ax.images[0].get_array(), NONE), [[1, 0.2], [NONE, 1]])


@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_grid_shows_every_picture_under_its_title(count):
    images = [np.full((4, 6), i) if i % 2 else Image.new("RGB", (6, 4)) for i in range(count)]
    figure = plots.image_grid(images, [f"number {i}" for i in range(count)])
    titles = [ax.get_title() for ax in figure.axes if ax.images]
    assert titles == [f"number {i}" for i in range(count)]


def topography(heights, saddles, labels=(0,), points=None) -> Topography:
    c = len(heights)
    pairs = np.array([(a, b) for a in range(c) for b in range(a) if not np.isnan(saddles[a][b])], int).reshape(-1, 2)
    points = np.full((c, c), c) if points is None else points
    return Topography(
        np.array(labels),
        np.arange(c),
        np.array(heights, float),
        pairs,
        points[tuple(pairs.T)],
        np.array(saddles, float)[tuple(pairs.T)],
        -5.0,
    )


@pytest.mark.parametrize("case", ["one peak", "apart", "many", "halo"])
def test_topography_maps(case):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    x[200:] += {"one peak": 0, "apart": 1000}.get(case, 4)
    graph = knn_graph(x, 20)
    z = {"many": 0, "one peak": 9}.get(case, 1.65)
    found = find_peaks(graph, knn_density(graph, 2, 20), z, halo=case == "halo")
    ax = plots.topography_map(x, found)
    drawn = np.concatenate([dots.get_offsets() for dots in ax.collections])
    assert len(drawn) == 400  # halo and clusters, each point once
    (tops,) = [line for line in ax.lines if line.get_marker() == "^"]
    np.testing.assert_allclose(np.column_stack(tops.get_data()), x[found.peaks])
    (crosses,) = [np.column_stack(line.get_data()) for line in ax.lines if line.get_marker() == "X"]
    pairs = np.argwhere(np.triu(found.saddle_points >= 0))
    assert len(crosses) == len(pairs)
    assert (case in ("one peak", "apart")) == (len(pairs) == 0)
    np.testing.assert_allclose(crosses, x[[found.saddle_points[a, b] for a, b in pairs]].reshape(-1, 2))


def leaf_heights(ax, tree: np.ndarray) -> np.ndarray:
    """Height in pixels of each leaf, by its number, from the lines of the tree: leaf i ends where its merge says."""
    links = [collection.get_segments() for collection in ax.collections]
    ends = sorted({float(y) for link in itertools.chain(*links) for x, y in link if x == 0})
    where = np.empty(len(tree) + 1)
    # SciPy draws leaves from the bottom up in the order of leaves_list.
    where[leaves_list(tree)] = ends
    return ax.transData.transform(np.column_stack([np.zeros(len(where)), where]))[:, 1]


def chain(labels, tops, passes, floor=0.0) -> Topography:
    """Peaks in a row, each joined to the next by one pass, unless that is NaN."""
    joined = [i for i, height in enumerate(passes) if np.isfinite(height)]
    pairs = np.array([(i, i + 1) for i in joined], dtype=int).reshape(-1, 2)
    return Topography(
        np.asarray(labels),
        np.arange(len(tops)),
        np.array(tops, float),
        pairs,
        np.zeros(len(joined), int),
        np.array(passes, float)[joined],
        floor,
    )


def test_a_skyline_has_mountains_as_wide_as_they_have_points_and_their_passes_between():
    ax = plots.skyline(chain([0] * 5 + [1] * 3 + [2] * 2, [9, 8, 7], [6, 2]), ["red", "green", "blue"])
    outlines = {line.get_ydata().max(): line for line in ax.lines}
    assert set(outlines) == {9, 8, 7}
    widths = {top: np.ptp(line.get_xdata()) for top, line in outlines.items()}
    assert widths == {9: 5, 8: 3, 7: 2}
    from_the_left = sorted(outlines, key=lambda top: outlines[top].get_xdata()[0])
    ends = [(line.get_xdata()[i], line.get_ydata()[i]) for line in map(outlines.get, from_the_left) for i in (0, -1)]
    assert ends[0] == (0, 0) and ends[-1] == (10, 0)
    assert ends[1:-1:2] == ends[2:-1:2]  # where one mountain ends the next begins
    # The highest pass on the way: from 9 to 7 it goes over 8, whichever of them stands in the middle.
    pairs = map(frozenset, itertools.pairwise(from_the_left))
    passes = {pair: height for pair, (_, height) in zip(pairs, ends[1:-1:2], strict=True)}
    assert passes.items() <= {frozenset((9, 8)): 6, frozenset((8, 7)): 2, frozenset((9, 7)): 2}.items()


def test_each_mountain_of_a_skyline_has_its_own_colour():
    ax = plots.skyline(chain([0] * 5 + [1] * 3 + [2] * 2, [9, 8, 7], [6, 2]), ["red", "green", "blue"])
    colours = {tuple(fill.get_facecolor()[0]): fill.get_paths()[0].vertices[:, 1].max() for fill in ax.collections}
    assert colours == {matplotlib.colors.to_rgba(name): top for name, top in (("red", 9), ("green", 8), ("blue", 7))}


def test_a_skyline_of_one_peak_and_of_peaks_that_do_not_touch():
    assert len(plots.skyline(chain([0, 0, 0], [4], []), ["red"]).lines) == 1
    apart = chain([0, 0, 1], [4, 3], [np.nan])
    ax = plots.skyline(apart, ["red", "blue"])
    assert {float(y) for line in ax.lines for y in line.get_ydata()[[0, -1]]} == {0}


def test_colours_can_be_told_apart():
    lab = rgb2lab(np.array([matplotlib.colors.to_rgb(colour) for colour in (*plots.COLOURS, plots.GREY, "white")]))
    for a, b in itertools.combinations(lab, 2):
        assert deltaE_ciede2000(a, b) > 15  # a difference of 10 is seen at a glance


def test_figures_have_a_light_face_of_their_own():
    figure = plt.figure()
    assert figure.get_facecolor() == matplotlib.colors.to_rgba("white")
    assert plt.rcParams["savefig.facecolor"] == "white"


def test_a_bar_for_each_layer_with_its_shape():
    shapes = {"input": (3, 32, 32), "pool": (48, 1, 1), "logits": (33,)}
    ax = plots.layer_sizes(shapes)
    assert [bar.get_width() for bar in ax.patches] == [3072, 48, 33]
    assert [text.get_text() for text in ax.texts] == ["3 x 32 x 32", "48 x 1 x 1", "33"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(shapes)
    assert ax.yaxis_inverted(), "the input is on top"
