"""What a store survives: a full disk, two runs at once, other images; and what may not be stored."""

from __future__ import annotations

import errno
import functools
import importlib
import json
import linecache
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from test_activations import LAYERS, Counting, interrupted, network, pictures
from torch import nn
from torch.utils.data import Subset

from nbutils.extraction import writing
from nbutils.extraction.activations import ActivationStore, extract
from nbutils.extraction.request import probe_numbers
from nbutils.extraction.store import MANIFEST


def whole(folder) -> ActivationStore:
    return extract(network(), pictures(), LAYERS, folder, batch_size=4, device="cpu")


def assert_same(one, other):
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def manifest(folder) -> dict:
    return json.loads((folder / MANIFEST).read_text())


# --- a full disk


def test_too_little_space_is_seen_before_the_network_runs(tmp_path, monkeypatch):
    features = 240 + 240 + 144 + 24 + 7
    lacks = 1000
    usage = shutil.disk_usage(tmp_path)._replace(free=11 * features * 2 - lacks)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"1,000 bytes are missing on the disk of .*: make room, and the same") as caught:
        whole(tmp_path)
    assert caught.value.errno == errno.ENOSPC and not list(tmp_path.glob("*.npy"))
    monkeypatch.undo()
    assert_same(whole(tmp_path), whole_elsewhere(tmp_path))


def whole_elsewhere(folder):
    return whole(folder / "whole")


def test_rows_that_were_written_already_need_no_space(tmp_path, monkeypatch):
    """Workers of a cluster write out of order, so that there may be more rows than count as done."""
    before = {name: np.array(rows) for name, rows in whole(tmp_path).items()}
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest(tmp_path), "done": 4}))
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: usage)
    assert_same(whole(tmp_path), before)


LIMITED = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from test_store import MANIFEST, torch, extract, nn, many
# The largest file that this process may write: a quarter of the layer's.
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
extract(nn.Sequential(nn.Identity()), many(), {"end": "0"}, sys.argv[2], batch_size=4, device="cpu")
"""


def many() -> torch.Tensor:
    return torch.arange(40.0).view(40, 1).expand(40, 5000).contiguous()


def test_what_may_not_be_written_is_an_error_and_no_signal(tmp_path):
    """Where files may not grow, as on a full disk: the process lives, and says what is wrong."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, os.path.dirname(__file__), tmp_path / "a", "100000"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, "killed by a signal"
    assert re.search(
        r"OSError: .*no more may be written to .*: make room, and the same call will continue", done.stderr
    )
    store = extract(nn.Sequential(nn.Identity()), many(), {"end": "0"}, tmp_path / "a", batch_size=4, device="cpu")
    np.testing.assert_array_equal(store["end"][:, 7], range(40))


def test_a_disk_that_fills_up_halfway(tmp_path, monkeypatch):
    """Another process takes the space after it was found to be enough. `soak.py` does it to a real disk."""
    model, layers = nn.Sequential(nn.Identity()), {"end": "0"}
    sync, calls = os.fsync, []

    def fill_up(file):
        calls.append(file)
        if len(calls) > 3:
            usage = shutil.disk_usage(tmp_path)._replace(free=0)
            monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: usage)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(writing.os, "fsync", fill_up)
    monkeypatch.setattr(writing, "SYNC_SECONDS", 0)
    for _ in range(2):
        with pytest.raises(OSError, match=r"[\d,]+ bytes are missing on the disk of .*: make room") as caught:
            extract(model, many(), layers, tmp_path / "a", batch_size=4, device="cpu")
        assert caught.value.errno == errno.ENOSPC and manifest(tmp_path / "a")["done"] == 12
    monkeypatch.undo()
    resumed = extract(model, many(), layers, tmp_path / "a", batch_size=4, device="cpu")
    assert_same(resumed, extract(model, many(), layers, tmp_path / "b", batch_size=4, device="cpu"))


