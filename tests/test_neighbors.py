"""The neighbour graph against brute force, on data for which rounding, ties and memory matter."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nbutils import _device
from nbutils.decimation import decimate
from nbutils.graph import NeighborGraph, checked_integer
from nbutils.neighbors import as_rows, knn_graph

few = settings(max_examples=25, deadline=None)


def brute_force(x, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All differences in float64; the first k by (distance, index)."""
    x = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    squared = np.stack([((x - row) ** 2).sum(1) for row in x])
    np.fill_diagonal(squared, np.inf)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squared, order, 1)), order


def check(x, k: int, oracle=None, **options) -> NeighborGraph:
    graph = knn_graph(x, k, **options)
    distances, indices = brute_force(x if oracle is None else oracle, k)
    np.testing.assert_allclose(graph.distances, distances, rtol=1e-6, atol=0)
    np.testing.assert_array_equal(graph.indices, indices)
    return graph


def gaussian(n=300, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


CASES = {
    "Gaussian": gaussian(),
    "far from the origin, float64": gaussian() + 1e7,
    "far from the origin, float32": (gaussian(d=4) + 3000).astype(np.float32),
    "float32": gaussian().astype(np.float32),
    "float16": gaussian().astype(np.float16),
    "integers with many ties": np.random.default_rng(1).integers(-3, 4, (400, 3)),
    "uint8": np.random.default_rng(2).integers(0, 256, (200, 3, 4, 4), dtype=np.uint8),
    "bool": gaussian() > 0,
    "hundreds of duplicates": np.concatenate([np.full((300, 5), 1.7), gaussian(100, 5)]),
    "every point thrice": np.repeat(gaussian(100), 3, axis=0),
    "near duplicates": np.concatenate([gaussian(150), gaussian(150) + 1e-6 * gaussian(150, seed=3)]),
    "near duplicates far away": np.concatenate([gaussian(80, 3), 1e4 + 1e-5 * gaussian(80, 3, seed=4)]),
    "constant features": np.concatenate([gaussian(200, 3), np.full((200, 4), 1e6)], axis=1),
    "constant": np.ones((50, 3)),
    "one feature": gaussian(200, 1),
    "one axis": gaussian(200, 1)[:, 0],
    "two points": gaussian(2),
    "one huge feature": gaussian(300, 4) * [1e5, 1, 1, 1],
    "one huge outlier": np.concatenate([gaussian(200, 3), [[1e6, 0, 0]]]),
    "a difference that float32 would round": np.array([[0], [3], [1e8]], np.float32),
    "whole numbers of all sizes, float32": np.exp(np.random.default_rng(5).uniform(0, 18, (300, 1)))
    .round()
    .astype(np.float32),
    "heavy tails, float32": np.exp(4 * gaussian(300, 5)).astype(np.float32),
    "heavy tails, float16": np.exp(3 * gaussian(300, 2)).clip(1e-4, 6e4).astype(np.float16),
    "points of all sizes, float32": (gaussian() * 10.0 ** np.linspace(-8, 8, 300)[:, None]).astype(np.float32),
    "features of all sizes, float32": (gaussian(300, 5) * 10.0 ** np.arange(-8, 8, 3.5)).astype(np.float32),
    "tiny": gaussian() * 1e-15,
    "huge": gaussian() * 1e15,
    "images": gaussian(120, 3 * 5 * 5).reshape(120, 3, 5, 5),
    "ties among many features": np.random.default_rng(6).random((200, 3072)) < 0.02,
    "squares that differ by one, far apart": np.array([[0, 0], [9 * 10**7, 1], [9 * 10**7, 0]]),
    "the largest numbers, float32": np.array([[0], [1.8e17], [-1.8e17], [1], [2]], np.float32),
    "sizes that a sample misses": gaussian(1030, 2) * np.where(np.arange(1030) % 2, 1e10, 1e-10)[:, None],
    "fields of records": np.zeros(60, [("a", "i1"), ("b", "f4", 5)])["b"] + np.arange(60, dtype=np.float32)[:, None],
    "more features than a tile": gaussian(40, 20_000).astype(np.float32),
    "reversed in memory": gaussian()[::-1, ::-1],
    "Fortran order": np.asfortranarray(gaussian()),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("memory", [3e4, 1e9], ids=["many blocks", "one block"])
def test_equals_brute_force(name, memory):
    x = CASES[name]
    before = x.copy()
    check(x, min(10, len(x) - 1), memory=memory)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("k", [1, 149])
def test_from_one_neighbour_to_all(k):
    check(gaussian(150), k, memory=3e4)


def test_memory_map(tmp_path):
    x = gaussian(200, 30).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    check(np.load(tmp_path / "x.npy", mmap_mode="r"), 7, memory=3e4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8])
def test_tensors(dtype):
    x = torch.tensor(gaussian() * 10 + 50).to(dtype)
    check(x, 6, oracle=x.double().numpy(), memory=3e4)


def test_tensor_that_requires_a_gradient():
    x = torch.tensor(gaussian(), requires_grad=True)
    check(x, 6, oracle=x.detach().numpy())
    assert x.grad is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["Gaussian", "integers with many ties", "near duplicates", "images"])
