"""A page for each figure, to show or to download with its caption and its licence, as a Sphinx extension.

Each caption gets a link to the page of its figure; ``figures/index.html`` shows all of them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

PAGE = """<h1>{number}</h1>
<figure class="captioned {kind}"><img src="{picture}" alt="{alt}"/><figcaption><p>{caption}</p></figcaption></figure>
<p><a href="{picture}" download="{name}">Download the picture</a> · <a href="{source}">Read it in its chapter,
<em>{chapter}</em></a> · <a href="index.html">All figures</a></p>
<p>{author}, <em>{title}</em>, {number}. Licence: <a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>.
</p><script defer="defer" src="{mathjax}"></script>"""
ALL = """<figure class="captioned {kind}"><a href="{name}.html"><img src="{picture}" alt="{alt}" width="320"/></a>
<figcaption><p><a href="{name}.html">{number}</a>. {caption}</p></figcaption></figure>"""


def link_figures(app: Sphinx, page: nodes.document, docname: str) -> None:
    """Note the drawings of a page, and put a link to its own page into each caption."""
    for figure in page.findall(nodes.figure):
        pictures = list(figure.findall(nodes.image))
        if "captioned" not in figure["classes"] or len(pictures) != 1:
            continue  # a slider over pictures has no single one to show
        caption = next(figure.findall(nodes.caption))
        name = figure["ids"][0]
        if (
            name.count("-") == 1
        ):  # figures of the reference pages are numbered from 1 on each
            name = f"{docname.rpartition('/')[2]}-{name}"
        app.env.book_figures[name] = {
            "uri": pictures[0]["uri"],
            "alt": html.escape(pictures[0].get("alt", "")),
            "number": re.match(r"Figure [\d.]*\d", caption.astext())[0],
            "caption": in_html(caption).partition(". ")[2],
            "chapter": html.escape(app.env.titles[docname].astext()),
            "docname": docname,
            "anchor": figure["ids"][0],
            "kind": "drawing" if inverted(figure) else "photographs",
        }
        link = nodes.reference("", "Page of this figure")
        link["refuri"] = app.builder.get_relative_uri(
            docname, f"figures/{name}"
        )
        link["classes"] = ["figure-page"]
        caption += [nodes.Text(" "), link]


def in_html(node: nodes.Node) -> str:
    """Text and formulas of a caption."""
    if isinstance(node, nodes.math):
        return rf'<span class="math">\({html.escape(node.astext())}\)</span>'
    if isinstance(node, nodes.Text):
        return html.escape(node.astext())
    return "".join(map(in_html, node.children))


def inverted(figure: nodes.figure) -> bool:
    """Whether dark mode may turn the picture over, which it does to all but photographs."""
    cell = figure.parent
    while cell is not None:
        if "tag_photographs" in cell.get("classes", []):
            return False
        cell = cell.parent
    return True


def figure_pages(app: Sphinx) -> Iterator[tuple[str, dict, str]]:
    """The page of each figure, and that of all."""
    where = relative_uri("figures/x.html", app.builder.imagedir)
    listed = []
    for name, figure in sorted(app.env.book_figures.items(), key=in_order):
        file = app.builder.images[figure["uri"]]
        facts = figure | {
            "picture": f"{where}/{file}",
            "name": f"{name}.{file.rpartition('.')[2]}",
            "source": relative_uri(
                "figures/x.html", f"{figure['docname']}.html"
            )
            + f"#{figure['anchor']}",
            "author": html.escape(app.config.author),
            "title": html.escape(app.config.html_title),
            "mathjax": f"../_static/{app.config.mathjax_path}",
        }
        listed.append(ALL.format(**facts | {"name": name}))
        yield (
            f"figures/{name}",
            {"title": figure["number"], "body": PAGE.format(**facts)},
            "page.html",
        )
    script = f'<script defer="defer" src="../_static/{app.config.mathjax_path}"></script>'
    body = "<h1>All figures</h1>" + "".join(listed) + script
    yield "figures/index", {"title": "All figures", "body": body}, "page.html"


def in_order(named: tuple[str, dict]) -> tuple[str, list[int]]:
    """The order in the book: that of the chapters, then that of the other pages by name."""
    name, figure = named
    return figure["docname"], [
        int(number) for number in re.findall(r"\d+", name)
    ]


def setup(app: Sphinx) -> dict:
    app.connect(
        "env-before-read-docs",
        lambda app, env, names: vars(env).setdefault("book_figures", {}),
    )
    app.connect("doctree-resolved", link_figures)
    app.connect("html-collect-pages", figure_pages)
    return {"version": "1", "parallel_read_safe": True}
