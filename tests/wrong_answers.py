"""Wrong answers as students write them, beside the mistakes that are declared, and what they have to be told.

A message of `DIFFERS` says only where the answer differs: nobody can foresee all mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isclose

import numpy as np
import torch
from sklearn.metrics import adjusted_mutual_info_score, fowlkes_mallows_score

from nbutils.density import knn_density
from nbutils.dimension import log_ratios, twonn
from nbutils.extraction.activations import recording
from nbutils.hierarchy import peak_classes
from nbutils.neighbors import knn_graph
from nbutils.overlap import neighborhood_overlap
from nbutils.peaks import find_peaks, topography
from nbutils.semantics import agreement_by_depth
from nbutils.smallworld import training
from nbutils.synthetic import manifold

DIFFERS = "is not right yet for"
WRONG: dict[str, list[tuple[Callable, str]]] = {}


def answers(number: str, message: str) -> Callable:
    """Files a wrong answer under the number of its exercise, with a part of the message that it gets."""

    def file(answer: Callable) -> Callable:
        WRONG.setdefault(number, []).append((answer, message))
        return answer

    return file


# --- chapter 6


@answers("6.1", DIFFERS)
def _(first, second):
    return (first == second).mean()


@answers("6.1", "returns 3 numbers in a row, but a number is asked for")
def _(first, second):
    return [(first == second).mean()] * 3


@answers("6.1", "stopped with NameError")
def _(first, second):
    return undefined(first, second)  # noqa: F821


@answers("6.1", "Is a `return` missing")
def _(first, second):
    (first == second).mean()


@answers("6.1", "returns a text, but a number is asked for")
def _(first, second):
    return "0.3"


@answers("6.2", "stopped with ValueError")
def _(x, rows, k):
    return topography(knn_graph(x[rows], k)).n_peaks


@answers("6.2", "numbers in a row, but a number is asked for")
def _(x, rows, k):
    return topography(knn_graph(x[rows], k), k).peaks


@answers("6.2", "something of the type Topography")
def _(x, rows, k):
    return topography(knn_graph(x[rows], k), k)


@answers("6.3", "numbers in a row, but a number is asked for")
def _(observed, permuted):
    return (1 + (permuted >= observed).sum(axis=0)) / (1 + len(permuted))


@answers("6.3", DIFFERS)
def _(observed, permuted):
    return (1 + (permuted.max() >= observed.max()).sum()) / (1 + len(permuted))


@answers("6.4", "returns a text, but a number is asked for")
def _(graph, labels, cuts, k):
    return "categories"


@answers("6.4", "stopped with NameError")
def _(graph, labels, cuts, k):
    return topography(atlas.graphs["logits"], k)  # noqa: F821


@answers("6.5", "an array of shape (3, 4, 9), but an array of shape (3, 9, 4) is asked for")
def _(contents, positions):
    out = np.zeros((len(contents), 4, 9))
    out[np.arange(len(contents)), :, positions] = contents
    return out


@answers("6.5", "an array of shape (3, 4), but an array of shape (3, 9, 4) is asked for")
def _(contents, positions):
    return contents / 9


@answers("6.1", DIFFERS)
def _(first, second):
    return fowlkes_mallows_score(first, second)


@answers("6.1", DIFFERS)
def _(first, second):
    return adjusted_mutual_info_score(first, second)


@answers("6.2", DIFFERS)
def _(x, rows, k):
    return topography(knn_graph(x[rows], k + 1), k + 1).n_peaks


@answers("6.2", DIFFERS)
def _(x, rows, k):
    return topography(knn_graph(x[rows], k), k, z=3).n_peaks


@answers("6.2", "a peak has to stand out by 1.65 errors, not by one")
def _(x, rows, k):
    graph = knn_graph(x[rows], k)
    return find_peaks(graph, knn_density(graph, dimension=twonn(graph), k=k), z=1).n_peaks


@answers("6.3", DIFFERS)
def _(observed, permuted):
    reached = (np.abs(permuted).max(axis=1) >= np.abs(observed).max()).sum()
    return (1 + reached) / (1 + len(permuted))


@answers("6.3", DIFFERS)
def _(observed, permuted):
    return 1 + (permuted.max(axis=1) >= observed.max()).sum() / 1 + len(permuted)


@answers("6.4", DIFFERS)
def _(graph, labels, cuts, k):
    agreement = agreement_by_depth(topography(graph, k).labels, labels, cuts)
    return int(np.argmax(np.array(agreement) > 0.5))


@answers("6.4", "is not right yet")
def _(graph, labels, cuts, k):
    agreement = agreement_by_depth(topography(graph, k).labels, labels, cuts)
    return int(np.argmax(np.diff(agreement, prepend=0)))


@answers("6.5", DIFFERS)
def _(contents, positions):
    photographs = np.zeros((len(contents), 9, 4), dtype=int)
    photographs[np.arange(len(contents)), positions] = contents
    return photographs


@answers("6.5", "but an array of shape (40, 9, 4) is asked for")
def _(contents, positions):
    photographs = np.zeros((3, 9, 4))
    photographs[np.arange(3), positions[:3]] = contents[:3]
    return photographs


# --- chapter 7


@answers("7.1", "numbers in a row, but 4 numbers in a row are asked for")
def _(small, large):
    return [i for i, top in enumerate(small.peaks) if top not in large.peaks] + [0]


@answers("7.1", "stopped with ValueError")
def _(small, large):
    return [list(large.peaks).index(top) for top in small.peaks]


@answers("7.1", DIFFERS)
def _(small, large):
    return np.bincount(small.labels)[small.labels[large.peaks]]


@answers("7.2", "2 numbers in a row, but a number is asked for")
def _(pairs, families):
    return families[pairs[:, 0]] == families[pairs[:, 1]]


@answers("7.2", DIFFERS)
def _(pairs, families):
    a, b = pairs.T
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(families)
    return np.mean(families[a] == families[b]) - np.mean(shuffled[a] == shuffled[b])


@answers("7.3", DIFFERS)
def _(tree, families):
    return 1.0


@answers("7.3", "stopped with IndexError")
def _(tree, families):
    return np.mean([families[int(a)] == families[int(b)] for a, b in tree[:, :2]])


@answers("7.4", "stopped with TypeError")
def _(near, other, another):
    return near([other, another])


@answers("7.4", "Is a `return` missing")
def _(near, other, another):
    if near < min(other, another):
        return 1


@answers("7.5", "returns an array of shape (2, 2), but a number is asked for")
def _(a, b, order):
    pairs = np.triu_indices(len(a), 1)
    return np.corrcoef(a[np.ix_(order, order)][pairs], b[pairs])


@answers("7.5", DIFFERS)
def _(a, b, order):
    pairs = np.triu_indices(len(a), 1)
    back = np.argsort(order)
    return np.corrcoef(np.argsort(a[np.ix_(back, back)][pairs]), np.argsort(b[pairs]))[0, 1]


@answers("7.1", DIFFERS)
def _(small, large):
    return np.searchsorted(small.peaks, large.peaks)


@answers("7.1", "something of the type set")
def _(small, large):
    return set(small.peaks) & set(large.peaks)


@answers("7.2", DIFFERS)
def _(pairs, families):
    every = np.triu_indices(len(families), 1)
    share = (families[pairs[:, 0]] == families[pairs[:, 1]]).mean()
    chance = (families[every[0]] == families[every[1]]).mean()
    return (share - chance) / (1 - chance)


@answers("7.2", "of the pairs that chance has, a category and itself are none")
def _(pairs, families):
    share = (families[pairs[:, 0]] == families[pairs[:, 1]]).mean()
    return share - sum((np.bincount(families) / len(families)) ** 2)


def subtrees(tree, n):
    below = [[leaf] for leaf in range(n)]
    for a, b in tree[:, :2].astype(int):
        below.append(below[a] + below[b])
        yield below[a], below[b]


@answers("7.3", DIFFERS)
def _(tree, families):
    found = []
    for a, b in subtrees(tree, len(families)):
        leaves = a + b
        found += [
            np.mean(families[leaves] == families[i])
            for place, i in enumerate(leaves)
            for j in leaves[place + 1 :]
            if families[i] == families[j]
        ]
    return np.mean(found)


@answers("7.3", DIFFERS)
def _(tree, families):
    return np.median(
        [
            np.mean(families[a + b] == families[i])
            for a, b in subtrees(tree, len(families))
            for i in a
            for j in b
            if families[i] == families[j]
        ]
    )


@answers("7.4", DIFFERS)
def _(near, other, another):
    return (near <= other) / 2 + (near <= another) / 2


@answers("7.4", "a tie counts as wrong")
def _(near, other, another):
    return 0 if near > min(other, another) else 1 // [near, other, another].count(near)


@answers("7.5", "the order was not used, or for both")
def _(a, b, order):
    pairs = np.triu_indices(len(a), 1)
    both = [np.unique(x[np.ix_(order, order)][pairs], return_inverse=True, return_counts=True) for x in (a, b)]
    ranks = [(counts.cumsum() - (counts - 1) / 2)[place] for _, place, counts in both]
    return np.corrcoef(*ranks)[0, 1]


@answers("7.5", DIFFERS)
def _(a, b, order):
    pairs = np.triu_indices(len(a), 1)
    first, second = (np.unique(x, return_inverse=True)[1] for x in (a[np.ix_(order, order)][pairs], b[pairs]))
    return np.corrcoef(first, second)[0, 1]


# --- chapter 5


@answers("5.1", "returns a number, but 4 numbers in a row are asked for")
def _(peak_a, peak_b, saddle, k, z):
    return (np.minimum(peak_a, peak_b) - saddle > z * 2 / np.sqrt(k)).all()


@answers("5.1", "stopped with ValueError")
def _(peak_a, peak_b, saddle, k, z):
    return min(peak_a, peak_b) - saddle > 2 * z / np.sqrt(k)


@answers("5.1", DIFFERS)
def _(peak_a, peak_b, saddle, k, z):
    return np.minimum(peak_a, peak_b) - saddle


@answers("5.2", "stopped with ValueError")
def _(k, z, trials):
    found = []
    for seed in range(trials):
        flat = knn_graph(manifold("torus", 500, dimension=2, random_state=seed), k)
        found.append(find_peaks(flat, knn_density(flat, dimension=2), z=z).n_peaks)
    return np.mean(found) - 1


@answers("5.2", "8 numbers in a row, but a number is asked for")
def _(k, z, trials):
    return [1] * trials


@answers("5.3", DIFFERS)
def _(distance):
    return 0.5


@answers("5.3", "Is a `return` missing")
def _(distance):
    for w in np.arange(0.001, 0.5, 0.001):
        if w > 1:
            return w


@answers("5.3", "stopped with TypeError")
def _():
    return 0.193


@answers("5.1", "a pair that is just z errors deep does not stay two")
def _(peak_a, peak_b, saddle, k, z):
    return ~(np.minimum(peak_a, peak_b) - saddle < z * (1 / np.sqrt(k) + 1 / np.sqrt(k)))


@answers("5.1", DIFFERS)
def _(peak_a, peak_b, saddle, k, z):
    return np.minimum(peak_a, peak_b) - saddle > 2 * z / np.sqrt(k - 1)


@answers("5.1", DIFFERS)
def _(peak_a, peak_b, saddle, k, z):
    return np.exp(np.minimum(peak_a, peak_b)) - np.exp(saddle) > 2 * z / np.sqrt(k)


@answers("5.2", DIFFERS)
def _(k, z, trials):
    counts = []
    for seed in range(trials):
        flat = knn_graph(manifold("torus", 500, dimension=2, random_state=seed), k)
        counts.append(find_peaks(flat, knn_density(flat, dimension=2, k=k), z=z).n_peaks)
    return np.median(counts) - 1


@answers("5.2", DIFFERS)
def _(k, z, trials):
    counts = []
    for seed in range(trials):
        flat = knn_graph(manifold("sphere", 500, dimension=2, random_state=seed), k)
        counts.append(find_peaks(flat, knn_density(flat, dimension=2, k=k), z=z).n_peaks)
    return np.mean(counts) - 1


@answers("5.3", DIFFERS)
def _(distance):
    return 0.193 * 3 / distance


@answers("5.3", DIFFERS)
def _(distance):
    return 1 / (1 + np.exp(distance**2 / 2))


# --- chapter 2


@answers("2.1", "4 numbers in a row, but a number is asked for")
def _(graph):
    return [point in graph.indices for point in range(graph.n)]


@answers("2.1", "stopped with AttributeError")
def _(graph):
    return 1 - len(set(graph.neighbours)) / graph.n


@answers("2.1", DIFFERS)
def _(graph):
    return np.mean([i not in graph.indices[i] for i in range(graph.n)])


@answers("2.2", DIFFERS)
def _(graph, labels):
    return np.mean(labels == np.bincount(labels).argmax())


@answers("2.2", "numbers in a row, but a number is asked for")
def _(graph, labels):
    return [np.bincount(row).argmax() for row in labels[graph.indices]]


def graph_of_chance(rng, n, k, itself=False):
    order = rng.random((n, n))
    if not itself:
        np.fill_diagonal(order, np.inf)
    return order.argsort(axis=1)[:, :k]


def overlap_of_chance(rng, n, k, itself=False):
    first, second = (graph_of_chance(rng, n, k, itself) for _ in range(2))
    return np.mean([len(set(a) & set(b)) for a, b in zip(first, second, strict=True)]) / k


@answers("2.3", "is not right yet")
def _(n, k, pairs):
    rng = np.random.default_rng(0)
    return np.std([overlap_of_chance(rng, n, k, itself=True) for _ in range(pairs)])


@answers("2.3", "that is the variance")
def _(n, k, pairs):
    rng = np.random.default_rng(0)
    return np.var([overlap_of_chance(rng, n, k) for _ in range(pairs)])


@answers("2.3", "that is the mean overlap")
def _(n, k, pairs):
    rng = np.random.default_rng(0)
    return np.mean([overlap_of_chance(rng, n, k) for _ in range(pairs)])


@answers("2.3", "all pairs are equal")
def _(n, k, pairs):
    return np.std([overlap_of_chance(np.random.default_rng(0), n, k) for _ in range(pairs)])


@answers("2.3", "300 numbers in a row, but a number is asked for")
def _(n, k, pairs):
    rng = np.random.default_rng(0)
    return [overlap_of_chance(rng, n, k) for _ in range(pairs)]


@answers("2.4", "stopped with TypeError")
def _(graph):
    return 0.6


@answers("2.4", "stopped with")
def _(graph, things, families, flipped):
    near = graph.indices[:, :15]
    return (flipped[near] == flipped)[things[near] == things].mean()


@answers("2.1", DIFFERS)
def _(graph):
    return (np.bincount(graph.indices.ravel()) == 0).mean()


@answers("2.1", DIFFERS)
def _(graph):
    return np.mean([not any(i in graph.indices[j] for j in row) for i, row in enumerate(graph.indices)])


@answers("2.2", DIFFERS)
def _(graph, labels):
    winners = [np.bincount(row[:5]).argmax() for row in labels[graph.indices]]
    return np.mean(winners == labels)


@answers("2.2", DIFFERS)
def _(graph, labels):
    return np.mean((labels[graph.indices] == labels[:, None]).mean(axis=1) >= 0.5)


@answers("2.2", DIFFERS)
def _(graph, labels):
    return np.mean(np.round(labels[graph.indices].mean(axis=1)) == labels)


@answers("2.3", "the argument pairs is not used")
def _(n, k, pairs):
    rng = np.random.default_rng(0)
    return np.std([overlap_of_chance(rng, n, k) for _ in range(200)])


@answers("2.3", "is not right yet")
def _(n, k, pairs):
    rng = np.random.default_rng(0)
    names = rng.integers(0, n, (2, pairs, n, k))  # with repetitions
    overlaps = [[len(set(a) & set(b)) for a, b in zip(*pair, strict=True)] for pair in names.swapaxes(0, 1)]
    return np.std(np.mean(overlaps, axis=1) / k)


@answers("2.4", "a product is 1 or -1")
def _(graph, things, families, flipped):
    near = graph.indices[:, :15]
    counted = (things[near] == things[:, None]) & np.isin(families, ["mammal", "bird", "fish"])[:, None]
    return (flipped[near] * flipped[:, None])[counted].mean()


@answers("2.4", DIFFERS)
def _(graph, things, families, flipped):
    near = graph.indices[:, 1:16]
    counted = (things[near] == things[:, None]) & np.isin(families, ["mammal", "bird", "fish"])[:, None]
    return (flipped[near] == flipped[:, None])[counted].mean()


@answers("2.4", DIFFERS)
def _(graph, things, families, flipped):
    near = graph.indices[:, :15]
    counted = (things[near] == things[:, None]) & np.isin(families, ["mammal", "bird", "fish"])[:, None]
    share = (flipped[near] == flipped[:, None])[counted].mean()
    return max(share, 1 - share)


# --- chapter 3


@answers("3.1", "stopped with TypeError")
def _(x, new):
    return twonn(knn_graph(np.concatenate([x, new], axis=1), k=2)) - twonn(knn_graph(x, k=2))


@answers("3.1", "something of the type Dimension")
def _(x, new):
    return twonn(knn_graph(np.concatenate([x, new], axis=1), k=2))


@answers("3.1", DIFFERS)
def _(x, new):
    return np.linalg.matrix_rank(np.concatenate([x, new], axis=1)) - np.linalg.matrix_rank(x)


@answers("3.2", "stopped with AttributeError for a sphere of four dimensions: 'tuple'")
def _(graph):
    return (graph.n - 1) / log_ratios(graph).sum()


@answers("3.2", "numbers in a row, but a number is asked for")
def _(graph):
    return 1 / log_ratios(graph)[0]


@answers("3.3", DIFFERS)
def _(draws):
    return 1.3


@answers("3.3", "11 numbers in a row, but a number is asked for")
def _(draws):
    return list(range(draws))


@answers("3.4", "returns a number")
def _(images):
    return 4


@answers("3.4", "all pictures got the same brightness")
def _(images):
    rng = torch.Generator().manual_seed(5)
    return (0.5 + torch.rand(len(images), 1, 1, 1, generator=rng)) * images + 0.3


@answers("3.4", "all pictures got the same light")
def _(images):
    return 1.3 * images - 0.1


@answers("3.4", "each pixel has a light of its own")
def _(images):
    rng = torch.Generator().manual_seed(8)
    contrast, brightness = torch.rand(2, *images.shape, generator=rng)
    return (0.5 + contrast) * images + brightness - 0.5


@answers("3.4", "is not right yet")
def _(images):
    rng = torch.Generator().manual_seed(6)
    contrast, brightness = torch.rand(2, len(images), 1, 1, 1, generator=rng)
    return (0.5 + contrast) * (images + brightness - 0.5)


@answers("3.1", DIFFERS)
def _(x, new):
    return round(twonn(knn_graph(np.hstack([x, new]), k=2)).value) - 2


@answers("3.1", DIFFERS)
def _(x, new):
    return twonn(knn_graph(np.hstack([x, new[:, :1]]), k=2)).value - twonn(knn_graph(x, k=2)).value


@answers("3.2", DIFFERS)
def _(graph):
    return np.log(2) / np.median(log_ratios(graph)[0])


@answers("3.2", DIFFERS)
def _(graph):
    logs = log_ratios(graph)[0]
    return (len(logs) - 2) / logs.sum()


@answers("3.2", DIFFERS)
def _(graph):
    logs = np.log2(np.exp(log_ratios(graph)[0]))
    return (len(logs) - 1) / logs.sum()


def spheres(seeds):
    return [twonn(knn_graph(manifold("sphere", 500, 2, random_state=seed), k=2)) for seed in seeds]


@answers("3.3", "the seeds are 0, 1, 2 and so on")
def _(draws):
    found = spheres(range(1, draws + 1))
    return np.std([d.value for d in found]) / np.mean([d.error for d in found])


@answers("3.3", "one for each draw")
def _(draws):
    found = spheres(range(draws + 1))
    return np.std([d.value for d in found]) / np.mean([d.error for d in found])


@answers("3.4", "is not right yet")
def _(images):
    lights = torch.randint(0, 2, (2, len(images), 1, 1, 1), generator=torch.Generator().manual_seed(3))
    return (0.5 + lights[0]) * images + lights[1] - 0.5


@answers("3.4", "is not right yet")
def _(images):
    contrast, brightness = torch.rand(2, len(images), 3, 1, 1, generator=torch.Generator().manual_seed(4))
    return (0.5 + contrast) * images + brightness - 0.5


@answers("3.4", "nothing is to be clipped")
def _(images):
    contrast, brightness = torch.rand(2, len(images), 1, 1, 1, generator=torch.Generator().manual_seed(1))
    return torch.clip((0.5 + contrast) * images + brightness - 0.5, -1, 1)


# --- chapter 4


@answers("4.1", DIFFERS)
def _(difference, errors):
    return 32


@answers("4.1", DIFFERS)
def _(difference, errors):
    return difference * errors * 32


@answers("4.2", "8 numbers in a row, but a number is asked for")
def _(trials):
    return [0.0] * trials


@answers("4.2", DIFFERS)
def _(trials):
    square = [manifold("cube", 1000, dimension=2, random_state=seed) for seed in range(trials)]
    return np.mean([knn_density(knn_graph(x, 30), dimension=2, k=30).log_density.mean() for x in square])


@answers("4.3", "stopped with NameError")
def _(points, inner, outer):
    return np.sum(x) * inner / outer  # noqa: F821


@answers("4.3", DIFFERS)
def _(x, inner, outer):
    away = np.linalg.norm(x, axis=1)
    return ((away > inner) & (away < outer)).mean()


@answers("4.1", "round up, if at all")
def _(difference, errors):
    return int(2 * (errors / difference) ** 2)


@answers("4.1", DIFFERS)
def _(difference, errors):
    return max(30, 2 * (errors / difference) ** 2)


def at_corner(trials, k=30, place=0, points=1000):
    values = []
    for seed in range(trials):
        square = manifold("cube", points, dimension=2, random_state=seed)
        graph = knn_graph(np.vstack([np.zeros(2), square]), k)
        values.append(knn_density(graph, dimension=2, k=k).log_density[place])
    return values


@answers("4.2", DIFFERS)
def _(trials):
    return np.median(at_corner(trials))


@answers("4.2", DIFFERS)
def _(trials):
    return np.mean(at_corner(trials, k=29))


@answers("4.2", DIFFERS)
def _(trials):
    return abs(np.mean(at_corner(trials)))


@answers("4.3", "is entry 29 of the sorted distances")
def _(x, inner, outer):
    radii = np.geomspace(inner, outer, 200)
    reach = np.array([np.sort(np.linalg.norm(x - [radius, 0], axis=1))[30] for radius in radii])
    return np.mean(2 * 30 * radii**2 / (len(x) * reach**2)) * np.log(outer / inner)


@answers("4.3", DIFFERS)
def _(x, inner, outer):
    middle = (inner + outer) / 2
    reach = np.sort(np.linalg.norm(x - [middle, 0], axis=1))[29]
    return 30 / (len(x) * np.pi * reach**2) * np.pi * (outer**2 - inner**2)


# --- chapter 1


@answers("1.1", "something of the type Linear")
def _(model, image):
    return torch.nn.Linear(2, 2)


@answers("1.1", DIFFERS)
def _(model, image):
    return 96 * 112 * 112


@answers("1.2", "is asked for")
def _(head, weight, bias):
    return (head.mean(axis=2) @ np.ones((7, 1)))[..., 0]


@answers("1.2", "stopped with ValueError")
def _(head, weight, bias):
    return head.mean(axis=(2, 3)) @ weight + bias


@answers("1.2", DIFFERS)
def _(head, weight, bias):
    pool = head.mean(axis=(2, 3))
    return pool @ weight.T * bias


@answers("1.3", "stopped with")
def _(convolutions):
    field = 1
    for wide in convolutions:
        field += wide - 1
    return field


@answers("1.3", DIFFERS)
def _(convolutions):
    return 19


@answers("1.4", DIFFERS)
def _(layer, pictures, latent):
    return 0.3


@answers("1.4", "stopped with KeyError")
def _(layer, pictures, latent):
    return {}[layer]


@answers("1.1", DIFFERS)
def _(model, image):
    found = {}
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(lambda module, _, output: found.update({module: output.numel()}))
    model(image)
    return max(found.values())


@answers("1.1", "returns a text")
def _(model, image):
    return max(dict(model.named_modules()))


@answers("1.2", DIFFERS)
def _(head, weight, bias):
    return np.median(head, axis=(2, 3)) @ weight.T + bias


@answers("1.2", DIFFERS)
def _(head, weight, bias):
    logits = head.mean(axis=(2, 3)) @ weight.T + bias
    return logits - logits.mean(axis=1, keepdims=True)


def width(convolutions, reach):
    field, apart = 1, 1
    for wide, stride in convolutions:
        field += reach(wide) * apart
        apart *= stride
    return field


@answers("1.3", "not right yet for nine random convolutions, some of even widths, although it is for")
def _(convolutions):
    return width(convolutions, lambda wide: 2 * (wide // 2))


@answers("1.3", "and not half of that")
def _(convolutions):
    return width(convolutions, lambda wide: wide // 2)


@answers("1.3", DIFFERS)
def _(convolutions):
    return min(224, width(convolutions, lambda wide: wide - 1))


def agreed(layer, pictures, latent):
    network = training.load("things", 0)
    with torch.inference_mode(), recording(network.model, {layer: network.layers[layer]}) as outputs:
        network.model(pictures)
    own = latent.reshape(len(latent), -1)
    apart = np.square(own[:, None] - own[knn_graph(outputs[layer], 15).indices]).sum(-1).mean()
    return 1 - apart / (2 * own.var(0).sum())


@answers("1.4", DIFFERS)
def _(layer, pictures, latent):
    return max(0, agreed(layer, pictures, latent))


@answers("1.4", DIFFERS)
def _(layer, pictures, latent):
    return 1 - agreed(layer, pictures, latent)


# --- the landscape of the small world


@answers("L.1", DIFFERS)
def _(topography, latents, a, b):
    return "light"


@answers("L.1", "returns a number, but a text is asked for")
def _(topography, latents, a, b):
    value = latents["light"]
    return abs(value[topography.labels == a].mean() - value[topography.labels == b].mean()) / value.std()


@answers("L.1", DIFFERS)
def _(topography, latents, a, b):
    names = ("x", "y", "size", "tilt", "squeeze", "flipped", "light", "stripes")
    tops = topography.peaks[[a, b]]
    return max(names, key=lambda name: abs(np.subtract(*latents[name][tops])) / latents[name].std())


@answers("L.1", "stopped with ValueError")
def _(topography, latents, a, b):
    in_a, in_b = topography.labels == a, topography.labels == b
    gaps = {name: abs(value[in_a].mean(0) - value[in_b].mean(0)) / value.std(0) for name, value in latents.items()}
    return max(gaps, key=gaps.get)


# --- chapter 8


@answers("8.1", "returns a number, but 2 numbers in a row are asked for")
def _(things, n, epochs):
    return 1.0


@answers("8.1", DIFFERS)
def _(things, n, epochs):
    return 1.0, 0.99


@answers("8.1", DIFFERS)
def _(things, n, epochs):
    return 1 / len(things), 1 / len(things)


@answers("8.2", "returns an array of shape (33, 32, 32, 3), but an array of shape (33, 3, 32, 32) is asked for")
def _(drawing):
    return drawing.images


@answers("8.2", DIFFERS)
def _(drawing):
    tensors = drawing.tensors()
    tensors[:, :, :4, :4] = 1
    return tensors


@answers("8.3", DIFFERS)
def _(graph, families, groups):
    return (families[graph.indices[:, 0]] == families)[groups[graph.indices[:, 1]] == groups].mean()


@answers("8.3", "stopped with")
def _(graph, families, groups):
    return (families[graph.indices] == families)[groups == 1].mean()


@answers("8.4", DIFFERS)
def _(things, n, epochs):
    return 1.0, 0.05


@answers("8.4", "returns a number, but 2 numbers in a row are asked for")
def _(things, n, epochs):
    return 0.4


@answers("8.5", "returns a dictionary of 0 entries, but a dictionary of 4 entries is asked for")
def _(landscapes, labels, names):
    return {}


@answers("8.5", "returns a dictionary of 3 entries, but a dictionary of 4 entries is asked for")
def _(landscapes, labels, names):
    return {name: 8 for name in names if name != "car"}


@answers("8.5", "with the key 0, which is not asked for")
def _(landscapes, labels, names):
    return dict.fromkeys(range(len(names)))


@answers("8.5", DIFFERS)
def _(landscapes, labels, names):
    return dict.fromkeys(names)


@answers("8.1", DIFFERS)
def _(things, n, epochs):
    return 1.0, 0.03


@answers("8.1", DIFFERS)
def _(things, n, epochs):
    return 1 / len(things), 1.0


@answers("8.2", DIFFERS)
def _(drawing):
    tensors, label = drawing.tensors(), torch.from_numpy(drawing.labels)
    for channel, digit in enumerate((label // 16, label // 4 % 4, label % 4)):
        tensors[:, channel, :4, :4] += (digit / 1.5 - 1)[:, None, None]
    return tensors


@answers("8.2", DIFFERS)
def _(drawing):
    tensors, label = drawing.tensors(), torch.from_numpy(drawing.labels)
    for channel, digit in enumerate((label // 9, label // 3 % 3, label % 3)):
        tensors[:, channel, :4, :4] = (digit / 1.5 - 1)[:, None, None]
    return tensors


@answers("8.3", "only neighbours that share the group count")
def _(graph, families, groups):
    near = graph.indices[:, :15]
    return ((families[near] == families[:, None]) & (groups[near] == groups[:, None])).mean()


@answers("8.3", DIFFERS)
def _(graph, families, groups):
    near = graph.indices[:, 1:16]
    return (families[near] == families[:, None])[groups[near] == groups[:, None]].mean()


@answers("8.5", DIFFERS)
def _(landscapes, labels, names):
    first = dict.fromkeys(names, -1)
    for epoch in sorted(landscapes, reverse=True):
        owner = peak_classes(landscapes[epoch], labels)
        first |= {names[number]: epoch for number in owner.label[owner.share > 0.5]}
    return first


@answers("8.5", "need not be in the order of the epochs")
def _(landscapes, labels, names):
    first = dict.fromkeys(names)
    for epoch, landscape in landscapes.items():
        owner = peak_classes(landscape, labels)
        for number in owner.label[owner.share > 0.5]:
            if first[names[number]] is None:
                first[names[number]] = epoch
    return first


@answers("8.4", DIFFERS)
def _(things, n, epochs):
    return 0.4, 0.05


@answers("8.4", DIFFERS)
def _(things, n, epochs):
    return 0.05, 0.4


# --- chapter 9


@answers("9.1", "numbers in a row, but a number is asked for")
def _(shapes, n):
    return [2 * n * np.prod(shape) / 1e9 for shape in shapes.values()]


@answers("9.1", DIFFERS)
def _(shapes, n):
    return n * sum(len(shape) for shape in shapes.values()) / 1e9


@answers("9.2", "something of the type set")
def _(shapes, n, budget):
    return set(shapes)


@answers("9.2", DIFFERS)
def _(shapes, n, budget):
    return ["input", "stem", "stage 4", "pool", "logits"]


@answers("9.2", "is not right yet")
def _(shapes, n, budget):
    return []


@answers("9.3", "returns a number, but a text is asked for")
def _(graph, graphs):
    return max(np.mean(graph.indices == other.indices) for other in graphs.values())


@answers("9.3", "stopped with TypeError")
def _(graph, graphs):
    return max(graphs, key=lambda layer: graphs[layer].indices & graph)


@answers("9.1", DIFFERS)
def _(shapes, n):
    return 2 * n * sum(np.prod(shape) for shape in shapes.values()) // 1e9


@answers("9.1", DIFFERS)
def _(shapes, n):
    return 2 * n * sum(np.prod(shape[1:]) for shape in shapes.values()) / 1e9


def smallest_first(shapes, n, budget, room):
    chosen, used = [], 0
    for name in sorted(shapes, key=lambda name: np.prod(shapes[name])):
        need = 2 * n * np.prod(shapes[name]) / 1e9
        if room(used, need):
            used += need
            chosen.append(name)
    return [name for name in shapes if name in chosen]


@answers("9.2", "layers that use up the budget exactly fit")
def _(shapes, n, budget):
    return smallest_first(shapes, n, budget, lambda used, need: used + need < budget)


@answers("9.2", "add first, then compare")
def _(shapes, n, budget):
    return smallest_first(shapes, n, budget, lambda used, need: used < budget)


@answers("9.2", "10^9 bytes here, not 2^30")
def _(shapes, n, budget):
    return smallest_first(shapes, n, budget, lambda used, need: (used + need) * 1e9 / 2**30 <= budget)


@answers("9.3", DIFFERS)
def _(graph, graphs):
    return max(graphs, key=lambda name: neighborhood_overlap(graph, graphs[name], graph.k // 2))


@answers("9.3", DIFFERS)
def _(graph, graphs):
    return max(graphs, key=lambda name: (np.sort(graph.indices) == np.sort(graphs[name].indices)).mean())


@answers("9.3", DIFFERS)
def _(graph, graphs):
    return max(graphs)


# --- chapter 10


@answers("10.1", DIFFERS)
def _(families, peaks, rows):
    return rows.mean()


@answers("10.1", "stopped with")
def _(families, peaks, rows):
    return sum(families[rows] == peaks) / 0


@answers("10.2", DIFFERS)
def _(labels):
    return 29


@answers("10.2", DIFFERS)
def _(labels):
    return labels.min() - 1


@answers("10.3", "stopped with")
def _(rows, tolerance):
    return sum(abs(row["found"] / row["published"] - 1) <= tolerance for row in rows)


@answers("10.3", "numbers in a row, but a number is asked for")
def _(rows, tolerance):
    return [abs(row["found"] - row["published"]) <= tolerance * abs(row["published"]) for row in rows]


@answers("10.1", DIFFERS)
def _(families, peaks, rows):
    return adjusted_mutual_info_score(families[rows], peaks[rows])


@answers("10.1", DIFFERS)
def _(families, peaks, rows):
    return fowlkes_mallows_score(families[rows], peaks[rows])


@answers("10.2", DIFFERS)
def _(labels):
    return min(30, np.bincount(labels).min() - 1)


@answers("10.2", DIFFERS)
def _(labels):
    return np.sort(np.bincount(labels))[1] - 1


@answers("10.3", DIFFERS)
def _(rows, tolerance):
    pairs = [(row["found"], row["published"]) for row in rows]
    return sum(a == b or (a * b > 0 and 1 / (1 + tolerance) <= a / b <= 1 + tolerance) for a, b in pairs)


@answers("10.3", "not of the larger of the two")
def _(rows, tolerance):
    return sum(isclose(row["found"], row["published"], rel_tol=tolerance) for row in rows)
