"""The search behind `neighbors.knn_graph`.

Each pair of blocks of points is visited once. A matrix product, in bfloat16 if the processor is fast at it and in
float32 otherwise, gives for every pair of points the most that their closeness may be, which is minus half the squared
distance: what is nearer is greater. Each point keeps the m pairs that may be closest, with m a little more than k. The
distances of these are computed in float64. If the farthest of the k nearest is closer than anything that was not kept
may be, nothing is missing; if not, the point is compared with all others again.
"""

from __future__ import annotations

import threading

import numpy as np
import torch

from ._blocks import Blocks, one_thread_each
from ._nearest import Nearest
from ._progress import progress_bar

SPEED = 2  # of a product in bfloat16 beside one in float32, where the processor has instructions for it
PAIR = 20  # how much longer the distance of a pair takes in float64 than in a matrix product in float32
MANY = 2048  # points from which it is worth while to look at a sample first
RELATIVE = 2.0**-30  # the error of a squared distance that is not seen in its root in float32


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the processor has instructions for products in bfloat16."""
    known: dict = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not say
    return device.type == "cpu" and bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def plan(data: Blocks, k: int) -> tuple[Blocks, int]:
    """In which precision to look for candidates of each point, and how many to keep.

    A sample of points shows how many others may be nearer than their k-th neighbour, as far as rough closeness tells.
    With fewer candidates than that a point has to be searched again; with many it takes long to measure them.
    """
    n = len(data.x)
    few, most = min(k + 4, n - 1), min(4 * k + 40, n - 1)
    if n < MANY:
        return data, few
    sample = torch.arange(0, n, n // 64)[: data.rows]
    square, costs, kth = data.square.cpu(), {}, None
    for rough in [data, *([data.in_bfloat16()] if fast_bfloat16(data.device) else [])]:
        closeness, nearest = to_all(rough, sample).topk(most)
        if kth is None:  # the k-th neighbour is at least this close
            kth = closeness[:, k - 1] - 2 * data.share * (square[sample] + square[nearest[:, k - 1]])
        needed = (closeness >= kth[:, None]).sum(1)
        rough.of_thread = threading.local()  # its memory is for the threads of the search
        for m in {few, *(needed[needed < most] + 1).tolist()}:
            again = float((needed >= m).float().mean())  # the share of the points that have to be searched again
            costs[rough, m] = n / (2 if rough is data else 2 * SPEED) + PAIR * m + again * n
    return min(costs, key=costs.__getitem__)


def to_all(data: Blocks, points: torch.Tensor) -> torch.Tensor:
    """(p, n) the most that the closeness of p points to all others may be, and -inf for each with itself."""
    closeness = torch.cat([data.closeness(points, others).cpu().clone() for others in data.blocks], 1)
    closeness[range(len(points)), points] = -torch.inf
    return closeness


def nearest_candidates(data: Blocks, m: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, m) the most that their closeness may be, and the indices of the m nearest, from every pair of points once."""
    nearest = Nearest(len(data.x), m, data.device)
    pairs = [(rows, others) for b, rows in enumerate(data.blocks) for others in data.blocks[b:]]

    def visit(pair: tuple[slice, slice]) -> None:
        rows, others = pair
        nearest.update(rows, others, data.closeness(rows, others, triangle=rows is others))

    # Each thread works on pairs of blocks of its own, so that they share all of the work and not the products alone.
    name = f"neighbours ({str(data.type).removeprefix('torch.')})"
    with one_thread_each(data.threads) as pool:
        for _ in progress_bar(pool.map(visit, pairs), total=len(pairs), desc=name, unit="block"):
            pass
    return nearest.result()


def nearest_of_rows(data: Blocks, rows: slice, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for some of the points, at most ``data.rows`` of them, from their pairs with all others."""
    nearest = Nearest(rows.stop - rows.start, m, data.device)
    for others in data.blocks:
        closeness = data.closeness(rows, others)
        closeness.diagonal(rows.start - others.start).fill_(-torch.inf)  # each point with itself
        nearest.update(slice(0, len(closeness)), others, closeness, symmetric=False)
    return nearest.result()


def refine(
    data: Blocks, k: int, closeness: np.ndarray, candidates: np.ndarray, begin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the k nearest among the candidates (count, m) of the points from `begin` on.

    The neighbours and their order are exact. Points that may lack a neighbour are searched again.
    """
    n, (count, m) = len(data.x), candidates.shape
    squared, indices = exact(data, k, np.arange(begin, begin + count), candidates)
    kth = squared[:, -1] * data.scale**2 / -2
    # What is no candidate is at most as close as the last candidate may be.
    incomplete = np.flatnonzero((closeness[:, -1] >= kth) & (m < n - 1))
    for start in range(0, len(incomplete), step := min(data.rows, max(1, data.rows**2 // (8 * n)))):
        rows = incomplete[start : start + step]
        points = torch.from_numpy(begin + rows)
        most = to_all(data, points)
        needed = int((most >= torch.from_numpy(kth[rows, None])).sum(1).amax())
        squared[rows], indices[rows] = exact(data, k, points.numpy(), most.topk(needed).indices.numpy())
    return np.sqrt(squared), indices


def exact(data: Blocks, k: int, points: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p, k) squared distances and indices of the k nearest among the candidates (p, m) of p points."""
    if candidates.size < len(data.x):  # the products would read all points
        own = np.repeat(points, candidates.shape[1])
        squared = data.differences(own, candidates.ravel()).reshape(candidates.shape)
    else:
        squared, error = data.products(points, candidates)
        order = np.argsort(squared, axis=1)
        squared, candidates = np.take_along_axis(squared, order, 1), np.take_along_axis(candidates, order, 1)
        # Differences decide wherever an error would change a neighbour, the order of two, or a digit.
        close = np.diff(squared, axis=1) <= 2 * error
        unsure = error > RELATIVE * squared
        unsure[:, 1:] |= close
        unsure[:, :-1] |= close
        unsure &= squared <= squared[:, k - 1 : k] + 2 * error
        i, place = unsure.nonzero()
        squared[i, place] = data.differences(points[i], candidates[i, place])
    # By distance, and by index where distances are equal.
    order = np.lexsort((candidates, squared), axis=-1)[:, :k]
    return np.take_along_axis(squared, order, 1), np.take_along_axis(candidates, order, 1)
