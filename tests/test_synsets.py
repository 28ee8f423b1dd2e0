"""The table of Caltech-101's categories: each has the sense that its photographs show."""

from __future__ import annotations

import csv
from pathlib import Path

import networkx as nx
import pytest

from nbutils import wordnet

TABLE = Path(__file__).resolve().parent.parent / "data" / "caltech101_synsets.csv"

# What the photographs show, as one sees it. Each set is all of its kind: a wrong sense leaves one and enters another.
KINDS = {
    "n00007846 person": "Faces Faces_easy",
    "n01861778 mammal": """
        Leopards beaver cougar_body cougar_face dalmatian dolphin elephant gerenuk hedgehog kangaroo llama
        okapi panda platypus rhino wild_cat""",
    "n02075296 carnivore": "Leopards cougar_body cougar_face dalmatian panda wild_cat",
    "n02370806 ungulate": "gerenuk llama okapi rhino",
    "n01503061 bird": "emu flamingo flamingo_head ibis pigeon rooster",
    "n01661091 reptile": "brontosaurus crocodile crocodile_head hawksbill stegosaurus",
    "n02512053 fish": "bass sea_horse",
    "n01767661 arthropod": "ant butterfly crab crayfish dragonfly lobster mayfly scorpion tick trilobite",
    "n01940736 mollusk": "nautilus octopus",
    "n02316707 echinoderm": "starfish",
    "n00017222 plant": "bonsai joshua_tree lotus sunflower water_lilly",
    "n05220461 body part": "brain",
    "n07705931 edible fruit": "strawberry",
    "n07557434 dish": "pizza",
    "n00033020 communication": "stop_sign",
    "n13385913 currency": "dollar_bill",
    "n03800933 musical instrument": "accordion electric_guitar euphonium grand_piano mandolin saxophone",
    "n04524313 vehicle": "Motorbikes airplanes car_side ferry helicopter ketch schooner",
    "n03405725 furniture": "chair lamp wheelchair windsor_chair",
    "n04565375 weapon": "revolver",
    "n04566257 weaponry": "cannon",
    "n03563967 implement": "scissors wrench",
    "n03094503 container": "Motorbikes barrel car_side cup ewer",
    "n04341686 structure": "minaret pagoda pyramid",
    "n04157320 sculpture": "buddha",
    "n00021939 artifact": """
        Motorbikes accordion airplanes anchor barrel binocular buddha camera cannon car_side ceiling_fan
        cellphone chair chandelier cup electric_guitar euphonium ewer ferry gramophone grand_piano headphone
        helicopter inline_skate ketch lamp laptop mandolin menorah metronome minaret pagoda pyramid revolver
        saxophone schooner scissors soccer_ball stapler umbrella watch wheelchair windsor_chair wrench""",
}
NO_SYNSET = "garfield snoopy yin_yang"

# One thing photographed in two ways.
SHARED = [
    {"Faces", "Faces_easy"},
    {"cougar_body", "cougar_face"},
    {"crocodile", "crocodile_head"},
    {"flamingo", "flamingo_head"},
]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with open(TABLE, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def graph() -> nx.DiGraph:
    return wordnet.load()


def test_the_101_categories_are_there_once_in_the_order_of_their_folders(rows):
    categories = [row["category"] for row in rows]
    assert len(categories) == 101
    assert categories == sorted(set(categories))
    assert set(categories) == set(" ".join([*KINDS.values(), NO_SYNSET]).split())


@pytest.mark.parametrize("kind", KINDS)
def test_each_category_is_of_the_kind_that_its_photographs_show(rows, graph, kind):
    synset, name = kind.split(" ", 1)
    assert name in graph.nodes[synset]["words"]
    found = {row["category"] for row in rows if row["synset"] and wordnet.is_a(graph, row["synset"], synset)}
    assert found == set(KINDS[kind].split())


def test_the_animals_are_those_and_nothing_else(rows, graph):
    kinds = ("mammal", "bird", "reptile", "fish", "arthropod", "mollusk", "echinoderm")
    expected = set(" ".join(members for kind, members in KINDS.items() if kind.split()[1] in kinds).split())
    assert expected == {
        row["category"] for row in rows if row["synset"] and wordnet.is_a(graph, row["synset"], "n00015388")
    }


def test_the_name_is_the_first_word_of_the_synset(rows, graph):
    for row in rows:
        assert row["name"] == (graph.nodes[row["synset"]]["name"] if row["synset"] else "")


def test_what_has_no_synset_says_why(rows):
    empty = {row["category"]: row["note"] for row in rows if not row["synset"]}
    assert set(empty) == set(NO_SYNSET.split())
    assert all(empty.values())


def test_only_views_of_one_thing_share_a_synset(rows):
    by_synset = {}
    for row in rows:
        if row["synset"]:
            by_synset.setdefault(row["synset"], set()).add(row["category"])
    assert [members for members in by_synset.values() if len(members) > 1] == SHARED


def test_a_word_other_than_the_folder_is_explained(rows, graph):
    """Where no word of the synset resembles the category, a reader needs the reason."""

    def letters(text: str) -> str:
        return "".join(filter(str.isalpha, text.lower()))

    for row in rows:
        if row["synset"] and not row["note"]:
            words = [letters(word) for word in graph.nodes[row["synset"]]["words"]]
            category = letters(row["category"]).removesuffix("s").removesuffix("body")
            assert any(category in word or word in category for word in words), row
