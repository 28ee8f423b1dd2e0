"""Extraction: the right numbers, whatever interrupts it, and a clear word when something is wrong."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from nbutils.extraction import writing
from nbutils.extraction.activations import ActivationStore, extract, recording
from nbutils.extraction.inputs import Remaining, layout
from nbutils.extraction.store import MANIFEST

LAYERS = {"input": "", "convolution": "0", "stage 1": "2", "pool": "4", "logits": "6"}


def network() -> nn.Sequential:
    """Two of its modules work in place on what the one before them returned."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 5, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(5, 6, 3),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 7),
        ).eval()


def pictures(n: int = 11) -> torch.Tensor:
    return torch.randn(n, 3, 10, 8, generator=torch.Generator().manual_seed(1))


def expected(x: torch.Tensor) -> dict[str, np.ndarray]:
    """What the layers give, with no hook: module by module, each on a copy."""
    values, value = {"input": x}, x
    names = {path: name for name, path in LAYERS.items()}
    with torch.inference_mode():
        for i, module in enumerate(network()):
            value = module(value.clone())
            values[names.get(str(i))] = value
    return {name: values[name].flatten(1).numpy() for name in LAYERS}


def test_float32_values():
    model, x = network(), pictures()
    with recording(model, LAYERS) as outputs, torch.inference_mode():
        model(x)
    for name, value in expected(x).items():
        np.testing.assert_array_equal(outputs[name].flatten(1).numpy(), value, err_msg=name)
    assert outputs["convolution"].min() < 0, "the ReLU after it works in place and must not change the record"


