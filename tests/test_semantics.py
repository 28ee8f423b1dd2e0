"""Cuts of WordNet by hand and against `hypernym_tree`; the adjusted Rand index against scikit-learn."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from nbutils import wordnet
from nbutils.contingency import adjusted_rand, category_counts
from nbutils.semantics import KINGDOMS, Cut, agreement_by_depth, cut_length, hypernym_chain, kingdom_cut, wordnet_cut

#            root                0
#        a          b            1
#     c     d       |            2    e has two hypernyms, c (depth 2) and b (depth 1): the deeper one counts
#     |             e
EDGES = [("a", "root"), ("b", "root"), ("c", "a"), ("d", "a"), ("e", "c"), ("e", "b"), ("f", "b")]
SMALL = nx.DiGraph(EDGES)
nx.set_node_attributes(SMALL, {node: node.upper() for node in SMALL}, "name")
WORDS = wordnet.load()
IMAGENET = wordnet.imagenet_ids()


def groups(cut: Cut) -> list[str | None]:
    return [None if group < 0 else cut.synsets[group] for group in cut.labels]


@pytest.mark.parametrize(
    "depth, expected",
    [
        (0, ["root", "root", "root", "root", None]),
        (1, ["a", "b", "a", "a", None]),
        (2, ["c", "f", "d", "a", None]),  # a is itself no deeper than 1
        (3, ["e", "f", "d", "a", None]),
        (99, ["e", "f", "d", "a", None]),
    ],
)
def test_cuts_by_hand(depth, expected):
    cut = wordnet_cut(SMALL, ["e", "f", "d", "a", None], depth)
    assert groups(cut) == expected
    assert cut.synsets == tuple(sorted(set(expected) - {None}))
    assert cut.names == tuple(name.upper() for name in cut.synsets)
    np.testing.assert_array_equal(cut.sizes, [expected.count(group) for group in cut.synsets])


def test_categories_of_one_synset_stay_together():
    assert groups(wordnet_cut(SMALL, ["e", "e", "d"], 10)) == ["e", "e", "d"]
    assert wordnet_cut(SMALL, ["e", "e", "d"], 10).sizes.tolist() == [1, 2]  # d, then e


def test_chains_are_those_of_the_hypernym_tree_and_lose_one_depth_a_step():
    ids = np.random.default_rng(0).choice(IMAGENET, 40, replace=False).tolist()
    tree = wordnet.hypernym_tree(WORDS, ids)
    for synset in ids:
        chain = hypernym_chain(WORDS, synset)
        assert [wordnet.depth(WORDS, node) for node in chain] == list(range(len(chain)))[::-1]
        up = [synset, *nx.descendants(tree, synset)]
        assert [node for node in chain if node in set(up)] == sorted(up, key=lambda node: -tree.nodes[node]["depth"])


def test_deeper_cuts_refine_and_none_is_split_by_the_order():
    ids = [*IMAGENET[::9], None]
    cuts = [wordnet_cut(WORDS, ids, depth) for depth in range(16)]
    for coarse, fine in pairwise(cuts):
        pairs = set(zip(fine.labels.tolist(), coarse.labels.tolist(), strict=True))
        assert len(pairs) == len(fine.names) + 1  # each fine group, and no group, lies in one coarse group
    assert len(cuts[0].names) == 1
    back = wordnet_cut(WORDS, ids[::-1], 6)
    assert groups(back) == groups(cuts[6])[::-1] and back.names == cuts[6].names


def test_animals_and_artifacts():
    dog, banana, chair, both = "n02084071", "n07753592", "n03001627", None
    cut = kingdom_cut(WORDS, [dog, banana, chair, both, chair])
    assert cut.labels.tolist() == [0, -1, 1, -1, 1]
    assert cut.names == ("animal", "artifact") and cut.synsets == tuple(KINGDOMS.values())
    # The numbers of ImageNet's 1,000 are well known: 398 animals.
    assert kingdom_cut(WORDS, IMAGENET).sizes[0] == 398


def test_whoever_is_in_any_way_an_animal_is_one():
    graph = nx.DiGraph([("x", "n00015388"), ("x", "n00021939"), ("n00015388", "r"), ("n00021939", "r")])
    nx.set_node_attributes(graph, "some", "name")
    assert kingdom_cut(graph, ["x", "n00021939"]).labels.tolist() == [0, 1]


def test_bad_cuts():
    with pytest.raises(KeyError, match="not in this graph"):
        wordnet_cut(SMALL, ["e", "zebra"], 2)
    with pytest.raises(ValueError, match="none of the 2 categories"):
        wordnet_cut(SMALL, [None, None], 2)
    with pytest.raises(ValueError, match="none of the 1 categories"):
        kingdom_cut(WORDS, ["n07753592"])
    with pytest.raises(ValueError, match="depth=-1"):
        wordnet_cut(SMALL, ["e"], -1)
    with pytest.raises(TypeError, match="depth must be an integer"):
        wordnet_cut(SMALL, ["e"], 2.5)
    with pytest.raises(ValueError, match="below the number of names"):
        Cut(np.array([0, 1]), ("one",))
    with pytest.raises(ValueError, match="labels must be integers"):
        Cut(np.array([0.0, np.nan]), ("one",))
    with pytest.raises(ValueError, match="same categories"):
        cut_length([Cut.of_categories("ab"), Cut.of_categories("abc")])
    with pytest.raises(ValueError, match="same categories"):
        cut_length([])


# --- agreement


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 6))
def test_agreement_is_that_of_scikit_learn(seed, peaks, families):
    """The oracle gets the points that are in no halo and of a category with a group."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 9, 300)
    peak_labels = rng.integers(-1, peaks, 300)
    peak_labels[:2] = 0
    of = rng.integers(-1, families, 9)
    of[labels[0]], labels[1] = 0, (labels[0] + 1) % 9
    of[labels[1]] = 1
    cuts = [Cut(of, tuple("abcdef")), Cut.of_categories("abcdefghi")]
    keep = (peak_labels >= 0) & (of[labels] >= 0)
    expected = [
        adjusted_rand_score(of[labels][keep], peak_labels[keep]),
        adjusted_rand_score(labels[peak_labels >= 0], peak_labels[peak_labels >= 0]),
    ]
    np.testing.assert_allclose(agreement_by_depth(peak_labels, labels, cuts), expected, atol=1e-12)