@pytest.mark.parametrize("seconds, noted", [(0, [4, 8, 11]), (1e9, [11])], ids=["each batch", "at the end"])
def test_the_manifest_counts_only_what_the_disk_has(tmp_path, monkeypatch, seconds, noted):
    events, write, sync = [], writing.write_json, os.fsync
    monkeypatch.setattr(writing, "SYNC_SECONDS", seconds)
    monkeypatch.setattr(writing, "write_json", lambda file, what: (events.append(what["done"]), write(file, what)))
    monkeypatch.setattr(writing.os, "fsync", lambda file: (events.append("sync"), sync(file)))
    whole(tmp_path)
    assert events == [0, *(event for done in noted for event in ["sync"] * len(LAYERS) + [done])]


def test_an_error_costs_no_batch_although_the_disk_was_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SYNC_SECONDS", 1e9)
    x = pictures().clone()
    x[9] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        run(x, tmp_path)
    assert manifest(tmp_path)["done"] == 8


# --- two runs in one folder

SECOND = """
import sys
sys.path.insert(0, sys.argv[1])
from test_store import whole
from pathlib import Path
whole(Path(sys.argv[2]))
"""


class Running(Counting):
    """Holds the extraction at image 5 until it is told to go on."""

    def __init__(self):
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __getitem__(self, i):
        if i == 5:
            self.reached.set()
            assert self.go_on.wait(120)
        return super().__getitem__(i)


def test_a_second_run_in_the_folder_says_so(tmp_path):
    images, errors = Running(), []

    def first():
        try:
            extract(network(), images, LAYERS, tmp_path / "a", batch_size=4, device="cpu")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert images.reached.wait(60)
        with pytest.raises(BlockingIOError, match="is being filled by another thread of this process: wait until"):
            whole(tmp_path / "a")
        second = subprocess.run(
            [sys.executable, "-c", SECOND, os.path.dirname(__file__), tmp_path / "a"], capture_output=True, text=True
        )
        assert re.search(rf"BlockingIOError: out=.* is being filled by process {os.getpid()} on ", second.stderr)
    finally:
        images.go_on.set()
        thread.join()
    assert not errors and not (tmp_path / "a" / writing.LOCK).exists()
    assert_same(ActivationStore(tmp_path / "a"), whole(tmp_path / "b"))


def test_the_lock_of_a_process_that_was_killed_is_no_lock(tmp_path):
    (tmp_path / writing.LOCK).write_text("process 1 on this machine")
    whole(tmp_path)
    assert not (tmp_path / writing.LOCK).exists()


# --- going on


def test_it_says_from_where_it_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    interrupted(tmp_path, 4)
    capsys.readouterr()
    whole(tmp_path)
    assert f"{tmp_path}: images 0 to 3 of 11 are done; continuing" in capsys.readouterr().out
    whole(tmp_path)
    assert f"{tmp_path}: all 11 images are done" in capsys.readouterr().out


class Files(torch.utils.data.Dataset):
    """Pictures in files, as in `ImageFolder` and torchvision's folders; those at `unreadable` cannot be read."""

    def __init__(self, folder, names=None):
        self.root = str(folder)
        self.files = sorted(names or os.listdir(folder))
        self.paths = [os.path.join(folder, name) for name in self.files]
        self.read = []

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        self.read.append(self.files[i])
        if Path(self.paths[i]).read_bytes() == b"damaged":
            raise ValueError(f"{self.files[i]} is not a readable image")
        return torch.load(self.paths[i])


def as_files(folder, n=30) -> Files:
    folder.mkdir()
    for i, picture in enumerate(pictures(n)):
        torch.save(picture.clone(), folder / f"{i:02d}.pt")
    return Files(folder)


def run(images, out, **options):
    return extract(network(), images, LAYERS, out, batch_size=4, device="cpu", **options)