def test_what_is_stored(tmp_path):
    x = pictures()
    store = extract(network(), x, LAYERS, tmp_path, dtype="float32", device="cpu")
    assert list(store) == list(LAYERS) and len(store) == 5 and store.n == 11
    assert store.shapes == {
        "input": (3, 10, 8),
        "convolution": (5, 8, 6),
        "stage 1": (6, 6, 4),
        "pool": (6, 2, 2),
        "logits": (7,),
    }
    np.testing.assert_array_equal(store["input"], x.flatten(1).numpy())
    for name, value in expected(x).items():
        assert store[name].dtype == np.float32
        np.testing.assert_allclose(store[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    with pytest.raises(ValueError, match="read-only"):
        store["pool"][0] = 0
    with pytest.raises(KeyError, match=r"'stage 9' is not in the store; it has \['input'"):
        store["stage 9"]


def test_float16_is_the_default_and_rounds_once(tmp_path):
    extract(network(), pictures(), LAYERS, tmp_path / "32", dtype="float32", device="cpu")
    store = extract(network(), pictures(), LAYERS, tmp_path / "16", device="cpu")
    for name, rows in ActivationStore(tmp_path / "32").items():
        np.testing.assert_array_equal(store[name], rows.astype(np.float16))


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_batch_size_does_not_matter(tmp_path, batch_size):
    store = extract(network(), pictures(), LAYERS, tmp_path, dtype="float32", batch_size=batch_size, device="cpu")
    for name, value in expected(pictures()).items():
        np.testing.assert_allclose(store[name], value, rtol=1e-5, atol=1e-6)


def test_evaluation_mode(tmp_path):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    store = extract(model, pictures(), {"end": "1"}, tmp_path, dtype="float32", device="cpu")
    np.testing.assert_allclose(store["end"], pictures().flatten(1) / np.sqrt(1 + 1e-5), rtol=1e-6)
    assert model[0].num_batches_tracked == 0


class Pairs(torch.utils.data.Dataset):
    """Of the module, so that worker processes can be sent it."""

    def __len__(self):
        return 11

    def __getitem__(self, i):
        return pictures()[i], i % 3


@pytest.mark.parametrize(
    "images",
    [list(pictures()), pictures().numpy(), Pairs(), [(x, "cat") for x in pictures()]],
    ids=["list", "array", "pairs", "tuples"],
)
def test_kinds_of_images(tmp_path, images):
    store = extract(network(), images, LAYERS, tmp_path, dtype="float32", device="cpu")
    np.testing.assert_allclose(store["logits"], expected(pictures())["logits"], rtol=1e-5, atol=1e-6)


def test_workers(tmp_path):
    store = extract(network(), Pairs(), LAYERS, tmp_path, dtype="float32", device="cpu", workers=1, batch_size=4)
    np.testing.assert_allclose(store["logits"], expected(pictures())["logits"], rtol=1e-5, atol=1e-6)


def test_what_is_sent_to_workers_can_be_sent():
    # Where a worker is a fresh process, as on a Mac, a function made inside another one cannot be sent to it.
    images = pickle.loads(pickle.dumps(Remaining(pictures(), 2, layout(pictures()[0]))))
    assert len(images) == 9 and torch.equal(images[0], pictures()[2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(tmp_path):
    for x in (pictures(), pictures().cuda()):
        store = extract(network(), x, LAYERS, tmp_path / x.device.type, dtype="float32")
        for name, value in expected(pictures()).items():
            np.testing.assert_allclose(store[name], value, rtol=1e-2, atol=1e-2)


# --- side by side


class Telling(torch.utils.data.Dataset):
    """Says of each image when it is asked for."""

    def __init__(self, asked: list[threading.Event]):
        self.asked = asked

    def __len__(self):
        return len(self.asked)

    def __getitem__(self, i):
        self.asked[i].set()
        return torch.full((3, 10, 8), float(i))


def test_the_next_batch_is_loaded_during_the_forward_pass(tmp_path):
    asked = [threading.Event() for _ in range(4)]
    model, passes = network(), []

    def wait_for_the_next(_, args):
        passes.append(len(args[0]))
        following = len(passes) - 1  # the first pass only looks at the shapes
        if 1 <= following < 4:
            assert asked[following].wait(30), "nobody loads the next image while the network runs"

    model.register_forward_pre_hook(wait_for_the_next)
    store = extract(model, Telling(asked), LAYERS, tmp_path, batch_size=1, device="cpu")
    np.testing.assert_array_equal(store["input"][:, 0], range(4))


def test_an_error_in_writing_is_not_lost(tmp_path, monkeypatch):
    write = writing.write_json

    def full(path, manifest):
        if manifest["done"] == 11:
            raise OSError("no space left on device")
        write(path, manifest)

    monkeypatch.setattr(writing, "write_json", full)
    monkeypatch.setattr(writing, "SYNC_SECONDS", 0)
    with pytest.raises(OSError, match="no space left"):
        extract(network(), pictures(), LAYERS, tmp_path, batch_size=4, device="cpu")
    assert json.loads((tmp_path / MANIFEST).read_text())["done"] == 8


# --- hooks


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_hooks_are_removed_also_after_an_error(tmp_path):
    model = network()
    with pytest.raises(RuntimeError), recording(model, LAYERS):
        assert hooks(model) == len(LAYERS) + 2
        model(torch.zeros(1, 4, 10, 8))
    assert hooks(model) == 0
    with pytest.raises(ValueError), recording(model, {"good": "0", "bad": "99"}):
        pass
    assert hooks(model) == 0
    with pytest.raises(RuntimeError):
        extract(model, torch.zeros(1, 4, 10, 8), LAYERS, tmp_path, device="cpu")
    assert hooks(model) == 0


def test_recording_does_not_change_what_the_network_does():
    model, x = network(), pictures()
    with torch.inference_mode():
        plain = model(x)
        with recording(model, LAYERS):
            recorded = model(x)
    assert torch.equal(plain, recorded)


def test_a_second_pass_replaces_the_first():
    model, x = network(), pictures()
    with recording(model, LAYERS) as outputs, torch.inference_mode():
        model(x[:2])
        model(x[2:5])
    assert torch.equal(outputs["input"], x[2:5])


# --- resuming

KILLED = """
import os, signal, sys, torch
sys.path.insert(0, sys.argv[1])
from test_activations import LAYERS, Counting, extract, network, writing
writing.SYNC_SECONDS = 0
images = Counting(int(sys.argv[3]))
extract(network(), images, LAYERS, sys.argv[2], batch_size=2, device="cpu")
"""


class Counting(torch.utils.data.Dataset):
    """The pictures; at one of them the process is killed."""

    def __init__(self, killed_at: int | None = None):
        self.killed_at, self.seen = killed_at, []

    def __len__(self):
        return 11

    def __getitem__(self, i):
        if i == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(i)
        return pictures()[i]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_and_resumed(tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, os.path.dirname(__file__), tmp_path / "killed", "7"],
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # Image 7 is loaded while the batch before it is computed, and the one before that is written.
    done = json.loads((tmp_path / "killed" / MANIFEST).read_text())["done"]
    assert done in (2, 4, 6)
    with pytest.raises(ValueError, match=f"only {done} of 11 images are done; run extract"):
        ActivationStore(tmp_path / "killed")

    images, model, passes = Counting(), network(), []
    model.register_forward_pre_hook(lambda _, args: passes.append(len(args[0])))
    resumed = extract(model, images, LAYERS, tmp_path / "killed", batch_size=2, device="cpu")
    assert images.seen == [0, *range(done, 11)], "image 0 tells whether the images are the same"
    assert sum(passes) == 1 + 11 - done
    whole = extract(network(), Counting(), LAYERS, tmp_path / "whole", batch_size=2, device="cpu")
    for name in LAYERS:
        np.testing.assert_array_equal(resumed[name], whole[name])


def interrupted(path, after: int) -> None:
    """A store left behind by an interruption when `after` images are done, 4 in a batch."""
    write = writing.write_json

    def interrupt(file, manifest):
        write(file, manifest)
        if manifest["done"] == after:
            raise KeyboardInterrupt

    with (
        mock.patch.object(writing, "write_json", interrupt),
        mock.patch.object(writing, "SYNC_SECONDS", 0),
        pytest.raises(KeyboardInterrupt),
    ):
        extract(network(), pictures(), LAYERS, path, batch_size=4, device="cpu")
    assert json.loads((path / MANIFEST).read_text())["done"] == after


def test_interrupted_between_arrays_and_manifest(tmp_path, monkeypatch):
    write, calls = writing.write_json, []

    def stop_after_the_second(path, manifest):
        calls.append(manifest["done"])
        if len(calls) > 2:
            raise KeyboardInterrupt
        write(path, manifest)

    monkeypatch.setattr(writing, "write_json", stop_after_the_second)
    monkeypatch.setattr(writing, "SYNC_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        extract(network(), pictures(), LAYERS, tmp_path / "a", batch_size=4, device="cpu")
    monkeypatch.undo()
    assert calls[:3] == [0, 4, 8] and json.loads((tmp_path / "a" / MANIFEST).read_text())["done"] == 4
    resumed = extract(network(), pictures(), LAYERS, tmp_path / "a", batch_size=4, device="cpu")
    whole = extract(network(), pictures(), LAYERS, tmp_path / "b", batch_size=4, device="cpu")
    for name in LAYERS:
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_interrupted_before_the_first_manifest(tmp_path):
    (tmp_path / "logits.npy").write_bytes(b"half")
    store = extract(network(), pictures(), LAYERS, tmp_path, dtype="float32", device="cpu")
    np.testing.assert_allclose(store["logits"], expected(pictures())["logits"], rtol=1e-5, atol=1e-6)


def test_a_finished_store_is_not_made_again(tmp_path):
    extract(network(), Counting(), LAYERS, tmp_path, device="cpu")
    before = {file: (tmp_path / file).stat().st_mtime_ns for file in os.listdir(tmp_path)}
    images = Counting()
    time.sleep(0.01)
    extract(network(), images, LAYERS, tmp_path, device="cpu")
    assert images.seen == [0]
    assert {file: (tmp_path / file).stat().st_mtime_ns for file in os.listdir(tmp_path)} == before


@pytest.mark.parametrize("after", [4, None], ids=["half done", "finished"])
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a: a["model"][6].bias.data.add_(1), "model .other weights"),
        (lambda a: a.update(images=a["images"] + 1), "images .number 0 has changed"),
        (lambda a: a["images"][3].add_(1), "images .number 3 has changed"),
        (lambda a: a.update(images=a["images"].flip(3)), "images .number 0 has changed"),
        (lambda a: a.update(images=a["images"][:3]), r"n .was 11, now 3., another images .number 3 was there, now mis"),
        (lambda a: a.update(dtype="float32"), "dtype .was 'float16', now 'float32'"),
        (lambda a: a.update(layers={**LAYERS, "more": "1"}), "layers .without 'more'"),
        (lambda a: a.update(layers={"pool": "4"}), "layers .with 'input', with"),
        (lambda a: a.update(layers={**LAYERS, "pool": "3"}), "layers .'pool' with module='4', now '3'"),
        (lambda a: a.update(images=pictures().transpose(2, 3)), "images .number 0 has changed"),
        (lambda a: a.update(autocast="bfloat16"), "autocast .was None, now 'bfloat16'"),
        (lambda a: a.update(reduce={"stage 1": torch.relu}), "layers .'stage 1' with reduce=None, now"),
        (lambda a: a["model"].__setitem__(3, nn.GELU()), "structure of the model"),
    ],
    ids=[
        "weights",
        "images",
        "one image",
        "mirrored images",
        "fewer images",
        "dtype",
        "more layers",
        "fewer layers",
        "another module",
        "another shape",
        "autocast",
        "reduction",
        "structure",
    ],
)
def test_another_extraction_in_the_same_folder_is_refused(tmp_path, change, words, after):
    if after:
        interrupted(tmp_path, after)
    else:
        extract(network(), pictures(), LAYERS, tmp_path, device="cpu")
    before = {file: (tmp_path / file).read_bytes() for file in os.listdir(tmp_path)}
    arguments = {"model": network(), "images": pictures(), "layers": LAYERS, "dtype": "float16"}
    change(arguments)
    with pytest.raises(ValueError, match=rf"out=.* made with another .*\b{words}.*; choose another folder or delete"):
        extract(out=tmp_path, device="cpu", **arguments)
    assert {file: (tmp_path / file).read_bytes() for file in os.listdir(tmp_path)} == before


# --- damage


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda p: os.truncate(p / "stage_1.npy", 300), r"layer 'stage 1': .*stage_1\.npy is missing or damaged"),
        (lambda p: os.truncate(p / "stage_1.npy", 0), r"layer 'stage 1': .*stage_1\.npy is missing or damaged"),
        (lambda p: os.remove(p / "stage_1.npy"), r"layer 'stage 1': .*stage_1\.npy is missing or damaged"),
        (lambda p: np.save(p / "pool.npy", np.zeros((11, 3), np.float16)), r"layer 'pool': .*shape \(11, 3\)"),
        (lambda p: np.save(p / "pool.npy", np.zeros((11, 24), np.float32)), "layer 'pool': .*float32"),
        (lambda p: os.truncate(p / MANIFEST, 40), r"manifest\.json is damaged .*delete the folder and extract again"),
        (lambda p: os.truncate(p / MANIFEST, 0), r"manifest\.json is damaged"),
        (lambda p: (p / MANIFEST).write_text("[]"), r"manifest\.json is damaged"),
        (lambda p: (p / MANIFEST).write_text('{"n": 11}'), r"manifest\.json is damaged"),
    ],
)
@pytest.mark.parametrize("after", [8, None], ids=["half done", "finished"])
def test_damaged_stores_are_refused(tmp_path, damage, words, after):
    if after:
        interrupted(tmp_path, after)
    else:
        extract(network(), pictures(), LAYERS, tmp_path, device="cpu")
    damage(tmp_path)
    with pytest.raises(ValueError, match=words):
        extract(network(), pictures(), LAYERS, tmp_path, batch_size=4, device="cpu")
    if not after:
        with pytest.raises(ValueError, match=words):
            ActivationStore(tmp_path)


