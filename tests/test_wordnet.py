"""The hierarchy of the words: cases one can check by hand, and NLTK's own answers on all of WordNet where it is."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from nbutils import whole_wordnet, wordnet
from nbutils.wordnet import (
    depth,
    hypernym_distances,
    hypernym_tree,
    is_a,
    lowest_common_hypernym,
    path_distance,
    path_distances,
    wu_palmer,
)

DATA = Path(__file__).resolve().parent.parent / "data"
ENTITY, ANIMAL, ARTIFACT, CARNIVORE = "n00001740", "n00015388", "n00021939", "n02075296"
CANINE, FELINE, DOG, CAT = "n02083346", "n02120997", "n02084071", "n02121620"
PERSON, ORGANISM = "n00007846", "n00004475"
TABBY, DALMATIAN, CHAIR, WINDSOR_CHAIR = "n02123045", "n02110341", "n03001627", "n04590933"


@pytest.fixture(scope="module")
def graph() -> nx.DiGraph:
    return wordnet.load()


@pytest.fixture
def kite() -> nx.DiGraph:
    """A hierarchy with two ways up from a: root <- p <- q <- a, and root <- s <- a; b hangs from s, c from q."""
    edges = [("a", "q"), ("q", "p"), ("p", "root"), ("a", "s"), ("s", "root"), ("b", "s"), ("c", "q")]
    kite = nx.DiGraph(edges)
    nx.set_node_attributes(kite, {node: node for node in kite}, "name")
    return kite


# The file


def test_all_hangs_from_one_root(graph):
    assert nx.is_directed_acyclic_graph(graph)
    assert [node for node in graph if not graph.out_degree(node)] == [ENTITY]
    assert graph.nodes[ENTITY]["name"] == "entity"


def test_names_are_words_with_spaces(graph):
    assert graph.nodes["n02071294"] == {
        "name": "killer whale",
        "words": ("killer whale", "killer", "orca", "grampus", "sea wolf", "Orcinus orca"),
    }


def test_nothing_ships_that_is_not_above_a_category(graph):
    leaves = {node for node in graph if not graph.in_degree(node)}
    ours = (DATA / "caltech101_synsets.csv").read_text() + (DATA / "small_world" / "things.yaml").read_text()
    assert all(leaf in ours for leaf in leaves - set(wordnet.imagenet_ids()))


def test_imagenet_has_its_thousand_classes_in_order(graph):
    ids = wordnet.imagenet_ids()
    assert len(ids) == len(set(ids)) == 1000
    assert all(graph.has_node(a) for a in ids)
    # Known from the outputs of any ImageNet classifier.
    assert {i: graph.nodes[ids[i]]["name"] for i in (0, 134, 251, 281, 517, 999)} == {
        0: "tench",
        134: "crane",
        251: "dalmatian",
        281: "tabby",
        517: "crane",
        999: "toilet tissue",
    }
    assert is_a(graph, ids[134], ANIMAL) and is_a(graph, ids[517], ARTIFACT)


def test_the_licence_is_with_the_data():
    assert "Princeton University" in (DATA / "WORDNET_LICENSE").read_text()
    assert "WORDNET_LICENSE" in "".join((DATA / "wordnet.tsv").read_text().splitlines()[:3])


# By hand


def test_a_dog_and_a_cat_meet_at_carnivore(graph):
    assert lowest_common_hypernym(graph, DOG, CAT) == CARNIVORE
    assert path_distance(graph, DOG, CAT) == 4  # dog, canine, carnivore, feline, cat
    assert path_distance(graph, DOG, DOG) == 0


def test_the_shortest_path_need_not_lead_through_the_lowest_common_hypernym(graph):
    """Dog and domestic cat are domestic animals as well as carnivores."""
    assert path_distance(graph, DALMATIAN, TABBY) == 4  # dalmatian, dog, domestic animal, domestic cat, tabby
    assert lowest_common_hypernym(graph, DALMATIAN, TABBY) == CARNIVORE  # 3 steps up from either


def test_one_can_be_above_the_other(graph):
    assert lowest_common_hypernym(graph, CHAIR, WINDSOR_CHAIR) == CHAIR
    assert path_distance(graph, CHAIR, WINDSOR_CHAIR) == 2  # with the straight chair between
    assert is_a(graph, WINDSOR_CHAIR, CHAIR) and is_a(graph, CHAIR, CHAIR)
    assert not is_a(graph, CHAIR, WINDSOR_CHAIR)


def test_depth_takes_the_longest_way_so_that_a_person_is_below_organism(graph):
    assert depth(graph, ENTITY) == 0
    # entity, physical entity, object, whole, living thing, organism, person; a causal agent would be a short cut.
    assert depth(graph, PERSON) == depth(graph, ORGANISM) + 1 == 6
    assert lowest_common_hypernym(graph, PERSON, PERSON) == PERSON


def test_wu_palmer_of_dog_and_cat(graph):
    # 12 synsets from carnivore to entity, and 2 steps down to either.
    assert wu_palmer(graph, DOG, CAT) == pytest.approx(2 * 12 / (2 + 2 + 2 * 12))
    assert wu_palmer(graph, DOG, DOG) == 1


def test_distances_are_those_of_the_pairs(graph):
    ids = [DOG, CAT, CHAIR, WINDSOR_CHAIR, PERSON, ENTITY, DOG]
    matrix = path_distances(graph, ids)
    assert matrix.dtype == float
    np.testing.assert_array_equal(matrix, [[path_distance(graph, a, b) for b in ids] for a in ids])
    assert (matrix == matrix.T).all()


def test_hypernym_distances_count_from_the_deepest_up_to_the_meeting(graph):
    ids = [DOG, CAT, DALMATIAN, CHAIR, DALMATIAN]
    matrix = hypernym_distances(graph, ids)
    deepest = depth(graph, DALMATIAN)  # below dog
    for i, a in enumerate(ids):
        for j, b in enumerate(ids):
            meet = lowest_common_hypernym(graph, a, b)
            assert matrix[i, j] == (0 if a == b else deepest - depth(graph, meet)), (a, b)
    # The dalmatian lies deeper than the dog, but both meet the cat at carnivore: unlike a path, the same distance.
    assert matrix[1, 0] == matrix[1, 2] == deepest - depth(graph, CARNIVORE)
    assert path_distance(graph, CAT, DALMATIAN) != path_distance(graph, CAT, DOG)


def test_in_a_tree_hypernym_distances_are_those_of_a_dendrogram():
    """Of the three distances between three leaves the two largest are equal: an ultrametric."""
    tree = nx.balanced_tree(3, 3, create_using=nx.DiGraph).reverse()
    leaves = [node for node in tree if not tree.in_degree(node)]
    distances = hypernym_distances(tree, leaves)
    assert set(np.unique(distances)) == {0, 1, 2, 3}
    assert (distances[:, :, None] <= np.maximum(distances[:, None], distances[None])).all()


def test_two_hypernyms_give_the_shortest_path_and_the_deepest_meeting(kite):
    assert depth(kite, "a") == 3
    assert path_distance(kite, "a", "root") == 2
    assert path_distance(kite, "a", "b") == 2
    assert lowest_common_hypernym(kite, "a", "c") == "q"
    # Two synsets above both, neither above the other: the deeper one.
    kite.add_edges_from([("d", "q"), ("d", "s")])
    assert lowest_common_hypernym(kite, "a", "d") == "q"
    assert path_distance(kite, "a", "d") == 2


# The tree


def test_the_tree_keeps_the_given_and_where_they_meet(graph):
    tree = hypernym_tree(graph, [DALMATIAN, TABBY, CAT, CHAIR, DALMATIAN])
    whole = lowest_common_hypernym(graph, DOG, CHAIR)
    assert set(tree.edges) == {
        (TABBY, CAT),
        (CAT, CARNIVORE),
        (DALMATIAN, CARNIVORE),
        (CARNIVORE, whole),
        (CHAIR, whole),
    }
    assert {node for node in tree if tree.nodes[node]["given"]} == {DALMATIAN, TABBY, CAT, CHAIR}
    assert tree.nodes[CARNIVORE] == {**graph.nodes[CARNIVORE], "depth": depth(graph, CARNIVORE), "given": False}


def test_the_tree_of_all_of_imagenet_is_a_tree_and_all_branch(graph):
    ids = wordnet.imagenet_ids()
    tree = hypernym_tree(graph, ids)
    assert nx.is_arborescence(tree.reverse())
    assert set(ids) <= set(tree)
    for node, data in tree.nodes(data=True):
        assert data["given"] or tree.in_degree(node) > 1
        assert all(is_a(graph, node, parent) for parent in tree.successors(node))


def test_the_tree_follows_the_deepest_hypernym(kite):
    tree = hypernym_tree(kite, ["a", "b", "c"])
    assert set(tree.edges) == {("a", "q"), ("c", "q"), ("q", "root"), ("b", "root")}


def test_the_tree_depends_on_nothing_but_the_set(graph):
    ids = wordnet.imagenet_ids()[::7]
    trees = [hypernym_tree(graph, order) for order in (ids, ids[::-1])]
    assert set(trees[0].edges) == set(trees[1].edges)


def test_the_tree_of_one_synset_is_that_synset(graph):
    assert list(hypernym_tree(graph, [DOG]).nodes) == [DOG]


# Bad input


@pytest.mark.parametrize(
    "call",
    [
        lambda g, a: path_distance(g, DOG, a),
        lambda g, a: path_distances(g, [DOG, a]),
        lambda g, a: wu_palmer(g, a, DOG),
        lambda g, a: hypernym_tree(g, [DOG, a]),
        lambda g, a: hypernym_distances(g, [DOG, a]),
        lambda g, a: is_a(g, a, DOG),
        lambda g, a: is_a(g, DOG, a),
        depth,
    ],
)
@pytest.mark.parametrize("bad", ["n99999999", "dog", None])
def test_an_unknown_id_is_named_with_the_remedy(graph, call, bad):
    with pytest.raises(KeyError, match=rf"{bad!r}.*make_wordnet"):
        call(graph, bad)


def test_an_empty_tree_is_refused(graph):
    with pytest.raises(ValueError, match="ids is empty"):
        hypernym_tree(graph, [])


def test_separate_roots_are_refused():
    forest = nx.DiGraph([("a", "x"), ("b", "y")])
    with pytest.raises(ValueError, match="no common hypernym"):
        lowest_common_hypernym(forest, "a", "b")
    with pytest.raises(ValueError, match="no common hypernym"):
        path_distances(forest, ["a", "b"])
    with pytest.raises(ValueError, match="no common hypernym"):
        hypernym_distances(forest, ["a", "b"])
    with pytest.raises(ValueError, match="separate roots"):
        hypernym_tree(forest, ["a", "b"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: text.index("\nn01317541")] + "\n",
        lambda text: "",
        lambda text: text.replace("entity\t\t", f"entity\t{DOG}\t"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "wordnet.tsv"
    path.write_text(damage((DATA / "wordnet.tsv").read_text()))
    with pytest.raises(ValueError, match="make_wordnet"):
        wordnet.load(path)


def test_another_version_of_wordnet_is_refused():
    class Reader:
        def get_version(self):
            return "3.1"

    with pytest.raises(ValueError, match=r"3\.1.*3\.0"):
        whole_wordnet.all_nouns(Reader())


@pytest.mark.parametrize("damage", [lambda folder: None, lambda folder: (folder / "data.noun").write_text("")])
def test_without_nltks_data_the_reader_says_how_to_get_them(tmp_path, damage):
    """In a process of its own, since NLTK finds its data once; a warning or a download would show."""
    folder = tmp_path / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    damage(folder)
    code = """
