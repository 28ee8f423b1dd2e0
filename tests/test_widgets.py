"""The slider over pictures, as HTML and in a browser; and the source of a function without its docstring."""

from __future__ import annotations

import base64
import io
import re

import matplotlib
import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup
from exercises import CHAPTERS, read

from nbutils import peaks
from nbutils.atlas import load_atlas
from nbutils.book import widgets
from nbutils.book.widgets import explore, flipbook, show_source
from nbutils.density import knn_density
from nbutils.neighbors import knn_graph
from nbutils.synthetic import gaussian_mixture

matplotlib.use("Agg")

LABELS = ["input", "conv_3 <mid>", 'the "output"']
ALTS = ["One hill.", 'Two hills & a "pass".', "Many hills."]


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, in order."""
    seen = []
    monkeypatch.setattr(widgets, "display", seen.append)
    return seen


def figures(count: int = 3) -> list:
    made = []
    for i in range(count):
        figure, ax = plt.subplots(figsize=(2, 1))
        ax.bar(range(i + 1), 1)
        made.append(figure)
    return made


def test_a_flipbook_is_one_slider_over_labelled_pictures(shown):
    flipbook(figures(), LABELS, ALTS, name="Layer & depth")
    assert len(shown) == 1
    page = BeautifulSoup(shown[0].data, "html.parser")
    pictures = page.find_all("img")
    assert [picture["alt"] for picture in pictures] == ALTS
    assert [picture.has_attr("hidden") for picture in pictures] == [False, True, True]
    spans = page.output.find_all("span")
    assert [span.text for span in spans] == LABELS
    assert [span.has_attr("hidden") for span in spans] == [False, True, True]

    (slider,) = page.find_all("input")
    assert (slider["type"], slider["min"], slider["max"], slider["value"]) == ("range", "0", "2", "0")
    assert slider["aria-valuetext"] == LABELS[0]
    assert page.label["for"] == slider["id"]
    assert page.label.text.startswith("Layer & depth: ")
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(set(ids)) == len(ids) == 2
    # HTML allows nearly anything in an id, CSS and scripts do not.
    assert all(name.replace("-", "").isalnum() and name[0].isalpha() for name in ids)


def test_each_picture_is_the_figure_at_its_place(shown):
    made = figures()
    expected = []
    for figure in made:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
        expected.append(drawn(buffer.getvalue()))
    flipbook(made, LABELS, ALTS)
    pictures = [picture["src"].split(",") for picture in BeautifulSoup(shown[0].data, "html.parser").find_all("img")]
    assert {kind for kind, _ in pictures} == {"data:image/svg+xml;base64"}
    assert [drawn(base64.b64decode(data)) for _, data in pictures] == expected
    assert len(set(map(tuple, expected))) == 3


def drawn(svg: bytes) -> list[str]:
    """The paths of a picture; the names that it gives to its clips change."""
    return re.findall(r'<path d="(.*?)"', svg.decode(), re.DOTALL)


def test_figures_are_closed_and_builds_repeat(shown):
    plt.close("all")
    flipbook(figures(), LABELS, ALTS)
    assert plt.get_fignums() == []  # or the notebook would show them once more below
    flipbook(figures(), LABELS, ALTS)
    assert shown[0].data == shown[1].data


def test_two_flipbooks_on_a_page_have_different_ids(shown):
    flipbook(figures(), LABELS, ALTS)
    flipbook(figures(), ["1", "2", "3"], ALTS)
    flipbook(figures(), LABELS, ALTS, name="Epoch")
    flipbook(figures(2), LABELS[:2], ALTS[:2])
    ids = [tag["id"] for part in shown for tag in BeautifulSoup(part.data, "html.parser").find_all(id=True)]
    assert len(set(ids)) == len(ids) == 8


def test_a_flipbook_of_one_picture(shown):
    flipbook(figures(1), ["input"], ["One hill."])
    page = BeautifulSoup(shown[0].data, "html.parser")
    assert page.input["max"] == "0"
    assert not page.img.has_attr("hidden")


@pytest.mark.parametrize("count, labels, alts", [(3, LABELS[:2], ALTS), (3, LABELS, ALTS[:2]), (0, [], [])])
def test_a_picture_without_label_or_alt_is_refused(shown, count, labels, alts):
    with pytest.raises(ValueError, match="same length"):
        flipbook(figures(count), labels, alts)
    assert shown == []
    plt.close("all")


def test_moving_the_slider_turns_the_page(browser, shown):
    flipbook(figures(), LABELS, ALTS)
    flipbook(figures(2), ["before", "after"], ["Still.", "Moved."], name="Epoch")
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.set_content("".join(part.data for part in shown))

    def seen(book: int) -> tuple[list[str], str, str]:
        box = page.locator(".flipbook").nth(book)
        pictures = [picture.get_attribute("alt") for picture in box.locator("img").all() if picture.is_visible()]
        return pictures, box.locator("label").inner_text(), box.locator("input").get_attribute("aria-valuetext")

    other = (["Still."], "Epoch: before", "before")
    assert seen(0) == ([ALTS[0]], f"Layer: {LABELS[0]}", LABELS[0])
    slider = page.get_by_label("Layer").first
    for key, i in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowRight", 2), ("ArrowLeft", 1), ("Home", 0), ("End", 2)]:
        slider.press(key)
        assert seen(0) == ([ALTS[i]], f"Layer: {LABELS[i]}", LABELS[i])
        assert seen(1) == other  # a slider turns its own book only
    page.get_by_label("Epoch").fill("1")
    assert seen(1) == (["Moved."], "Epoch: after", "after")
    assert seen(0)[0] == [ALTS[2]]
    assert errors == []
    page.close()


# Functions to show. What they do does not matter; how they are documented does.


def with_docstring(a: str = """not the docstring"""):
    """Say hello.

    At length.
    """
    text = """a string that stays"""
    return a + text  # a comment that stays


def with_single_quotes(a):
    """Say hello."""
    return a + """ and this stays"""


def with_one_line(a):
    "Say hello."
    return a


def raw(a):
    r"""Say \hello."""
    return a


def with_none(a):
    text = """a string that stays"""
    return a + text


def nothing_else():
    """Say hello."""


# fmt: off
def on_one_line(a): "Say hello."; return a  # noqa: E702
# fmt: on


def same(function):
    return function


@same
def decorated(
    a,
):
    """Say hello."""
    return a


class Base:
    def method(self):
        """Say hello."""
        return 1

    @property
    def n(self):
        return 1


class Heir(Base):
    def method(self):
        return """an inherited docstring is none"""


@pytest.mark.parametrize(
    "function, source",
    [
        (
            with_docstring,
            'def with_docstring(a: str = """not the docstring"""):\n    text = """a string that stays"""\n'
            "    return a + text  # a comment that stays",
        ),
        (with_single_quotes, 'def with_single_quotes(a):\n    return a + """ and this stays"""'),
        (with_one_line, "def with_one_line(a):\n    return a"),
        (raw, "def raw(a):\n    return a"),
        (with_none, 'def with_none(a):\n    text = """a string that stays"""\n    return a + text'),
        (nothing_else, 'def nothing_else():\n    """Say hello."""'),
        (on_one_line, 'def on_one_line(a): "Say hello."; return a  # noqa: E702'),
        (decorated, "@same\ndef decorated(\n    a,\n):\n    return a"),
        (Base.method, "def method(self):\n    return 1"),
        (Heir.method, 'def method(self):\n    return """an inherited docstring is none"""'),
    ],
)
def test_source_without_its_docstring(shown, function, source):
    show_source(function)
    title, code = shown[0].data.split("\n\n", 1)
    assert title == f"`{__name__}.{function.__qualname__}`"
    assert code == f"```python\n{source}\n```"


def test_the_book_s_own_functions_can_be_shown_and_run(shown):
    for function in (peaks.find_peaks, peaks.merge, peaks.uphill, widgets.show_source, widgets.flipbook):
        show_source(function)
        code = shown[-1].data.split("```python\n")[1].removesuffix("\n```")
        compile(code, "page", "exec")
        assert code.startswith(f"def {function.__name__}(")
        first_words = function.__doc__.strip().splitlines()[0]
        assert first_words not in code


def bars(height: int, count: int = 1, colour: str = "red"):
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.bar(range(count), height, color=colour)
    return figure


def told(*chosen) -> str:
    return f"Bars: {chosen}."


def test_controls_draw_the_figure_of_their_values(shown, monkeypatch):
    monkeypatch.delenv("BOOK_STATIC", raising=False)
    explore(bars, told, "height", [1, 2, 3], {"count": (2, 5), "colour": ("red", "blue")})
    (box,) = shown
    *controls, picture = box.children
    assert [control.description for control in controls] == ["height", "count", "colour"]
    for chosen in ((1, 2, "red"), (3, 2, "red"), (3, 5, "blue")):
        for control, value in zip(controls, chosen, strict=True):
            control.value = value
        image = BeautifulSoup(picture.value, "html.parser").img
        assert image["alt"] == told(*chosen)
        assert drawn(base64.b64decode(image["src"].split(",")[1])) == drawn(svg_of(bars(*chosen)))
    assert plt.get_fignums() == []


def svg_of(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def test_without_a_kernel_the_first_control_becomes_a_slider_over_frames(shown, monkeypatch):
    monkeypatch.setenv("BOOK_STATIC", "1")
    explore(bars, told, "height", [1, 2, 3], {"count": (2, 5)})
    page = BeautifulSoup(shown[0].data, "html.parser")
    assert [image["alt"] for image in page.find_all("img")] == [told(height, 2) for height in (1, 2, 3)]
    assert [span.text for span in page.output.find_all("span")] == ["1", "2", "3"]


def answer(box, *chosen) -> str:
    """What a screen reader says of the picture after the controls were set."""
    *controls, picture = box.children
    for control, value in zip(controls, chosen, strict=True):
        control.value = value
    return BeautifulSoup(picture.value, "html.parser").img["alt"]


def test_the_controls_of_chapter_5_answer_for_the_values_that_they_show(shown, monkeypatch):
    monkeypatch.delenv("BOOK_STATIC", raising=False)
    source = {cell.id: cell.source for cell in read(CHAPTERS / "05_density_peaks.ipynb").cells}
    page: dict = {}
    with plt.rc_context():  # the first of the cells sets the style of all figures
        for cell in ("cell-01", "cell-26", "cell-30", "cell-40", "cell-40-b"):
            exec(compile(source[cell], cell, "exec"), page)
    hills, clouds = shown

    for z, k in ((0, 30), (1.65, 30), (1.65, 10), (3, 100)):
        graph = knn_graph(page["points"], k)
        found = peaks.find_peaks(graph, knn_density(graph, 2, k), z)
        assert f"k = {k} and Z = {z}: {found.n_peaks} peaks remain" in answer(hills, z, k)
    for distance, sample in ((1, 0), (3, 7), (5, 19)):
        points, _ = gaussian_mixture(500, [[-distance / 2, 0], [distance / 2, 0]], random_state=sample)
        graph = knn_graph(points, 30)
        found = peaks.find_peaks(graph, knn_density(graph, 2))
        assert f"{distance} apart, sample {sample}: {found.n_peaks} peak" in answer(clouds, distance, sample)


def test_the_controls_of_chapter_6_know_both_sets_of_photographs(shown, monkeypatch):
    monkeypatch.delenv("BOOK_STATIC", raising=False)
    source = {cell.id: cell.source for cell in read(CHAPTERS / "06_nucleation.ipynb").cells}
    page: dict = {}
    with plt.rc_context():
        for cell in ("nuc-02", "nuc-04", "nuc-18", "nuc-20-a", "nuc-20"):
            exec(compile(source[cell], cell, "exec"), page)
    (box,) = shown
    for atlas, stage, name, layer, k, z in (
        ("ImageNet", "logits", "tiny-imagenet", "logits", 30, 3),
        ("Caltech-101", "stage 7.1 mean", "caltech101-efficientnet_lite0", "stage 7", 15, 1.65),
        ("ImageNet", "stage 6.4 mean", "tiny-imagenet", "stage 6.4 mean", 30, 1.65),
    ):
        found = peaks.topography(load_atlas(name).graphs[layer], k, z)
        assert f"Photographs of {atlas} in each of the {found.n_peaks} peaks" in answer(box, stage, k, z, atlas)
