"""Make ``skdim.json``: TwoNN by scikit-dimension on the clouds of ``dadapy.npz``, a second witness.

In an environment of its own, from the root of the repository::

    uv venv skdim-env
    uv pip install --python skdim-env/bin/python scikit-dimension==0.5.0
    skdim-env/bin/python tests/golden/make_skdim.py

scikit-dimension (Bac et al., Entropy 2021) is under the BSD 3-Clause License. This file calls it and stores its
numbers.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import skdim

HERE = Path(__file__).resolve().parent
GRID = 2**16
CLOUDS = ("mixture2", "mixture5", "touching3", "swissroll", "gaussian20", "torus2")

if __name__ == "__main__":
    golden = np.load(HERE / "dadapy.npz", allow_pickle=False)
    answers = {
        name: float(skdim.id.TwoNN(discard_fraction=0.1).fit(golden[f"{name}/x"] / GRID).dimension_) for name in CLOUDS
    }
    text = json.dumps({"scikit-dimension": version("scikit-dimension"), "twonn": answers}, indent=1)
    (HERE / "skdim.json").write_text(text + "\n")
