"""What moves on a page, with and without a kernel: a slider over pictures, and the source of a function."""

from __future__ import annotations

import ast
import base64
import hashlib
import html
import inspect
import io
import textwrap
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure


def show_source(function: Callable) -> None:
    """Show the source of a function of the book as it runs, without its docstring."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    if function.__doc__:
        definition = ast.parse("\n".join(lines)).body[0]
        first = definition.body[0]
        # A docstring that is all there is, or that shares its line with the def, stays.
        alone = not lines[first.lineno - 1][: first.col_offset].strip()
        if ast.get_docstring(definition) and len(definition.body) > 1 and alone:
            del lines[first.lineno - 1 : first.end_lineno]
    source = "\n".join(lines).strip()
    display(Markdown(f"`{function.__module__}.{function.__qualname__}`\n\n```python\n{source}\n```"))


def flipbook(figures: Sequence[Figure], labels: Sequence[str], alts: Sequence[str], name: str = "Layer") -> None:
    """A slider that turns over pictures drawn beforehand: it moves without a kernel, on paper the first one shows.

    Parameters
    ----------
    figures : one for each position; they are closed.
    labels : what the slider says at each position.
    alts : what is seen in each picture, for those who cannot see it.
    name : what the slider changes.

    Raises
    ------
    ValueError
        If there is not one label and one alternative text for each figure.
    """
    if not len(figures) == len(labels) == len(alts) or not figures:
        raise ValueError("figures, labels and alts must have the same length, at least 1")
    pictures = []
    for i, (figure, alt) in enumerate(zip(figures, alts, strict=True)):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        plt.close(figure)
        pictures.append(
            f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" '
            f'alt="{html.escape(alt)}" {"" if i == 0 else "hidden"}>'
        )
    # Named after what it shows, so that two books on a page differ and two builds of a page do not.
    book = f"flipbook-{hashlib.sha256(''.join([name, *labels, *pictures]).encode()).hexdigest()[:8]}"
    names = "".join(f"<span {'' if i == 0 else 'hidden'}>{html.escape(label)}</span>" for i, label in enumerate(labels))
    turn = (
        "var b=this.closest('.flipbook'),i=+this.value;this.setAttribute('aria-valuetext',"
        "b.querySelectorAll('output span')[i].textContent);['img','output span'].forEach(function(s){"
        "b.querySelectorAll(s).forEach(function(e,j){e.hidden=j!==i})})"
    )
    display(
        HTML(
            f'<div class="flipbook" id="{book}">'
            f'<label for="{book}-at">{html.escape(name)}: <output>{names}</output></label>'
            f'<input type="range" id="{book}-at" min="0" max="{len(figures) - 1}" value="0" autocomplete="off" '
            f'style="width:100%" aria-valuetext="{html.escape(labels[0])}" oninput="{turn}">{"".join(pictures)}</div>'
        )
    )
