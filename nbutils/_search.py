"""The search behind `neighbors.knn_graph`.

The points are read in blocks, and each pair of blocks is visited once. A matrix product in float32 gives the closeness
of all its pairs of points: minus half the squared distance, so that what is nearer is greater. Each point holds the m
nearest points found so far, with m a little more than k, and the least closeness among them is its running threshold:
a pair is a candidate only if it exceeds the threshold of one of its two points. If two blocks have many candidates, as
the first ones do, thresholds are raised before the candidates are collected: the partners of a point are divided into
2 m groups, and the new threshold is the group maximum of rank m + 1, which at least m pairs exceed unless there are
ties. Candidates wait in a queue until there are many, and are then merged into the lists of their points. At the end,
`refine` computes distances from differences in float64 wherever the rounding of the products, which it measures, leaves
a neighbour or the order of two neighbours in doubt.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

from ._progress import progress_bar

CPU_ROWS = 3072  # the most rows of a block on the CPU, whose caches are of less use to larger products
FEATURES = 2048  # the most features of one product, since longer sums in float32 would be less accurate
ALL_EXACT = 2**26  # up to so many coordinate differences all distances are computed from them, which takes no time
SAMPLE = 2**25  # coordinate differences from which the rounding error of the products is measured
MARGIN = 8  # how many times the error found in a sample a product may be off
TOLERANCE = 2.0**-21  # the relative error of a squared distance up to which a distance may come from a product
FLOAT32_HOLDS = (torch.float32, torch.float16, torch.bfloat16, torch.int16, torch.int8, torch.uint8, torch.bool)


def most_rows(n: int, device: torch.device, memory: float, threads: int) -> int:
    """The number of rows of a block with which `threads` can each work on a pair of blocks in `memory` bytes."""
    fit = max(16, (memory / threads / 16) ** 0.5)  # a quarter of the memory for the closeness of two blocks
    enough = max(256, n / (2 * threads**0.5))  # for about two pairs of blocks for each thread
    return int(min(n, fit, enough, CPU_ROWS if device.type == "cpu" else n))


@contextmanager
def one_thread_each(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in each of which torch uses that thread alone, instead of dividing its work over all."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


class Blocks:
    """The points x (n, d) in blocks of rows and of features, centred and in float32, and the products of two blocks.

    Up to `threads` threads may ask for products at the same time. They share the `memory`, in bytes.

    Attributes
    ----------
    blocks, columns : the slices of the rows and of the features
    mean : (d,) a centre of the data
    scale : the power of two by which the centred data are multiplied
    square : (n,) float32, the squared norms of the centred and scaled points

    Raises
    ------
    ValueError
        If x has NaN or infinite values, or values whose squares float32 cannot hold.
    """

    def __init__(self, x: torch.Tensor, device: torch.device, memory: float, threads: int):
        self.x, self.device, self.memory, self.threads = x, device, memory, threads
        n, d = x.shape
        self.rows = most_rows(n, device, memory, threads)
        # A quarter of the memory for the two factors of a product. Reading and the queue of candidates take half.
        self.features = int(min(d, FEATURES, max(16, memory / threads / 32 / self.rows - 2)))
        self.blocks = [slice(start, min(start + self.rows, n)) for start in range(0, n, self.rows)]
        self.columns = [slice(start, min(start + self.features, d)) for start in range(0, d, self.features)]
        self.of_thread = threading.local()

        # Any centre will do that is near the data, so a sample of the points is enough.
        sample = torch.arange(0, n, max(1, n // 512), device=x.device)
        self.mean = torch.empty(d, dtype=self.values(sample[:1], slice(0, 1)).dtype, device=x.device)
        spread = 0.0
        for cols in self.columns:
            part = self.values(sample, cols)
            self.mean[cols] = part.mean(0)
            spread = max(spread, float((part - self.mean[cols]).abs().max()))
        # A power of two leaves all digits as they are. Only extreme numbers need it, for the sake of their squares.
        self.scale = 1.0 if spread == 0 or 1e-9 < spread < 1e9 else float(2.0 ** -np.floor(np.log2(spread)))
        self.square, buffer = torch.zeros(n, device=device), self.allocate(self.features + 2)
        for rows in self.blocks:
            for cols in self.columns:
                part = self.read(rows, cols, buffer)[:, :-2]
                self.square[rows] += torch.linalg.vecdot(part, part)
        finite = bool(torch.isfinite(self.square).all())
        if not finite and (bad := sum(int((~torch.isfinite(x[:, cols]).all(0)).sum()) for cols in self.columns)):
            raise ValueError(f"x has NaN or infinite values in {bad} of {d} features: drop them or find their cause")
        if not finite or (spread and not 1e-18 < spread < 1e18):
            raise ValueError(f"x varies by {spread:.0e}: distances would not fit float32; rescale x")

    def allocate(self, width: int) -> torch.Tensor:
        """Memory for a block of rows with `width` numbers each."""
        return torch.empty(self.rows * width, device=self.device)

    def values(self, rows: slice | torch.Tensor, cols: slice) -> torch.Tensor:
        """The data in float32 if that holds all their digits, else in float64."""
        part = self.x[:, cols]
        part = part[rows] if isinstance(rows, slice) else part.index_select(0, rows.to(part.device))
        return part.float() if part.dtype in FLOAT32_HOLDS else part.double()

    def read(self, rows: slice | torch.Tensor, cols: slice, buffer: torch.Tensor) -> torch.Tensor:
        """(rows, features + 2) centred data in the memory of `buffer`; the last two columns are left free."""
        # float64 data far from the origin would lose digits if they were rounded before they are centred.
        part = self.values(rows, cols)
        out = buffer[: len(part) * (part.shape[1] + 2)].view(len(part), -1)
        if part.device == self.device:
            torch.sub(part, self.mean[cols], out=out[:, :-2])
        else:
            out[:, :-2] = part - self.mean[cols]
        if self.scale != 1:
            out[:, :-2] *= self.scale
        return out

    def closeness(self, rows: slice | torch.Tensor, others: slice, triangle: bool = False) -> torch.Tensor:
        """(rows, others) minus half the squared distances between two blocks, in units of ``scale ** -2``.

        With `triangle`, for a block with itself, only the pairs above the diagonal are computed, so that each appears
        once; all others are -inf. The result is valid until the next call in the same thread.
        """
        if not hasattr(self.of_thread, "buffers"):
            self.of_thread.buffers = [self.allocate(w) for w in (self.rows, self.features + 2, self.features + 2)]
        product_buffer, left, right = self.of_thread.buffers
        for cols in self.columns:
            a, b = self.read(rows, cols, left), self.read(others, cols, right)
            # Two more features hold the squares, so that a single product gives a·b - a·a / 2 - b·b / 2. They come with
            # the last columns only: until then the sum stays small.
            last = cols.stop == self.x.shape[1]
            a[:, -2], a[:, -1] = (1, -0.5 * self.square[rows]) if last else (0, 0)
            b[:, -2], b[:, -1] = (-0.5 * self.square[others], 1) if last else (0, 0)
            product = product_buffer[: len(a) * len(b)].view(len(a), len(b))
            step = max(16, -(-len(a) // 8)) if triangle else len(a)  # strips, each from the diagonal on
            for start in range(0, len(a), step):
                first = start if triangle else 0
                product[start : start + step, first:].addmm_(
                    a[start : start + step], b[first:].T, beta=int(cols.start > 0)
                )
        if triangle:
            for start in range(0, len(a), step):
                product[start : start + step, :start] = -torch.inf
                corner = product[start : start + step, start : start + step]
                corner.masked_fill_(torch.ones_like(corner, dtype=torch.bool).tril(), -torch.inf)
        return product

    def squared_distances(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """(p,) squared distances of p pairs of points, from differences in float64."""
        total, d = np.zeros(len(i)), self.x.shape[1]
        width = min(d, 1024)
        most = min(2**18, self.memory / 64 / self.threads)  # coordinates of a piece, which stays in the cache
        step = max(1, int(most // width))

        def measure(start: int) -> None:
            piece = slice(start, start + step)
            left, right = (torch.from_numpy(side[piece].astype(np.int64)) for side in (i, j))
            for first in range(0, d, width):
                cols = slice(first, first + width)
                a, b = self.values(left, cols), self.values(right, cols)
                if a.is_mps:  # it has no float64
                    a, b = a.cpu(), b.cpu()
                difference = a.double().sub_(b)
                total[piece] += torch.linalg.vecdot(difference, difference).cpu().numpy()

        with one_thread_each(self.threads) as pool:
            list(pool.map(measure, range(0, len(i), step)))
        return total


class Nearest:
    """The m nearest of each of n points, among the pairs seen so far.

    Attributes
    ----------
    closeness : (n, m) in any order; -inf where fewer than m points have been found
    index : (n, m) int32
    threshold : (n,) what a closeness must exceed to be among the m greatest; -inf until m points have been found
    queue : candidates not yet merged: point, partner and closeness, each (p,)
    """

    def __init__(self, n: int, m: int, device: torch.device):
        self.closeness = torch.full((n, m), -torch.inf, device=device)
        self.index = torch.zeros((n, m), dtype=torch.int32, device=device)
        self.threshold = torch.full((n,), -torch.inf, device=device)
        self.queue: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.lock = threading.Lock()

    def update(self, rows: slice, others: slice, closeness: torch.Tensor, symmetric: bool = True) -> None:
        """Take in all pairs of two blocks, as partners of the points of `rows` and, if `symmetric`, of `others`."""
        m = self.closeness.shape[1]
        # Of either side the points, their partners, and the axis along which the partners lie.
        sides = ((rows, others, 1), (others, rows, 0))[: 2 if symmetric else 1]
        thresholds = [
            self.threshold[rows],
            self.threshold[others] if symmetric else torch.full_like(closeness[0], torch.inf),
        ]
        # Of many candidates most would be displaced by others of the same block.
        if 16 * len(pairs_above(closeness[::16], thresholds[0][::16], thresholds[1])[0]) > 4 * m * max(closeness.shape):
            for side, (points, partners, axis) in enumerate(sides):
                raised, tied = block_thresholds(closeness, m, axis)
                tied = tied[raised[tied] > thresholds[side][tied]]
                thresholds[side] = thresholds[side].maximum(raised)
                if len(tied):
                    values, partner = closeness.movedim(axis, 1)[tied].topk(m)
                    self.enqueue(points, partners, tied.repeat_interleave(m), partner.view(-1), values.view(-1))
                    thresholds[side][tied] = torch.inf
        i, j, values = pairs_above(closeness, *thresholds)
        for threshold, point, partner, (points, partners, _) in zip(thresholds, (i, j), (j, i), sides, strict=False):
            new = (values > threshold[point]).nonzero()[:, 0]
            self.enqueue(points, partners, point[new], partner[new], values[new])
        with self.lock:
            if sum(len(point) for point, *_ in self.queue) > m * max(closeness.shape) / 2:
                self.flush()

    def enqueue(
        self, points: slice, partners: slice, point: torch.Tensor, partner: torch.Tensor, closeness: torch.Tensor
    ) -> None:
        """Add candidates (p,) to the queue; `point` and `partner` are counted from the starts of their blocks."""
        with self.lock:
            self.queue.append((point.int() + points.start, partner.int() + partners.start, closeness))

    def flush(self) -> None:
        """Merge the queue into the lists, in a table with a row for each point that has candidates."""
        m = self.closeness.shape[1]
        while self.queue:
            queue, self.queue = self.queue, []
            point, partner, values = (torch.cat(parts) for parts in zip(*queue, strict=True))
            point, order = point.sort()
            points, count = point.unique_consecutive(return_counts=True)
            if not len(points):
                break
            partner, values, width = partner[order], values[order], min(int(count.amax()), m)
            column = torch.arange(len(point), device=point.device) - (count.cumsum(0) - count).repeat_interleave(count)
            if count.amax() > width:  # the table stays narrow: further candidates of a point wait for the next round
                later, now = (column >= width).nonzero()[:, 0], (column < width).nonzero()[:, 0]
                self.queue.append((point[later], partner[later], values[later]))
                column, partner, values, count = column[now], partner[now], values[now], count.clamp(max=width)
            # The first m columns of the table are what the points hold already.
            start = torch.arange(len(points), device=point.device) * (m + width) + m
            place = column + start.repeat_interleave(count)
            closeness = torch.full((len(points), m + width), -torch.inf, device=point.device)
            index = torch.zeros((len(points), m + width), dtype=torch.int32, device=point.device)
            closeness[:, :m], index[:, :m] = self.closeness[points], self.index[points]
            closeness.view(-1)[place], index.view(-1)[place] = values, partner
            closeness, place = closeness.topk(m, sorted=False)
            self.closeness[points], self.index[points] = closeness, index.gather(1, place)
            self.threshold[points] = self.threshold[points].maximum(closeness.amin(1))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, m) closeness, descending in each row, and indices."""
        self.flush()
        closeness, order = self.closeness.sort(1, descending=True)
        return closeness.cpu().numpy(), self.index.gather(1, order).cpu().numpy()


