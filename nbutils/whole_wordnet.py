"""All of WordNet 3.0, as NLTK reads it: with glosses, and with the nouns that the book does not need.

Its database is not part of the book; ``nltk.download("wordnet")`` fetches it once. Ids are those of `wordnet`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import networkx as nx

from .wordnet import require_complete

if TYPE_CHECKING:
    from nltk.corpus.reader import WordNetCorpusReader
    from nltk.corpus.reader.wordnet import Synset


def all_nouns(reader: WordNetCorpusReader) -> nx.DiGraph:
    """All nouns of WordNet 3.0, in the form of `wordnet.load`.

    Parameters
    ----------
    reader : nltk.corpus.reader.WordNetCorpusReader
        For example ``nltk.corpus.wordnet``, after ``nltk.download("wordnet")``. Only version 3.0 has ImageNet's ids.

    Raises
    ------
    ValueError
        If `reader` has another version of WordNet, or is incomplete.
    """
    _require_version(reader)
    graph = nx.DiGraph()
    for synset in reader.all_synsets("n"):
        words, hypernyms = _words(synset), _hypernyms(synset)
        graph.add_node(_id(synset), name=words[0], words=words)
        graph.add_edges_from((_id(synset), hypernym) for hypernym in hypernyms)
    require_complete(graph, "reader does not have all of WordNet's nouns: download or install it again")
    return graph


def nltk_reader() -> WordNetCorpusReader:
    """NLTK's reader of the whole WordNet 3.0. It reads what is on this machine, and downloads nothing.

    Raises
    ------
    LookupError
        If NLTK or its data are missing; the message is a sentence that says how to get them.
    """
    try:
        import nltk
    except ImportError:
        raise LookupError("NLTK is not installed here: `pip install nltk` installs it.") from None
    remedy = '`nltk.download("wordnet")` fetches them once.'
    try:
        nltk.corpus.wordnet.ensure_loaded()
    except LookupError:
        raise LookupError(f"NLTK has no data of WordNet on this machine: {remedy}") from None
    except (OSError, ValueError, AssertionError):
        raise LookupError(f"NLTK's data of WordNet are damaged on this machine: {remedy}") from None
    return nltk.corpus.wordnet


def find_synset(reader: WordNetCorpusReader, a: str) -> Synset:
    """The synset with the id `a` in the whole of WordNet, with its gloss and its hyponyms; KeyError if it has none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No WordNet synset found")
        synset = reader.synset_from_pos_and_offset("n", int(a.removeprefix("n")))
    if synset is None:
        raise KeyError(f"synset {a!r} is not a noun of WordNet {reader.get_version()}: check the id")
    return synset


def siblings(reader: WordNetCorpusReader, a: str) -> list[str]:
    """The ids of all other synsets of WordNet that have a hypernym in common with `a`, in the order of their ids."""
    above = [find_synset(reader, hypernym) for hypernym in _hypernyms(find_synset(reader, a))]
    below = {_id(synset) for one in above for synset in one.hyponyms() + one.instance_hyponyms()}
    return sorted(below - {a})


def differences(graph: nx.DiGraph, reader: WordNetCorpusReader) -> list[str]:
    """The synsets of `graph` that have other words or hypernyms in the whole of WordNet, or are missing from it."""

    def same(a: str) -> bool:
        try:
            synset = find_synset(reader, a)
        except KeyError:
            return False
        return _words(synset) == graph.nodes[a]["words"] and set(_hypernyms(synset)) == set(graph.successors(a))

    _require_version(reader)
    return [a for a in graph if not same(a)]


def _id(synset: Synset) -> str:
    return f"n{synset.offset():08d}"


def _words(synset: Synset) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in synset.lemma_names())


def _hypernyms(synset: Synset) -> list[str]:
    # WordNet distinguishes instances (Rome is a city) from kinds (a city is a place); here both are hypernyms.
    return [_id(hypernym) for hypernym in synset.hypernyms() + synset.instance_hypernyms()]


def _require_version(reader: WordNetCorpusReader) -> None:
    if reader.get_version() != "3.0":
        raise ValueError(
            f"reader has WordNet {reader.get_version()}, but ImageNet's ids are those of 3.0: "
            'use nltk.download("wordnet")'
        )
