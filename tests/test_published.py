"""The published graphs and the ledger, on planted archives of known truth and on every kind of damage.

The authors' own file cannot be had here: that it has this layout is what they say of it, not what was tested.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from serving import serving
from sklearn.metrics import adjusted_rand_score

from nbutils._files import sha256
from nbutils.atlas import load_atlas
from nbutils.density import knn_density
from nbutils.dimension import twonn
from nbutils.neighbors import knn_graph
from nbutils.paper import ledger, planted, published
from nbutils.paper.conventions import AUTHORS_EARLY, AUTHORS_RELEASED, JUDGED, OURS, measure
from nbutils.paper.layout import PAPER, Layout
from nbutils.paper.planted import SMALL
from nbutils.paper.published import ARCHIVE, FOLDER, NOTE, PLANTED
from nbutils.paper.table import CHECKPOINTS, PLACES, SOURCES, paper_columns, paper_table, place_of
from nbutils.peaks import find_peaks

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound archive, not to be changed."""
    return planted.plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture
def archive(sound, tmp_path):
    """A copy of it in a folder of its own."""
    copy = tmp_path / "data" / ARCHIVE
    copy.parent.mkdir()
    copy.write_bytes(sound.read_bytes())
    return copy


@pytest.fixture
def folder(archive):
    return published.unpack(archive)


def found_beside(archive):
    return sorted(file.name for file in archive.parent.iterdir())


# --- what the rows are


