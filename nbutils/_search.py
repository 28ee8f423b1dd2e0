"""The search behind `neighbors.knn_graph`: a large matrix in blocks, their products, and the nearest so far."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

from ._progress import progress_bar

CACHED = 3072  # rows of a block: with more of them a processor has less use of its caches
FEATURES = 2048  # at a time: a sum over more of them would lose digits in float32
QUICK = 2**26  # so many differences take no time: then all distances come from them
SAMPLE = 2**25  # so many differences tell how large rounding is
DIGITS = 2.0**-21  # of a squared distance: where there are more, an error larger than this is not left to rounding
FLOAT32_HOLDS = (torch.float32, torch.float16, torch.bfloat16, torch.int16, torch.int8, torch.uint8, torch.bool)


def most_rows(n: int, device: torch.device, memory: float, threads: int) -> int:
    """Rows of a block, such that `threads` can each work on a pair of blocks."""
    fit = max(16, (memory / threads / 16) ** 0.5)  # a quarter of the memory for the closeness of two blocks
    enough = max(256, n / (2 * threads**0.5))  # for about two pairs of blocks for each thread
    return int(min(n, fit, enough, CACHED if device.type == "cpu" else n))


@contextmanager
def one_thread_each(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in each of which torch keeps to that thread, whereas outside it divides its work over all."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


class Blocks:
    """Reads x (n, d) in blocks of rows and features, centred, in float32, and multiplies them.

    As many `threads` as are stated may ask for products at a time, and share the memory.

    Raises
    ------
    ValueError
        If x has NaN or infinite values, or values whose squares float32 cannot hold.
    """

    def __init__(self, x: torch.Tensor, device: torch.device, memory: float, threads: int):
        self.x, self.device, self.memory, self.threads = x, device, memory, threads
        n, d = x.shape
        self.rows = most_rows(n, device, memory, threads)
        # A quarter of the memory for what is multiplied. Half is for what reading takes, and for what is found.
        self.features = int(min(d, FEATURES, max(16, memory / threads / 32 / self.rows - 2)))
        self.blocks = [slice(start, min(start + self.rows, n)) for start in range(0, n, self.rows)]
        self.columns = [slice(start, min(start + self.features, d)) for start in range(0, d, self.features)]
        self.own = threading.local()

        # Any centre will do that is near the data.
        some = torch.arange(0, n, max(1, n // 512), device=x.device)
        self.mean, spread = torch.empty(d, dtype=self.digits(some[:1], slice(0, 1)).dtype, device=x.device), 0.0
        for cols in self.columns:
            part = self.digits(some, cols)
            self.mean[cols] = part.mean(0)
            spread = max(spread, float((part - self.mean[cols]).abs().max()))
        # A power of two changes no digit; only the squares of extreme numbers need it.
        self.scale = 1.0 if spread == 0 or 1e-9 < spread < 1e9 else float(2.0 ** -np.floor(np.log2(spread)))
        self.square, memory = torch.zeros(n, device=device), self.empty(self.features + 2)
        for rows in self.blocks:
            for cols in self.columns:
                part = self.read(rows, cols, memory)[:, :-2]
                self.square[rows] += torch.linalg.vecdot(part, part)
        finite = bool(torch.isfinite(self.square).all())
        if not finite and (bad := sum(int((~torch.isfinite(x[:, cols]).all(0)).sum()) for cols in self.columns)):
            raise ValueError(f"x has NaN or infinite values in {bad} of {d} features: drop them or find their cause")
        if not finite or (spread and not 1e-18 < spread < 1e18):
            raise ValueError(f"x varies by {spread:.0e}: distances would not fit float32; rescale x")

    def empty(self, width: int) -> torch.Tensor:
        """Memory for a block of rows."""
        return torch.empty(self.rows * width, device=self.device)

    def digits(self, rows: slice | torch.Tensor, cols: slice) -> torch.Tensor:
        """The data in the narrower of float32 and float64 that holds all its digits."""
        part = self.x[:, cols]
        part = part[rows] if isinstance(rows, slice) else part.index_select(0, rows.to(part.device))
        return part.float() if part.dtype in FLOAT32_HOLDS else part.double()

    def read(self, rows: slice | torch.Tensor, cols: slice, memory: torch.Tensor) -> torch.Tensor:
        """(rows, features + 2) with the last two columns left free, in the memory given."""
        # float64 data far from the origin would lose its digits if it were rounded before it is centred.
        part = self.digits(rows, cols)
        out = memory[: len(part) * (part.shape[1] + 2)].view(len(part), -1)
        if part.device == self.device:
            torch.sub(part, self.mean[cols], out=out[:, :-2])
        else:
            out[:, :-2] = part - self.mean[cols]
        if self.scale != 1:
            out[:, :-2] *= self.scale
        return out

    def closeness(self, rows: slice | torch.Tensor, others: slice, once: bool = False) -> torch.Tensor:
        """(rows, others) minus half the squared distances between two blocks, in units of ``scale ** -2``.

        If both are the same block, `once` has each pair once, where the column is greater than the row, and -inf
        elsewhere. The answer stays valid until the next call in the same thread.
        """
        if not hasattr(self.own, "desk"):
            self.own.desk = [self.empty(width) for width in (self.rows, self.features + 2, self.features + 2)]
        desk, left, right = self.own.desk
        for cols in self.columns:
            a, b = self.read(rows, cols, left), self.read(others, cols, right)
            # Two features more carry the squares: x y - x x / 2 - y y / 2 is a single product. At the end, where the
            # sum grows only once.
            last = cols.stop == self.x.shape[1]
            a[:, -2], a[:, -1] = (1, -0.5 * self.square[rows]) if last else (0, 0)
            b[:, -2], b[:, -1] = (-0.5 * self.square[others], 1) if last else (0, 0)
            product = desk[: len(a) * len(b)].view(len(a), len(b))
            step = max(16, -(-len(a) // 8)) if once else len(a)  # in strips, each from its own columns on
            for start in range(0, len(a), step):
                first = start if once else 0
                product[start : start + step, first:].addmm_(
                    a[start : start + step], b[first:].T, beta=int(cols.start > 0)
                )
        if once:
            for start in range(0, len(a), step):
                product[start : start + step, :start] = -torch.inf
                corner = product[start : start + step, start : start + step]
                corner.masked_fill_(torch.ones_like(corner, dtype=torch.bool).tril(), -torch.inf)
        return product

    def squared_distances(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """(p,) squared distances of p pairs of points, from differences summed in float64."""
        total, d = np.zeros(len(i)), self.x.shape[1]
        width = min(d, 1024)
        # So few at a time that they stay in the cache, and that torch does not divide them among threads, which for so
        # little work would mostly wait for each other.
        most = 2**14 if self.device.type == "cpu" else 2**18
        for start in range(0, len(i), step := max(1, int(min(most, self.memory / 64) // width))):
            a, b = (torch.from_numpy(side[start : start + step].astype(np.int64)) for side in (i, j))
            for first in range(0, d, width):
                cols = slice(first, first + width)
                part = self.digits(a, cols).sub_(self.digits(b, cols))
                part = part.cpu() if part.is_mps else part  # which has no float64
                total[start : start + step] += part.double().square_().sum(1).cpu().numpy()
        return total


class Nearest:
    """The m nearest of each of n points, among the pairs seen so far.

    Attributes
    ----------
    closeness : (n, m) in any order; -inf where fewer than m points have been seen
    index : (n, m) int32
    bar : (n,) what a pair must exceed to be among the m nearest; -inf as long as anything would be
    """

    def __init__(self, n: int, m: int, device: torch.device):
        self.closeness = torch.full((n, m), -torch.inf, device=device)
        self.index = torch.zeros((n, m), dtype=torch.int32, device=device)
        self.bar = torch.full((n,), -torch.inf, device=device)
        self.waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.lock = threading.Lock()

    def see(self, rows: slice, others: slice, closeness: torch.Tensor, both: bool = True) -> None:
        """See all pairs of two blocks: what is new to the rows and, if `both`, what to the others."""
        m, sides = self.closeness.shape[1], ((rows, others, 1), (others, rows, 0))[: 1 + both]
        bars = [self.bar[rows], self.bar[others] if both else torch.full_like(closeness[0], torch.inf)]
        # Where many are above the bars, of which most would be overtaken by others of the same block, raise them first.
        if 16 * len(above(closeness[::16], bars[0][::16], bars[1])[0]) > 4 * m * max(closeness.shape):
            for side, (mine, theirs, dim) in enumerate(sides):
                raised, tied = bar_of_block(closeness, m, dim)
                tied = tied[raised[tied] > bars[side][tied]]
                bars[side] = bars[side].maximum(raised)
                if len(tied):
                    near, other = closeness.movedim(dim, 1)[tied].topk(m)
                    self.wait(mine, theirs, tied.repeat_interleave(m), other.view(-1), near.view(-1))
                    bars[side][tied] = torch.inf
        i, j, near = above(closeness, *bars)
        for bar, own, other, (mine, theirs, _) in zip(bars, (i, j), (j, i), sides, strict=False):
            new = (near > bar[own]).nonzero()[:, 0]
            self.wait(mine, theirs, own[new], other[new], near[new])
        with self.lock:
            if sum(len(own) for own, *_ in self.waiting) > m * max(closeness.shape) / 2:
                self.keep_waiting()

    def wait(self, mine: slice, theirs: slice, own: torch.Tensor, other: torch.Tensor, near: torch.Tensor) -> None:
        """Put pairs of places in two blocks among those that wait: the longer they do the fewer tables are made."""
        with self.lock:
            self.waiting.append((own.int() + mine.start, other.int() + theirs.start, near))

    def keep_waiting(self) -> None:
        """Keep of the pairs that wait what is new, in a table with a line for each point that has found any."""
        m = self.closeness.shape[1]
        while self.waiting:
            waiting, self.waiting = self.waiting, []
            own, other, near = (torch.cat(parts) for parts in zip(*waiting, strict=True))
            own, order = own.sort()
            points, count = own.unique_consecutive(return_counts=True)
            if not len(points):
                break
            other, near, width = other[order], near[order], min(int(count.amax()), m)
            place = torch.arange(len(own), device=own.device) - (count.cumsum(0) - count).repeat_interleave(count)
            if count.amax() > width:  # one that has found many comes again: the table stays narrow
                late, now = (place >= width).nonzero()[:, 0], (place < width).nonzero()[:, 0]
                self.waiting.append((own[late], other[late], near[late]))
                place, other, near, count = place[now], other[now], near[now], count.clamp(max=width)
            place += (torch.arange(len(points), device=own.device) * (m + width) + m).repeat_interleave(count)
            closeness = torch.full((len(points), m + width), -torch.inf, device=own.device)
            names = torch.zeros((len(points), m + width), dtype=torch.int32, device=own.device)
            closeness[:, :m], names[:, :m] = self.closeness[points], self.index[points]
            closeness.view(-1)[place], names.view(-1)[place] = near, other
            closeness, place = closeness.topk(m, sorted=False)
            self.closeness[points], self.index[points] = closeness, names.gather(1, place)
            self.bar[points] = self.bar[points].maximum(closeness.amin(1))

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, m) closeness, descending in each row, and indices."""
        self.keep_waiting()
        closeness, place = self.closeness.sort(1, descending=True)
        return closeness.cpu().numpy(), self.index.gather(1, place).cpu().numpy()


