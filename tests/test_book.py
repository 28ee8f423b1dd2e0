"""The rendered book as readers meet it: by eye, by screen reader, on a phone, in the dark and with no network."""

from __future__ import annotations

import copy
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from bs4 import BeautifulSoup
from expected import missing
from serving import serving

HTML = Path(__file__).resolve().parents[1] / "_build" / "html"
PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if not {"_static", "_sources", "reports"} & set(path.relative_to(HTML).parts)
)
MADE_BY_SPHINX = {"genindex.html", "search.html", "py-modindex.html"}
WRITTEN = [page for page in PAGES if page not in MADE_BY_SPHINX]
OUTSIDE = re.compile(r"^(?:[a-z]+:)?//", re.IGNORECASE)

OPENED = [page for page in WRITTEN if not re.match(r"figures/(?!figure-6-1)", page)]  # the others are made alike

each_page = pytest.mark.parametrize("page", PAGES)
each_written_page = pytest.mark.parametrize("page", WRITTEN)


@functools.cache
def soup(page: str) -> BeautifulSoup:
    return BeautifulSoup((HTML / page).read_text(encoding="utf-8"), "html.parser")


def article(page: str) -> BeautifulSoup:
    return soup(page).find("article")


def test_every_page_of_the_contents_is_built(tmp_path):
    assert missing(HTML) == [], "run: make book"
    assert {"index", "chapters/06_nucleation", "explorer"} <= set(missing(tmp_path))


@each_written_page
def test_figures_say_in_words_what_is_seen(page):
    silent = [
        str(image)[:200]
        for image in article(page).find_all("img")
        if len((image.get("alt") or "").split()) < 3 or re.search(r"\.(png|svg|jpe?g)$", image["alt"])
    ]
    assert not silent, "give the cell the metadata mystnb: {image: {alt: ...}}\n" + "\n".join(silent)


@each_written_page
def test_no_raw_markup_and_no_traceback_is_shown(page):
    shown = BeautifulSoup(str(article(page)), "html.parser")
    assert "Traceback (most recent call last)" not in shown.get_text()
    for part in shown.select("pre, code, .math, script, style"):
        part.decompose()
    patterns = (
        r"```",
        r":::",
        r"\{[a-z:]+\}`",
        r"\$\$",
        r"\\[(\[]",
        r"\*\*",
        r"</?\w+>",
        r"^#+ ",
        r"\]\(\S+\)",
        r"<\w+\.\w[\w.]* (object )?at 0x",
        r"^\| .*\|",
    )
    text = shown.get_text()
    found = [
        text[max(0, hit.start() - 40) : hit.end() + 40]
        for pattern in patterns
        for hit in re.finditer(pattern, text, re.MULTILINE)
    ]
    assert not found, found


@each_written_page
def test_headings_form_an_outline(page):
    levels = [int(heading.name[1]) for heading in article(page).find_all(re.compile(r"^h[1-6]$"))]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), levels
    assert soup(page).html.get("lang") == "en"


@each_page
def test_nothing_is_loaded_from_elsewhere(page):
    loading = soup(page).select("script[src], link[href], img[src], iframe[src], source[src], video[src], embed[src]")
    outside = [
        str(tag)
        for tag in loading
        if OUTSIDE.match(tag.get("src") or tag.get("href")) and tag.get("rel") != ["canonical"]
    ]
    assert not outside


@each_page
def test_internal_links_lead_somewhere(page):
    lost = []
    for link in soup(page).select("a[href]"):
        target, anchor = urldefrag(unquote(link["href"]))
        if OUTSIDE.match(target) or re.match(r"(mailto|javascript|data):", target):
            continue
        target = target.split("?")[0]
        file = (HTML / page).parent / target if target else HTML / page
        if file.is_dir():
            file /= "index.html"
        if not file.is_file():
            lost.append(link["href"])
        elif anchor and "=" not in anchor and file.suffix == ".html":  # the explorer's views have addresses with =
            there = soup(os.path.relpath(file.resolve(), HTML.resolve()))
            if not there.find(attrs={"id": anchor}) and not there.find("a", attrs={"name": anchor}):
                lost.append(link["href"])
    assert not lost, sorted(set(lost))