def test_on_a_gpu(name):
    check(CASES[name], 10, device="cuda", memory=3e4)
    check(torch.tensor(CASES[name]).cuda(), 10, oracle=CASES[name])


def test_lists():
    check([[0, 0], [3, 4], [6, 8]], 2)


# --- properties

clouds = st.builds(
    lambda n, d, seed, spread: np.random.default_rng(seed).integers(-spread, spread + 1, (n, d)),
    st.integers(3, 60),
    st.integers(1, 6),
    st.integers(0, 99),
    st.sampled_from([2, 50, 10**6]),
)


@few
@given(clouds, st.data())
def test_any_cloud_and_block_size(x, data):
    k = data.draw(st.integers(1, len(x) - 1))
    check(x, k, memory=data.draw(st.sampled_from([1e3, 2e4, 1e9])))


@few
@given(st.integers(0, 1000))
def test_order_of_the_points_does_not_matter(seed):
    x = gaussian(80, 5, seed)
    order = np.random.default_rng(seed).permutation(80)
    graph, shuffled = knn_graph(x, 6), knn_graph(x[order], 6)
    np.testing.assert_array_equal(order[shuffled.indices], graph.indices[order])
    np.testing.assert_array_equal(shuffled.distances, graph.distances[order])


@few
@given(st.integers(0, 1000), st.floats(-1e4, 1e4), st.sampled_from([2.0**-20, 0.5, 3.0, 1e6]))
def test_distances_follow_motion_and_scale(seed, shift, scale):
    x = gaussian(80, 5, seed)
    turn = np.linalg.qr(gaussian(5, 5, seed + 1))[0]
    graph, moved = knn_graph(x, 6), knn_graph(scale * (x @ turn) + shift, 6)
    # Moving rounds the coordinates: their last digit is worth up to 1e4 * 2e-16, and distances no less than 1e-3 here.
    np.testing.assert_allclose(moved.distances, scale * graph.distances, rtol=1e-6, atol=1e-11)


def test_a_rounded_tie_still_goes_to_the_lower_index():
    # All points of a ring are as far from the centre, and no matrix product says so exactly.
    grid = np.array([(a, b) for a in range(-25, 26) for b in range(-25, 26) if a * a + b * b == 625], float)
    x = np.concatenate([grid, [[0, 0]]]) / 2**10 + 1000
    check(x, 7)
    np.testing.assert_array_equal(knn_graph(x, 7).indices[-1], np.arange(7))


# --- bad input


