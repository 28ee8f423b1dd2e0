"""The landscape explorer: its data against the functions of the book, and its page in a browser."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from urllib.parse import parse_qs

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from serving import serving

from nbutils import wordnet
from nbutils.atlas import load_atlas
from nbutils.book.explorer import (
    HERE,
    common_group,
    landscape_data,
    match_peaks,
    meaning,
    pictures,
    skyline_order,
    write_page,
)
from nbutils.book.plots import COLOURS
from nbutils.book.thumbnails import COUNT, SIDE, photograph_rows, thumbnails
from nbutils.graph import NeighborGraph
from nbutils.hierarchy import cophenetic_distances, peak_classes, peak_linkage
from nbutils.peaks import topography

LAYERS = ["stage 5.3 mean", "stage 6.4 mean", "logits"]
LEVELS = [1.65, 6]
RISING = [0.5, 1.65, 3, 4.2, 6, 9, 14]


@pytest.fixture(scope="module")
def atlas():
    return load_atlas("tiny-imagenet")


@pytest.fixture(scope="module")
def caltech():
    return load_atlas("caltech101-efficientnet_lite0")


@pytest.fixture(scope="module")
def data(atlas):
    return landscape_data(atlas, LAYERS, levels=LEVELS)


# --- the data


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("z", LEVELS)
def test_mountains_are_the_peaks(atlas, data, layer, z):
    found = topography(atlas.graphs[layer], 30, z)
    most = peak_classes(found, atlas.labels)
    shown = data["layers"][LAYERS.index(layer)]["views"][LEVELS.index(z)]["mountains"]
    by_peak = {mountain["peak"]: mountain for mountain in shown}
    assert len(shown) == len(by_peak) == found.n_peaks
    for i, peak in enumerate(found.peaks.tolist()):
        mountain = by_peak[peak]
        assert mountain["size"] == most.size[i]
        assert mountain["categories"][0][:2] == [most.label[i], round(most.share[i] * most.size[i])]
        assert mountain["top"] == pytest.approx(found.peak_log_density[i] - found.floor, abs=1e-3)
        animals = np.isin(atlas.labels[found.labels == i], np.flatnonzero(np.array(data["kingdoms"]) == 0)).sum()
        assert mountain["kingdoms"][0] == animals
        pure = max(animals, mountain["size"] - animals) >= 2 / 3 * mountain["size"]  # here all are animals or artifacts
        assert mountain["name"] == (mountain["group"][0] if pure else "mixed")
    assert sum(mountain["size"] for mountain in shown) == len(atlas.labels)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_pass_is_the_lowest_point_of_the_highest_way(atlas, data, layer):
    found = topography(atlas.graphs[layer])
    number = {peak: i for i, peak in enumerate(found.peaks.tolist())}
    shown = data["layers"][LAYERS.index(layer)]["views"][0]["mountains"]
    apart = cophenetic_distances(peak_linkage(found, "single"))
    highest = found.peak_log_density.max() - found.floor
    heights = [mountain.get("pass") for mountain in shown]
    assert heights.pop() is None
    for i, j in itertools.combinations(range(len(shown)), 2):
        way = min(heights[i:j])
        assert way == pytest.approx(highest - apart[number[shown[i]["peak"]], number[shown[j]["peak"]]], abs=1e-3)


def test_a_higher_sea_only_merges_and_no_summit_that_stands_is_under_water(caltech):
    layers = ["stage 6", "pool", "logits"]
    for layer in landscape_data(caltech, layers, levels=RISING)["layers"]:
        lowest = topography(caltech.graphs[layer["name"]], 30, RISING[0])
        number = {mountain["peak"]: i for i, mountain in enumerate(layer["views"][0]["mountains"])}
        home = np.array([number[int(peak)] for peak in lowest.peaks])[lowest.labels]
        counts = [len(view["mountains"]) for view in layer["views"]]
        assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]
        for z, view in zip(RISING, layer["views"], strict=True):
            found = topography(caltech.graphs[layer["name"]], 30, z)
            summits = [view["mountains"][i]["peak"] for i in view["merged"]]
            assert np.array_equal(
                found.peaks[found.labels], np.array(summits)[home]
            )  # every photograph is where it was
            for left, right in itertools.pairwise(view["mountains"]):
                assert min(left["top"], right["top"]) >= left["pass"] + z * layer["error"] - 2e-3


def test_identity_is_one_to_one_and_follows_most_photographs(atlas, data):
    for j, z in enumerate(LEVELS):
        for one, two in itertools.pairwise(data["layers"]):
            before, after = ({m["id"]: m for m in layer["views"][j]["mountains"]} for layer in (one, two))
            assert len(before) == len(one["views"][j]["mountains"]) and len(after) == len(two["views"][j]["mountains"])
            old, new = (topography(atlas.graphs[layer["name"]], 30, z) for layer in (one, two))
            for i in before.keys() & after.keys():
                here = old.peaks[old.labels] == before[i]["peak"]
                there = new.peaks[new.labels] == after[i]["peak"]
                assert 2 * (here & there).sum() > min(here.sum(), there.sum())


def partitions(n: int):
    """Lists of the peak of each of n points, in which every peak has a point."""
    return st.lists(st.integers(0, 5), min_size=n, max_size=n).map(lambda x: np.unique(x, return_inverse=True)[1])


@settings(max_examples=50, deadline=None)
@given(partitions(40), partitions(40))
def test_matching_is_a_partial_one_to_one_map(before, after):
    match = match_peaks(before, after)
    paired = match[match >= 0]
    assert len(match) == after.max() + 1 and len(set(paired)) == len(paired)
    assert match.min() >= -1 and match.max() <= before.max()


@settings(max_examples=50, deadline=None)
@given(partitions(40), st.permutations(range(6)))
def test_matching_recognizes_the_same_peaks_under_other_numbers(before, names):
    renamed = np.unique(np.array(names)[before], return_inverse=True)[1]
    match = match_peaks(before, renamed)
    assert np.array_equal(match[renamed], before)


def test_a_peak_that_scatters_is_no_longer_the_same():
    assert match_peaks(np.repeat([0, 1], 30), np.tile([0, 1, 2], 20)).tolist() == [-1, -1, -1]


def test_mountains_stand_in_the_order_of_wordnet_where_the_tree_leaves_it_open():
    rng = np.random.default_rng(0)
    clouds = np.concatenate([rng.normal([8 * i, 0], 1, (300, 2)) for i in range(4)])
    distances, indices = cKDTree(clouds).query(clouds, 41)
    found = topography(NeighborGraph(distances[:, 1:].astype(np.float32), indices[:, 1:].astype(np.int32)), z=5)
    assert found.n_peaks == 4
    place = np.arange(len(clouds)) // 300
    order, passes = skyline_order(found, place)
    mirrored, back = skyline_order(found, -place)
    assert order.tolist() == mirrored[::-1].tolist()
    assert passes.tolist() == back[::-1].tolist()
    assert place[found.peaks[order]][0] < place[found.peaks[order]][-1]


def test_the_common_group_is_the_deepest_with_more_than_half(atlas):
    words = wordnet.load()
    meant = meaning(atlas, words)
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 100):
        counts = np.zeros(len(meant.names), int)
        counts[rng.choice(len(counts), size, replace=False)] = rng.integers(1, 50, size)
        group, share = common_group(counts, meant)
        inside = np.array([group in chain for chain in meant.chains])
        assert share == pytest.approx(counts[inside].sum() / counts.sum()) and share > 0.5
        for below in words.predecessors(group):
            assert 2 * counts[[below in chain for chain in meant.chains]].sum() <= counts.sum()


def test_what_belongs_to_nothing_has_no_group(atlas):
    unknown = replace(atlas, synsets=(None, *atlas.synsets[1:]))
    counts = np.eye(len(atlas.synsets), dtype=int)[0]
    assert common_group(counts, meaning(unknown, wordnet.load())) is None


def test_one_view_alone_is_the_same_as_among_others(atlas, data):
    alone = landscape_data(atlas, ["logits"], 30, [6])["layers"][0]["views"][0]["mountains"]
    among = data["layers"][2]["views"][1]["mountains"]
    assert [{**m, "id": 0} for m in alone] == [{**m, "id": 0} for m in among]


def test_bad_choices_are_named(atlas):
    with pytest.raises(ValueError, match="layers is empty"):
        landscape_data(atlas, [])
    with pytest.raises(ValueError, match="levels must be"):
        landscape_data(atlas, ["logits"], levels=[2, 1])
    with pytest.raises(KeyError, match="stage 9"):
        landscape_data(atlas, ["stage 9"])


# --- the thumbnails


def test_thumbnails_are_in_the_order_of_the_atlas(caltech):
    assert len(caltech.files) == COUNT
    nearest = caltech.graphs["input"].indices[:, 0]
    rng = np.random.default_rng(0)
    pictures = thumbnails(np.arange(COUNT)).astype(float)
    assert pictures.shape == (COUNT, SIDE, SIDE, 3)
    apart = np.abs(pictures - pictures[nearest]).mean((1, 2, 3))
    random = np.abs(pictures - pictures[rng.permutation(COUNT)]).mean((1, 2, 3))
    for first in range(0, COUNT, 1000):  # each sheet by itself
        assert np.median(apart[first : first + 1000]) < 0.8 * np.median(random[first : first + 1000])


def test_thumbnails_keep_the_order_that_was_asked():
    asked = [8000, 3, 3, 4999]
    assert np.array_equal(thumbnails(asked), np.concatenate([thumbnails([i]) for i in asked]))
    with pytest.raises(ValueError, match="below 8677"):
        thumbnails([COUNT])


# --- the page


@pytest.fixture(scope="module")
def page_data(atlas, data, caltech):
    small = landscape_data(caltech, ["pool", "logits"], levels=LEVELS, grain=3)
    control = landscape_data(load_atlas("tiny-imagenet-random"), ["stage 6.4 mean", "logits"], levels=LEVELS)
    sets = [
        {"key": "imagenet", "title": "ImageNet", "note": "Photographs.", "trained": data, "random": control},
        {"key": "caltech", "title": "Caltech-101", "note": "Photographs.", "trained": small, "random": small},
    ]
    sets[1]["pictures"] = pictures([small])
    return {"sets": sets}


@pytest.fixture(scope="module")
def home(page_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    write_page(folder / "explorer.html", page_data)
    with serving(folder) as address:
        yield address


def test_the_page_holds_all_that_it_needs(page_data, tmp_path):
    note = {"sets": [{**page_data["sets"][0], "note": "</script><b>"}]}
    write_page(tmp_path / "page.html", note)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (
        json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]) == note
    )
    assert not re.search(r'(?:src|href)\s*=\s*"(?!#|data:)|@import|url\((?!\$)|https?:', text)


def test_the_families_have_the_colours_of_the_book():
    style = (HERE / "explorer.css").read_text(encoding="utf-8").split("@media")[0]
    assert f"--animal: {COLOURS[1].lower()}" in style and f"--artifact: {COLOURS[0].lower()}" in style


@pytest.fixture
def tab(browser, home):
    """A new tab that must ask for nothing outside; motion is reduced, so that what is shown is final at once."""
    context = browser.new_context(viewport={"width": 1000, "height": 900}, reduced_motion="reduce")
    trouble = []

    def ask(route):
        if route.request.url.startswith((home, "data:", "blob:", "file:")):
            return route.continue_()
        trouble.append(route.request.url)
        return route.abort()

    context.route("**/*", ask)
    page = context.new_page()
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda message: message.type == "error" and trouble.append(message.text))
    yield page
    context.close()
    assert not trouble


def see(tab, home, address=""):
    tab.goto("about:blank")
    tab.goto(f"{home}explorer.html{address}")
    tab.wait_for_selector("#mountains [role=option]", state="attached")


OPTIONS = """all => all.map(one => [Number(one.dataset.peak), Number(one.dataset.size), one.ariaLabel])"""


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("z", LEVELS)
def test_what_is_shown_is_what_the_functions_say(tab, home, atlas, data, layer, z):
    see(tab, home, f"#data=imagenet&layer={layer.replace(' ', '-')}&z={z}")
    shown = tab.locator("#mountains [role=option]").evaluate_all(OPTIONS)
    found = topography(atlas.graphs[layer], 30, z)
    most = peak_classes(found, atlas.labels)
    assert {peak: size for peak, size, _ in shown} == dict(zip(found.peaks.tolist(), most.size.tolist(), strict=True))
    said = {peak: label for peak, _, label in shown}
    for i, peak in enumerate(found.peaks.tolist()):
        name, count = data["categories"][most.label[i]], round(most.share[i] * most.size[i])
        assert f"Most frequent: {name} {count}" in said[peak]
        assert f": {most.size[i]:,} photographs" in said[peak]
    mountains = "one mountain" if found.n_peaks == 1 else f"{found.n_peaks} mountains"
    assert mountains in tab.inner_text("#says")
    tab.click("#table summary")
    tab.wait_for_selector("#table tbody tr")  # it is filled after it was opened
    assert tab.locator("#table tbody tr").count() == found.n_peaks


def state(address: str) -> dict:
    return parse_qs(address.split("#")[1])


def test_the_address_is_the_view(tab, home, data):
    peak = data["layers"][1]["views"][1]["mountains"][0]["peak"]
    asked = f"#data=imagenet&layer=stage-6.4-mean&z=6&peak={peak}"
    see(tab, home, asked)
    assert state(tab.get_attribute("#link", "href")) == state(asked)
    tab.fill("#layer", "2")
    after = tab.url
    assert state(after)["layer"] == ["logits"] and state(after)["z"] == ["6"]
    said = tab.inner_text("#says"), tab.inner_text("#panel")
    see(tab, home, "#" + after.split("#")[1])
    assert (tab.inner_text("#says"), tab.inner_text("#panel")) == said
    tab.check("input[value=random]", force=True)
    random = tab.url
    assert state(random)["weights"] == ["random"]
    said = tab.inner_text("#says")
    see(tab, home, "#" + random.split("#")[1])
    assert tab.inner_text("#says") == said and "random weights" in said


@pytest.mark.parametrize(
    "address", ["#layer=nowhere&z=x&peak=-5&data=none", "#&&&", "#z=1e9", "#weights=random&layer=pool"]
)
def test_an_address_that_leads_nowhere_still_shows_a_landscape(tab, home, address):
    see(tab, home, address)
    assert "mountain" in tab.inner_text("#says")


def test_keys_alone_reach_every_mountain_and_read_it(tab, home, data):
    see(tab, home, "#layer=stage-6.4-mean&z=1.65")
    for _ in range(20):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.role") == "option":
            break
    shown = data["layers"][1]["views"][0]["mountains"]
    tab.keyboard.press("Home")
    for i, mountain in enumerate(shown):
        if i:
            tab.keyboard.press("ArrowRight")
        label = tab.evaluate("document.activeElement.ariaLabel")
        assert f"{mountain['size']:,} photographs" in label and "animals" in label
        assert tab.evaluate("document.activeElement.ariaSelected") == "true"
        assert f"{mountain['size']:,} photographs" in tab.inner_text("#panel")
    tab.keyboard.press("ArrowDown")
    assert tab.inner_text("#says").startswith("Logits") and tab.evaluate("document.activeElement.role") == "option"
    before = tab.locator("[role=option]").count()
    tab.keyboard.press("+")
    assert tab.locator("[role=option]").count() < before
    assert tab.get_attribute("#says", "role") == "status"


def test_a_chosen_mountain_that_drowns_becomes_the_one_it_joins(tab, home, data):
    views = data["layers"][2]["views"]
    standing = {mountain["peak"] for mountain in views[1]["mountains"]}
    i, drowned = next((i, m) for i, m in enumerate(views[0]["mountains"]) if m["peak"] not in standing)
    see(tab, home, f"#layer=logits&z=1.65&peak={drowned['peak']}")
    tab.fill("#sea", "1")
    heir = views[1]["mountains"][views[1]["merged"][i]]["peak"]
    assert state(tab.url)["peak"] == [str(heir)]


def test_a_tap_chooses_and_photographs_are_shown_only_where_they_may_be(tab, home):
    see(tab, home, "#data=caltech&layer=logits&z=6")
    tab.click("#view", position={"x": 500, "y": 300})
    assert "peak" in state(tab.url)
    assert tab.locator("#panel .photo").count() > 1 and "CC BY 4.0" in tab.inner_text("#note")
    tab.check("input[value=imagenet]", force=True)
    assert tab.locator("#panel .photo").count() == 0


PICTURE = "document.getElementById('view').toDataURL()"


def test_without_motion_the_new_layer_stands_at_once(tab, home):
    see(tab, home, "#layer=stage-6.4-mean")
    before = tab.evaluate(PICTURE)
    at_once = tab.evaluate(f"document.getElementById('mountains').firstChild.focus(), {PICTURE}")
    assert at_once == before
    tab.fill("#layer", "2")
    after = tab.evaluate(PICTURE)
    tab.wait_for_timeout(300)
    assert before != after == tab.evaluate(PICTURE)


@pytest.mark.parametrize(
    ("start", "slider", "value"),
    [
        ("#layer=stage-6.4-mean", "#layer", "2"),
        ("#layer=logits&z=1.65", "#sea", "1"),
        ("#layer=logits&z=6", "#sea", "0"),
    ],
    ids=["next layer", "rising sea", "falling sea"],
)
def test_motion_ends_where_no_motion_would_be(browser, tab, home, start, slider, value):
    see(tab, home, start)
    tab.fill(slider, value)
    tab.evaluate("document.activeElement.blur()")
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    try:
        moving = context.new_page()
        see(moving, home, start)
        moving.fill(slider, value)
        moving.evaluate("document.activeElement.blur()")
        underway = moving.evaluate(PICTURE)
        moving.wait_for_function(f"{PICTURE} === {json.dumps(tab.evaluate(PICTURE))}")
        assert underway != moving.evaluate(PICTURE)
    finally:
        context.close()


def test_playing_goes_through_the_layers_and_stops_at_the_last(tab, home):
    tab.clock.install()
    see(tab, home)
    assert tab.input_value("#layer") == "2"
    tab.click("#play")
    seen = [tab.input_value("#layer")]
    for _ in LAYERS:
        tab.clock.run_for(2500)
        seen.append(tab.input_value("#layer"))
    assert seen == ["0", "1", "2", "2"] and tab.inner_text("#play").strip() == "Play the layers"


def test_the_frame_on_the_front_page_is_as_high_as_the_explorer(tab, home, root, page_data, tmp_path):
    write_page(tmp_path / "explorer.html", page_data)
    frame = re.search(r"<iframe.*?</iframe>", (root / "index.md").read_text(encoding="utf-8"))[0]
    script = (root / "_static" / "explorer.js").read_text(encoding="utf-8")
    (tmp_path / "index.html").write_text(f"<body style='width: 700px'>{frame}<script>{script}</script>")
    tab.goto((tmp_path / "index.html").as_uri())
    inner = tab.frame_locator("#explorer")
    article = inner.locator("article").bounding_box()
    tab.wait_for_function("document.getElementById('explorer').style.height.endsWith('px')")
    assert tab.locator("#explorer").bounding_box()["height"] == pytest.approx(article["height"], abs=1.5)
    assert inner.locator("h1").is_hidden()


@pytest.mark.parametrize("width", [320, 390, 1400])
def test_it_fits_the_screen(tab, home, width):
    tab.set_viewport_size({"width": width, "height": 800})
    see(tab, home)
    tab.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_the_dark_is_dark_and_the_book_may_choose(browser, home):
    context = browser.new_context(color_scheme="dark", reduced_motion="reduce")
    try:
        page = context.new_page()
        see(page, home)
        ground = "getComputedStyle(document.body).backgroundColor"
        assert max(map(int, re.findall(r"\d+", page.evaluate(ground))[:3])) < 60
        page.evaluate("localStorage.setItem('theme', 'light')")
        page.reload()
        assert min(map(int, re.findall(r"\d+", page.evaluate(ground))[:3])) > 200
    finally:
        context.close()


def test_photographs_stand_in_rows_with_their_names():
    figure = photograph_rows({"first": [0, 5, 9], "second": [7]})
    for ax, (name, numbers) in zip(figure.axes, {"first": [0, 5, 9], "second": [7]}.items(), strict=True):
        assert [text.get_text() for text in ax.texts] == [name]
        shown = np.asarray(ax.images[0].get_array())
        for i, number in enumerate(numbers):
            left = i * (SIDE + 3)
            assert np.array_equal(shown[:, left : left + SIDE], thumbnails([number])[0])
    plt.close(figure)
    with pytest.raises(ValueError, match="rows is empty"):
        photograph_rows({})
