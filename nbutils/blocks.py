"""The search behind `neighbors.knn_graph`: a large matrix in blocks, their products, and the nearest so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from .progress import progress_bar

FEATURES = 2048  # at a time: a sum over more of them would lose digits in float32
FLOAT32_HOLDS = (torch.float32, torch.float16, torch.bfloat16, torch.int16, torch.int8, torch.uint8, torch.bool)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Products of float32 in float32, whatever the caller has chosen: no TF32, no autocast."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


class Blocks:
    """Reads x (n, d) in blocks of rows and features, centred, in float32, and multiplies them.

    Raises
    ------
    ValueError
        If x has NaN or infinite values, or values whose squares float32 cannot hold.
    """

    def __init__(self, x: torch.Tensor, device: torch.device, memory: float):
        self.x, self.device, self.memory = x, device, memory
        n, d = x.shape
        # A quarter of the memory for the closeness of two blocks, a quarter for what is multiplied. The rest is for
        # what reading takes, and for what is found in a strip of the block.
        self.rows = int(min(n, max(16, (memory / 16) ** 0.5)))
        self.strip = max(16, -(-self.rows // 16))
        self.features = int(min(d, FEATURES, max(16, memory / 32 / self.rows - 2)))
        self.blocks = [slice(start, min(start + self.rows, n)) for start in range(0, n, self.rows)]
        self.columns = [slice(start, min(start + self.features, d)) for start in range(0, d, self.features)]
        self.product = torch.empty(self.rows * self.rows, device=device)
        self.left, self.right = (torch.empty(self.rows * (self.features + 2), device=device) for _ in range(2))

        # Any centre will do that is near the data.
        some = torch.arange(0, n, max(1, n // 512), device=x.device)
        self.mean, spread = torch.empty(d, dtype=self.digits(some[:1], slice(0, 1)).dtype, device=x.device), 0.0
        for cols in self.columns:
            part = self.digits(some, cols)
            self.mean[cols] = part.mean(0)
            spread = max(spread, float((part - self.mean[cols]).abs().max()))
        # A power of two changes no digit; only the squares of extreme numbers need it.
        self.scale = 1.0 if spread == 0 or 1e-9 < spread < 1e9 else float(2.0 ** -np.floor(np.log2(spread)))
        self.square = torch.zeros(n, device=device)
        for rows in self.blocks:
            for cols in self.columns:
                self.square[rows] += self.read(rows, cols, self.left)[:, :-2].square().sum(1)
        finite = bool(torch.isfinite(self.square).all())
        if not finite and (bad := sum(int((~torch.isfinite(x[:, cols]).all(0)).sum()) for cols in self.columns)):
            raise ValueError(f"x has NaN or infinite values in {bad} of {d} features: drop them or find their cause")
        if not finite or (spread and not 1e-18 < spread < 1e18):
            raise ValueError(f"x varies by {spread:.0e}: distances would not fit float32; rescale x")

    def digits(self, rows: slice | torch.Tensor, cols: slice) -> torch.Tensor:
        """The data in the narrower of float32 and float64 that holds all its digits."""
        part = self.x[:, cols]
        part = part[rows] if isinstance(rows, slice) else part.index_select(0, rows.to(part.device))
        return part.float() if part.dtype in FLOAT32_HOLDS else part.double()

    def read(self, rows: slice | torch.Tensor, cols: slice, memory: torch.Tensor) -> torch.Tensor:
        """(rows, features + 2) with the last two columns left free, in the memory given."""
        # float64 data far from the origin would lose its digits if it were rounded before it is centred.
        part = self.digits(rows, cols)
        out = memory[:len(part) * (part.shape[1] + 2)].view(len(part), -1)
        if part.device == self.device:
            torch.sub(part, self.mean[cols], out=out[:, :-2])
        else:
            out[:, :-2] = part - self.mean[cols]
        if self.scale != 1:
            out[:, :-2] *= self.scale
        return out

    def closeness(self, rows: slice | torch.Tensor, others: slice) -> torch.Tensor:
        """(rows, others) minus half the squared distances between two blocks, in units of ``scale ** -2``.

        Of a block with itself only what a strip at a time needs: the strip's rows, from its own columns on. It stays
        valid until the next call.
        """
        for cols in self.columns:
            a, b = self.read(rows, cols, self.left), self.read(others, cols, self.right)
            # Two features more carry the squares: x y - x x / 2 - y y / 2 is a single product. At the end, where the
            # sum grows only once.
            last = cols.stop == self.x.shape[1]
            a[:, -2], a[:, -1] = (1, -0.5 * self.square[rows]) if last else (0, 0)
            b[:, -2], b[:, -1] = (-0.5 * self.square[others], 1) if last else (0, 0)
            product = self.product[:len(a) * len(b)].view(len(a), len(b))
            step, beta = self.strip if rows is others else len(a), int(cols.start > 0)
            for start in range(0, len(a), step):
                first = start if rows is others else 0
                product[start:start + step, first:].addmm_(a[start:start + step], b[first:].T, beta=beta)
        return product

    def squared_distances(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """(p,) squared distances of p pairs of points, from differences summed in float64."""
        total, d = np.zeros(len(i)), self.x.shape[1]
        width = min(d, 1024)
        # What is at hand at a time should stay in the cache.
        for start in range(0, len(i), step := max(1, int(min(2**18, self.memory / 64) // width))):
            a, b = (torch.from_numpy(side[start:start + step].astype(np.int64)) for side in (i, j))
            for first in range(0, d, width):
                cols = slice(first, first + width)
                part = self.digits(a, cols).sub_(self.digits(b, cols))
                part = part.cpu() if part.is_mps else part  # which has no float64
                total[start:start + step] += part.double().square_().sum(1).cpu().numpy()
        return total


class Nearest:
    """The m nearest of each of n points, among the pairs seen so far.

    Attributes
    ----------
    closeness : (n, m) descending in each row; -inf where fewer than m points have been seen
    index : (n, m) int32
    """

    def __init__(self, n: int, m: int, device: torch.device):
        self.closeness = torch.full((n, m), -torch.inf, device=device)
        self.index = torch.zeros((n, m), dtype=torch.int32, device=device)
        self.waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def see(self, rows: slice, others: slice, closeness: torch.Tensor, both: bool = True) -> None:
        """See all pairs of two blocks: what is new to the rows and, if `both`, what to the others."""
        bars = []
        for mine, theirs, block in ((rows, others, closeness), (others, rows, closeness.T))[:1 + both]:
            bar = self.closeness[mine, -1].clone()
            if bar.amin() == -torch.inf:
                near, place = block.topk(min(self.closeness.shape[1], block.shape[1]))
                self.keep(mine, near, place.int().add_(theirs.start))
                bar.fill_(torch.inf)
            bars.append(bar)
        if not both:
            bars.append(torch.full((closeness.shape[1],), torch.inf, device=closeness.device))
        i, j = above(closeness, *bars)
        near = closeness[i, j]
        found = ((i, j, rows, others, bars[0]), (j, i, others, rows, bars[1]))
        for owner, other, mine, theirs, bar in found[:1 + both]:
            nearer = (near > bar[owner]).nonzero()[:, 0]
            self.waiting.append((owner[nearer] + mine.start, (other[nearer] + theirs.start).int(), near[nearer]))
        # The longer they wait the more are found, since the bars stay where they are.
        if sum(len(owner) for owner, *_ in self.waiting) > self.closeness.shape[1] * max(closeness.shape) / 2:
            self.keep_waiting()

    def keep_waiting(self) -> None:
        """See the pairs that wait, as a table with a line for each point that has found any."""
        while self.waiting:
            owner, other, near = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
            self.waiting.clear()
            owner, order = owner.sort(stable=True)
            owners, count = owner.unique_consecutive(return_counts=True)
            if not len(owners):
                break
            other, near, width = other[order], near[order], min(int(count.amax()), self.closeness.shape[1])
            place = torch.arange(len(owner), device=owner.device) - (count.cumsum(0) - count).repeat_interleave(count)
            if count.amax() > width:  # one that has found many comes again: the table stays narrow
                late, now = (place >= width).nonzero()[:, 0], (place < width).nonzero()[:, 0]
                self.waiting.append((owner[late], other[late], near[late]))
                place, other, near, count = place[now], other[now], near[now], count.clamp(max=width)
            place += (torch.arange(len(owners), device=owner.device) * width).repeat_interleave(count)
            closeness = torch.full((len(owners), width), -torch.inf, device=owner.device)
            names = torch.zeros((len(owners), width), dtype=torch.int32, device=owner.device)
            closeness.view(-1)[place], names.view(-1)[place] = near, other
            self.keep(owners, closeness, names)

    def keep(self, owners: slice | torch.Tensor, closeness: torch.Tensor, names: torch.Tensor) -> None:
        """See more points, as tables (owners, any number)."""
        closeness = torch.cat([self.closeness[owners], closeness], 1)
        names = torch.cat([self.index[owners], names], 1)
        self.closeness[owners], place = closeness.topk(self.closeness.shape[1])
        self.index[owners] = names.gather(1, place)


def above(closeness: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where closeness (r, c) is above the bar of its row (r,) or that of its column (c,)."""
    if closeness.device.type != "cpu":
        return ((closeness > rows[:, None]) | (closeness > columns)).nonzero(as_tuple=True)
    # On the CPU NumPy compares ten times as fast as torch, and twice that in pieces that stay in the cache.
    values, hit = closeness.numpy(), np.empty(closeness.shape, bool)
    for start in range(0, len(values), 32):
        part = slice(start, start + 32)
        np.greater(values[part], rows.numpy()[part, None], out=hit[part])
        hit[part] |= values[part] > columns.numpy()
    i, j = divmod(np.flatnonzero(hit), hit.shape[1])
    return torch.from_numpy(i), torch.from_numpy(j)


