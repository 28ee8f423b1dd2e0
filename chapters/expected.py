"""Count the pages of the built book: ``python chapters/expected.py`` (`make book` ends with it)."""

from __future__ import annotations

from pathlib import Path

from execute import ROOT, pages

HTML = ROOT / "_build/html"


def missing(html: Path = HTML) -> list[str]:
    """The pages that should be there and are not."""
    wanted = [*pages(), "explorer", "figures/index", "search"]
    return [page for page in wanted if not (html / f"{page}.html").is_file()]


if __name__ == "__main__":
    lost = missing()
    print(
        f"{len(pages())} pages are in the table of contents, and "
        f"{', '.join(lost) or 'none'} of them or of the pages beside them "
        "is missing."
    )
    raise SystemExit(bool(lost))