def test_an_unreadable_file_that_is_removed_costs_no_finished_work(tmp_path):
    images = as_files(tmp_path / "images")
    (tmp_path / "images" / "22.pt").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"22\.pt is not a readable image"):
        run(Files(tmp_path / "images"), tmp_path / "a")
    done = manifest(tmp_path / "a")["done"]
    assert done >= 16
    (tmp_path / "images" / "22.pt").unlink()
    images = Files(tmp_path / "images")
    resumed = run(images, tmp_path / "a")
    assert images.read == ["00.pt", *images.files[done:]]
    assert resumed.n == 29
    assert_same(resumed, run(Files(tmp_path / "images"), tmp_path / "b"))
    assert manifest(tmp_path / "a") == manifest(tmp_path / "b"), "and it is the store of the images that are left"
    assert sorted(os.listdir(tmp_path / "a")) == sorted(os.listdir(tmp_path / "b"))


@pytest.mark.parametrize("count", [12, 99, 100, 101])
def test_the_number_of_images_may_change_while_nothing_that_is_done_does(tmp_path, monkeypatch, count):
    """Also where it then has another number of digits, which lies before the rows in the file."""
    monkeypatch.setattr(writing, "SYNC_SECONDS", 0)
    x = torch.randn(120, 4)
    model, layers = nn.Sequential(nn.Identity()), {"end": "0"}

    class Stop(Exception):
        pass

    def stop(*_):
        if manifest(tmp_path / "a")["done"] >= 8:
            raise Stop

    model.register_forward_pre_hook(stop)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / MANIFEST).write_text(json.dumps({"n": 1, "done": 0, "dtype": "float16", "layers": {}}))
    with pytest.raises(Stop):
        extract(model, x, layers, tmp_path / "a", batch_size=2, device="cpu")
    model._forward_pre_hooks.clear()
    store = extract(model, x[:count], layers, tmp_path / "a", batch_size=2, device="cpu")
    np.testing.assert_array_equal(store["end"], x[:count].half())


def test_the_same_number_of_files_and_the_same_first_one(tmp_path):
    images = as_files(tmp_path / "images")
    names = list(images.files)
    without_3, without_9 = (Files(tmp_path / "images", names[:i] + names[i + 1 :]) for i in (3, 9))
    run(without_9, tmp_path / "a")
    before = {name: np.array(rows) for name, rows in ActivationStore(tmp_path / "a").items()}
    with pytest.raises(ValueError, match=r"another images \(number 3 was 03\.pt, now 04\.pt\)"):
        run(without_3, tmp_path / "a")
    assert_same(ActivationStore(tmp_path / "a"), before)


def test_finished_work_on_images_that_were_removed_is_not_thrown_away(tmp_path):
    images = as_files(tmp_path / "images")
    (tmp_path / "images" / "22.pt").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="not a readable image"):
        run(Files(tmp_path / "images"), tmp_path / "a")
    state = {file: (tmp_path / "a" / file).read_bytes() for file in os.listdir(tmp_path / "a")}
    with pytest.raises(ValueError, match=r"images \(number 3 was 03\.pt, now 04\.pt\); choose another folder"):
        run(Files(tmp_path / "images", [name for name in images.files if name != "03.pt"]), tmp_path / "a")
    assert {file: (tmp_path / "a" / file).read_bytes() for file in os.listdir(tmp_path / "a")} == state


def test_images_that_are_added_to_a_finished_store_are_others(tmp_path):
    """Graphs may have been made of it."""
    x = pictures(14)
    run(x[:11], tmp_path)
    with pytest.raises(ValueError, match=r"n \(was 11, now 14\), another images \(number 11 was missing, now there\)"):
        run(x, tmp_path)


@pytest.mark.parametrize("kind", ["paths", "samples", "subset"])
def test_a_file_that_changed(tmp_path, kind):
    as_files(tmp_path / "images")

    def images():
        found = Files(tmp_path / "images")
        if kind == "samples":
            found.samples = [(path, 0) for path in found.paths]
            del found.paths, found.files
            found.__class__ = type(
                "Samples",
                (torch.utils.data.Dataset,),
                {
                    "__len__": lambda self: len(self.samples),
                    "__getitem__": lambda self, i: (torch.load(self.samples[i][0]), 0),
                },
            )
        return Subset(found, range(2, 30)) if kind == "subset" else found

    run(images(), tmp_path / "a")
    torch.save(pictures(31)[30].clone(), tmp_path / "images" / "17.pt")
    number = 15 if kind == "subset" else 17
    with pytest.raises(ValueError, match=rf"another images \(number {number}, 17\.pt, has changed\)"):
        run(images(), tmp_path / "a")


