"""How fast `nbutils` is beside other libraries and beside the machine itself: ``make bench``.

For each line of the table every contestant is a process of its own: it makes its data, then runs one thing and says
how long that took and how much memory it took beyond the data. The contestants take turns, several times over, so that
whatever else the machine does meets them alike; what counts are ratios of medians. Times are those of the clock; where
the machine is shared the time of the processors is the steadier number, and is kept beside it.

The answers go into ``data/bench.json``, from which the page on speed is drawn. The largest sizes are apart:
``python tests/bench.py --large`` writes ``data/bench_large.json``.

``python bench.py --run`` is a contestant: it reads what to do from its input, a line of JSON for each run, as
``{"who": "nbutils", "what": "graph", "n": 1000, "d": 100}``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("nbutils", "half product", "scikit-learn", "forward pass")  # the others live in an environment of their own
LAYER = ROOT / "_build" / "bench" / "stage-7.npy"
K, MEMORY = 30, 1e9
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "TQDM_DISABLE": "1"}  # who waits leaves the processor to others


def lines(large: bool) -> list[dict]:
    """What is compared: the routine table, or what takes many minutes and is run once."""
    graph = {"what": "graph", "who": ["nbutils", "half product", "scikit-learn", "DADApy", "faiss"]}
    alone = {"what": "graph", "who": ["nbutils", "half product"]}
    both = {"who": ["nbutils", "DADApy"]}
    if large:
        return [
            {**alone, "n": 90_000, "d": 1000, "repeat": 1},
            {**graph, "n": 30_000, "d": 20_000, "who": ["nbutils", "half product", "faiss"], "repeat": 1},
            {**both, "what": "peaks", "c": 5000, "repeat": 1},
        ]
    return [
        *({**both, "what": "peaks", "c": c} for c in (50, 500)),
        {**both, "what": "pak", "n": 10_000},
        {**both, "what": "pipeline", "n": 30_000, "d": 1000, "repeat": 1},
        {**graph, "n": 30_000, "d": 1000},
        *({**alone, "n": n, "d": d} for n, d in ((5000, 1000), (20_000, 1000), (10_000, 250), (10_000, 4000))),
        {**graph, "n": 10_000, "d": 1000},
        {**graph, "n": 10_000, "d": 1000, "data": "categories"},
        {**graph, "n": 8677, "d": 15_680, "data": "photographs", "repeat": 1},
        {"what": "extract", "n": 128, "who": ["nbutils", "forward pass"]},
        *({**alone, "what": "parts", "n": n, "d": d} for n, d in ((30_000, 1000), (10_000, 20_000))),
        {**graph, "n": 10_000, "d": 20_000, "repeat": 1},
    ]


# --- one run


def own_memory() -> int:
    """Bytes of this process, without the pages of files that are mapped."""
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("RssAnon")).split()[1]) * 1024


class Watch:
    """Seconds and memory of a block."""

    def __enter__(self) -> Watch:
        self.peak, self.done = 0, threading.Event()
        self.before = own_memory()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        self.clock, self.work = time.perf_counter(), time.process_time()
        return self

    def look(self) -> None:
        while not self.done.wait(0.01):
            self.peak = max(self.peak, own_memory() - self.before)

    def __exit__(self, *_: object) -> None:
        self.seconds, self.processor = time.perf_counter() - self.clock, time.process_time() - self.work
        self.done.set()
        self.thread.join()


def cloud(n: int, d: int):
    """(n, d) float32, normal in all directions: the hardest case for whoever hopes for structure."""
    import numpy as np

    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


def layer(n: int, d: int):
    """(n, d) float32, a hundred round clouds in ten directions, as a layer that knows its categories may have them."""
    import numpy as np

    rng = np.random.default_rng(0)
    centres, directions = rng.normal(scale=3, size=(100, 10)), rng.standard_normal((10, d), dtype=np.float32)
    points = centres[rng.integers(0, 100, n)] + rng.normal(size=(n, 10))
    return points.astype(np.float32) @ directions / d**0.5 + rng.normal(scale=0.01, size=(n, d)).astype(np.float32)


def photographs(n: int, d: int):
    """(n, d) float32, full activations of the book's network, in its last stage, for photographs of Caltech-101."""
    import numpy as np

    return np.load(LAYER)[:n, :d].astype(np.float32)