import nltk
from nbutils.whole_wordnet import nltk_reader
nltk.data.path = [sys.argv[1]]
try:
    nltk_reader()
except LookupError as missing:
    print(missing)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys{code}", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'nltk.download("wordnet")' in done.stdout
    assert done.stderr == ""


def test_without_nltk_the_reader_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(LookupError, match="NLTK is not installed here: `pip install nltk`"):
        whole_wordnet.nltk_reader()


# Against NLTK, on all of WordNet


@pytest.fixture(scope="module")
def make_wordnet():
    spec = importlib.util.spec_from_file_location("make_wordnet", DATA / "make_wordnet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reader(make_wordnet):
    for folder in (None, "/usr/share/wordnet"):  # NLTK's own, Debian's
        source = make_wordnet.open_wordnet(folder)
        try:
            opened = source.__enter__()
        except (FileNotFoundError, LookupError):
            continue
        yield opened
        source.__exit__(None, None, None)
        return
    pytest.skip("no whole WordNet here: `python -m nltk.downloader wordnet`, or Debian's package wordnet-base")


@pytest.fixture(scope="module")
def full(reader) -> nx.DiGraph:
    return whole_wordnet.all_nouns(reader)


@pytest.fixture(scope="module")
def pairs(full) -> list[tuple[str, str]]:
    chance = random.Random(0)
    shipped, nouns = sorted(wordnet.load()), sorted(full)
    return [tuple(chance.choices(pool, k=2)) for pool in (shipped, nouns) for _ in range(1000)]


def synset(reader, a: str):
    return reader.synset_from_pos_and_offset("n", int(a[1:]))


def test_the_file_is_what_the_script_makes(make_wordnet, full):
    assert make_wordnet.table(full) == (DATA / "wordnet.tsv").read_text(encoding="utf-8")


def test_the_whole_has_all_nouns_below_one_root(full):
    assert len(full) == 82115  # the number of noun synsets that WordNet's own statistics give for 3.0
    assert [node for node in full if not full.out_degree(node)] == [ENTITY]


def test_the_part_is_found_to_agree_with_the_whole_and_each_difference_is_named(graph, reader):
    assert whole_wordnet.differences(graph, reader) == []
    other = graph.copy()
    other.nodes[DOG]["words"] = ("hound",)
    other.add_edge(CHAIR, ANIMAL)
    other.add_node("n00000001", name="nothing", words=("nothing",))
    assert set(whole_wordnet.differences(other, reader)) == {DOG, CHAIR, "n00000001"}


def test_a_synset_of_the_whole_has_its_gloss_and_its_siblings(full, reader):
    gloss = whole_wordnet.find_synset(reader, CARNIVORE).definition()
    assert gloss.startswith("a terrestrial or aquatic flesh-eating mammal")
    for a in (DOG, CAT, DALMATIAN, CHAIR):  # a dog has two hypernyms
        assert set(whole_wordnet.siblings(reader, a)) == {
            b for b in full if b != a and set(full.successors(b)) & set(full.successors(a))
        }


def test_an_id_that_is_no_noun_is_refused(reader):
    with pytest.raises(KeyError, match=r"n00000001.*check the id"):
        whole_wordnet.find_synset(reader, "n00000001")


def test_path_distances_are_nltks(full, reader, pairs):
    for a, b in pairs:
        assert path_distance(full, a, b) == synset(reader, a).shortest_path_distance(synset(reader, b)), (a, b)


def test_common_hypernyms_and_depths_are_nltks(full, reader, pairs):
    for a, b in pairs:
        meet = lowest_common_hypernym(full, a, b)
        assert synset(reader, meet) in synset(reader, a).lowest_common_hypernyms(synset(reader, b)), (a, b)
        assert depth(full, meet) == synset(reader, meet).max_depth()


def test_wu_palmer_is_nltks(full, reader, pairs):
    """NLTK chooses among common hypernyms by the shortest way to the root, and lets a path to one lead above it."""
    compared = 0
    for a, b in pairs:
        one, two = synset(reader, a), synset(reader, b)
        meet = synset(reader, lowest_common_hypernym(full, a, b))
        steps = sum(min(steps for above, steps in s.hypernym_distances() if above == meet) for s in (one, two))
        if (
            one.lowest_common_hypernyms(two, use_min_depth=True) == [meet]
            and one.shortest_path_distance(meet) + two.shortest_path_distance(meet) == steps
        ):
            assert wu_palmer(full, a, b) == pytest.approx(one.wup_similarity(two)), (a, b)
            compared += 1
    assert compared > 0.9 * len(pairs)


def test_the_part_gives_the_answers_of_the_whole(full, graph):
    ids = wordnet.imagenet_ids()[::5]
    np.testing.assert_array_equal(path_distances(graph, ids), path_distances(full, ids))
    assert set(hypernym_tree(graph, ids).edges) == set(hypernym_tree(full, ids).edges)


def test_a_folder_without_wordnet_is_refused(make_wordnet, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--dict.*no data\.noun"), make_wordnet.open_wordnet(tmp_path):
        pass