@pytest.fixture(scope="module")
def served():
    """The book's address on this machine."""
    with serving(HTML) as address:
        yield address


def opened(context, url: str, home: str):
    """The page at `url` with the rest of the network off, and the list of what went wrong while it loaded."""
    trouble = []

    def ask(route):
        if route.request.url.startswith((home, "data:", "blob:")):
            route.continue_()
        else:
            trouble.append(f"leaves the machine: {route.request.url}")
            route.abort()

    context.route("**/*", ask)
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and trouble.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"script error: {error}"))
    page.on("response", lambda answer: answer.status >= 400 and trouble.append(f"{answer.status}: {answer.url}"))
    page.goto(url, wait_until="load")
    page.wait_for_function("window.MathJax === undefined || window.MathJax.startup?.promise !== undefined")
    page.evaluate("async () => { await window.MathJax?.startup?.promise }")
    return page, trouble


def test_each_drawing_has_a_page_with_its_caption_and_its_file():
    drawings = [
        (page, figure)
        for page in WRITTEN
        if page.startswith("chapters/")
        for figure in soup(page).select("figure.captioned:has(img):not(:has(.flipbook))")
    ]
    assert len(drawings) > 50
    for page, figure in drawings:
        there = os.path.normpath(f"{Path(page).parent}/{figure.select_one('a.figure-page')['href']}")
        download = soup(there).select_one("a[download]")
        words, shown = (copy.copy(caption) for caption in (figure.figcaption, article(there).find("figcaption")))
        for part in [*words.select("a.figure-page, a.headerlink, .math"), *shown.select(".math")]:
            part.decompose()
        assert words.get_text().partition(". ")[2].split() == shown.get_text().split()
        assert (HTML / Path(there).parent / download["href"]).is_file()
        assert "CC BY 4.0" in article(there).get_text()


@pytest.mark.parametrize("page", OPENED)
def test_page_in_a_browser_without_network(page, browser, served):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        tab, trouble = opened(context, served + page, served)
        formulas = len(article(page).select("span.math, div.math"))
        assert tab.locator("article mjx-container").count() >= formulas
        assert tab.locator("article mjx-merror").count() == 0
        broken = "all => all.filter(i => i.complete && !i.naturalWidth && !i.hidden).map(i => i.src.slice(0, 100))"
        assert tab.locator("article img").evaluate_all(broken) == []
        tab.set_viewport_size({"width": 390, "height": 844})
        tab.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
        assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, "scrolls sideways"
        assert not trouble
    finally:
        context.close()


def test_page_opens_straight_from_the_disk_and_follows_dark_mode(browser):
    context = browser.new_context(color_scheme="dark")
    try:
        page, trouble = opened(context, (HTML / "chapters/01_activations.html").as_uri(), "file:")
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert not trouble
    finally:
        context.close()


@pytest.mark.parametrize(
    ("cell", "builds", "says"),
    [
        ('claim("One is one", 1, expect=1)', True, "build succeeded"),
        ('claim("One is two", 1, expect=2)', False, "ClaimFailed"),
        ('import warnings\nwarnings.warn("this number is not to be trusted")', False, "stderr was found"),
    ],
    ids=["true claim", "false claim", "warning"],
)
def test_what_is_not_so_fails_the_build(cell, builds, says, root, tmp_path):
    for name in (
        "_config.yml",
        "_static",
        *(f"chapters/{name}.py" for name in ("repository", "figures", "gallery")),
        "chapters/templates",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, tmp_path / name)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        cells=[
            nbformat.v4.new_markdown_cell("# A page"),
            nbformat.v4.new_code_cell(f"from nbutils.book.claims import claim\n{cell}"),
        ],
    )
    nbformat.write(notebook, tmp_path / "index.ipynb")
    flags = re.search(r"jupyter-book build (.+) \.;", (root / "Makefile").read_text()).group(1).split()
    done = subprocess.run(
        [Path(sys.executable).with_name("jupyter-book"), "build", *flags, str(tmp_path)],
        env=os.environ | {"JUPYTER_PREFER_ENV_PATH": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) is builds, done.stdout + done.stderr
    assert says in done.stdout + done.stderr