def test_layout_of_the_paper():
    assert (PAPER.n, PAPER.categories) == (90_000, 300)
    np.testing.assert_array_equal(PAPER.labels, np.arange(90_000) // 300)
    assert (PAPER.families[:38_400] == "animal").all() and (PAPER.families[38_400:85_500] == "artifact").all()
    assert (PAPER.families[85_500:] == "other").all()
    # The macro classes are the families, with the others in twelve groups; both count the same images.
    assert len(set(PAPER.macros)) == 14 and len(PAPER.macros) == PAPER.n
    known = np.isin(PAPER.macros, JUDGED)
    np.testing.assert_array_equal(PAPER.macros[known], PAPER.families[known])
    assert (PAPER.families[~known] == "other").all()
    assert CHECKPOINTS == ("0", "1", "10", "34", "97", "142", "145", "148", "151", "152", "153")


# --- a sound archive


def test_archive_is_opened_one_layer_at_a_time(archive, capsys):
    atlas = published.open_graphs(archive, SMALL)
    assert atlas.meta["sha256"] == sha256(archive) and capsys.readouterr().out == "", "a planted one has no news"
    assert atlas.layers == CHECKPOINTS == tuple(atlas.graphs) and len(atlas.graphs) == 11
    assert len(atlas.labels) == len(atlas.files) == SMALL.n and len(atlas.class_names) == 24
    graph = atlas.graphs["97"]
    assert (graph.n, graph.k) == (SMALL.n, 30) and graph is not atlas.graphs["97"], "not kept in memory"
    assert found_beside(archive) == sorted([ARCHIVE, FOLDER])
    assert (archive.parent / FOLDER / NOTE).read_text() == f"{sha256(archive)}  {ARCHIVE}\n"
    with pytest.raises(KeyError, match="'98' was not published"):
        atlas.graphs["98"]


def test_graphs_are_those_of_the_points(folder):
    rng = np.random.default_rng([0, 1])
    groups = planted.islands(SMALL)["0"]
    expected = knn_graph(planted.cloud(groups, planted.DIMENSIONS["0"], rng), 30)
    graph = published.open_graphs(folder, SMALL).graphs["0"]
    np.testing.assert_array_equal(graph.indices, expected.indices)
    np.testing.assert_allclose(graph.distances, expected.distances, rtol=1e-6)


def test_analysis_finds_what_was_planted(archive):
    rows = ledger.analyse(published.open_graphs(archive, SMALL))
    for row, true in zip(rows, planted.truth(SMALL), strict=True):
        assert (row["peaks"], row["peaks_90"]) == (true["peaks"], true["peaks"]), row["checkpoint"]
        for key in ("ari_classes", "ari_macro"):
            assert row[key] == pytest.approx(true[key], abs=1e-12)
        for key in ("overlap_labels", "overlap_output"):
            assert row[key] == pytest.approx(true[key], abs=0.01)
        assert row["ours"]["dimension"] == pytest.approx(true["dimension_90"], rel=0.12)
        assert row["dimension_90"] == round(row["ours"]["dimension"])
        assert row["dimension_99"] == pytest.approx(true["dimension_99"], rel=0.12, abs=1)
    assert list(rows[0]) == [*paper_table()[0], "released", "ours", "planted"]
    for row, true in zip(rows, planted.truth(SMALL), strict=True):
        # On these islands, which do not touch, no convention changes the peaks.
        assert row["released"]["peaks"] == row["ours"]["peaks"] == true["peaks"]
        assert row["dimension_99"] == round(row["dimension_99"])


def test_planted_truth_is_worth_finding():
    rows = {str(int(row["checkpoint"])): row for row in planted.truth(SMALL)}
    assert [rows[layer]["peaks"] for layer in ("34", "97", "142", "153")] == [1, 2, 3, 24]
    assert rows["142"]["ari_macro"] == 1 and abs(rows["0"]["ari_classes"]) < 0.01
    assert rows["151"]["ari_classes"] < 0.5 < rows["153"]["ari_classes"] < 0.9


def test_the_same_seed_gives_the_same_archive(sound, tmp_path):
    assert sha256(planted.plant(tmp_path / "again")) == sha256(sound)
    assert sha256(planted.plant(tmp_path / "other", seed=1)) != sha256(sound)


def test_shared_counts_the_others_in_all_groupings():
    first, second = np.array([0, 0, 0, 1, 1]), np.array([5, 5, 6, 6, 6])
    assert planted.shared(first).tolist() == [2, 2, 2, 1, 1]
    assert planted.shared(first, second).tolist() == [1, 1, 0, 1, 1]


def test_folder_unpacked_by_hand(archive, tmp_path):
    (tmp_path / "mine").mkdir()
    shutil.move(published.unpack(archive), tmp_path / "mine" / FOLDER)
    (tmp_path / "mine" / FOLDER / NOTE).unlink()
    for path in (tmp_path / "mine", tmp_path / "mine" / FOLDER):
        assert published.open_graphs(path, SMALL).graphs["0"].n == SMALL.n
    (tmp_path / "mine" / FOLDER / "layer_34.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"maxk_30 lacks layer_34\.npz: unpack the archive again"):
        published.open_graphs(tmp_path / "mine", SMALL)


def test_unpacked_once(archive, monkeypatch, capsys):
    published.unpack(archive)
    monkeypatch.setattr(published, "extract", lambda *a: pytest.fail("unpacked again"))
    capsys.readouterr()
    assert published.unpack(archive).name == FOLDER and capsys.readouterr().out == ""


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.tar\.gz"):
        published.open_graphs(tmp_path / "nothing.tar.gz")


# --- damaged archives


def rewrite(archive, change):
    """The archive with its members {name: bytes or TarInfo} changed."""
    with tarfile.open(archive) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
    change(members)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)


def special(kind, name=f"{FOLDER}/layer_0.npz", target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def cut(share):
    return lambda archive: archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])


def flip(archive):
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    archive.write_bytes(content)


def members(change):
    return lambda archive: rewrite(archive, change)


DAMAGED = "is truncated or damaged"
UNSAFE = "is not safe to unpack"
DAMAGES = {
    "cut early": (cut(0.3), DAMAGED),
    "cut late": (cut(0.999), DAMAGED),
    "empty": (cut(0), DAMAGED),
    "last bytes lost": (lambda a: a.write_bytes(a.read_bytes()[:-4]), DAMAGED),
    "a byte changed": (flip, DAMAGED),
    "a page of HTML": (lambda a: a.write_text("<html>Please prove that you are human</html>"), DAMAGED),
    "a layer missing": (members(lambda m: m.pop(f"{FOLDER}/layer_97.npz")), r"lacks layer_97\.npz"),
    "a path that climbs": (members(lambda m: m.update({"../climbed.npz": b"x"})), UNSAFE),
    "a path that climbs from inside": (members(lambda m: m.update({f"{FOLDER}/../../climbed": b"x"})), UNSAFE),
    "a path from the root": (members(lambda m: m.update({"/climbed.npz": b"x"})), UNSAFE),
    "a link out": (members(lambda m: m.update({"a": special(tarfile.SYMTYPE)})), UNSAFE),
    "a link inside": (members(lambda m: m.update({"a": special(tarfile.SYMTYPE, target="layer_1.npz")})), UNSAFE),
    "a hard link": (members(lambda m: m.update({"a": special(tarfile.LNKTYPE, target="maxk_30/layer_1.npz")})), UNSAFE),
    "a device": (members(lambda m: m.update({"a": special(tarfile.CHRTYPE)})), UNSAFE),
}