@pytest.mark.parametrize(
    "x, k, error, words",
    [
        (gaussian(10), 0, ValueError, "k=0 must lie in 1 ... 9, since each of the 10 rows of x has 9 others"),
        (gaussian(10), 10, ValueError, "k=10 must lie in"),
        (gaussian(10), -1, ValueError, "k=-1"),
        (gaussian(1), 1, ValueError, "x must have the shape .* at least two rows"),
        (np.zeros((0, 3)), 1, ValueError, "at least two rows"),
        (np.zeros((5, 0)), 1, ValueError, "one feature"),
        (3.0, 1, ValueError, "x must have the shape"),
        (
            np.where(gaussian(10) > 2, np.nan, [[0, 0, 0, 0, 0, np.nan]]),
            1,
            ValueError,
            "x has NaN or infinite values in ",
        ),
        (np.array([[1.0], [np.inf], [-np.inf]]), 1, ValueError, "x has NaN or infinite values in 1 of 1 features"),
        (gaussian(10) * 1e200, 1, ValueError, "x varies by .* rescale"),
        (gaussian(10) * 1e-200, 1, ValueError, "x varies by .* rescale"),
        (gaussian(10) + 1j, 1, TypeError, "x must be a dense array of real numbers"),
        (np.array([["a"], ["b"]]), 1, TypeError, "x must be a dense array of real numbers"),
        (gaussian(10).astype(object), 1, TypeError, "x must be a dense array of real numbers"),
        (torch.tensor(gaussian(10)).to_sparse(), 1, TypeError, "x must be a dense array"),
    ],
)
def test_bad_input(x, k, error, words):
    with pytest.raises(error, match=words):
        knn_graph(x, k)


def test_sparse_matrix():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"x\.toarray\(\)"):
        knn_graph(sparse.csr_matrix(np.eye(5)), 2)


def test_nan_in_one_block_of_many():
    x = gaussian(500)
    x[431, 5] = np.nan
    with pytest.raises(ValueError, match="in 1 of 6 features"):
        knn_graph(x, 3, memory=3e4)


NO_INTEGERS = (5.0, True, np.True_, np.float64(5), "5", None, [5], np.array([5]), np.nan)


@pytest.mark.parametrize("k", NO_INTEGERS, ids=repr)
def test_k_that_is_no_integer(k):
    graph = knn_graph(gaussian(20), 6)
    calls = (lambda: knn_graph(gaussian(20), k), lambda: graph.truncate(k), lambda: graph.check_k(k))
    for call in calls:
        with pytest.raises(TypeError, match=r"k must be an integer, not .* of type .*; pass an int"):
            call()
    for sizes, repeats, name in (([k], 5, "sizes"), ([10], k, "repeats")):
        with pytest.raises(TypeError, match=f"{name} must be an integer"):
            decimate(gaussian(20), sizes, repeats)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64])
def test_k_may_be_an_integer_of_numpy(kind):
    x = gaussian(300)
    graph = knn_graph(x, kind(127))  # with the candidates beyond k it would not fit into eight bits
    np.testing.assert_array_equal(graph.indices, knn_graph(x, 127).indices)
    assert graph.truncate(kind(5)).k == 5
    assert type(checked_integer("k", kind(5), 1, 9)) is int


def test_integers_out_of_range():
    assert [checked_integer("steps", value, 2, 4) for value in (2, 3, 4)] == [2, 3, 4]
    assert checked_integer("steps", 10**30, 2) == 10**30
    with pytest.raises(ValueError, match=r"^steps=1 must be at least 2$"):
        checked_integer("steps", 1, 2)
    with pytest.raises(ValueError, match=r"^steps=5 must lie in 2 \.\.\. 4, the steps there are$"):
        checked_integer("steps", 5, 2, 4, "the steps there are")


