"""The search behind the graph: rounding, symmetry, memory, threads, and the precision of products."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_neighbors import CASES, brute_force, check, gaussian

from nbutils import neighbors
from nbutils._blocks import Blocks, one_thread_each
from nbutils._device import full_precision
from nbutils._nearest import Nearest, block_thresholds, pairs_above
from nbutils._search import nearest_candidates, refine
from nbutils.neighbors import knn_graph


@pytest.mark.parametrize("d", [30, 3000])
def test_distances_are_left_to_rounding_only_where_it_is_small(d, monkeypatch):
    x = np.random.default_rng(0).standard_normal((600, d), dtype=np.float32)
    counted = []
    differences = Blocks.differences
    monkeypatch.setattr(Blocks, "differences", lambda self, i, j: counted.append(len(i)) or differences(self, i, j))
    graph = knn_graph(x, 10)
    distances, indices = brute_force(x, 10)
    np.testing.assert_array_equal(graph.indices, indices)
    np.testing.assert_allclose(graph.distances, distances, rtol=1.01 * 2.0**-24)
    assert sum(counted) < 0.01 * 600 * 10


SIMPLEX = (np.eye(300) + 1e-5 * gaussian(300, 300)).astype(np.float32)  # all distances are nearly the same


def driven_apart(digits: int) -> np.ndarray:
    """Points in two groups that are mixed, and that rounding to so many binary digits drives apart as far as it can."""
    up = np.where(np.arange(200) % 2, 1.0, -1.0)[:, None]
    x = 1 + 2.0**-digits * (1 + 0.01 * up + 0.001 * gaussian(200, 64).clip(-4, 4))
    return np.concatenate([x, -x, np.zeros((1, 64))])  # so that the centre is the origin


DUST = gaussian(60, 9) * 10.0 ** np.linspace(-22, -19, 60)[:, None]  # with squares that float32 loses

HARD = {
    **CASES,
    "a simplex": SIMPLEX,
    "driven apart by bfloat16": driven_apart(8),
    "driven apart by float32": driven_apart(24),
    "driven apart, then far away": driven_apart(8) + 1e3,
    "two values of each feature": (gaussian(300, 500) > 1).astype(np.float32),
    "far groups of near points": (1e3 * gaussian(6, 40).repeat(60, axis=0) + gaussian(360, 40)).astype(np.float32),
    "one feature of each point": np.diag(np.exp(gaussian(300, 1)[:, 0])),
    "dust in the centre": np.concatenate([DUST, -DUST, gaussian(50, 9).round(), -gaussian(50, 9).round()]),
    "heavy tails, many features": np.exp(3 * gaussian(200, 3000)).astype(np.float32),
}


@pytest.fixture(params=["float32", "bfloat16"])
def precision(request, monkeypatch):
    """Candidates are looked for in this precision, whatever the processor can do, and there are few of them."""

    def chosen(data, k):
        return data if request.param == "float32" else data.in_bfloat16(), min(k + 1, len(data.x) - 1)

    monkeypatch.setattr(neighbors, "plan", chosen)
    return request.param


@pytest.mark.parametrize("memory", [1e5, 1e9])
@pytest.mark.parametrize("name", HARD)
def test_the_precision_of_the_products_changes_no_neighbour(name, memory, precision):
    x = HARD[name]
    check(x, min(10, len(x) - 1), memory=memory)


@pytest.mark.parametrize("k", [10, 299])
def test_distances_that_are_nearly_equal(k, precision):
    check(SIMPLEX, k, memory=1e6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", HARD)
def test_closeness_is_an_upper_bound_and_not_a_loose_one(name, dtype):
    x = torch.from_numpy(np.ascontiguousarray(HARD[name]).reshape(len(HARD[name]), -1))
    data = Blocks(x, torch.device("cpu"), 1e6, 1)
    data = data if dtype == torch.float32 else data.in_bfloat16()
    centred = (x.double() - data.mean) * data.scale
    for rows in data.blocks:
        for others in data.blocks:
            a, b = centred[rows], centred[others]
            exact = torch.stack([-0.5 * (one - b).square().sum(1) for one in a])
            over = data.closeness(rows, others).double() - exact
            squares = a.square().sum(1)[:, None] + b.square().sum(1)
            most = 1e-29 + 2 * data.share * squares + (dtype == torch.bfloat16) * 2.0**-6 * a.abs() @ b.abs().T
            assert (over >= -1e-12 * squares).all() and (over <= most).all()


def test_many_small_products_in_bfloat16_are_bounded_too():
    # With little memory a product is a sum of a thousand parts, all of which are rounded up or down alike.
    common, differing, blocks = [2.828125, 0.3046875, 0.1552734375, 0.162109375], [0.2177734375, 0.027587890625], 1000
    first = np.where(np.arange(16) == 0, 1024, 64 * (np.arange(16) == 15))
    a, b = (np.array([*common, *(sign * np.array(differing)), *10 * [0]]) for sign in (1, -1))
    x = np.stack([np.concatenate([first, np.tile(block, blocks)]) for block in (a, b)])
    x = np.concatenate([x, -x]).astype(np.float32)
    data = Blocks(torch.from_numpy(x), torch.device("cpu"), 1e3, 1).in_bfloat16()
    assert len(data.columns) == blocks + 1
    exact = -0.5 * ((x[:, None].astype(float) - x) ** 2).sum(2)
    assert (data.closeness(slice(0, 4), slice(0, 4)).numpy() >= exact).all()


def test_the_bound_is_nearly_reached():
    # Were it twice as narrow, it would be wrong for these.
    data = Blocks(torch.from_numpy(driven_apart(8)), torch.device("cpu"), 1e9, 1).in_bfloat16()
    product = (centred := data.x @ data.x.T).float()
    rounded = data.x.bfloat16().float()
    error = (rounded @ rounded.T - product).abs() / (centred.diagonal()[:, None] + centred.diagonal() + 1e-9)
    assert 0.5 * data.share < error.max() <= data.share


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_distances_of_few_data_are_rounded_once(dtype):
    x = gaussian(400, 7).astype(dtype)
    np.testing.assert_allclose(knn_graph(x, 8).distances, brute_force(x, 8)[0], rtol=1.0001 * 2.0**-24)


def test_near_duplicates_among_many_features_are_told_apart(monkeypatch):
    # A product has the error of the whole squares; the distances here are a thousandth of them.
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
    """A list to which the number of candidates is appended each time some are taken in."""
    sizes, merge = [], Nearest.merge
    monkeypatch.setattr(Nearest, "merge", lambda self, *found: sizes.append(len(found[-1])) or merge(self, *found))
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


def test_where_numbers_are_float64_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        check(gaussian(400, 8), 5, memory=1e5)
    finally:
        torch.set_default_dtype(torch.float32)


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
    product, factors = data.rows**2, 2 * data.rows * data.features
    assert 6 * threads * (product + factors) <= memory / 2


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_more_threads_than_processors_lose_nothing(threads):
    x = gaussian(1500, 4)
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


def test_candidates_are_merged_even_if_one_point_has_more_than_all_others_together():
    nearest = Nearest(4, 2, torch.device("cpu"))
    point, partner = torch.tensor([0, 0, 3, 0, 0, 0]), torch.tensor([0, 1, 5, 2, 3, 4])
    nearest.merge(slice(0, 4), slice(10, 20), point, partner, torch.tensor([-5.0, -1, -9, -4, -2, -3]))
    nearest.merge(slice(2, 4), slice(0, 4), torch.tensor([1]), torch.tensor([2]), torch.tensor([-7.0]))
    closeness, index = nearest.result()
    assert index[0].tolist() == [11, 13] and closeness[0].tolist() == [-1, -2]
    assert index[3].tolist() == [2, 15] and closeness[3].tolist() == [-7, -9]
    assert nearest.threshold.tolist() == [-2, -np.inf, -np.inf, -9]


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
    x = np.random.default_rng(0).standard_normal((3000, 3000), dtype=np.float32)
    here, there = knn_graph(x, 30), knn_graph(x, 30, device="cuda")
    np.testing.assert_array_equal(here.indices, there.indices)
    np.testing.assert_allclose(here.distances, there.distances, rtol=5e-7)
