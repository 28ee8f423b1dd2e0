"""Building an atlas from the command line: what it makes, and one sentence and an exit status for all that can fail."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from test_atlas import draw

from nbutils.atlas import __main__ as commands
from nbutils.atlas import estimate as estimates
from nbutils.atlas import load_atlas
from nbutils.extraction import activations, models


@pytest.fixture
def run(tmp_path, capsys):
    """A function that runs the command on three categories of noise, and gives its exit status and what it said."""
    draw(tmp_path / "drawn", side=40, count=4)

    def run(*arguments, images=tmp_path / "drawn", out=tmp_path / "out"):
        places = ["--images", images, *(["--out", out] if out else [])]
        defaults = ["--network", "efficientnet_lite0_128", "--weights", "random", "--k", "3", "--workers", "0"]
        status = commands.main([str(word) for word in [*places, *defaults, *arguments]])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.mark.slow
def test_help():
    done = subprocess.run([sys.executable, "-m", "nbutils.atlas", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: python -m nbutils.atlas")
    options = """--images --exclude --network --weights --layers --mean-layers --reduce --k --mantissa-bits --synsets
        --out --scratch --estimate --dask --device --autocast --categories --per-category --workers"""
    for option in options.split():
        assert option in done.stdout


@pytest.mark.slow
def test_end_to_end(run, tmp_path):
    (tmp_path / "table.csv").write_text("category,synset\nred,n04962784\ngreen,\n")
    arguments = "--exclude blue --layers|stage 7.1|stem|logits|--mean-layers|stage 5.3|--mantissa-bits 12|--synsets"
    arguments = [word for part in arguments.split("|") for word in ([part] if "stage" in part else part.split())]
    arguments += [tmp_path / "table.csv"]
    status, said, _ = run(*arguments, out=tmp_path / "my atlas")
    assert status == 0 and "8 images of 2 categories in efficientnet_lite0_128 (random, seed 0)" in said
    assert re.search(r"Done in \d+ s: the 3 nearest neighbours of 8 images of 2 categories in 4 layers", said)
    assert (
        "stem            32 x 64 x 64\nstage 5.3 mean  112\nstage 7.1       320 x 4 x 4\nlogits          1000\n" in said
    )
    assert f"load_atlas('{tmp_path / 'my atlas'}')" in said and "my atlas.activations (2.2 MB)" in said
    found = load_atlas(tmp_path / "my atlas")
    assert found.layers == ("stem", "stage 5.3 mean", "stage 7.1", "logits") and len(found.labels) == 8
    assert found.class_names == ("green", "red") and found.synsets == (None, "n04962784")
    assert found.meta["weights"].startswith("random, seed 0, statistics of the batch normalisation measured on 8 ")
    assert "--layers 'stage 7.1' stem logits" in found.meta["command"], "can be pasted into a shell"
    for layer in found.layers:
        graph = found.graphs[layer]
        assert (graph.n, graph.k) == (8, 3) and (graph.distances > 0).all()
        assert (graph.distances.view(np.uint32) % 2**11 == 0).all()
    # With calibrated statistics the signal neither dies out nor blows up on its way.
    store = activations.ActivationStore(tmp_path / "my atlas.activations")
    for layer in store:
        assert 0.05 < store[layer].astype(float).std() < 20, layer
    status, said, _ = run(*arguments, out=tmp_path / "my atlas")
    assert status == 0 and "Done in" in said and "about" not in said, "no trial once the activations are begun"
    assert json.loads((tmp_path / "my atlas" / "meta.json").read_text()) == found.meta


def test_the_estimate_is_the_first_thing_one_sees(run, tmp_path):
    status, said, _ = run("--estimate", "--reduce", "mean", out=None)
    assert status == 0 and "12 images in 21 layers on " in said
    assert re.search(r"\nstage 4\.2  80 x 8 x 8 +123 kB +2 kB  #+\n", said) and "\ntogether  " in said
    assert os.listdir(tmp_path) == ["drawn"]
    status, said, _ = run("--layers", "logits")
    assert said.index("stage 4.2") < said.index("12 images in 1 layers on ") < said.index("Done in")


def test_all_layers_averaged(run, tmp_path):
    assert run("--reduce", "mean", "--layers", "stage 7.1", "pool")[0] == 0
    assert load_atlas(tmp_path / "out").layers == ("stage 7.1 mean", "pool")


def test_weights_from_a_file(run, tmp_path):
    model = models.load("squeezenet1_1", "random", seed=3).model
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    layers = list(models.load("squeezenet1_1", "random").layers)[-1:]
    chosen = ["--categories", "2", "--per-category", "2", "--layers", *layers]
    status, _, _ = run("--network", "squeezenet1_1", "--weights", tmp_path / "mine.pt", *chosen)
    meta = load_atlas(tmp_path / "out").meta
    assert status == 0 and meta["n"] == 4
    assert meta["weights"] == "mine.pt" and meta["weights_sha256"] == models.fingerprint(model)


@pytest.mark.parametrize("count, batches", [(3, [3]), (33, [17, 16]), (256, [32] * 8), (300, [32] * 8)])
def test_calibration_sees_all_categories_in_batches_of_one_size(tmp_path, monkeypatch, count, batches):
    class Numbers:
        class_names, labels, files, skipped = ("a",), np.zeros(count, int), [""] * count, []

        def __len__(self):
            return count

        def __getitem__(self, i):
            return torch.full((3, 2, 2), float(i))

    given = []
    monkeypatch.setattr(commands, "photographs", lambda *a, **k: Numbers())
    monkeypatch.setattr(commands, "output_shapes", lambda *a: {"logits": (5,)})
    for name in ("summary", "estimate", "build"):
        monkeypatch.setattr(commands, name, lambda *a, **k: "")
    monkeypatch.setattr(models, "calibrate", lambda model, batches: given.extend(batches))
    assert commands.main(["--images", "x", "--out", str(tmp_path / "out"), "--weights", "random"]) == 0
    assert [len(batch) for batch in given] == batches
    seen = torch.cat(given)[:, 0, 0, 0]
    assert seen[0] == 0 and seen[-1] == count - 1 and len(seen.unique()) == min(count, 256)
    assert seen.diff().max() <= 2


# --- one sentence and an exit status


def damaged(tmp_path):
    path = tmp_path / "drawn" / "red" / "01.png"
    path.write_bytes(path.read_bytes()[:70])


def table(text):
    return lambda tmp_path: (tmp_path / "table.csv").write_text(text, encoding="utf-8")


def only(name):
    def prepare(tmp_path):
        for path in (tmp_path / "drawn").glob("*/*.png"):
            path.rename(path.with_name(name))

    return prepare


def nothing(tmp_path):
    pass


WRONG = {
    "an unknown network": (nothing, ["--network", "resnet9999"], "name='resnet9999' is neither"),
    "too many neighbours": (nothing, ["--k", "99"], "k=99 must lie in"),
    "an unknown layer": (nothing, ["--layers", "stage 99"], "'stage 99' is no layer of"),
    "an unknown layer to average": (nothing, ["--mean-layers", "stage 99"], "'stage 99' is no layer of"),
    "no such weights": (nothing, ["--weights", "nowhere.pt"], "weights must be 'imagenet', 'random' or the path"),
    "no such device": (nothing, ["--device", "quantum"], "--device quantum cannot be used"),
    "the same folder twice": (nothing, ["--out", "x", "--scratch", "x"], "scratch and out are both 'x'"),
    "the current folder": (nothing, ["--out", "."], "out='.' holds other files"),
    "a file": (table(""), ["--out", "table.csv"], "out='table.csv' is a file"),
    "no images": (nothing, ["--images", "nowhere"], "source='nowhere' is no folder"),
    "none of each category": (nothing, ["--per-category", "0"], "per_category=0 must be at least 1"),
    "a misspelt category": (nothing, ["--exclude", "blu"], "has no category 'blu'; is it 'blue'?"),
    "other synsets": (table("category,synset\ncat,n02121620\n"), ["--synsets", "table.csv"], "none of the categories"),
    "another table": (table("name,id\nred,n04962784\n"), ["--synsets", "table.csv"], "needs the columns category and"),
    "no table": (nothing, ["--synsets", "nowhere.csv"], "nowhere.csv"),
    "other pictures": (only("0.heic"), [], "it has 3 files with .heic"),
    "a damaged picture": (damaged, [], "error: red/01.png is not a readable image"),
}


@pytest.mark.parametrize("prepare, arguments, words", WRONG.values(), ids=WRONG)
def test_errors_are_one_sentence(run, tmp_path, monkeypatch, prepare, arguments, words):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    before = sorted(os.listdir())
    status, _, error = run(*arguments)
    assert status == 1 and words in error
    assert error.startswith("python -m nbutils.atlas: error: ") and error.count("\n") == 1 and "Traceback" not in error
    assert sorted(os.listdir()) == before, "nothing was written"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "required: --out (or --estimate)"),
        (["--reduce", "mean", "--mean-layers", "stem", "--out", "x"], "give either --reduce mean"),
        (["--mantissa-bits", "50", "--out", "x"], "argument --mantissa-bits: invalid choice: 50"),
        (["--categories", "nowhere.txt", "--out", "x"], "'nowhere.txt' is neither a number nor a file with names"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as raised:
        commands.main(["--images", str(tmp_path), *arguments])
    assert raised.value.code == 2 and words in capsys.readouterr().err


def test_wrong_numbers_are_found_before_the_trial(run, monkeypatch):
    monkeypatch.setattr(estimates, "extract", lambda *a, **k: pytest.fail("extracted"))
    assert "k=12 must lie in 1 ... 11, because there are 12 images" in run("--k", "12")[2]
    assert "'stage 99' is no layer" in run("--mean-layers", "stage 99")[2]


def test_out_of_memory_is_one_sentence(run, monkeypatch):
    def fails(*args):
        raise MemoryError

    monkeypatch.setattr(commands, "run", fails)
    assert run() == (1, "", "python -m nbutils.atlas: error: out of memory\n")


def test_a_table_from_a_spreadsheet(run, tmp_path):
    table("\ufeffcategory,synset\nred,n04962784\n")(tmp_path)
    status, said, _ = run("--layers", "logits", "--synsets", tmp_path / "table.csv")
    assert status == 0 and load_atlas(tmp_path / "out").synsets == (None, None, "n04962784")
    assert "No synset in" in said and "for 2 categories, for instance blue, green" in said


def test_skipped_files_are_counted_and_some_named(run, tmp_path):
    for i in range(5):
        (tmp_path / "drawn" / "red" / f"{i}.txt").write_text("no image")
    said = run("--estimate", "--layers", "logits")[1]
    assert "Skipped 5 files that are no images, for instance red/0.txt, red/1.txt, red/2.txt\n" in said


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no signals to groups of processes here")
def test_ctrl_c(run, tmp_path):
    """Sent to the command and to the processes that read its images, as a terminal does."""
    draw(tmp_path / "many", side=40, count=10)
    arguments = ["--network", "efficientnet_lite0_128", "--weights", "random", "--k", "3", "--layers", "logits"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nbutils.atlas", "--images", "many", "--out", "out", *arguments],
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a shell ignores in the background
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert "30 images of 3 categories" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error == "python -m nbutils.atlas: interrupted; the same command continues where it stopped\n"
    status, said, _ = run("--layers", "logits", images=tmp_path / "many")
    assert status == 0 and "Done in" in said
