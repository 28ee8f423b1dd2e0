"""Figures with their captions, as a Sphinx extension.

In a notebook the caption of a figure is the paragraph below it, "*Figure 6.3. What is shown ...*", which reads the same
in Colab. On the page the paragraph becomes the figure's caption, tied to it for screen readers and for whoever copies
it. A figure without one, or a caption without a figure, fails the build.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

NUMBERED = re.compile(r"Figure (\d+(\.\d+)?)\. ")
logger = logging.getLogger(__name__)


def with_captions(app: Sphinx, page: nodes.document) -> None:
    """Move each caption from below the output of a cell into a figure around its picture."""
    for paragraph in list(page.findall(nodes.paragraph)):
        numbered = NUMBERED.match(paragraph.astext())
        if not numbered or not isinstance(paragraph[0], nodes.emphasis):
            continue
        picture = picture_before(paragraph)
        if picture is None or len(paragraph) > 1:
            logger.warning(
                "a caption must be a paragraph of its own below a figure: %s",
                paragraph.astext()[:60],
                location=paragraph,
            )
            continue
        name = f"figure-{numbered[1].replace('.', '-')}"
        figure = nodes.figure("", classes=["captioned"], ids=[name])
        picture.replace_self(figure)
        figure += [picture, nodes.caption("", "", *paragraph[0].children)]
        paragraph.parent.remove(paragraph)


def picture_before(paragraph: nodes.paragraph) -> nodes.Node | None:
    """The last output above the paragraph that is a picture, or a slider over pictures."""
    place = paragraph.parent.index(paragraph)
    if not place:
        return None
    above = paragraph.parent[place - 1]
    outputs = above.findall(
        lambda node: (
            isinstance(node, nodes.container)
            and node.get("nb_element") == "mime_bundle"
        )
    )
    pictures = [
        output for output in outputs if any(map(is_picture, output.findall()))
    ]
    return pictures[-1] if pictures else None


def is_picture(node: nodes.Node) -> bool:
    return isinstance(node, nodes.image) or (
        isinstance(node, nodes.raw) and 'class="flipbook"' in node.astext()
    )


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", with_captions)
    return {"version": "1", "parallel_read_safe": True}