@pytest.mark.parametrize("damage, words", DAMAGES.values(), ids=DAMAGES)
def test_damaged_archive_is_refused_and_leaves_nothing(archive, damage, words, capsys):
    damage(archive)
    with pytest.raises(ValueError, match=words) as raised:
        published.open_graphs(archive, SMALL)
    assert str(archive) in str(raised.value) and "fetch it again" in str(raised.value)
    assert found_beside(archive) == [ARCHIVE] and os.listdir(archive.parents[1]) == ["data"]
    assert capsys.readouterr().out == "", "no hash is noted of what cannot be used"


def test_what_does_not_belong_is_not_written(archive):
    def clutter(members):
        for name in list(members):
            members["./" + name] = members.pop(name)
        members |= {f"{FOLDER}/._layer_0.npz": b"x", f"{FOLDER}/.DS_Store": b"x", "notes/layer_0.npz": b"x"}

    rewrite(archive, clutter)
    folder = published.unpack(archive)
    assert sorted(os.listdir(folder)) == sorted([NOTE, PLANTED, *(f"layer_{layer}.npz" for layer in CHECKPOINTS)])
    assert found_beside(archive) == sorted([ARCHIVE, FOLDER])


def test_hash(archive, capsys):
    rewrite(archive, lambda members: members.pop(f"{FOLDER}/{PLANTED}"))
    right = sha256(archive)
    with pytest.raises(ValueError, match=f"has the SHA-256 {right}, not {'0' * 64}: fetch it again"):
        published.unpack(archive, "0" * 64)
    assert found_beside(archive) == [ARCHIVE]
    folder = published.unpack(archive, right.upper())
    assert capsys.readouterr().out == "", "nothing new to tell"
    rewrite(archive, lambda members: members.update(note=b"x"))
    with pytest.raises(ValueError, match=f"not {right}: fetch it again; if you trust this one, delete {folder}"):
        published.unpack(archive)
    with pytest.raises(ValueError, match=f"not {right}"):
        published.unpack(archive, sha256(archive))  # the right archive, but what lies there is from another
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    capsys.readouterr()
    published.unpack(archive)
    assert (folder / NOTE).read_text().split()[0] == sha256(archive) != right
    assert sha256(archive) in capsys.readouterr().out, "printed at first use"


def test_a_folder_of_somebody_else_is_left_alone(archive):
    mine = archive.parent / FOLDER
    mine.mkdir()
    (mine / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match="open the folder itself, or move it away"):
        published.unpack(archive)
    assert os.listdir(mine) == ["mine"]