def write_photographs() -> None:
    """The file of `photographs`, from their small copies."""
    import numpy as np
    import torch

    from nbutils.book.thumbnails import COUNT, thumbnails
    from nbutils.extraction import activations
    from nbutils.extraction.models import load

    network = load("efficientnet_lite0")
    images = torch.from_numpy(thumbnails(range(COUNT))).movedim(3, 1)

    class Enlarged(torch.utils.data.Dataset):
        def __len__(self):
            return COUNT

        def __getitem__(self, i):
            return torch.nn.functional.interpolate((images[i : i + 1].float() - 127) / 128, 224, mode="bilinear")[0]

    with tempfile.TemporaryDirectory() as folder:
        store = activations.extract(network.model, Enlarged(), {"stage 7": network.layers["stage 7"]}, folder)
        LAYER.parent.mkdir(parents=True, exist_ok=True)
        np.save(LAYER.with_suffix(".part.npy"), store["stage 7"].reshape(COUNT, -1))
    os.replace(LAYER.with_suffix(".part.npy"), LAYER)


def plane(n: int, k: int, d: int = 2):
    """Distances and indices (n, k + 1) of points drawn at random, each point its own first neighbour."""
    import numpy as np
    from scipy.spatial import cKDTree

    x = np.random.default_rng(0).uniform(size=(n, d))
    return cKDTree(x).query(x, k + 1)


