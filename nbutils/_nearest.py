"""The nearest of each point among the pairs seen so far, for the search behind `neighbors.knn_graph`."""

from __future__ import annotations

import threading

import numpy as np
import torch


class Nearest:
    """The m nearest of each of n points, among the pairs seen so far. Several threads may add pairs.

    Attributes
    ----------
    closeness : (n, m) in any order; -inf where fewer than m points have been found
    index : (n, m) int32
    threshold : (n,) what a closeness must exceed to be among the m greatest; -inf until m points have been found
    """

    def __init__(self, n: int, m: int, device: torch.device):
        self.closeness = torch.full((n, m), -torch.inf, dtype=torch.float32, device=device)
        self.index = torch.zeros((n, m), dtype=torch.int32, device=device)
        self.threshold = torch.full((n,), -torch.inf, dtype=torch.float32, device=device)
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
                    self.merge(points, partners, tied.repeat_interleave(m), partner.view(-1), values.view(-1))
                    thresholds[side][tied] = torch.inf
        i, j, values = pairs_above(closeness, *thresholds)
        for threshold, point, partner, (points, partners, _) in zip(thresholds, (i, j), (j, i), sides, strict=False):
            new = (values > threshold[point]).nonzero()[:, 0]
            self.merge(points, partners, point[new], partner[new], values[new])

    def merge(
        self, points: slice, partners: slice, point: torch.Tensor, partner: torch.Tensor, closeness: torch.Tensor
    ) -> None:
        """Take in candidates (p,); `point` and `partner` are counted from the starts of their blocks."""
        m = self.closeness.shape[1]
        point, order = point.sort()
        point, count = point.unique_consecutive(return_counts=True)
        if not len(point):
            return
        # A table with a row for each point that has candidates. The first m columns are what it holds already.
        width = m + int(count.amax())
        start = torch.arange(len(point), device=point.device) * width + m
        place = torch.arange(len(order), device=point.device)
        place += (start - count.cumsum(0) + count).repeat_interleave(count)
        table = closeness.new_full((len(point), width), -torch.inf)
        index = torch.zeros((len(point), width), dtype=torch.int32, device=point.device)
        table.view(-1)[place], index.view(-1)[place] = closeness[order], partner[order].int() + partners.start
        point = point.long() + points.start
        with self.lock:
            table[:, :m], index[:, :m] = self.closeness[point], self.index[point]
            table, column = greatest(table, m)
            self.closeness[point], self.index[point] = table, index.gather(1, column)
            self.threshold[point] = table.amin(1)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, m) closeness, descending in each row, and indices."""
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
    if closeness.device.type == "cpu":
        values = torch.from_numpy(np.partition(closeness.numpy(), (-m - 1, -m), axis=1)[:, -m - 1 : -m + 1 or None])
    else:
        values = closeness.topk(m + 1).values[:, m - 1 :].flip(1)
    threshold, next_greater = values.unbind(1)
    return threshold, ((next_greater == threshold) & (threshold > -torch.inf)).nonzero()[:, 0]


def greatest(values: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(r, m) the m greatest of each row of values (r, c), in any order, and their columns."""
    if values.device.type != "cpu":
        return values.topk(m, sorted=False)
    # NumPy sorts short rows several times as fast as torch.
    place = torch.from_numpy(np.argpartition(values.numpy(), -m, axis=1)[:, -m:].copy())
    return values.gather(1, place), place


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
