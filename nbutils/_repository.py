"""The address of the book's repository, which ``_config.yml`` sets.

Read without a YAML parser, so that an installed package and ``make links`` need nothing but Python.
"""

from __future__ import annotations

import re
from pathlib import Path


def repository_url(config: Path) -> str:
    """The ``url`` in the ``repository`` section of `config`, without a slash at the end; "" where none is set."""
    lines = iter(config.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if re.match(r"repository:\s*(#|$)", line):
            break
    for line in lines:
        if re.match(r"[^\s#]", line):  # the next section
            break
        if found := re.match(r"\s+url:\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s#\"']\S*))?\s*(#|$)", line):
            return next(filter(None, found.groups()[:3]), "").rstrip("/")
    return ""
