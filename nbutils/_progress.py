"""A progress bar for what takes longer than a moment."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tqdm.auto import tqdm


def progress_bar(iterable: Iterable | None = None, **options: object) -> tqdm:
    """`tqdm`, shown after a second, and not at all where the environment sets ``TQDM_DISABLE``.

    The rendered book sets it. `tqdm` itself minds the variable in a terminal but not in a notebook.
    """
    return tqdm(iterable, delay=1, disable=bool(os.environ.get("TQDM_DISABLE")), **options)
