"""Wrong answers as students write them, beside the mistakes that are declared, and what they have to be told.

A message of `DIFFERS` says only where the answer differs: nobody can foresee all mistakes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from nbutils.density import knn_density
from nbutils.dimension import log_ratios, twonn
from nbutils.neighbors import knn_graph
from nbutils.peaks import find_peaks, topography
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


@answers("3.3", "16 numbers in a row, but a number is asked for")
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


# --- the landscape of the small world


@answers("L.1", DIFFERS)
def _(topography, latents, a, b):
    return "light"


@answers("L.1", "returns a number, but a text is asked for")
def _(topography, latents, a, b):
    value = latents["light"]
    return abs(value[topography.labels == a].mean() - value[topography.labels == b].mean()) / value.std()


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