def test_no_store(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no activations: run extract"):
        ActivationStore(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no activations"):
        ActivationStore(tmp_path / "nowhere")


# --- values and arguments that cannot be


def test_overflow_names_the_layer_and_the_remedy(tmp_path):
    model = nn.Sequential(nn.Identity(), nn.Conv2d(3, 2, 1))
    model[1].weight.data.fill_(1e5)
    x = torch.ones(2, 3, 4, 4) * torch.tensor([1, 2]).view(2, 1, 1, 1)
    with pytest.raises(ValueError, match=r"layer 'big' .* in float16: use dtype='float32'"):
        extract(model, x, {"fine": "0", "big": "1"}, tmp_path / "16", device="cpu")
    store = extract(model, x, {"big": "1"}, tmp_path / "32", dtype="float32", device="cpu")
    assert store["big"][0, 0] > 2.9e5


def test_overflow_late_keeps_what_was_done(tmp_path):
    x = pictures()
    x[9] *= 1e6
    with pytest.raises(ValueError, match=r"layer 'input' .* dtype='float32'"):
        extract(network(), x, LAYERS, tmp_path, batch_size=4, device="cpu")
    assert json.loads((tmp_path / MANIFEST).read_text())["done"] == 8


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_nan(tmp_path, dtype):
    model = network()
    model[2].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=f"layer 'stage 1' .*NaN.* in {dtype}: check the weights and the images"):
        extract(model, pictures(), LAYERS, tmp_path, dtype=dtype, device="cpu")


@pytest.mark.parametrize("at", [1, 9], ids=["in the first batch", "in a later one"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_images_of_another_shape(tmp_path, at, batch_size):
    images = list(pictures())
    images[at] = torch.zeros(3, 12, 12)
    with pytest.raises(ValueError, match=rf"images\[{at}\] has the shape \(3, 12, 12\).*images\[0\].*crop"):
        extract(network(), images, LAYERS, tmp_path, batch_size=batch_size, device="cpu")


class Odd(nn.Module):
    """Modules whose output is not one row for each image."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1)
        self.tokens_first, self.never, self.mean = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x):
        tokens = self.tokens_first(x.flatten(2).permute(2, 0, 1)[..., :1].expand(-1, -1, 4))
        return self.mean(self.attention(tokens, tokens, tokens)[0].mean())


@pytest.mark.parametrize(
    "layer, error, words",
    [
        (
            "attention",
            TypeError,
            r"'here' outputs a tuple \(0: tensor \(16, 1, 4\), 1: tensor .*, not a tensor: choose a part with select",
        ),
        ("tokens_first", ValueError, r"layer 'here' outputs the shape \(16, 1, 4\) for 1 images: choose a module"),
        ("mean", ValueError, r"layer 'here' outputs the shape \(\) for 1 images"),
        ("never", ValueError, "layer 'here' does not run"),
        ("nowhere", ValueError, r"layers: 'nowhere' \(for 'here'\) is not a module of the network"),
    ],
)
def test_layers_that_cannot_be(tmp_path, layer, error, words):
    with pytest.raises(error, match=words):
        extract(Odd(), torch.randn(3, 4, 4, 4), {"here": layer}, tmp_path / "out", device="cpu")


def test_layers_that_would_share_a_file(tmp_path):
    with pytest.raises(ValueError, match=r"layers: .* would share files"):
        extract(network(), pictures(), {"stage 1": "0", "Stage_1": "2"}, tmp_path, device="cpu")


def test_layer_names_stay_inside_the_folder(tmp_path):
    store = extract(network(), pictures(), {"../a/b: c": "0", "é*?": "6"}, tmp_path / "out", device="cpu")
    assert os.listdir(tmp_path) == ["out"] and len(os.listdir(tmp_path / "out")) == 4
    assert list(ActivationStore(tmp_path / "out")) == ["../a/b: c", "é*?"] == list(store)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"images": torch.zeros(0, 3, 8, 8)}, "images is empty"),
        ({"images": []}, "images is empty"),
        ({"layers": {}}, "layers is empty"),
        ({"dtype": "float64"}, "dtype must be 'float16' or 'float32', not 'float64'"),
    ],
)
def test_bad_arguments(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        extract(**{"model": network(), "images": pictures(), "layers": LAYERS, "out": tmp_path / "out"} | arguments)
    assert not (tmp_path / "out").exists()


# --- memory


class Lazy(torch.utils.data.Dataset):
    """Images made when asked for; notes the memory of the process, without the pages of files."""

    def __init__(self, n):
        self.n, self.held = n, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        with open("/proc/self/status") as status:
            self.held.append(int(next(line for line in status if line.startswith("RssAnon")).split()[1]) * 1024)
        return torch.full((3, 64, 64), i / self.n)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_memory_does_not_grow_with_the_images(tmp_path):
    n, image = 1500, 3 * 64 * 64 * 4
    images = Lazy(n)
    extract(nn.Sequential(nn.Conv2d(3, 4, 1)), images, {"input": "", "end": "0"}, tmp_path, device="cpu", batch_size=8)
    # All inputs would be 74 MB, the outputs kept as float32 as much again.
    assert images.held[-1] - images.held[n // 5] < 0.15 * n * image