class Transformed(Counting):
    def __init__(self, transform):
        super().__init__()
        self.transform = transform

    def __getitem__(self, i):
        return self.transform(super().__getitem__(i))


def doubled(x):
    return 2 * x


def test_another_transform(tmp_path):
    run(Transformed(doubled), tmp_path)
    with pytest.raises(ValueError, match=r"transform \(was test_store\.doubled, now test_store\..*<lambda>\)"):
        run(Transformed(lambda x: 2 * x), tmp_path)


def test_a_transform_that_failed_may_be_mended(tmp_path):
    def mended(x, limit=None):
        if limit and torch.equal(x, pictures()[limit]):
            raise ValueError("not this one")
        return x

    with pytest.raises(ValueError, match="not this one"):
        run(Transformed(functools.partial(mended, limit=9)), tmp_path / "a")
    done = manifest(tmp_path / "a")["done"]
    images = Transformed(mended)
    resumed = run(images, tmp_path / "a")
    assert done >= 4 and images.seen == [0, *range(done, 11)]
    assert_same(resumed, run(Transformed(mended), tmp_path / "b"))


def test_a_random_transform_is_noticed(tmp_path):
    def noisy(x):
        return x + torch.rand(())

    run(Transformed(noisy), tmp_path)
    with pytest.raises(ValueError, match=r"images \(number 0 is not the same after preprocessing\)"):
        run(Transformed(noisy), tmp_path)


def test_some_images_are_compared_where_a_data_set_does_not_name_its_files(tmp_path):
    assert probe_numbers(9) == probe_numbers(99) == [0]
    assert probe_numbers(1000) == [0, 142, 285, 428, 570, 713, 856, 999]

    class Numbers(torch.utils.data.Dataset):
        def __init__(self, changed=None):
            self.changed = changed

        def __len__(self):
            return 300

        def __getitem__(self, i):
            return torch.tensor([float(i), float(i == self.changed)])

    model, layers = nn.Sequential(nn.Identity()), {"end": "0"}
    extract(model, Numbers(), layers, tmp_path, device="cpu")
    with pytest.raises(ValueError, match=r"images \(number 299 is not the same"):
        extract(model, Numbers(299), layers, tmp_path, device="cpu")
    # Of a store that is not finished, only those that are done.
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest(tmp_path), "done": 200}))
    with pytest.raises(ValueError, match=r"images \(number 0 is not the same"):
        extract(model, Numbers(0), layers, tmp_path, device="cpu")
    assert extract(model, Numbers(299), layers, tmp_path, device="cpu")["end"][299].tolist() == [299, 1]