def test_the_best_device_is_the_default(monkeypatch):
    cuda, mps, asked = torch.cuda, torch.backends.mps, []
    for has_cuda, has_mps, best in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(cuda, "is_available", lambda has_cuda=has_cuda: has_cuda)
        monkeypatch.setattr(mps, "is_available", lambda has_mps=has_mps: has_mps)
        assert _device.as_device(None) == _device.best_device() == torch.device(best)
        assert _device.as_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(_device, "best_device", lambda: asked.append(1) or torch.device("cpu"))
    knn_graph(gaussian(20), 2, device="cpu")
    assert not asked
    knn_graph(gaussian(20), 2)
    assert asked


def test_two_threads_leave_the_filters_of_warnings_as_they_were(monkeypatch):
    from_numpy, both, first_has_left = torch.from_numpy, threading.Barrier(2), threading.Event()

    def meet_the_other(data):
        with contextlib.suppress(threading.BrokenBarrierError):  # the other one was kept out
            if both.wait(0.3) == 1:  # the one that came last leaves last
                first_has_left.wait(60)
        return from_numpy(data)

    def call(_):
        as_rows(gaussian(10))
        first_has_left.set()

    before = list(warnings.filters)
    monkeypatch.setattr(torch, "from_numpy", meet_the_other)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(call, range(2)))
    assert list(warnings.filters) == before


# --- the graph


def test_truncate():
    graph = knn_graph(gaussian(), 10)
    assert (graph.truncate(4).n, graph.truncate(4).k) == (300, 4)
    np.testing.assert_array_equal(graph.truncate(4).indices, knn_graph(gaussian(), 4).indices)
    for k in (0, 11):
        with pytest.raises(ValueError, match=f"k={k} must lie in 1 ... 10, the neighbours that this graph holds"):
            graph.truncate(k)


def test_form():
    graph = knn_graph(gaussian(), 10)
    assert graph.distances.dtype == np.float32 and graph.indices.dtype == np.int32
    assert graph.distances.shape == graph.indices.shape == (graph.n, graph.k) == (300, 10)


GOOD = (np.array([[1.0, 2], [1, 1], [1, 2]]), np.array([[1, 2], [0, 2], [1, 0]]))


@pytest.mark.parametrize(
    "distances, indices, words",
    [
        (np.insert(GOOD[0], 0, 0, axis=1), np.insert(GOOD[1], 0, [0, 1, 2], axis=1), "own neighbour: drop that column"),
        (GOOD[0][:, ::-1], GOOD[1], "ascend"),
        (GOOD[0] * [[1, np.nan]], GOOD[1], "finite"),
        (GOOD[0] * [[1, np.inf]], GOOD[1], "finite"),
        (-GOOD[0], GOOD[1], "not negative"),
        (GOOD[0], GOOD[1] + 1, "indices must lie in 0 ... n - 1 = 2"),
        (GOOD[0], GOOD[1] - 1, "indices must lie in"),
        (GOOD[0], GOOD[1].astype(np.int64) + 2**32, "indices must lie in"),
        (GOOD[0], GOOD[1] + 0.25, "indices must be integers"),
        (GOOD[0], np.array([[1, 1], [0, 2], [1, 0]]), "twice"),
        (GOOD[0][:, :1], GOOD[1], "same|both have the shape"),
        (np.zeros((0, 2)), np.zeros((0, 2), int), "n, k >= 1"),
        (np.zeros((2, 0)), np.zeros((2, 0), int), "n, k >= 1"),
        (np.zeros(3), np.zeros(3, int), "shape"),
    ],
)
def test_graphs_of_another_form_are_refused(distances, indices, words):
    NeighborGraph(*GOOD)
    with pytest.raises(ValueError, match=words):
        NeighborGraph(distances, indices)


# --- on disk


def test_round_trip_without_pickle(tmp_path):
    graph = knn_graph(gaussian(), 10)
    graph.save(tmp_path / "graph.npz")
    found = NeighborGraph.load(tmp_path / "graph.npz")
    np.testing.assert_array_equal(found.distances, graph.distances)
    np.testing.assert_array_equal(found.indices, graph.indices)
    with np.load(tmp_path / "graph.npz", allow_pickle=False) as stored:
        assert {name: stored[name].dtype.str for name in stored} == {"distances": "<f4", "indices": "<i4"}
    assert os.listdir(tmp_path) == ["graph.npz"]