def test_unpacking_that_was_interrupted_starts_over(archive, monkeypatch):
    copy, left = published.shutil.copyfileobj, [3]

    def interrupted(*streams):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        copy(*streams)

    monkeypatch.setattr(published.shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        published.unpack(archive)
    assert found_beside(archive) == [ARCHIVE]
    (archive.parent / f"{FOLDER}.part").mkdir()  # as a kill would leave it
    (archive.parent / f"{FOLDER}.part" / "layer_0.npz").write_text("half")
    assert published.open_graphs(archive, SMALL).graphs["0"].n == SMALL.n
    assert found_beside(archive) == sorted([ARCHIVE, FOLDER])


# --- damaged layers


def replace(key, change):
    """Change one array of layer 10."""

    def damage(path):
        with np.load(path) as stored:
            arrays = dict(stored)
        arrays[key] = change(arrays[key])
        np.savez(path, **arrays)

    return damage


def put(row, column, value):
    def change(array):
        array[row, column] = value
        return array

    return change


def drop(path):
    with np.load(path) as stored:
        np.savez(path, dist=stored["dist"])


LAYER_DAMAGES = {
    "too few rows": (replace("dist", lambda a: a[:-1]), r"must have the shape \(1440, 31\), not \(1439, 31\)"),
    "too few columns": (replace("index", lambda a: a[:, :30]), r"not \(1440, 31\) and \(1440, 30\)"),
    "flat": (replace("dist", np.ravel), r"not \(44640,\)"),
    "no index": (drop, "no sound file of the arrays dist and index"),
    "a pickle": (replace("index", lambda a: a.astype(object)), "no sound file of the arrays dist and index"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:5000]), "no sound file of the arrays dist and index"),
    "not a number": (replace("dist", put(7, 3, np.nan)), "finite"),
    "no order": (replace("dist", put(7, 3, 99.0)), "ascend"),
    "a row that is not there": (replace("index", put(7, 3, 1440)), "must lie in"),
    "fractions": (replace("index", lambda a: a + 0.5), "does not hold the point itself|integers"),
    "the point is missing": (replace("index", put(7, 0, 8)), "row 7 does not hold the point itself at distance zero"),
    "the point is far from itself": (replace("dist", lambda a: a + 1), "does not hold the point itself"),
    "a neighbour twice": (replace("index", lambda a: np.where(np.arange(31) == 3, a[:, [2]], a)), "twice"),
}


@pytest.mark.parametrize("damage, words", LAYER_DAMAGES.values(), ids=LAYER_DAMAGES)
def test_damaged_layer_is_named(folder, damage, words):
    damage(folder / "layer_10.npz")
    atlas = published.open_graphs(folder, SMALL)
    assert atlas.graphs["1"].n == SMALL.n, "the others can still be read"
    with pytest.raises(ValueError, match=words) as raised:
        atlas.graphs["10"]
    assert "layer_10.npz" in str(raised.value)


def test_wrong_layout_is_named(folder):
    with pytest.raises(ValueError, match=r"layer_0\.npz: .*\(90000, 31\), not \(1440, 31\)"):
        published.open_graphs(folder, PAPER).graphs["0"]
    (folder / PLANTED).unlink()
    with pytest.raises(ValueError, match=r"layer_0\.npz: .*\(90000, 31\)"):
        published.open_graphs(folder).graphs["0"]


def test_a_planted_archive_says_what_its_rows_are(tmp_path):
    layout = Layout(animals=3, artifacts=4, others=3, images=40, groups=(1, 2))
    atlas = published.open_graphs(planted.plant(tmp_path, layout))
    np.testing.assert_array_equal(atlas.labels, layout.labels)
    np.testing.assert_array_equal(atlas.meta["macros"], layout.macros)
    assert atlas.graphs["0"].n == 400 and atlas.meta["planted"]


def test_twins_may_come_first():
    distances = np.array([[0, 0, 1], [0, 0, 2], [0, 3, 4], [1e-9, 3, 5]])
    indices = np.array([[1, 0, 2], [0, 1, 3], [2, 0, 1], [3, 2, 1]])
    kept = published.drop_self(distances, indices)
    assert kept[1].tolist() == [[1, 2], [0, 3], [0, 1], [2, 1]]
    assert kept[0].tolist() == [[0, 1], [0, 2], [3, 4], [3, 5]]


def test_more_twins_than_columns():
    distances = np.zeros((4, 3))
    indices = np.array([[1, 2, 3], [1, 2, 3], [3, 2, 0], [0, 1, 2]])  # 0 and 3 are missing in their own rows
    kept = published.drop_self(distances, indices)
    assert kept[1].tolist() == [[1, 2], [2, 3], [3, 0], [0, 1]]
    distances[0, 2] = 0.1
    with pytest.raises(ValueError, match="row 0 does not hold the point itself"):
        published.drop_self(distances, indices)


def test_other_number_types(folder):
    expected = published.open_graphs(folder, SMALL).graphs["10"]
    with np.load(folder / "layer_10.npz") as stored:
        np.savez(folder / "layer_10.npz", dist=stored["dist"].astype(float), index=stored["index"].astype(np.int64))
    found = published.open_graphs(folder, SMALL).graphs["10"]
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


