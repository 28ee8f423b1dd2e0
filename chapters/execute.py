"""Execute the notebooks side by side: ``python chapters/execute.py`` (`make book` runs it first).

The outputs go into the cache from which ``jupyter-book build`` takes them. What
failed is not in there: the build executes it once more and shows its error.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path

import nbformat
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution

ROOT = Path(__file__).resolve().parent.parent
SLOWEST = 10  # cells that are listed


def pages() -> list[str]:
    """The pages in the table of contents, without suffix: "chapters/..."."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [c for part in contents["parts"] for c in part["chapters"]]
    return [contents["root"], *(chapter["file"] for chapter in chapters)]


def cached(path: Path, cache: JupyterCacheAbstract) -> bool:
    """Whether the notebook was executed before as it is now."""
    try:
        cache.match_cache_notebook(nbformat.read(path, 4))
    except KeyError:
        return False
    return True


def run(path: Path, timeout: int) -> ExecutionResult:
    """The executed notebook, with the times of its cells."""
    notebook = nbformat.read(path, 4)
    return single_nb_execution(
        notebook, str(path.parent), timeout, False, record_timing=True
    )


def seconds(cell: nbformat.NotebookNode) -> float:
    """How long a cell took; its times leave the notebook."""
    times = cell.metadata.pop("execution", {})
    if "iopub.status.idle" not in times:
        return 0.0
    begin, end = (
        datetime.fromisoformat(times[f"iopub.status.{state}"].rstrip("Z"))
        for state in ("busy", "idle")
    )
    return (end - begin).total_seconds()


def execute() -> None:
    """Execute what is not in the cache, and list the slowest cells."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["execute"]
    cache = get_cache(ROOT / "_build/.jupyter_cache")
    notebooks = [(ROOT / page).with_suffix(".ipynb") for page in pages()]
    todo = [path for path in notebooks if path.exists()]
    todo = [path for path in todo if not cached(path, cache)]
    slow = []
    with ProcessPoolExecutor() as pool:
        jobs = {pool.submit(run, p, settings["timeout"]): p for p in todo}
        for done, job in enumerate(as_completed(jobs), 1):
            path, result = jobs[job].relative_to(ROOT), job.result()
            times = [
                (seconds(cell), f"{path}: {cell.source.splitlines()[0]}")
                for cell in result.nb.cells
                if cell.cell_type == "code" and cell.source
            ]
            slow += times
            how = f"failed after {result.time:.0f} s"
            if not result.err:
                how = f"{result.time:.0f} s"
                data = {"execution_seconds": result.time}
                bundle = CacheBundleIn(result.nb, str(ROOT / path), data=data)
                cache.cache_notebook_bundle(
                    bundle, check_validity=False, overwrite=True
                )
            print(f"{done}/{len(todo)} {path}: {how}", flush=True)
    if slow:
        print("The slowest cells, in seconds:")
    for time, cell in sorted(slow, reverse=True)[:SLOWEST]:
        print(f"{time:6.1f}  {cell}")


if __name__ == "__main__":
    execute()