def graph(who: str, n: int, d: int, data: str = "noise") -> Watch:
    x = {"noise": cloud, "categories": layer, "photographs": photographs}[data](n, d)
    if who == "half product":
        import torch

        # In squares that stay in the cache: a strict limit, and one that others on the machine move less.
        x, size = torch.from_numpy(x), 3072
        out = torch.empty(size * size)
        torch.mm(x[:64], x[:64].T)
        with Watch() as watch:
            for rows in x[: n // 2].split(size):
                for others in x.split(size):
                    torch.mm(rows, others.T, out=out[: len(rows) * len(others)].view(len(rows), -1))
    elif who == "nbutils":
        from nbutils.neighbors import knn_graph

        knn_graph(x[:100, :50], 5)
        with Watch() as watch:
            knn_graph(x, K, memory=MEMORY)
    elif who == "scikit-learn":
        from sklearn.neighbors import NearestNeighbors

        with Watch() as watch:
            NearestNeighbors(n_neighbors=K, algorithm="brute", n_jobs=-1).fit(x).kneighbors()
    elif who == "DADApy":
        from dadapy import Data

        with Watch() as watch:
            Data(x, maxk=K, n_jobs=os.cpu_count()).compute_distances()
    else:
        import faiss

        with Watch() as watch:
            index = faiss.IndexFlatL2(d)
            index.add(x)
            index.search(x, K + 1)
    return watch


def parts(who: str, n: int, d: int) -> Watch:
    """Seconds of the parts of `knn_graph`, as ``parts`` of the watch; those of a thread are divided by the threads."""
    from collections import Counter
    from contextlib import ExitStack
    from unittest.mock import patch

    import torch

    from nbutils import _blocks, _nearest, neighbors

    if who != "nbutils":
        return graph(who, n, d)
    x = cloud(n, d)
    neighbors.knn_graph(x[:100, :50], 5)
    spent, lock, own, threads = Counter(), threading.Lock(), threading.local(), torch.get_num_threads()

    def timed(name, function):
        def call(*arguments, **options):
            outer, own.within = getattr(own, "within", 0.0), 0.0
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                took = time.perf_counter() - start
                share = 1 if threading.current_thread() is threading.main_thread() else threads
                with lock:
                    spent[name] += (took - own.within) / share
                own.within = outer + took

        return call

    with ExitStack() as stack:
        for name, owner, function in (
            ("products", torch.Tensor, "addmm_"),
            ("products", torch, "mm"),
            ("reading and centring", _blocks.Blocks, "read"),
            ("mean and squares", _blocks.Blocks, "__init__"),
            ("a sample", neighbors, "plan"),
            ("bounds", _blocks.Blocks, "closeness"),
            ("comparing", _nearest, "pairs_above"),
            ("keeping what may be near", _nearest.Nearest, "update"),
            ("exact distances", neighbors, "refine"),
        ):
            stack.enter_context(patch.object(owner, function, timed(name, getattr(owner, function))))
        with Watch() as watch:
            neighbors.knn_graph(x, K, memory=MEMORY)
    watch.parts = spent
    return watch


def peaks(who: str, c: int) -> Watch:
    distances, indices = plane(23 * c, 10)  # of 23 points one is the densest of its neighbourhood
    if who == "nbutils":
        from nbutils.density import knn_density
        from nbutils.graph import NeighborGraph
        from nbutils.peaks import find_peaks

        near = NeighborGraph(distances[:, 1:], indices[:, 1:])
        density = knn_density(near, 2, 10)
        with Watch() as watch:
            find_peaks(near, density, 1.65)
        watch.candidates = find_peaks(near, density, 0).n_peaks
    else:
        from dadapy import Data

        data = Data(distances=(distances, indices), maxk=10, n_jobs=os.cpu_count())
        data.intrinsic_dim = 2.0
        data.compute_density_kNN(10)
        with Watch() as watch:
            data.compute_clustering_ADP(Z=1.65)
    return watch


def pak(who: str, n: int) -> Watch:
    distances, indices = plane(n, 100, 5)
    if who == "nbutils":
        from nbutils.density import pak
        from nbutils.graph import NeighborGraph

        near = NeighborGraph(distances[:, 1:], indices[:, 1:])
        with Watch() as watch:
            pak(near, 5.0)
    else:
        from dadapy import Data

        data = Data(distances=(distances, indices), maxk=100, n_jobs=os.cpu_count())
        data.intrinsic_dim = 5.0
        with Watch() as watch:
            data.compute_kstar()
            data.compute_density_PAk()
    return watch


def pipeline(who: str, n: int, d: int) -> Watch:
    """All steps from activations to the tree, with their seconds as ``parts`` of the watch, and PAk beside them."""
    x, k, spent = layer(n, d), 100, {}

    def timed(name, function, *arguments, **options):
        start = time.perf_counter()
        value = function(*arguments, **options)
        spent[name] = time.perf_counter() - start
        return value

    if who == "nbutils":
        from nbutils.density import knn_density, pak
        from nbutils.dimension import twonn
        from nbutils.hierarchy import peak_linkage
        from nbutils.neighbors import knn_graph
        from nbutils.peaks import find_peaks

        knn_graph(x[:100, :50], 5)
        with Watch() as watch:
            near = timed("neighbours", knn_graph, x, k, memory=MEMORY)
            dimension = timed("dimension", twonn, near).value
            density = timed("density", knn_density, near, dimension, K)
            topography = timed("peaks", find_peaks, near, density, 1.65)
            timed("tree", peak_linkage, topography)
            timed("PAk", pak, near, dimension)
        watch.candidates = topography.n_peaks
    else:
        from dadapy import Data

        data = Data(x, maxk=k, n_jobs=os.cpu_count())
        with Watch() as watch:
            timed("neighbours", data.compute_distances)
            timed("dimension", data.compute_id_2NN)
            timed("density", data.compute_density_kNN, K)
            timed("peaks", data.compute_clustering_ADP, Z=1.65)
            start = time.perf_counter()
            data.compute_kstar()
            data.compute_density_PAk()
            spent["PAk"] = time.perf_counter() - start
        watch.candidates = data.N_clusters
    watch.parts = spent
    return watch


def extract(who: str, n: int) -> Watch:
    """Photographs through the book's network: with all of its layers written to disk, and the bare forward pass."""
    import torch

    from nbutils.extraction import activations
    from nbutils.extraction.models import load

    network = load("efficientnet_lite0")
    images = torch.randn(n, 3, 224, 224)
    model = network.model.to(memory_format=torch.channels_last).eval()
    with torch.inference_mode():
        model(images[:32].contiguous(memory_format=torch.channels_last))
    if who == "nbutils":
        with tempfile.TemporaryDirectory() as folder, Watch() as watch:
            activations.extract(model, images, network.layers, folder)
    else:
        with Watch() as watch, torch.inference_mode():
            for batch in images.split(32):
                model(batch.contiguous(memory_format=torch.channels_last))
    return watch


def run(task: dict) -> None:
    warnings.simplefilter("ignore")
    contests = (graph, parts, peaks, pak, pipeline, extract)
    watch = {contest.__name__: contest for contest in contests}[task.pop("what")](**task)
    print(
        json.dumps(
            {
                name: value
                for name, value in vars(watch).items()
                if name in ("seconds", "processor", "peak", "candidates", "parts")
            }
        ),
        flush=True,
    )


# --- all runs


def machine() -> dict:
    import torch

    from nbutils._search import fast_bfloat16

    name = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": "bfloat16" if fast_bfloat16(torch.device("cpu")) else "float32",
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", action="store_true", help="be a contestant")
    parser.add_argument(
        "--others",
        default=ROOT / "_build" / "bench" / "bin" / "python",
        type=Path,
        help="the Python that has DADApy and faiss",
    )
    parser.add_argument("--out", type=Path, help="default: data/bench.json, or with --large data/bench_large.json")
    parser.add_argument("--repeat", default=3, type=int, help="runs of each; the median counts")
    parser.add_argument("--large", action="store_true", help="the largest sizes, instead of the routine table")
    arguments = parser.parse_args()
    if arguments.run:
        for task in sys.stdin:
            run(json.loads(task))
        return

    out = arguments.out or ROOT / "data" / ("bench_large.json" if arguments.large else "bench.json")
    if not (arguments.large or LAYER.exists()):
        write_photographs()
    found = {"machine": machine(), "k": K, "memory": MEMORY, "lines": []}
    for line in lines(arguments.large):
        sizes = {key: value for key, value in line.items() if key not in ("who", "repeat")}
        runs: dict[str, list[dict]] = {who: [] for who in line["who"]}
        contestants = {
            who: subprocess.Popen(
                [sys.executable if who in OURS else arguments.others, __file__, "--run"],
                env=os.environ | ENVIRONMENT,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for who in line["who"]
        }
        for _ in range(line.get("repeat", arguments.repeat)):
            for who, contestant in list(contestants.items()):
                try:
                    print(json.dumps({**sizes, "who": who}), file=contestant.stdin, flush=True)
                    runs[who].append(json.loads(contestant.stdout.readline()))
                except (OSError, ValueError):  # it has said why, on its way out
                    print(f"{who} failed on {sizes}", file=sys.stderr)
                    del contestants[who]
        for contestant in contestants.values():
            contestant.communicate()
        found["lines"].append({**sizes, "runs": runs})
        part = out.with_name(out.name + ".part")
        part.write_text(json.dumps(found, indent=1) + "\n")
        os.replace(part, out)
        show(found["lines"][-1])


def show(line: dict) -> None:
    from statistics import median

    ours = median(one["seconds"] for one in line["runs"]["nbutils"])
    print(", ".join(f"{key} {value}" for key, value in line.items() if key != "runs"), flush=True)
    for who, runs in line["runs"].items():
        if runs:
            seconds, peak = median(one["seconds"] for one in runs), max(one["peak"] for one in runs)
            print(f"    {who:13} {seconds / ours:8.2f} times ours {peak / 1e6:8.0f} MB", flush=True)


if __name__ == "__main__":
    main()
