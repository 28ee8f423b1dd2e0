"""Data in blocks of rows: rough closeness of all pairs of two blocks, and exact distances of single pairs.

How near two points are is measured in three ways, each many times slower for a pair than the one before:

- `Blocks.closeness` takes a matrix product of two blocks in float32 or bfloat16, and adds the largest error that it may
  have. Its value is an upper bound: no pair is closer than it says.
- `Blocks.products` takes the products of chosen pairs in float64.
- `Blocks.differences` subtracts the two points of a pair in float64, which is the only one that stays exact where they
  are much nearer to each other than to the centre of the data.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

CPU_ROWS = 3072  # the most rows of a block on the CPU, whose caches are of less use to larger products
FEATURES = 2048  # the most features of one product, since longer sums in float32 would be less accurate
CACHED = 2**20  # float64 numbers that stay in the cache
NOTHING = 1e-30  # more than is lost where float32 has no smaller numbers, and less than is ever seen of data
STRIP = 64  # rows of a product that are worked on while they are in the cache
FLOAT32_HOLDS = (torch.float32, torch.float16, torch.bfloat16, torch.int16, torch.int8, torch.uint8, torch.bool)

# torch says, once, that tensors in rows of pairs are in beta. Here is where nobody hears it.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1), check_invariants=False)


def most_rows(n: int, device: torch.device, memory: float, threads: int) -> int:
    """The number of rows of a block with which `threads` can each work on a pair of blocks in `memory` bytes."""
    fit = max(16, (memory / threads / 24) ** 0.5)  # a quarter of the memory for the closeness of two blocks
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
    """The points x (n, d) in blocks of rows and of features, centred and in float32.

    Up to `threads` threads may ask for the closeness of blocks at the same time. They share the `memory`, in bytes.

    Attributes
    ----------
    blocks, columns : the slices of the rows and of the features
    mean : (d,) a centre of the data
    scale : the power of two by which the centred data are multiplied
    square : (n,) float32, the squared norms of the centred and scaled points
    share : the largest error of a closeness, as a share of the two squared norms
    type : of the products, torch.float32 or torch.bfloat16

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
        self.features = int(min(d, FEATURES, max(16, memory / threads / 48 / self.rows)))
        self.blocks = [slice(start, min(start + self.rows, n)) for start in range(0, n, self.rows)]
        self.columns = [slice(start, min(start + self.features, d)) for start in range(0, d, self.features)]
        self.of_thread = threading.local()
        self.type = torch.float32

        # Any centre will do that is near the data, so a sample of the points is enough.
        sample = torch.arange(0, n, max(1, n // 512), device=x.device)
        self.mean = torch.empty(d, dtype=self.values(sample[:1], slice(0, 1)).dtype, device=x.device)
        for cols in self.columns:
            self.mean[cols] = (self.values(sample, cols) / len(sample)).sum(0)
        self.scale = 1.0
        self.square = self.sums_of_squares(lambda part: part)
        if not 1e-18 < float(self.square.amax()) < 1e18:  # also if it is NaN
            self.rescale()
        # An error as a share of the two squared norms. The sizes of all terms of a product add up to at most half of
        # them, and each addition is off by at most 2^-24 of the sum so far: half a unit for each feature, and one for
        # each block of features, since bfloat16 takes two steps there. The norms themselves, of which half counts, have
        # as many additions. The rest is for centring and for the last subtractions.
        self.share = (self.features + 2 * len(self.columns) + 8) * 2.0**-24

    def rescale(self) -> None:
        """Choose the scale, and compute the squares again, for data so small or large that float32 loses squares."""
        if bad := sum(int((~torch.isfinite(self.x[:, cols]).all(0)).sum()) for cols in self.columns):
            d = self.x.shape[1]
            raise ValueError(f"x has NaN or infinite values in {bad} of {d} features: drop them or find their cause")
        spread = 0.0
        for rows in self.blocks:
            for cols in self.columns:
                spread = max(spread, float((self.values(rows, cols) - self.mean[cols]).abs().amax()))
        if spread and not 1e-18 < spread < 1e18:
            raise ValueError(f"x varies by {spread:.0e}: distances would not fit float32; rescale x")
        if spread:
            # A power of two leaves all digits as they are.
            self.scale = float(2.0 ** -np.floor(np.log2(spread)))
            self.square = self.sums_of_squares(lambda part: part)

    def in_bfloat16(self) -> Blocks:
        """The same points, whose products are taken of their values rounded to bfloat16."""
        rough = copy.copy(self)
        rough.of_thread, rough.type = threading.local(), torch.bfloat16
        # By Cauchy and Schwarz: if rounding moves each point by at most `moved` of its norm, a product changes by at
        # most 2 moved + moved^2 of the two norms, and their product is at most half the sum of their squares.
        moved = self.sums_of_squares(lambda part: part - part.bfloat16())
        moved = 1.001 * float((moved / self.square.clamp(min=1e-38)).amax()) ** 0.5
        rough.share = self.share + moved + moved**2 / 2
        return rough

    def sums_of_squares(self, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """(n,) float32 sums over all features of the squares of a function of the centred data."""
        total = torch.zeros(len(self.x), dtype=torch.float32, device=self.device)
        buffer = self.allocate(self.features)
        for rows in self.blocks:
            for cols in self.columns:
                part = function(self.read(rows, cols, buffer))
                total[rows] += torch.linalg.vector_norm(part, dim=1).square_()
        return total

    def allocate(self, width: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Memory for a block of rows with `width` numbers each."""
        return torch.empty(self.rows * width, dtype=dtype, device=self.device)

    def values(self, rows: slice | torch.Tensor, cols: slice) -> torch.Tensor:
        """The data in float32 if that holds all their digits, else in float64."""
        part = self.x[:, cols]
        part = part[rows] if isinstance(rows, slice) else part.index_select(0, rows.to(part.device))
        return part.float() if part.dtype in FLOAT32_HOLDS else part.double()

    def read(self, rows: slice | torch.Tensor, cols: slice, buffer: torch.Tensor) -> torch.Tensor:
        """(rows, features) centred data in the memory of `buffer`."""
        # float64 data far from the origin would lose digits if they were rounded before they are centred.
        part = self.values(rows, cols)
        out = buffer[: part.numel()].view(part.shape)
        if part.device == self.device:
            torch.sub(part, self.mean[cols], out=out)
        else:
            out[:] = part - self.mean[cols]
        if self.scale != 1:
            out *= self.scale
        return out

    def closeness(self, rows: slice | torch.Tensor, others: slice, triangle: bool = False) -> torch.Tensor:
        """(rows, others) what minus half the squared distances of two blocks are at most, in units of ``scale ** -2``.

        It is too great by at most twice ``share`` of the two squared norms, and in bfloat16 by 2^-7 of the sizes of the
        products besides.

        With `triangle`, for a block with itself, only the pairs above the diagonal are computed, so that each appears
        once; all others are -inf. The result is valid until the next call in the same thread.
        """
        if not hasattr(self.of_thread, "buffers"):
            self.of_thread.buffers = [self.allocate(w) for w in (self.rows, self.features, self.features)]
            self.of_thread.rounded = self.allocate(self.rows * (self.type != torch.float32), self.type)
        product_buffer, left, right = self.of_thread.buffers
        count, width = len(self.square[rows]), others.stop - others.start
        product = product_buffer[: count * width].view(count, width)
        # A triangle is computed in strips, each from the diagonal on.
        step = max(16, -(-count // 8)) if triangle else count
        strips = [(slice(s, s + step), slice(s if triangle else 0, None)) for s in range(0, count, step)]
        for cols in self.columns:
            a, b = self.read(rows, cols, left).to(self.type), self.read(others, cols, right).to(self.type)
            for part, right_of in strips:
                self.add_product(product[part, right_of], a[part], b[right_of], first=cols.start == 0)
        offset = (0.5 - self.share) * self.square - NOTHING
        for start in range(0, count, STRIP):
            part = slice(start, start + STRIP)
            product[part] -= offset[others]
            product[part] -= offset[rows][part, None]
        if triangle:
            for start in range(0, count, step):
                product[start : start + step, :start] = -torch.inf
                corner = product[start : start + step, start : start + step]
                corner.masked_fill_(torch.ones_like(corner, dtype=torch.bool).tril(), -torch.inf)
        return product

    def add_product(self, total: torch.Tensor, a: torch.Tensor, b: torch.Tensor, first: bool) -> None:
        """Add the products of the rows of a (r, f) and b (c, f) to a total (r, c), or set it to them if `first`."""
        if self.type == torch.float32:
            total.addmm_(a, b.T, beta=int(not first))
            return
        rounded = self.of_thread.rounded[: total.numel()].view(total.shape)
        torch.mm(a, b.T, out=rounded)
        # A product comes rounded to bfloat16, by which it may have lost 2^-8 of what is left of it.
        for target, value in zip(total.split(STRIP), rounded.split(STRIP), strict=True):
            value = value.float()
            (target.copy_ if first else target.add_)(value).add_(value.abs_(), alpha=2.0**-8)

    def products(self, points: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(p, m) squared distances from each of p points to its candidates (p, m), from products in float64.

        Second, (p, 1) the largest error that any of a point may have.
        """
        (n, d), (p, m) = self.x.shape, candidates.shape
        width = int(min(d, max(64, CACHED / n), max(1, self.memory / 64 / n)))
        starts, partners = torch.arange(0, p * m + 1, m), torch.from_numpy(candidates.astype(np.int64).reshape(-1))
        square, product = torch.zeros(n, dtype=torch.float64), torch.zeros(p * m, dtype=torch.float64)
        for start in range(0, d, width):
            cols = slice(start, start + width)
            part = self.values(slice(0, n), cols).cpu().double() - self.mean[cols].cpu()
            square += torch.linalg.vector_norm(part, dim=1).square_()
            pairs = torch.sparse_csr_tensor(starts, partners, product, (p, n), check_invariants=False)
            product = torch.sparse.sampled_addmm(pairs, part[torch.from_numpy(points)], part.T).values()
        own, theirs = square.numpy()[points][:, None], square.numpy()[candidates]
        error = (2 * width + 2 * d / width + 16) * 2.0**-53 * (own + theirs.max(1, keepdims=True))
        return own + theirs - 2 * product.view(p, m).numpy(), error

    def differences(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
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
                total[piece] += a.double().sub_(b).square_().sum(1).cpu().numpy()

        with one_thread_each(self.threads) as pool:
            list(pool.map(measure, range(0, len(i), step)))
        return total