# --- the download


def test_download(sound, tmp_path):
    with serving(sound.parent) as address:
        urls = [f"{address}nothing", f"{address}{ARCHIVE}"]
        fetched = published.download(tmp_path / "new", urls)
    assert fetched.read_bytes() == sound.read_bytes() and os.listdir(tmp_path / "new") == [ARCHIVE]
    assert published.download(tmp_path / "new", urls) == fetched, "without the server: it is not fetched again"


def test_every_form_of_address_is_tried_and_told(tmp_path):
    assert len(published.URLS) == 3 and all(url.endswith("/45441850") for url in published.URLS)
    with serving(tmp_path) as address:
        urls = [f"{address}{i}" for i in range(3)]
        with pytest.raises(ConnectionError, match=r"0: status 404; .*1: status 404; .*2: status 404") as raised:
            published.download(tmp_path, urls)
    assert f"put it at {tmp_path / ARCHIVE}" in str(raised.value) and os.listdir(tmp_path) == []


# --- conventions and places


def test_conventions_are_what_they_say():
    atlas = load_atlas("tiny-imagenet")
    graph, labels = atlas.graphs["stage 7.1"], atlas.labels
    macros = np.array(["animal", "artifact", "other 1", "other 2"])[labels % 4]
    known = labels % 4 < 2
    steps = {
        AUTHORS_EARLY: (round(twonn(graph, 0.99).value), True, known),
        AUTHORS_RELEASED: (round(twonn(graph, 0.95).value), True, np.full(len(labels), True)),
        OURS: (twonn(graph, 0.9).value, False, known),
    }
    results = []
    for conventions, (dimension, borders, rows) in steps.items():
        found = find_peaks(graph, knn_density(graph, dimension), authors_borders=borders)
        results.append(measure(graph, labels, macros, conventions))
        assert results[-1] == {
            "dimension": dimension,
            "peaks": found.n_peaks,
            "ari_classes": adjusted_rand_score(labels[rows], found.labels[rows]),
            "ari_macro": adjusted_rand_score(macros[rows], found.labels[rows]),
        }
    # They are worth keeping apart: on this layer no two give the same.
    assert len({(row["dimension"], row["peaks"], row["ari_classes"]) for row in results}) == 3


def test_macro_categories_without_names_are_refused():
    graph = knn_graph(np.random.default_rng(0).normal(size=(60, 2)), 30)
    with pytest.raises(ValueError, match=r"macros names none of \('animal', 'artifact'\)"):
        measure(graph, np.zeros(60, int), np.zeros(60, int))


def test_every_checkpoint_has_a_place_where_the_picture_is_as_small():
    checkpoints = [checkpoint for places in PLACES.values() for checkpoint in places]
    assert checkpoints == [row["checkpoint"] for row in paper_table()]
    assert place_of(25.0) == "stage 3.2"
    shapes = load_atlas("tiny-imagenet").meta["layers"]
    # In ResNet-152 the max-pool leaves a quarter of the side; the second to fourth stage each halve it once more.
    halved = [(0, 0, 1), (1, 10, 4), (11, 34, 8), (35, 142, 16), (143, 151, 32)]
    for checkpoint in checkpoints[:-2]:
        factor = next(f or 1 for first, last, f in halved if first <= checkpoint <= last)
        shape = shapes[place_of(checkpoint)]["shape"]
        assert 128 // shape[-1] == factor and "reduction" not in shapes[place_of(checkpoint)]


# --- analysis and ledger


def code_of(notebook):
    """The code cells of a notebook of the book, without that which sets it up."""
    cells = json.loads((Path(__file__).parents[1] / "chapters" / notebook).read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code" and c["id"] != "setup"]


@pytest.mark.slow
def test_the_ledger_fetches_and_judges_a_planted_archive(sound, tmp_path, monkeypatch, capsys):
    (tmp_path / "chapters" / "reference").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "chapters" / "reference")
    monkeypatch.setenv("PAPER_GRAPHS", "fetch")
    with serving(sound.parent) as address:
        fetch = published.download
        monkeypatch.setattr(published, "download", lambda folder: fetch(folder, f"{address}{ARCHIVE}"))
        page: dict = {}
        monkeypatch.setattr("nbutils.book.claims.say", lambda text: said.append(text))
        said: list[str] = []
        for cell in code_of("reference/ledger.ipynb"):
            exec(cell, page)
    assert (tmp_path / "paper" / FOLDER / ledger.KEPT).exists()
    assert {row["verdict"] for row in page["rows"]} == {"planted"} and len(page["rows"]) == 88
    assert any("**planted** archive" in text for text in said)
    tables = [text for text in said if text.startswith("| checkpoint | published |")]
    assert len(tables) == 8 and all(text.count("| planted |") == 11 for text in tables)