def test_all_that_was_asked_for_is_one_digest(tmp_path):
    run(pictures(), tmp_path / "a")
    run(pictures(), tmp_path / "b")
    run(pictures(), tmp_path / "c", reduce={"stage 1": torch.relu})
    digests = [manifest(tmp_path / name)["asked"] for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_the_store_of_an_earlier_version(tmp_path):
    run(pictures(), tmp_path)
    old = {key: value for key, value in manifest(tmp_path).items() if key in ("n", "done", "dtype", "layers", "model")}
    (tmp_path / MANIFEST).write_text(json.dumps(old))
    with pytest.raises(ValueError, match=r"out=.* holds activations of an earlier version of this package"):
        run(pictures(), tmp_path)
    assert list(ActivationStore(tmp_path)) == list(LAYERS), "it can still be read"


CELL = """
class Mine(nn.Module):
    def forward(self, x):
        return self.work(x)

    def work(self, x):
        return {}
"""


@pytest.mark.parametrize("kind", ["typed in a notebook", "in a file"])
def test_a_network_whose_code_changed(tmp_path, monkeypatch, kind):
    """The same name and the same modules."""

    def network(result):
        if kind == "in a file":
            (tmp_path / "mine.py").write_text("from torch import nn\n" + CELL.format(result))
            monkeypatch.delitem(sys.modules, "mine", raising=False)
            monkeypatch.syspath_prepend(tmp_path)
            importlib.invalidate_caches()
            linecache.clearcache()
            return nn.Sequential(importlib.import_module("mine").Mine())
        names = {"nn": nn, "__name__": "__main__"}
        exec(CELL.format(result), names)
        return nn.Sequential(names["Mine"]())

    def stored(result):
        return extract(network(result), pictures(), {"end": "0"}, tmp_path / "a", device="cpu")

    stored("x")
    stored("x")
    with pytest.raises(ValueError, match="another structure of the model"):
        stored("x**2 + 1")


def test_a_store_of_which_nothing_is_done_may_become_another(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "write_rows", lambda *a: (_ for _ in ()).throw(OSError("broken")))
    with pytest.raises(OSError, match="broken"):
        extract(network(), pictures(), {"gone": "0", "logits": "6"}, tmp_path, device="cpu")
    monkeypatch.undo()
    assert_same(run(pictures(), tmp_path), run(pictures(), tmp_path.parent / "b"))
    assert not (tmp_path / "gone.npy").exists()


# --- what may not be stored


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale, self.here = scale, nn.Identity()

    def forward(self, x):
        return self.here(x * self.scale)


@pytest.mark.parametrize("scale", [1e-8, 1e-6])
def test_what_float16_cannot_hold(tmp_path, scale):
    with pytest.raises(ValueError, match=r"layer 'here' is too small for float16: .* become zero, .*dtype='float32'"):
        extract(Scaled(scale), pictures(), {"here": "here"}, tmp_path / "16", device="cpu")
    store = extract(Scaled(scale), pictures(), {"here": "here"}, tmp_path / "32", dtype="float32", device="cpu")
    np.testing.assert_allclose(store["here"], pictures().flatten(1) * scale, rtol=1e-6)


def test_small_numbers_beside_large_ones_are_no_loss(tmp_path):
    """A third of tiny numbers, and zeros that were zeros before."""
    scale = torch.tensor([1e-9, 1.0, 0.0]).view(3, 1, 1)
    store = extract(Scaled(scale), pictures(), {"here": "here"}, tmp_path, device="cpu")
    rows = np.asarray(store["here"]).reshape(11, 3, -1)
    assert (rows[:, 1] != 0).all() and not rows[:, [0, 2]].any()


def test_mostly_zero_is_a_loss_also_beside_large_numbers(tmp_path):
    scale = torch.tensor([1e-9, 1.0, 1e-9]).view(3, 1, 1)
    with pytest.raises(ValueError, match=r"layer 'here' is too small for float16: .* 67% become zero"):
        extract(Scaled(scale), pictures(), {"here": "here"}, tmp_path, device="cpu")


@pytest.mark.parametrize("n", [11, 800])
def test_a_layer_that_is_the_same_for_all_images(tmp_path, n):
    model = nn.Sequential(nn.Flatten(), nn.Linear(240, 3), nn.ReLU())
    model[1].bias.data.fill_(-1e4)
    x, layers = torch.rand(n, 3, 10, 8), {"in": "", "dead": "2"}
    which = "all 11 images" if n == 11 else "images 0, 114, .* of 800"
    for _ in range(2):
        with pytest.raises(
            ValueError, match=f"layer 'dead' is the same for {which}: leave it out, or check the weights"
        ):
            extract(model, x, layers, tmp_path, device="cpu")
    assert (tmp_path / MANIFEST).exists() == (n == 11), "of many images, it is seen before the work"


def test_one_image_is_not_the_same_for_all(tmp_path):
    assert extract(network(), pictures(1), LAYERS, tmp_path, device="cpu").n == 1
