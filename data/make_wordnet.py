"""Make data/wordnet.tsv: the part of WordNet 3.0 above ImageNet-1k, the categories of every atlas and the small world.

    python data/make_wordnet.py                               # WordNet from NLTK's data
    python data/make_wordnet.py --dict /usr/share/wordnet     # or from a folder with WordNet's own files

The first needs ``python -m nltk.downloader wordnet`` once. The second reads the ``dict`` folder of any WordNet 3.0,
for example Debian's package wordnet-base.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import networkx as nx
import nltk
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from timm.data import ImageNetInfo

from nbutils._files import write_text
from nbutils.smallworld.things import load_things
from nbutils.whole_wordnet import all_nouns, nltk_reader

DATA = Path(__file__).resolve().parent

HEADER = """\
# The part of WordNet 3.0 (nouns; no glosses) above ImageNet-1k, the categories of the atlases and the small world.
# WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved. The licence is in WORDNET_LICENSE.
# Made by make_wordnet.py. The column imagenet is the number of the class in ImageNet-1k.
"""


@contextmanager
def open_wordnet(folder: str | os.PathLike | None = None) -> Iterator[WordNetCorpusReader]:
    """NLTK's reader on its own data, or on a folder with WordNet's files.

    Raises
    ------
    FileNotFoundError
        If there is no WordNet in the folder.
    LookupError
        If NLTK has none.
    """
    if folder is None:
        yield nltk_reader()
        return
    if not (Path(folder) / "data.noun").exists():
        raise FileNotFoundError(f"--dict {os.fspath(folder)} has no data.noun: name the `dict` folder of a WordNet 3.0")
    # NLTK reads nothing outside its data path, not even through a link.
    with tempfile.TemporaryDirectory() as copy:
        for path in Path(folder).iterdir():
            if path.is_file():
                shutil.copy(path, copy)
        if not (lexnames := Path(copy, "lexnames")).exists():  # which some distributions leave out
            lexnames.write_text("".join(f"{i:02d}\tfile.{i}\t0\n" for i in range(45)))
        nltk.data.path.append(copy)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The multilingual functions are not available")
                yield _FolderReader(copy, None)
        finally:
            nltk.data.path.remove(copy)


class _FolderReader(WordNetCorpusReader):
    def map_wn(self, version: str = "wordnet") -> None:
        """Other languages need a map to NLTK's own copy of WordNet; we read English, and there may be no such copy."""


def our_synsets() -> list[str]:
    """The synsets in all tables of categories, data/*_synsets.csv, and those of the small world's things."""
    ids = [thing.synset for thing in load_things()]
    for path in sorted(DATA.glob("*_synsets.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            ids += [row["synset"] for row in csv.DictReader(file) if row["synset"]]
    return ids


def table(graph: nx.DiGraph) -> str:
    """The text of data/wordnet.tsv, from a graph of all nouns."""
    classes = {synset: i for i, synset in enumerate(ImageNetInfo("imagenet-1k").label_names())}
    wanted = set(classes) | set(our_synsets())
    if unknown := sorted(wanted - set(graph)):
        raise ValueError(
            f"{unknown} are not ids of WordNet 3.0: correct them in data/*_synsets.csv or in "
            "data/small_world/things.yaml"
        )
    text = io.StringIO()
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    rows.writerow(["synset", "words", "hypernyms", "imagenet"])
    for node in sorted(wanted.union(*(nx.descendants(graph, node) for node in wanted))):
        words, hypernyms = graph.nodes[node]["words"], sorted(graph.successors(node))
        rows.writerow([node, ", ".join(words), " ".join(hypernyms), classes.get(node)])
    return HEADER + text.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description="Make data/wordnet.tsv from a whole WordNet 3.0.")
    parser.add_argument("--dict", help="folder with WordNet's own files (default: the WordNet of NLTK)")
    with open_wordnet(parser.parse_args().dict) as reader:
        text = table(all_nouns(reader))
    write_text(DATA / "wordnet.tsv", text)
    print(f"wrote {text.count(chr(10)) - HEADER.count(chr(10)) - 1} synsets to data/wordnet.tsv")


if __name__ == "__main__":
    main()