def test_interrupted_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "graph.npz"
    knn_graph(gaussian(), 10).save(path)
    before = path.read_bytes()

    def half(member, array, **options):
        member.write(b"half an array")
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", half)
    with pytest.raises(KeyboardInterrupt):
        knn_graph(gaussian(), 3).save(path)
    assert path.read_bytes() == before


def test_damaged_files(tmp_path):
    graph, path = knn_graph(gaussian(20, 3), 3), tmp_path / "graph.npz"
    graph.save(path)
    whole = path.read_bytes()
    refused = 0
    for i in range(0, len(whole), 3):
        for damaged in (whole[:i], whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :]):
            path.write_bytes(damaged)
            try:
                found = NeighborGraph.load(path)
            except ValueError as error:
                refused += 1
                assert "is no sound neighbour graph" in str(error) and "graph.npz" in str(error)
            else:  # a date in the archive may change, the numbers may not
                np.testing.assert_array_equal(found.distances, graph.distances)
                np.testing.assert_array_equal(found.indices, graph.indices)
    assert refused > len(whole) / 3


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("<html>404</html>"),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
        lambda path: np.savez(path, distances=np.ones((3, 1))),
        lambda path: np.savez(path, distances=np.zeros((3, 2)), indices=np.array([[0, 1], [1, 0], [2, 0]])),
        lambda path: np.savez(path, distances=np.ones((3, 1)), indices=np.array([[1], [0], [None]], dtype=object)),
    ],
    ids=["text", "another array", "no indices", "the point itself", "pickle"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_files(tmp_path, make):
    make(tmp_path / "graph.npz")
    with pytest.raises(ValueError, match=r"graph\.npz' is no sound neighbour graph"):
        NeighborGraph.load(tmp_path / "graph.npz")


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_what_is_not_the_fault_of_the_file_is_not_blamed_on_it(tmp_path, monkeypatch, error):
    path = tmp_path / "graph.npz"
    knn_graph(gaussian(20), 3).save(path)

    def stop(*arguments, **options):
        raise error("elsewhere")

    monkeypatch.setattr(np, "load", stop)
    with pytest.raises(error, match="elsewhere"):
        NeighborGraph.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        NeighborGraph.load(tmp_path / "graph.npz")


# --- memory

ANONYMOUS = """
import sys, threading, time
import numpy as np
from nbutils.neighbors import knn_graph
x = np.load(sys.argv[1], mmap_mode="r")
def own():  # without the pages of the file, which the system may drop at any time
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) * 1024
knn_graph(np.asarray(x[:100, :50]), 5)
before, peak, stop = own(), 0, False
def watch():
    global peak
    while not stop:
        peak = max(peak, own())
        time.sleep(0.002)
watcher = threading.Thread(target=watch)
watcher.start()
knn_graph(x, 5, memory=float(sys.argv[2]))
stop = True
watcher.join()
print(peak - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
@pytest.mark.parametrize("n, d, duplicates", [(2100, 4000, 0), (400, 16384, 180)])
def test_memory_stays_near_what_is_allowed(tmp_path, n, d, duplicates):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float16, shape=(n, d))
    x[:] = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    x[:duplicates] = x[0]
    x.flush()
    memory, result, tile = 4e6, n * 13 * 40, 64 * 16384 * 16
    # With this threshold the C library gives back at once what is freed: what is seen is what is held.
    used = subprocess.run(
        [sys.executable, "-c", ANONYMOUS, tmp_path / "x.npy", str(memory)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert int(used.stdout) < 3 * memory + result + tile, f"{int(used.stdout) / 1e6:.0f} MB"