def test_counts_by_hand():
    counts = category_counts([0, 1, 1, -1, 0], [0, 0, 2, 1, 0])
    np.testing.assert_array_equal(counts, [[2, 1], [0, 0], [0, 1]])
    assert category_counts([0, 0], [0, 1], 4).shape == (4, 1)


def test_peaks_that_are_families_agree_fully_and_a_single_peak_not_at_all():
    labels = np.repeat(np.arange(6), 5)
    cut = Cut(np.array([0, 0, 1, 1, 2, 2]), tuple("abc"))
    np.testing.assert_array_equal(agreement_by_depth(labels // 2, labels, [cut]), [1])
    assert agreement_by_depth(np.zeros(30, int), labels, [cut, Cut.of_categories("abcdef")]).tolist() == [0, 0]
    assert adjusted_rand(np.eye(3, dtype=int)) == 1  # three points, each alone in both


def test_bad_agreement():
    labels, peaks = np.array([0, 1, 2, 2]), np.array([0, 0, 1, 1])
    cut = Cut.of_categories("abc")
    with pytest.raises(ValueError, match=r"peak_labels must have the shape \(4,\)"):
        agreement_by_depth(peaks[:3], labels, [cut])
    with pytest.raises(ValueError, match=r"cuts\[1\] has 1 group.* cut deeper"):
        agreement_by_depth(peaks, labels, [cut, Cut(np.zeros(3, int), ("all",))])
    with pytest.raises(ValueError, match="labels must be below the number of categories, 2"):
        agreement_by_depth(peaks, labels, [Cut.of_categories("ab")])
    with pytest.raises(ValueError, match=r"labels must be integers.*np.unique"):
        agreement_by_depth(peaks, np.array(list("abcc")), [cut])
    with pytest.raises(ValueError, match="labels must be integers"):
        agreement_by_depth(peaks, [0, 1, np.nan, 2], [cut])
    with pytest.raises(ValueError, match="labels must be at least 0"):
        agreement_by_depth(peaks, [0, 1, -1, 2], [cut])
    with pytest.raises(ValueError, match="halo=False"):
        agreement_by_depth([-1] * 4, labels, [cut])
    with pytest.raises(ValueError, match="at least two rows"):
        adjusted_rand(np.array([[3, 4]]))
