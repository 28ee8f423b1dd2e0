"""Figures that move: a slider that works without a kernel, and controls that compute where there is one."""

from __future__ import annotations

import ast
import base64
import hashlib
import html
import inspect
import io
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
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


def picture(figure: Figure, alt: str, hidden: bool = False) -> str:
    """A figure as an HTML image of its own; the figure is closed."""
    buffer = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "book"}):  # two builds of a page are the same
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{html.escape(alt)}" {"hidden" if hidden else ""}>'


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
    pictures = [picture(figure, alt, hidden=i > 0) for i, (figure, alt) in enumerate(zip(figures, alts, strict=True))]
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


def explore(
    draw: Callable[..., Figure],
    alt: Callable[..., str],
    name: str,
    values: Sequence,
    others: Mapping[str, Sequence] | None = None,
) -> None:
    """Show a figure with controls that draw it anew; without a kernel, a `flipbook` over the values of the first one.

    The pages of the book have no kernel. `make book` says so with the environment variable ``BOOK_STATIC``.

    Parameters
    ----------
    draw : called with a value for each control, by position, in the order of `values` and `others`; returns a figure.
    alt : called in the same way; returns the alternative text of the figure, for screen readers.
    name : the name of the first control.
    values : its values, of which each is a frame on a page without a kernel.
    others : the values of further controls by name; at first, and in the frames, each has its first value.
    """
    others = dict(others or {})
    first = [options[0] for options in others.values()]
    if "BOOK_STATIC" in os.environ:
        flipbook(
            [draw(value, *first) for value in values],
            [str(value) for value in values],
            [alt(value, *first) for value in values],
            name,
        )
        return
    controls = [
        ipywidgets.SelectionSlider(options=list(options), description=label, continuous_update=False)
        for label, options in {name: values, **others}.items()
    ]
    shown = ipywidgets.HTML()

    def update(_: object = None) -> None:
        chosen = [control.value for control in controls]
        shown.value = picture(draw(*chosen), alt(*chosen))

    for control in controls:
        control.observe(update, "value")
    update()
    display(ipywidgets.VBox([*controls, shown]))