def block_thresholds(closeness: torch.Tensor, m: int, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For each point a value that at least m of its partners along `axis` exceed, and not many more.

    It is -inf for a point with too few partners. Second, the points for which fewer than m partners exceed the value,
    since several are equal to it.
    """
    # The maxima of different groups are different pairs, and finding them takes one pass.
    groups = 2 * m
    if (size := closeness.shape[axis] // groups) > 1:
        closeness = closeness.narrow(axis, 0, size * groups).unflatten(axis, (size, groups)).amax(axis)
    closeness = closeness.movedim(axis, 1)
    if closeness.shape[1] <= m:
        return closeness.new_full((len(closeness),), -torch.inf), closeness.new_empty(0, dtype=torch.int64)
    greatest = closeness.topk(m + 1).values
    threshold = greatest[:, m]
    return threshold, ((greatest[:, m - 1] == threshold) & (threshold > -torch.inf)).nonzero()[:, 0]


def pairs_above(
    closeness: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row, column and value where closeness (r, c) exceeds the threshold of its row (r,) or of its column (c,)."""
    if closeness.device.type != "cpu":
        i, j = ((closeness > rows[:, None]) | (closeness > columns)).nonzero(as_tuple=True)
        return i.int(), j.int(), closeness[i, j]
    # On the CPU NumPy compares ten times as fast as torch, and twenty times in pieces that stay in the cache.
    values, of_row, of_column, found = closeness.numpy(), rows.numpy(), columns.numpy(), []
    for start in range(0, len(values), step := max(1, 2**17 // len(of_column))):
        part = slice(start, start + step)
        above = values[part] > np.minimum(of_row[part, None], of_column)
        found.append(np.flatnonzero(above) + start * values.shape[1])
    place = np.concatenate(found)
    i, j = (side.astype(np.int32) for side in divmod(place, values.shape[1]))
    return torch.from_numpy(i), torch.from_numpy(j), torch.from_numpy(values.reshape(-1)[place])


def nearest_candidates(data: Blocks, m: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, m) approximate closeness and indices of the m nearest, from every pair of points once."""
    nearest = Nearest(len(data.x), m, data.device)
    pairs = [(rows, others) for b, rows in enumerate(data.blocks) for others in data.blocks[b:]]

    def visit(pair: tuple[slice, slice]) -> None:
        rows, others = pair
        nearest.update(rows, others, data.closeness(rows, others, triangle=rows is others))

    # Each thread works on pairs of blocks of its own, so that they share all of the work and not the products alone.
    with one_thread_each(data.threads) as pool:
        for _ in progress_bar(pool.map(visit, pairs), total=len(pairs), desc="neighbours", unit="block"):
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
    norm = data.square.cpu().numpy().astype(np.float64) / data.scale**2
    squared = np.maximum(closeness.astype(np.float64) * -2 / data.scale**2, 0)

    # An error is counted as a share of the two squared norms. The roundings of 2^-24 in a sum of float32 are as good as
    # independent, so more than the square root of their number hardly ever remains (Higham and Mary, 2019). Where a
    # device rounds worse, a sample of squared distances shows it.
    sample = np.arange(0, count, max(1, count // max(16, min(512, SAMPLE // (m * data.x.shape[1])))))
    i, j = begin + np.repeat(sample, m), candidates[sample].ravel()
    off = np.abs(squared[sample].ravel() - data.squared_distances(i, j)) / np.maximum(norm[i] + norm[j], 1e-300)
    rounding = max(off.max(), np.sqrt(data.features + len(data.columns)) * 2.0**-24 / MARGIN)

    # A sample does not hold the largest error of all, so a margin is allowed for wherever an error would change a
    # neighbour or the order.
    own = norm[begin : begin + count]
    error = rounding * (own[:, None] + norm[candidates].max(1, keepdims=True))
    close = np.diff(squared, axis=1) <= MARGIN * error
    unsure = (error > TOLERANCE * squared) | (n * k * data.x.shape[1] <= ALL_EXACT)
    unsure[:, 1:] |= close
    unsure[:, :-1] |= close
    unsure &= squared <= squared[:, k - 1 : k] + MARGIN * error
    farthest = squared[:, -1].copy()
    i, place = unsure.nonzero()
    squared[i, place] = data.squared_distances(begin + i, candidates[i, place])
    distances, indices = take_nearest(squared, candidates, k)

    if m < n - 1:
        # A point that is not a candidate lies beyond the farthest one by the approximate distance.
        radius = distances[:, -1] + MARGIN * rounding * (own + (np.sqrt(own) + np.sqrt(distances[:, -1])) ** 2)
        incomplete = np.flatnonzero(farthest <= radius)
        for start in range(0, len(incomplete), step := min(data.rows, max(1, data.rows**2 // (8 * n)))):
            rows = incomplete[start : start + step]
            points = torch.from_numpy(begin + rows)
            product = np.concatenate(
                [data.closeness(points, others).cpu().double().numpy() for others in data.blocks], 1
            )
            for row, approximate in zip(rows, product * (-2 / data.scale**2), strict=True):
                approximate[begin + row] = np.inf
                near = np.flatnonzero(approximate <= radius[row])
                exact = data.squared_distances(np.full(len(near), begin + row), near)
                (distances[row],), (indices[row],) = take_nearest(exact[None], near[None], k)
    return np.sqrt(distances), indices


def take_nearest(squared: np.ndarray, indices: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first k of each row by (squared distance, index)."""
    order = np.lexsort((indices, squared), axis=-1)[:, :k]
    return np.take_along_axis(squared, order, 1), np.take_along_axis(indices, order, 1)
