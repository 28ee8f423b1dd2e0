"""A slider over figures that works without a kernel, and the source of a function."""

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
    """Show the source of a function without its docstring."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    if function.__doc__:
        definition = ast.parse("\n".join(lines)).body[0]
        first = definition.body[0]
        # A docstring that is the whole body, or on the same line as the def, is kept.
        alone = not lines[first.lineno - 1][: first.col_offset].strip()
        if ast.get_docstring(definition) and len(definition.body) > 1 and alone:
            del lines[first.lineno - 1 : first.end_lineno]
    source = "\n".join(lines).strip()
    display(Markdown(f"`{function.__module__}.{function.__qualname__}`\n\n```python\n{source}\n```"))


def flipbook(figures: Sequence[Figure], labels: Sequence[str], alts: Sequence[str], name: str = "Layer") -> None:
    """Show a slider that selects one of several figures. It works without a kernel; print shows the first figure.

    Parameters
    ----------
    figures : one for each position of the slider; they are closed afterwards.
    labels : the text at each position.
    alts : the alternative text of each figure, for screen readers.
    name : the name of the slider.

    Raises
    ------
    ValueError
        If there are no figures, or not one label and one alternative text for each.
    """
    if not len(figures) == len(labels) == len(alts) or not figures:
        raise ValueError(
            f"figures, labels and alts must have the same length, at least 1, not {len(figures)}, {len(labels)} and "
            f"{len(alts)}"
        )
    pictures = []
    for i, (figure, alt) in enumerate(zip(figures, alts, strict=True)):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        plt.close(figure)
        pictures.append(
            f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" '
            f'alt="{html.escape(alt)}" {"" if i == 0 else "hidden"}>'
        )
    # The id is a hash of the content, so that two flipbooks on a page differ and two builds of a page do not.
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