@pytest.mark.slow
def test_chapter_10_runs_on_a_planted_archive(archive, monkeypatch):
    monkeypatch.setenv("PAPER_GRAPHS", str(archive))
    page: dict = {}
    with matplotlib.rc_context():
        for cell in code_of("10_paper_scale.ipynb"):
            exec(cell, page)
    page["plt"].close("all")
    page["place"].cleanup()
    assert set(page["verdicts"]) == {"planted"} and len(page["ours"]) == 11
    assert None not in page["holds"]["paper, computed here"]


KILLED = """
import os, signal, sys
from nbutils.paper import ledger, planted, published
left, do = [3], ledger.analyse_layer
def kill_at_the_fourth(*a):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return do(*a)
ledger.analyse_layer = kill_at_the_fourth
ledger.analyse(published.open_graphs(sys.argv[1], planted.SMALL))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_analysis_that_was_killed_goes_on(folder, monkeypatch):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, folder],
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(json.loads((folder / ledger.KEPT).read_text())) == ["0", "1", "10"]
    do, done = ledger.analyse_layer, []
    monkeypatch.setattr(ledger, "analyse_layer", lambda *a: done.append(a) or do(*a))
    atlas = published.open_graphs(folder, SMALL)
    rows = ledger.analyse(atlas)
    assert len(done) == 8
    assert ledger.analyse(atlas) == rows and len(done) == 8, "nothing is done again"
    (folder / ledger.KEPT).unlink()
    assert ledger.analyse(atlas, folder.parent / "elsewhere.json") == rows, "the same as in one go"
    assert not (folder / ledger.KEPT).exists() and ledger.analyse(atlas, folder.parent / "elsewhere.json") == rows


def test_what_was_kept_is_of_these_graphs_and_this_version(folder, monkeypatch):
    atlas = published.open_graphs(folder, SMALL)
    ledger.analyse(atlas)
    do, done = ledger.analyse_layer, []
    monkeypatch.setattr(ledger, "analyse_layer", lambda *a: done.append(a) or do(*a))
    (folder / "layer_0.npz").write_bytes((folder / "layer_1.npz").read_bytes())
    rows = ledger.analyse(atlas)
    assert len(done) == 1 and rows[0]["peaks"] == 2
    monkeypatch.setattr(ledger, "__version__", "99")
    ledger.analyse(atlas)
    assert len(done) == 12


def test_nothing_is_reproduced_that_was_not_run():
    rows = ledger.ledger(None)
    assert len(rows) == 88 and {row["verdict"] for row in rows} == {"not run"}
    assert all(row["found"] is None for row in rows)
    assert rows[0]["layer"] == "0" and rows[0]["published"] == 45 and rows[0]["source"] == "early"


def test_planted_graphs_reproduce_nothing(archive):
    atlas = published.open_graphs(archive, SMALL)
    assert atlas.meta["planted"] and "**planted**" in ledger.made_with(atlas)
    rows = ledger.analyse(atlas)
    assert {row["verdict"] for row in ledger.ledger(rows)} == {"planted"}
    assert {
        row["verdict"] for row in ledger.ledger([{**row, "planted": True} for row in paper_table(graphs_only=True)])
    } == {"planted"}


def test_pages_say_what_they_rest_on(archive):
    assert "**without**" in ledger.made_with(None)
    rewrite(archive, lambda members: members.pop(f"{FOLDER}/{PLANTED}"))
    atlas = published.open_graphs(archive, SMALL)
    assert not atlas.meta["planted"] and sha256(archive) in ledger.made_with(atlas)
    (archive.parent / FOLDER / NOTE).unlink()
    by_hand = published.open_graphs(archive.parent, SMALL)
    assert by_hand.meta["sha256"] is None and "unpacked by hand" in ledger.made_with(by_hand)


def test_verdicts():
    exactly = ledger.ledger(paper_table(graphs_only=True))
    assert {row["verdict"] for row in exactly} == {"reproduced"}
    off = [
        {
            **row,
            "peaks": row["peaks"] + 1,
            "dimension_99": row["dimension_99"] + 0.4,
            "ari_classes": row["ari_classes"] - 0.001,
        }
        for row in paper_table(graphs_only=True)
    ]
    verdicts = {row["column"]: row["verdict"] for row in ledger.ledger(off)}
    assert verdicts["peaks"] == "differs by +1" and verdicts["ari_classes"] == "differs by -0.001"
    assert {verdicts[key] for key in ("dimension_99", "peaks_90", "overlap_labels")} == {"reproduced"}
    assert ledger.verdict(0.015, float("nan"), 0.005).startswith("differs"), "what is no number is not reproduced"


@pytest.mark.parametrize("column", paper_columns(), ids=lambda column: column["column"])
def test_a_verdict_has_the_tolerance_of_its_column(column):
    key, within = column["column"], column["within"]
    for off, verdict in ((0, "reproduced"), (0.99, "reproduced"), (1.01, "differs"), (-1.01, "differs")):
        # Whole numbers that are known exactly may not differ by anything.
        shift = off * within if within else np.sign(off) * 1e-6 * (abs(off) > 1)
        rows = [{**row, key: row[key] + shift} for row in paper_table(graphs_only=True)]
        found = {row["verdict"].split()[0] for row in ledger.ledger(rows) if row["column"] == key}
        assert found == {verdict}, off


def test_only_the_published_graphs_are_analysed():
    with pytest.raises(TypeError, match=r"does not hold the published graphs: open those with published\.open_graphs"):
        ledger.analyse(load_atlas())


def test_out_of_memory_is_no_damage(folder, monkeypatch):
    def load(*args, **options):
        raise MemoryError

    monkeypatch.setattr(published.np, "load", load)
    with pytest.raises(MemoryError):
        published.read_layer(folder / "layer_0.npz", SMALL.n)


def test_the_table_is_read_only_when_it_is_asked_for(tmp_path):
    """Where the data are missing, the published graphs can still be opened."""
    program = (
        "from nbutils import _data; _data.DATA = _data.Path('nowhere'); from nbutils.paper import published, ledger"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_layers_with_graphs_are_those_of_which_every_number_is_known():
    table = paper_table()
    known = [row for row in table if not any(map(math.isnan, row.values()))]
    assert len(table) == 23 and known == paper_table(graphs_only=True)
    assert tuple(f"{row['checkpoint']:g}" for row in known) == CHECKPOINTS
    early = ("checkpoint", "dimension_99", "peaks", "ari_classes", "ari_macro")
    assert not any(math.isnan(row[key]) for row in table for key in early)
    at = {row["checkpoint"]: row for row in table}
    assert [at[16][key] for key in early] == [16, 136, 1, 0, 0]
    assert [at[133][key] for key in early] == [133, 94, 5, 0.0032, 0.1956]
    assert [row["checkpoint"] for row in table] == sorted(at)


def test_every_number_of_the_table_has_a_source_and_a_precision():
    assert ["checkpoint", *(column["column"] for column in paper_columns())] == list(paper_table()[0])
    for column in paper_columns():
        assert column["what"] and column["source"] in SOURCES and column["within"] >= 0
    assert {c["column"]: c["source"] for c in paper_columns() if c["source"] != "early"} == {
        "dimension_90": "calc",
        "peaks_90": "calc",
        "overlap_labels": "plot",
        "overlap_output": "plot",
    }


def test_layouts_of_other_sizes(tmp_path):
    layout = Layout(animals=4, artifacts=3, others=1, images=40)
    rows = ledger.analyse(published.open_graphs(planted.plant(tmp_path, layout, seed=3), layout))
    assert [row["peaks"] for row in rows[2:4]] == [1, 1] and rows[-1]["peaks"] == 8
