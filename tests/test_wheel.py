"""The package as a reader installs it: built, put into a new environment, and used away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
UV = Path(sys.executable).with_name("uv")

USE = """
import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
from nbutils import __version__, _data, wordnet
from nbutils.atlas import load_atlas
from nbutils.graph import NeighborGraph
from nbutils.paper.table import paper_columns, paper_table
from nbutils.peaks import topography
from scipy.spatial import cKDTree

assert importlib.util.find_spec("torch") is None
assert importlib.metadata.version("hierarchical-nucleation") == __version__
assert len(wordnet.imagenet_ids()) == 1000 and "n02084071" in wordnet.load()
assert len(wordnet.synset_table()) == 101
assert len(paper_table()) > 10 and paper_columns()

rng = np.random.default_rng(0)
clouds = np.concatenate([rng.normal(centre, 1, (400, 2)) for centre in (0, 10)])
distances, indices = cKDTree(clouds).query(clouds, 31)
graph = NeighborGraph(distances[:, 1:].astype(np.float32), indices[:, 1:].astype(np.int32))
assert topography(graph, z=4).n_peaks == 2

_data.CONFIG = Path("no_address.yml")  # a fork has one
try:
    load_atlas()
except FileNotFoundError as error:
    print(error)
"""

WITH_YAML = """
from nbutils.smallworld.things import load_things
from nbutils._data import DATA

assert len(load_things()) == 33
assert (DATA / "small_world" / "weights.json").exists() and (DATA / "WORDNET_LICENSE").exists()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, root):
    """The wheel, built from the checkout through the source distribution, as a reader's pip would."""
    if not UV.exists():
        pytest.skip(f"no uv beside {sys.executable}: make book installs it")
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder, root)
    (path,) = folder.glob("*.whl")
    return path


def uv(*words):
    done = subprocess.run([UV, *words], capture_output=True, text=True)
    if done.returncode and any(sign in done.stderr for sign in ("Failed to fetch", "network was disabled")):
        pytest.skip(f"no package index to install from:\n{done.stderr}")
    assert done.returncode == 0, done.stderr


def test_the_wheel_has_the_tables_and_no_atlas(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert wheel.stat().st_size < 10e6
    assert {"nbutils/py.typed", "nbutils/_data_files/wordnet.tsv", "nbutils/_data_files/_config.yml"} <= set(names)
    assert not [name for name in names if name.endswith(".npz") or "__pycache__" in name]
    assert {name.split("/")[0] for name in names} - {"nbutils"} == {f"{'-'.join(wheel.stem.split('-')[:2])}.dist-info"}


def test_the_wheel_works_in_a_new_environment(wheel, tmp_path):
    python = tmp_path / "new" / "bin" / "python"
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "new")
    uv("pip", "install", "--quiet", "--python", python, wheel)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def run(code):
        done = subprocess.run([python, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "no_address.yml").touch()
    assert "pip install -e" in run(USE)
    uv("pip", "install", "--quiet", "--python", python, "pyyaml")  # of the extra `extraction`, without its torch
    run(WITH_YAML)
