"""A deck of each chapter: its figures with their captions, its takeaways.

Markdown with ``---`` between slides, which Marp and pandoc read, and which a
teacher can edit. The pictures come from the book as it was built last.
"""

from __future__ import annotations

import base64
import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from jupyter_cache import get_cache
from nbformat import NotebookNode

from .pages import CHAPTERS, HEADING, ROOT, is_code, read

CAPTION = re.compile(r"^\*(Figure [\w.]+)\. (.*?)\*$", re.MULTILINE | re.DOTALL)
TAKEAWAYS = re.compile(r"^## Takeaways\n+(.*?)(?=^## |\Z)", re.M | re.DOTALL)
EMBEDDED = re.compile(
    r'<img src="data:(image/[\w+]+);base64,([^"]+)" alt="([^"]*)"'
)
PICTURES = {"image/svg+xml": "svg", "image/png": "png"}
LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
SLIDER = re.compile(r"[;,.] [^.;]*\bslider\b[^.;]*")
SENTENCE = re.compile(r"(?<=[^A-Z][.?!]) +(?=[A-Z*$\"])")
FILTER = "captions.lua"  # which pandoc needs
BREAK = "\n\n---\n\n"
START = """\
---
marp: true
math: mathjax
pagetitle: "{title}"
style: |
  section {{ padding: 40px 60px; }}
  p {{ font-size: 22px; }}
  img {{ display: block; width: 100%; height: 500px; object-fit: contain; }}
---

"""


def build(out: Path) -> None:
    """Write a deck for each chapter, with a folder of its pictures."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name(FILTER), out)
    cache = get_cache(ROOT / "_build" / ".jupyter_cache")
    for path in sorted(CHAPTERS.glob("*.ipynb")):
        try:
            _, ran = cache.merge_match_into_notebook(read(path))
        except KeyError:
            said = f"{path.name} was not executed: run make book"
            raise SystemExit(said) from None
        text, pictures = deck(ran, path.stem)
        (out / f"{path.stem}.md").write_text(text, encoding="utf-8")
        for name, data in pictures.items():
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_bytes(data)


def deck(ran: NotebookNode, folder: str) -> tuple[str, dict[str, bytes]]:
    """The text of a deck, and its pictures by their paths."""
    text = "\n\n".join(c.source for c in ran.cells if not is_code(c))
    title = HEADING.search(text)[2]
    slides, pictures = [f"# {title}"], {}
    for heading, (number, words), shown in figures(ran):
        said = caption(words)
        for i, (suffix, data, alt) in enumerate(shown):
            part = f"-{i + 1}" if len(shown) > 1 else ""
            name = f"{folder}/{number.replace(' ', '-')}{part}.{suffix}"
            pictures[name] = data
            slides.append(
                f"## {heading}\n\n![{alt}]({name})\n\n*{number}.* {said}"
            )
    if found := TAKEAWAYS.search(text):
        slides.append(f"## Takeaways\n\n{unlinked(found[1].strip())}")
    quoted = title.replace('"', "'")
    return START.format(title=quoted) + BREAK.join(slides) + "\n", pictures


def unlinked(text: str) -> str:
    """The text without its links, which lead nowhere from a deck."""
    return LINK.sub(r"\1", text)


def caption(words: str) -> str:
    """The first sentence and who took the photographs.

    The rest goes to the notes of the speaker.
    """
    plain = SLIDER.sub("", unlinked(words))
    first, *rest = SENTENCE.split(plain)
    credit = [said for said in rest if said.startswith("Photographs:")]
    notes = " ".join(said for said in rest if said not in credit)
    shown = " ".join([first, *credit])
    return f"{shown}\n\n<!--\n{notes}\n-->" if notes else shown


def figures(ran: NotebookNode) -> Iterator[tuple]:
    """Each figure: the heading above it, its caption, and its pictures."""
    heading, shown = "", []
    for cell in ran.cells:
        if is_code(cell):
            found = list(pictures_of(cell))
            shown = found or shown
            continue
        if caption := CAPTION.search(cell.source):
            if shown:
                yield heading, caption.groups(), shown
        shown = []
        titles = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
        heading = unlinked(titles[-1]) if titles else heading


def pictures_of(cell: NotebookNode) -> Iterator[tuple[str, bytes, str]]:
    """The pictures that a cell shows: their type, their data, what they show.

    A flipbook has one for each position of its slider.
    """
    shown = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    for output in cell.outputs:
        data = output.get("data", {})
        found = [
            (kind, text, shown)
            for kind, text in data.items()
            if kind in PICTURES
        ][:1]
        for kind, text, alt in found or EMBEDDED.findall(
            data.get("text/html", "")
        ):
            binary = kind == "image/png" or not found
            content = base64.b64decode(text) if binary else text.encode()
            alt = html.unescape(alt).replace("[", "(").replace("]", ")")
            yield PICTURES[kind], content, alt