def nearest_candidates(data: Blocks, m: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, m) approximate closeness and indices of the m nearest, from every pair of blocks once."""
    nearest = Nearest(len(data.x), m, data.device)
    pairs = [(rows, others) for b, rows in enumerate(data.blocks) for others in data.blocks[b:]]
    for rows, others in progress_bar(pairs, desc="neighbours", unit="block"):
        closeness = data.closeness(rows, others)
        for start in range(0, len(closeness), data.strip):
            first = start if rows is others else 0
            strip = closeness[start:start + data.strip, first:]
            if rows is others:  # pairs within the strip's own square are there twice, and each point with itself
                square = strip[:, :len(strip)]
                square.masked_fill_(torch.ones_like(square, dtype=torch.bool).tril(), -torch.inf)
            nearest.see(slice(rows.start + start, rows.start + start + len(strip)),
                        slice(others.start + first, others.stop), strip)
        nearest.keep_waiting()
    return nearest.closeness.cpu().numpy(), nearest.index.cpu().numpy()


def nearest_of_rows(data: Blocks, rows: slice, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for some of the points alone, at most ``data.rows`` of them, from pairs with all others."""
    count = rows.stop - rows.start
    nearest = Nearest(count, m, data.device)
    for others in data.blocks:
        # A copy of the slice: of a block with itself all pairs are needed here, not half of them.
        closeness = data.closeness(slice(rows.start, rows.stop), others)
        closeness.diagonal(rows.start - others.start).fill_(-torch.inf)  # each point with itself
        for start in range(0, count, data.strip):
            strip = closeness[start:start + data.strip]
            nearest.see(slice(start, start + len(strip)), others, strip, both=False)
        nearest.keep_waiting()
    return nearest.closeness.cpu().numpy(), nearest.index.cpu().numpy()