def bar_of_block(closeness: torch.Tensor, m: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For each point a value that at least m along `dim` are above, and not many more; -inf if there are too few.

    Second, the points for which that is not so: for them several are exactly at the bar.
    """
    # The maxima of groups are different pairs, and cost one pass.
    groups = 2 * m
    if (size := closeness.shape[dim] // groups) > 1:
        closeness = closeness.narrow(dim, 0, size * groups).unflatten(dim, (size, groups)).amax(dim)
    closeness = closeness.movedim(dim, 1)
    if closeness.shape[1] <= m:
        return closeness.new_full((len(closeness),), -torch.inf), closeness.new_empty(0, dtype=torch.int64)
    best = closeness.topk(m + 1).values
    bar = best[:, m]
    return bar, ((best[:, m - 1] == bar) & (bar > -torch.inf)).nonzero()[:, 0]


def above(closeness: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Where closeness (r, c) is above the bar of its row (r,) or that of its column (c,): row, column, closeness."""
    if closeness.device.type != "cpu":
        i, j = ((closeness > rows[:, None]) | (closeness > columns)).nonzero(as_tuple=True)
        return i.int(), j.int(), closeness[i, j]
    # On the CPU NumPy compares ten times as fast as torch, and twice that in pieces that stay in the cache.
    values, rows, columns, found = closeness.numpy(), rows.numpy(), columns.numpy(), []
    for start in range(0, len(values), step := max(1, 2**17 // len(columns))):
        part = slice(start, start + step)
        hit = values[part] > np.minimum(rows[part, None], columns)
        found.append(np.flatnonzero(hit) + start * values.shape[1])
    place = np.concatenate(found)
    i, j = (side.astype(np.int32) for side in divmod(place, values.shape[1]))
    return torch.from_numpy(i), torch.from_numpy(j), torch.from_numpy(values.reshape(-1)[place])


def nearest_candidates(data: Blocks, m: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, m) approximate closeness and indices of the m nearest, from every pair of points once."""
    nearest = Nearest(len(data.x), m, data.device)
    pairs = [(rows, others) for b, rows in enumerate(data.blocks) for others in data.blocks[b:]]

    def look(pair: tuple[slice, slice]) -> None:
        rows, others = pair
        nearest.see(rows, others, data.closeness(rows, others, once=rows is others))

    # Each thread works through pairs of its own: so all of the work is shared, and not the products alone.
    with one_thread_each(data.threads) as pool:
        for _ in progress_bar(pool.map(look, pairs), total=len(pairs), desc="neighbours", unit="block"):
            pass
    return nearest.found()


def nearest_of_rows(data: Blocks, rows: slice, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for some of the points alone, at most ``data.rows`` of them, from their pairs with all others."""
    nearest = Nearest(rows.stop - rows.start, m, data.device)
    for others in data.blocks:
        closeness = data.closeness(rows, others)
        closeness.diagonal(rows.start - others.start).fill_(-torch.inf)  # each point with itself
        nearest.see(slice(0, len(closeness)), others, closeness, both=False)
    return nearest.found()


def refine(
    data: Blocks, k: int, closeness: np.ndarray, candidates: np.ndarray, begin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the k nearest among the candidates of the points from `begin` on.

    Exact wherever rounding leaves a doubt; points that may lack one are searched anew.
    """
    n, (count, m) = len(data.x), candidates.shape
    square = data.square.cpu().numpy().astype(np.float64) / data.scale**2
    found = np.maximum(closeness.astype(np.float64) * -2 / data.scale**2, 0)

    # How far rounding moves a squared distance, as a share of the squares that it is made of: seen in a sample.
    some = np.arange(0, count, max(1, count // max(16, min(512, SAMPLE // (m * data.x.shape[1])))))
    i, j = begin + np.repeat(some, m), candidates[some].ravel()
    off = np.abs(found[some].ravel() - data.squared_distances(i, j)) / np.maximum(square[i] + square[j], 1e-300)
    seen = max(off.max(), 2.0**-24)

    # Far beyond what was seen for the order, of which a mistake would change a neighbour.
    own = square[begin : begin + count]
    error = seen * (own[:, None] + square[candidates].max(1, keepdims=True))
    close = np.diff(found, axis=1) <= 8 * error
    unsure = (error > DIGITS * found) | (n * k * data.x.shape[1] <= QUICK)
    unsure[:, 1:] |= close
    unsure[:, :-1] |= close
    unsure &= found <= found[:, k - 1 : k] + 8 * error
    i, place = unsure.nonzero()
    last, found[i, place] = found[:, -1].copy(), data.squared_distances(begin + i, candidates[i, place])
    distances, indices = take_nearest(found, candidates, k)

    if m < n - 1:
        # Whatever was left out lies beyond the last candidate by the approximate distance.
        reach = distances[:, -1] + 8 * seen * (own + (np.sqrt(own) + np.sqrt(distances[:, -1])) ** 2)
        lost = np.flatnonzero(last <= reach)
        for start in range(0, len(lost), step := min(data.rows, max(1, data.rows**2 // (8 * n)))):
            rows = lost[start : start + step]
            chosen = torch.from_numpy(begin + rows)
            wide = [data.closeness(chosen, others).cpu().double().numpy() for others in data.blocks]
            for row, far in zip(rows, np.concatenate(wide, axis=1) * (-2 / data.scale**2), strict=True):
                far[begin + row] = np.inf
                near = np.flatnonzero(far <= reach[row])
                exact = data.squared_distances(np.full(len(near), begin + row), near)
                (distances[row],), (indices[row],) = take_nearest(exact[None], near[None], k)
    return np.sqrt(distances), indices


def take_nearest(squared: np.ndarray, names: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first k of each row by (distance, index)."""
    order = np.lexsort((names, squared), axis=-1)[:, :k]
    return np.take_along_axis(squared, order, 1), np.take_along_axis(names, order, 1)
