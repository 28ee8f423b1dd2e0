"""Graphs and activations from a Dask cluster of two processes on this machine, one of which is killed halfway."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_atlas import draw, network, to_tensor

from nbutils import _device, dask_backend
from nbutils.atlas import build as atlas
from nbutils.extraction import activations
from nbutils.extraction.photographs import ImageFolder
from nbutils.neighbors import as_rows, knn_graph

dask = pytest.importorskip("distributed")


pytestmark = pytest.mark.slow  # worker processes take seconds to start


@contextlib.contextmanager
def two_processes():
    with (
        dask.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as cluster,
        dask.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client():
    with two_processes() as client:
        yield client


@pytest.fixture
def client_that_loses_one():
    with two_processes() as client:
        yield client


def saved(path, n=600, d=20, dtype=np.float32, seed=0):
    np.save(path, np.random.default_rng(seed).normal(size=(n, d)).astype(dtype))
    return path


def test_the_same_graph(tmp_path, client):
    path = saved(tmp_path / "x.npy")
    here, there = knn_graph(path, 12), dask_backend.knn_graph(client, path, 12)
    np.testing.assert_array_equal(here.indices, there.indices)
    np.testing.assert_array_equal(here.distances, there.distances)


@pytest.mark.parametrize("kind", ["ties", "duplicates", "far away", "more neighbours than rows of a block"])
def test_the_same_graph_of_what_is_hard(tmp_path, client, kind):
    rng, k = np.random.default_rng(1), 10
    x = {
        "ties": lambda: rng.integers(-2, 3, (300, 3)),
        "duplicates": lambda: np.repeat(rng.normal(size=(50, 4)), 6, 0),
        "far away": lambda: rng.normal(size=(200, 4)) + 1e7,
    }.get(kind, lambda: rng.normal(size=(40, 3)))()
    k = 35 if kind.startswith("more") else k
    np.save(tmp_path / "x.npy", x)
    here, there = (
        knn_graph(x, k),
        dask_backend.knn_graph(client, np.load(tmp_path / "x.npy", mmap_mode="r"), k, memory=3e4),
    )
    np.testing.assert_array_equal(here.indices, there.indices)
    np.testing.assert_array_equal(here.distances, there.distances)


@pytest.mark.parametrize("memory", [1e5, 1e9])
@pytest.mark.parametrize("d", [30, 3000])
def test_rows_alone_are_those_of_the_whole(monkeypatch, tmp_path, d, memory):
    # As with many points, where products decide and differences only what they leave in doubt.

    path = saved(tmp_path / "x.npy", n=500, d=d)
    whole = knn_graph(path, 9)
    x = as_rows(path)
    for rows in (slice(0, 60), slice(433, 493), slice(499, 500)):
        distances, indices = dask_backend.rows_of_graph(
            rows, str(path), (tuple(x.shape), str(x.dtype)), 9, None, memory
        )
        np.testing.assert_array_equal(indices, whole.indices[rows])
        np.testing.assert_allclose(distances, whole.distances[rows], rtol=5e-7)


def test_a_worker_takes_the_best_device_that_it_has(monkeypatch, tmp_path):
    path, asked = saved(tmp_path / "x.npy", n=50), []
    monkeypatch.setattr(_device, "best_device", lambda: asked.append(1) or torch.device("cpu"))
    for device, count in (("cpu", 0), (None, 1)):
        dask_backend.rows_of_graph(slice(0, 5), str(path), ((50, 20), "torch.float32"), 3, device, 1e9)
        assert len(asked) == count


def test_the_threads_of_one_worker_compute_in_full_precision_and_leave_the_setting_as_it_was(tmp_path):
    path, blocks = saved(tmp_path / "x.npy"), [slice(start, start + 20) for start in range(0, 600, 20)]

    def indices(rows):
        return dask_backend.rows_of_graph(rows, str(path), ((600, 20), "torch.float32"), 12, "cpu", 1e9)[1]

    torch.set_float32_matmul_precision("medium")
    try:
        with ThreadPoolExecutor(4) as pool:
            found = np.concatenate(list(pool.map(indices, blocks)))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(found, knn_graph(path, 12).indices)


def slowly(log, function, block, *arguments):
    """Runs on a worker: adds a line to a file when it begins a block and when it has done it, and works slowly."""

    def note(what):
        with open(log, "a") as file:
            file.write(f"{what} {block.start} {os.getpid()}\n")

    note("begun")
    time.sleep(0.4)
    result = function(block, *arguments)
    note("done")
    return result


def noted(log, what):
    """The block and the process of each line."""
    lines = (line.split() for line in log.read_text().splitlines())
    return [(int(block), int(process)) for word, block, process in lines if word == what]


def kill_halfway(monkeypatch, client, log):
    """Kill a worker when half of the blocks are done; returns a list that will hold the number of its process."""
    spread, killed = dask_backend.spread, []

    def spread_and_kill(client, function, blocks, *arguments):
        slow = functools.partial(slowly, str(log), function)
        for count, found in enumerate(spread(client, slow, blocks, *arguments), 1):
            if count == len(blocks) // 2:
                killed.append(max(client.run(os.getpid).values()))
                while not any(
                    process == killed[0] for _, process in set(noted(log, "begun")) - set(noted(log, "done"))
                ):
                    time.sleep(0.01)  # until it is at work on a block
                os.kill(killed[0], signal.SIGKILL)
            yield found

    monkeypatch.setattr(dask_backend, "spread", spread_and_kill)
    return killed


def work_was_lost(log, killed):
    by_block = {}
    for block, process in noted(log, "begun"):
        by_block.setdefault(block, []).append(process)
    return len(by_block) >= 6 and any(len(done) > 1 and done[0] == killed for done in by_block.values())


needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")


@needs_kill
def test_a_worker_is_killed_halfway_through_a_graph(tmp_path, client_that_loses_one, monkeypatch):
    path, log = saved(tmp_path / "x.npy"), tmp_path / "log"
    killed = kill_halfway(monkeypatch, client_that_loses_one, log)
    there = dask_backend.knn_graph(client_that_loses_one, path, 12)
    assert work_was_lost(log, killed[0])
    here = knn_graph(path, 12)
    np.testing.assert_array_equal(here.indices, there.indices)
    np.testing.assert_array_equal(here.distances, there.distances)


@needs_kill
def test_a_worker_is_killed_halfway_through_the_images(tmp_path, client_that_loses_one, monkeypatch):
    images = ImageFolder(draw(tmp_path / "drawn", count=8), to_tensor)
    here = activations.extract(network().model, images, network().layers, tmp_path / "here", batch_size=2, device="cpu")
    killed = kill_halfway(monkeypatch, client_that_loses_one, tmp_path / "log")
    there = dask_backend.extract(
        client_that_loses_one, network().model, images, network().layers, tmp_path / "there", batch_size=2, device="cpu"
    )
    assert work_was_lost(tmp_path / "log", killed[0])
    assert list(here) == list(there) and here.shapes == there.shapes
    for layer in here:
        np.testing.assert_array_equal(here[layer], there[layer])


def test_an_atlas_is_the_same_bytes(tmp_path, client):
    images = ImageFolder(draw(tmp_path / "drawn"), to_tensor)
    for name, options in {"here": {}, "there": {"client": client}}.items():
        layers = {"layers": list(network().layers), "mean_layers": ["stage 2"]}
        made = atlas.build(network(), images, tmp_path / name, k=4, device="cpu", **layers, **options)
        assert "stage 2 mean" in made.layers
    for file in (tmp_path / "here").iterdir():
        if file.suffix == ".npz":
            assert file.read_bytes() == (tmp_path / "there" / file.name).read_bytes()


def broken_from(limit, image):
    pixels = to_tensor(image)
    if pixels[0].mean() > limit:
        raise ValueError("this one is red")
    return pixels


def test_what_stopped_is_taken_up_here_or_there(tmp_path, client):
    folder = draw(tmp_path / "drawn", count=8)  # red comes last
    bad, good = (ImageFolder(folder, functools.partial(broken_from, limit)) for limit in (0.5, 2))
    with pytest.raises(RuntimeError, match=r"the transform failed .*this one is red"):
        dask_backend.extract(
            client, network().model, bad, network().layers, tmp_path / "store", batch_size=2, device="cpu"
        )
    done = activations.read_manifest(tmp_path / "store")["done"]
    assert 0 <= done <= 16 and done % 2 == 0
    store = activations.extract(network().model, good, network().layers, tmp_path / "store", device="cpu")
    whole = activations.extract(network().model, good, network().layers, tmp_path / "whole", device="cpu")
    for layer in whole:
        np.testing.assert_allclose(store[layer], whole[layer], rtol=2e-3, atol=1e-4)


def test_finished_activations_need_no_worker(tmp_path, client, monkeypatch):
    images = ImageFolder(draw(tmp_path / "drawn"), to_tensor)
    activations.extract(network().model, images, network().layers, tmp_path / "store", device="cpu")
    monkeypatch.setattr(dask_backend, "extract_rows", lambda *a: pytest.fail("ran again"))
    dask_backend.extract(client, network().model, images, network().layers, tmp_path / "store", device="cpu")


class Threads:
    def __init__(self, *threads):
        self.threads = threads

    def nthreads(self):
        return dict(enumerate(self.threads))


@pytest.mark.parametrize(
    "n, threads, most, multiple, begin",
    [
        (100, (1, 1), 1000, 1, 0),
        (100, (2, 8), 7, 1, 0),
        (5, (16,), 100, 1, 0),
        (103, (1,), 50, 4, 8),
        (8, (1,), 9, 2, 8),
        (10, (), 100, 1, 0),
    ],
)
def test_blocks_cover_each_row_once(n, threads, most, multiple, begin):
    blocks = dask_backend.rows_of(n, Threads(*threads), most, multiple, begin)
    assert [i for block in blocks for i in range(block.start, block.stop)] == list(range(begin, n))
    assert all(block.stop - block.start <= max(most, multiple) for block in blocks)
    assert all((block.start - begin) % multiple == 0 for block in blocks)
    assert len(blocks) >= min(-(-(n - begin) // multiple), sum(threads) * 2 if n > begin else 0)


def test_what_no_worker_can_see_is_refused(tmp_path):
    class Nobody:
        def submit(self, *a, **k):
            pytest.fail("asked a worker")

    x = np.load(saved(tmp_path / "x.npy"), mmap_mode="r")
    with pytest.raises(TypeError, match=r"x is a ndarray in the memory .* np\.save"):
        dask_backend.knn_graph(Nobody(), np.ones((5, 2)), 2)
    with pytest.raises(TypeError, match="x is a Tensor in the memory"):
        dask_backend.knn_graph(Nobody(), torch.ones(5, 2), 2)
    for part in (x[:100], x[:, :5], x[::-1], x.reshape(1200, 10)):
        with pytest.raises(ValueError, match=r"x is only a part of .*x\.npy"):
            dask_backend.knn_graph(Nobody(), part, 2)
    raw = np.memmap(tmp_path / "raw", np.float32, "w+", shape=(20, 3))
    with pytest.raises(ValueError, match=r"mapped from .*raw, which is no \.npy file"):
        dask_backend.knn_graph(Nobody(), raw, 2)
    with pytest.raises(ValueError, match=r"k=600 must lie in 1 \.\.\. 599, since each of the 600 rows"):
        dask_backend.knn_graph(Nobody(), x, 600)
    for k in (5.0, True):
        with pytest.raises(TypeError, match="k must be an integer"):
            dask_backend.knn_graph(Nobody(), x, k)
    with pytest.raises(FileNotFoundError):
        dask_backend.knn_graph(Nobody(), tmp_path / "none.npy", 2)


def test_another_file_on_the_disk_of_a_worker(tmp_path):
    path = saved(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="holds other data for a worker"):
        dask_backend.rows_of_graph(slice(0, 5), str(path), ((600, 21), "torch.float32"), 3, None, 1e9)
    with pytest.raises(FileNotFoundError, match="use a disk that all workers see"):
        dask_backend.rows_of_graph(slice(0, 5), str(tmp_path / "y.npy"), ((600, 21), "torch.float32"), 3, None, 1e9)
