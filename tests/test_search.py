"""The search behind the graph: rounding, symmetry, memory, threads, and the precision of products."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_neighbors import CASES, brute_force, check, gaussian

from nbutils import _search
from nbutils._device import full_precision
from nbutils._search import (
    Blocks,
    Nearest,
    block_thresholds,
    nearest_candidates,
    one_thread_each,
    pairs_above,
    refine,
)
from nbutils.neighbors import knn_graph


@pytest.mark.parametrize("name", CASES)
def test_what_is_left_to_rounding_changes_no_neighbour(name, monkeypatch):
    # As with many points, where differences are taken only of those in doubt.
    monkeypatch.setattr(_search, "ALL_EXACT", 0)
    x = CASES[name]
    check(x, min(10, len(x) - 1), memory=1e5)


@pytest.mark.parametrize("d", [30, 3000])
def test_distances_are_left_to_rounding_only_where_it_is_small(d, monkeypatch):
    monkeypatch.setattr(_search, "ALL_EXACT", 0)
    x = np.random.default_rng(0).standard_normal((600, d), dtype=np.float32)
    counted = []
    squared_distances = Blocks.squared_distances
    monkeypatch.setattr(
        Blocks, "squared_distances", lambda self, i, j: counted.append(len(i)) or squared_distances(self, i, j)
    )
    graph = knn_graph(x, 10)
    distances, indices = brute_force(x, 10)
    np.testing.assert_array_equal(graph.indices, indices)
    np.testing.assert_allclose(graph.distances, distances, rtol=2.4e-7)
    # The first call looks at a sample. Were every distance taken anew the work saved would be none.
    assert sum(counted[1:]) < 0.5 * 600 * 10


CLOUD = np.random.default_rng(1).standard_normal((2000, 6), dtype=np.float32)
SIMPLEX = (np.eye(300) + 1e-5 * gaussian(300, 300)).astype(np.float32)  # all distances are nearly the same


@pytest.mark.slow
@pytest.mark.parametrize(
    "noise, x, k", [(3e-8, SIMPLEX, 10), (3e-8, SIMPLEX, 299), (1e-5, CLOUD, 10), (1e-3, CLOUD, 10), (1e-2, CLOUD, 10)]
)
def test_products_of_any_accuracy_lead_to_the_same_neighbours(noise, x, k, monkeypatch):
    # As on a device with less accurate products. How large the errors are is known from a measurement alone.
    monkeypatch.setattr(_search, "ALL_EXACT", 0)
    rng, closeness = np.random.default_rng(0), Blocks.closeness

    def noisy(self, rows, others, triangle=False):
        product = closeness(self, rows, others, triangle)
        squares = self.square[rows][:, None] + self.square[others]
        return product.add_(squares * torch.from_numpy(rng.uniform(-noise, noise, product.shape)).float())

    monkeypatch.setattr(Blocks, "closeness", noisy)
    check(x, k, memory=1e6)


@pytest.mark.slow
def test_errors_that_the_sample_does_not_see(monkeypatch):
    # Every second point is looked at. These lie apart, and their products are exact. Those of the others are as bad as
    # products in float32 may be, which must be known without a measurement.
    n, k = 1200, 10
    unseen = torch.arange(n) % 2
    x = np.eye(n)
    x[2::4] = -x[::4]
    x[1::2] += 1e-5 * gaussian(n // 2, n) + 3 * (np.arange(n) == 1)
    x = x.astype(np.float32)
    rng, closeness = np.random.default_rng(0), Blocks.closeness
    largest = np.sqrt(n) * 2.0**-24

    def noisy(self, rows, others, triangle=False):
        product = closeness(self, rows, others, triangle)
        squares = (self.square[rows] * unseen[rows])[:, None] + self.square[others] * unseen[others]
        return product.add_(squares * torch.from_numpy(rng.choice([-0.5, 0.5], product.shape) * largest).float())

    monkeypatch.setattr(Blocks, "closeness", noisy)
    monkeypatch.setattr(_search, "ALL_EXACT", 0)
    monkeypatch.setattr(_search, "SAMPLE", 600 * (k + 4) * n)
    check(x, k, memory=1e9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_distances_of_few_data_are_rounded_once(dtype):
    x = gaussian(400, 7).astype(dtype)
    np.testing.assert_allclose(knn_graph(x, 8).distances, brute_force(x, 8)[0], rtol=1.0001 * 2.0**-24)


def test_near_duplicates_among_many_features_are_told_apart(monkeypatch):
    # A product has the error of the whole squares; the distances here are a thousandth of them.
    monkeypatch.setattr(_search, "ALL_EXACT", 0)
    base = np.random.default_rng(0).standard_normal((40, 2000), dtype=np.float32)
    x = np.concatenate(
        [
            base + 1e-3 * np.random.default_rng(seed).standard_normal(base.shape, dtype=np.float32)
            for seed in range(1, 7)
        ]
    )
    check(x, 8)


def test_neighbours_that_come_in_the_worst_order():
    # Each block is nearer than all before it, so every pair exceeds the threshold.
    x = np.sort(np.random.default_rng(0).exponential(size=500))[::-1, None] ** 3
    check(x, 5, memory=3e4)


@pytest.fixture
def counted(monkeypatch):
    """A list to which the number of candidates is appended each time some are put into the queue."""
    sizes, enqueue = [], Nearest.enqueue
    monkeypatch.setattr(Nearest, "enqueue", lambda self, *found: sizes.append(len(found[-1])) or enqueue(self, *found))
    return sizes


def test_data_in_the_order_of_their_classes_cost_no_more(counted):
    # A block meets its own class last, when everything it has found so far is far away.
    classes = gaussian(4, 8).repeat(500, axis=0) * 30
    x = classes + gaussian(2000, 8)
    check(x, 5, memory=2e6)
    ordered = sum(counted)
    counted.clear()
    check(np.random.default_rng(0).permutation(x), 5, memory=2e6)
    assert ordered < 2 * sum(counted)


@pytest.mark.parametrize("copies", [40, 1500])
def test_many_copies_of_a_point_cost_no_more(copies, counted):
    x = gaussian(2000, 8)
    check(x, 5, memory=2e6)
    different = sum(counted)
    counted.clear()
    x[:copies] = x[0]
    check(np.random.default_rng(0).permutation(x), 5, memory=2e6)
    assert sum(counted) < 2 * different


def test_in_inference_mode():
    x = gaussian(400, 8)
    with torch.inference_mode():
        check(x, 5, memory=1e5)
        check(torch.from_numpy(x) * 1, 5, memory=1e5)


def test_a_point_that_everyone_is_new_to():
    # All others come nearer and nearer to a single one, which finds more than there is room for at a time.
    angle = np.linspace(0, 40, 400)
    x = np.stack([np.cos(angle), np.sin(angle)], 1) * np.linspace(9, 1, 400)[:, None]
    check(np.concatenate([x, [[0, 0]]]), 3, memory=1e5)


def test_each_pair_of_blocks_is_multiplied_once(monkeypatch):
    n, d, done = 1000, 40, []
    addmm = torch.Tensor.addmm_

    def counted(self, a, b, **options):
        done.append(a.shape[0] * b.shape[1])
        return addmm(self, a, b, **options)

    monkeypatch.setattr(torch.Tensor, "addmm_", counted)
    knn_graph(gaussian(n, d), 5, memory=1e6)
    assert n * n / 2 <= sum(done) < 0.6 * n * n


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 16])
@pytest.mark.parametrize("memory", [1e6, 1e7, 1e9])
@pytest.mark.parametrize("shape", [(90_000, 3), (90_000, 800_000), (300, 800_000), (10**6, 1)])
def test_what_is_multiplied_keeps_to_the_memory_whatever_the_size(shape, memory, threads, monkeypatch):
    class Enough(Exception):
        pass

    def stop(self, width):
        raise Enough

    monkeypatch.setattr(Blocks, "allocate", stop)
    x = torch.zeros(1, 1, dtype=torch.float16).expand(shape)  # of any size, in two bytes of memory
    data = Blocks.__new__(Blocks)
    with pytest.raises(Enough):
        data.__init__(x, x.device, memory, threads)
    product, factors = data.rows**2, 2 * data.rows * (data.features + 2)
    assert 4 * threads * (product + factors) <= memory / 2


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_more_threads_than_processors_lose_nothing(threads):
    x = gaussian(3000, 4)
    before = torch.get_num_threads()
    data = Blocks(torch.from_numpy(x), torch.device("cpu"), 1e5, threads)
    assert len(data.blocks) > 20
    closeness, candidates = nearest_candidates(data, 12)
    assert torch.get_num_threads() == before
    np.testing.assert_array_equal(refine(data, 8, closeness, candidates)[1], brute_force(x, 8)[1])
    assert (np.diff(closeness, axis=1) <= 0).all()


def test_threads_are_given_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="midway"), one_thread_each(2) as pool:
        assert list(pool.map(lambda _: torch.get_num_threads(), range(2))) == [1, 1]
        raise RuntimeError("midway")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
def test_pairs_above_the_threshold_of_their_row_or_of_their_column(device):
    closeness = torch.tensor(gaussian(70, 50), dtype=torch.float32, device=device)
    rows, columns = closeness.topk(3).values[:, -1], closeness.T.topk(2).values[:, -1]
    i, j, values = (found.cpu() for found in pairs_above(closeness, rows, columns))
    expected = ((closeness > rows[:, None]) | (closeness > columns)).cpu()
    found = torch.zeros_like(expected)
    found[i, j] = True
    assert torch.equal(found, expected) and len(i) == expected.sum()
    assert torch.equal(values, closeness.cpu()[i, j])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (9, 8)])
def test_enough_partners_exceed_the_threshold_of_a_block(shape, axis):
    closeness, m = torch.tensor(gaussian(*shape), dtype=torch.float32), 5
    closeness[:, : shape[1] // 3] = closeness[0, 0]  # many are equal,
    closeness[shape[0] // 2 :, -20:] = 9  # some of them at the top
    threshold, tied = block_thresholds(closeness, m, axis)
    count = (closeness > threshold.unsqueeze(axis)).sum(axis)
    clear = torch.ones(len(threshold), dtype=torch.bool)
    clear[tied] = False
    assert (count[clear] >= m).all() and (count[~clear] < m).all()
    # The aim is to be left with few.
    assert count.float().mean() < 4 * m


def test_the_queue_is_merged_even_if_one_point_has_more_candidates_than_all_others_together():
    nearest = Nearest(4, 2, torch.device("cpu"))
    nearest.enqueue(
        slice(0, 4),
        slice(0, 4),
        torch.tensor([0, 0, 0, 0, 0, 3]),
        torch.arange(6),
        torch.tensor([-5.0, -1, -4, -2, -3, -9]),
    )
    closeness, index = nearest.result()
    assert index[0].tolist() == [1, 3] and closeness[0].tolist() == [-1, -2]
    assert index[3, 0] == 5 and closeness[3].tolist() == [-9, -np.inf]
    assert nearest.threshold.tolist() == [-2, -np.inf, -np.inf, -np.inf]
    assert not nearest.queue


def test_a_thread_that_leaves_full_precision_does_not_take_it_from_another():
    inside, first_has_left = threading.Barrier(2, timeout=60), threading.Event()
    found = {}

    def first():
        with full_precision(torch.device("cpu")):
            inside.wait()
        found["after the first"] = torch.get_float32_matmul_precision()
        first_has_left.set()

    def last():
        with full_precision(torch.device("cpu")):
            inside.wait()
            first_has_left.wait(60)
            found["in the last"] = torch.get_float32_matmul_precision()
        found["after the last"] = torch.get_float32_matmul_precision()

    torch.set_float32_matmul_precision("medium")
    try:
        with ThreadPoolExecutor(2) as pool:
            for future in (pool.submit(first), pool.submit(last)):
                future.result()
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found == {"after the first": "highest", "in the last": "highest", "after the last": "medium"}


def test_threads_that_enter_and_leave_full_precision_at_the_same_time(monkeypatch):
    change, start = torch.set_float32_matmul_precision, threading.Barrier(4, timeout=60)

    def change_slowly(precision):
        change(precision)
        time.sleep(0.05)  # so that all threads are between reading and writing at the same time, if they can be

    def enter_and_leave(_):
        start.wait()
        with full_precision(torch.device("cpu")):
            return torch.get_float32_matmul_precision()

    change("medium")
    monkeypatch.setattr(torch, "set_float32_matmul_precision", change_slowly)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(enter_and_leave, range(4))) == ["highest"] * 4
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        change("highest")


def test_products_keep_their_precision_whatever_the_caller_has_chosen():
    x = torch.from_numpy(gaussian(200, 64)).float()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            graph = knn_graph(x, 5)
            with pytest.raises(RuntimeError, match="midway"), full_precision(x.device):
                assert torch.get_float32_matmul_precision() == "highest"
                assert not torch.is_autocast_enabled("cpu")
                raise RuntimeError("midway")
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(graph.indices, brute_force(x, 5)[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_graph_on_a_gpu(monkeypatch):
    monkeypatch.setattr(_search, "ALL_EXACT", 0)
    x = np.random.default_rng(0).standard_normal((3000, 3000), dtype=np.float32)
    here, there = knn_graph(x, 30), knn_graph(x, 30, device="cuda")
    np.testing.assert_array_equal(here.indices, there.indices)
    np.testing.assert_allclose(here.distances, there.distances, rtol=5e-7)
