"""Extraction under random networks, kills and a full disk, for as long as one likes.

    python tests/soak.py --networks 200 --kills 20 --disk

Each network has random weights, and layers are sampled from all its modules. Each layer must be stored as a plain
forward pass with the simplest of hooks gives it, or be refused by name; and a layer with nothing odd must be stored.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import timm
import torch
import torchvision
from torch import nn

from nbutils.extraction.activations import ActivationStore, extract
from nbutils.extraction.store import read_manifest

IMAGES, BATCH = 7, 3

# Small networks of many families, and the side of their pictures; 0 where the network is made for a size, here 64.
FAMILIES = """
torchvision 64 alexnet densenet121 efficientnet_b0 googlenet mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf
torchvision 64 regnet_y_400mf resnet18 resnet50 shufflenet_v2_x0_5 squeezenet1_0 squeezenet1_1 convnext_tiny swin_t
torchvision 64 swin_v2_t vgg11_bn
timm 0 vit_tiny_patch16_224 deit_tiny_patch16_224 deit_tiny_distilled_patch16_224 cait_xxs24_224 pit_ti_224
timm 0 mixer_s32_224 resmlp_12_224 beit_base_patch16_224
timm 64 convnext_atto convnextv2_atto resnet10t resnetv2_50 res2net50_26w_4s efficientnet_lite0 mobilenetv3_small_050
timm 64 regnety_002 ghostnet_100 hrnet_w18_small dla34 edgenext_xx_small fastvit_t8 mobilevit_xxs repvgg_a0 nfnet_l0
timm 64 poolformer_s12 starnet_s1 xcit_nano_12_p8_224 dpn48b selecsls42 tinynet_e lcnet_050 mixnet_s cspresnet50
timm 64 efficientvit_b0
timm 224 swin_tiny_patch4_window7_224 levit_128s volo_d1_224
timm 240 crossvit_tiny_240
"""
NAMED = [
    (source, int(side), name) for source, side, *names in map(str.split, FAMILIES.split("\n")[1:-1]) for name in names
]


@dataclass
class Case:
    """One network, what it is given, and what is asked of it."""

    name: str
    model: nn.Module
    images: object
    layers: dict[str, str]
    select: dict = field(default_factory=dict)
    reduce: dict = field(default_factory=dict)
    dtype: str = "float16"


# --- networks with oddities, as single blocks from tokens (batch, 6, 8) to the same


class Block(nn.Module):
    """Something odd inside, of which one module is called odd; the result is of the size of the input."""

    def __init__(self, work: Callable, *modules: nn.Module):
        super().__init__()
        self.work, self.inner = work, nn.ModuleList(modules)
        if "odd" in work.__code__.co_names:
            self.odd = nn.Identity()

    def forward(self, x):
        return self.work(self, x)


def passing(make: Callable) -> Callable[[], Block]:
    """A block in which a module outputs what `make` makes of the tokens."""

    def work(block, x):
        block.odd(make(x))
        return x

    return lambda: Block(work)


def twice(block: Block, x: torch.Tensor) -> torch.Tensor:
    return block.odd(block.inner[0](block.odd(x)))


def in_place(block: Block, x: torch.Tensor) -> torch.Tensor:
    return block.inner[1](block.odd(block.inner[0](x))).mul_(2).sub_(1)


def recurrent(block: Block, x: torch.Tensor) -> torch.Tensor:
    return block.odd(block.inner[0](x))[0]


def attending(block: Block, x: torch.Tensor) -> torch.Tensor:
    return x + block.odd(block.inner[0](x, x, x))[0]


ODDITIES: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(8, 8),
    "in place": lambda: Block(in_place, nn.Linear(8, 8), nn.ReLU(inplace=True)),
    "twice": lambda: Block(twice, nn.Linear(8, 8)),
    "tuple": passing(lambda x: (x, x.mean(1))),
    "dict": passing(lambda x: {"state": x, "pooled": x.mean(1)}),
    "none": passing(lambda x: None),
    "complex": passing(torch.fft.fft),
    "integers": passing(lambda x: (1e4 * x).long()),
    "truth": passing(lambda x: x > 0),
    "scalar": passing(lambda x: x.mean()),
    "one number": passing(lambda x: x.mean((1, 2))),
    "batch second": passing(lambda x: x.transpose(0, 1)),
    "windows": passing(lambda x: x.reshape(-1, 3, 8)),
    "sparse": passing(lambda x: x.flatten(1).to_sparse()),
    "tiny": passing(lambda x: 1e-9 * x),
    "small": passing(lambda x: 1e-6 * x),
    "huge": passing(lambda x: 1e6 * x),
    "not a number": passing(lambda x: (x - x) / (x - x)),
    "constant": passing(torch.ones_like),
    "empty": passing(lambda x: x[:, :0]),
    "expanded": passing(lambda x: x[:, :1].expand(-1, 5, -1)),
    "transposed": passing(lambda x: x.transpose(1, 2)),
    "size of the batch": passing(lambda x: x.flatten(1)[:, : len(x)]),
    "double": passing(lambda x: x.double() * (1 + 1e-9)),
    "bfloat16": passing(lambda x: x.bfloat16()),
    "never": lambda: Block(lambda block, x: x, nn.Linear(8, 8)),
    "recurrent": lambda: Block(recurrent, nn.LSTM(8, 8, batch_first=True)),
    "attention": lambda: Block(attending, nn.MultiheadAttention(8, 2, batch_first=True)),
    "encoder": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    "dropout": lambda: nn.Dropout(0.5),
    "normalised": lambda: nn.LayerNorm(8),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
}
SELECTIONS = {"tuple": [0, 1], "dict": ["state", "pooled"], "recurrent": [0, (1, 0)], "attention": [0, 1]}


class Tokens(nn.Module):
    """Pictures, token ids, volumes or keyword arguments become tokens."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.embed = kind, nn.Embedding(50, 8) if kind in ("ids", "named") else nn.LazyLinear(48)

    def forward(self, x=None, ids=None, shift=None):
        if self.kind == "named":
            return self.embed(ids) + shift[:, None, None]
        return self.embed(x) if self.kind == "ids" else self.embed(x.flatten(1)).view(-1, 6, 8)


class HandMade(nn.Module):
    def __init__(self, kind: str, blocks: list[nn.Module]):
        super().__init__()
        self.tokens, self.blocks = Tokens(kind), nn.ModuleList(blocks)

    def forward(self, *args, **kwargs):
        x = self.tokens(*args, **kwargs)
        for block in self.blocks:
            x = block(x)
        return {"logits": x.mean(1)}


def hand_made(rng: random.Random) -> Case:
    kind = rng.choice(["pictures", "pictures", "ids", "named", "volumes"])
    images: object = {
        "pictures": torch.randn(IMAGES, 3, 4, 5),
        "volumes": torch.randn(IMAGES, 2, 3, 4, 2),
        "ids": torch.randint(0, 50, (IMAGES, 6)),
        "named": [{"ids": torch.randint(0, 50, (6,)), "shift": torch.randn(())} for _ in range(IMAGES)],
    }[kind]
    chosen = rng.sample(list(ODDITIES), rng.randint(2, 6))
    model = HandMade(kind, [ODDITIES[name]() for name in chosen]).eval()
    first = images[0] if kind != "named" else None
    with torch.no_grad():
        model(first[None]) if first is not None else model(**{k: v[None] for k, v in images[0].items()})
    case = Case(f"hand-made: {kind}, {', '.join(chosen)}", model, images, {})
    if rng.random() < 0.2 and not {"recurrent", "attention", "encoder", "weight norm", "sparse", "complex"} & set(
        chosen
    ):
        model.to(rng.choice([torch.bfloat16, torch.float64]))
    case.layers = {"input": ""} | some_layers(model, rng, 10)
    for i, name in enumerate(chosen):
        for j, selection in enumerate(SELECTIONS.get(name, [])):
            layer = f"chosen {i}.{j}"
            case.layers[layer] = f"blocks.{i}.{'odd' if name in ('tuple', 'dict') else 'inner.0'}"
            case.select[layer] = selection
    if kind == "named":
        case.select["input"] = rng.choice(["ids", "shift"])
    for layer in rng.sample(list(case.layers), len(case.layers) // 3):
        case.reduce[layer] = rng.choice(["mean", "token mean", "token", first_of_each])
    return case


def first_of_each(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1)[:, :3]


# --- networks by name


def by_name(rng: random.Random) -> Case:
    source, side, name = rng.choice(NAMED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if source == "torchvision":
            model = torchvision.models.get_model(name, weights=None, num_classes=20)
        else:
            model = timm.create_model(name, num_classes=20, **({} if side else {"img_size": 64}))
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None:
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
    images = torch.randn(IMAGES, 3, side or 64, side or 64)
    case = Case(f"{source}: {name}", model.eval(), images, {"input": ""} | some_layers(model, rng, 12))
    for layer in rng.sample(list(case.layers), len(case.layers) // 3):
        case.reduce[layer] = rng.choice(["mean", "token mean", "token", first_of_each])
    case.dtype = rng.choice(["float16", "float32"])
    return case


def some_layers(model: nn.Module, rng: random.Random, most: int) -> dict[str, str]:
    """Modules sampled at random, some with the number of a call."""
    paths = [path for path, module in model.named_modules() if path and not isinstance(module, nn.ModuleList)]
    chosen = rng.sample(paths, min(most, len(paths)))
    calls = [path + f":{rng.randint(1, 3)}" if rng.random() < 0.2 else path for path in chosen]
    return {f"layer {i}": path for i, path in enumerate(calls)}


# --- the oracle: every output of every module


def copied(value):
    """A copy of an output with all that it holds; in-place modules change it afterwards."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(held) for key, held in value.items()}
    return type(value)(copied(held) for held in value) if type(value) in (tuple, list) else value


def outputs_of(case: Case) -> list[dict[str, list]]:
    """For each batch, path of the module to what it output at each of its calls."""
    dtype = next((p.dtype for p in case.model.parameters()), torch.float32)
    found = []
    for start in range(0, IMAGES, BATCH):
        batch = case.images[start : start + BATCH]
        given = (
            batch
            if isinstance(batch, torch.Tensor)
            else {k: torch.stack([item[k] for item in batch]) for k in batch[0]}
        )
        with torch.inference_mode():
            found.append(outputs_for(case.model, as_type(given, dtype)))
    return found


def as_type(given, dtype: torch.dtype):
    if isinstance(given, dict):
        return {key: as_type(value, dtype) for key, value in given.items()}
    return given.to(dtype) if given.is_floating_point() else given


def outputs_for(model: nn.Module, given) -> dict[str, list]:
    calls: dict[str, list] = defaultdict(list)
    calls[""].append(copied(given))
    hooks = [
        module.register_forward_hook(lambda _, args, out, path=path: calls[path].append(copied(out)))
        for path, module in model.named_modules()
        if path
    ]
    try:
        model(**given) if isinstance(given, dict) else model(given)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def wanted(case: Case, layer: str, batches: list[dict[str, list]]) -> torch.Tensor | str:
    """What should be stored of a layer, in float64; or why it should be refused."""
    path, _, call = case.layers[layer].partition(":")
    rows, reduction = [], case.reduce.get(layer)
    for number, calls in enumerate(batches):
        values = calls.get(path, [])
        if not values or int(call or 1) > len(values):
            return "does not run"
        if not call and len(values) > 1:
            return "runs several times"
        value = values[int(call or 1) - 1]
        steps = case.select.get(layer, ())
        for step in steps if isinstance(steps, tuple) else (steps,):
            if isinstance(value, torch.Tensor):
                return "nothing to select"
            value = value[step]
        if not isinstance(value, torch.Tensor):
            return "no tensor"
        if value.layout != torch.strided:
            return "sparse"
        if value.is_complex() and not callable(reduction):
            return "complex"
        if callable(reduction):
            if value.ndim < 2:
                return "the function fails"
            value = reduction(value)
            if value.is_complex():
                return "complex"
        elif reduction and value.ndim > 2:
            shape = value.shape
            if not value.numel():
                return "no numbers"
            if reduction == "token" and value.ndim != 3:
                return "no tokens"
            if reduction == "mean" and (value.ndim == 3 or (value.ndim == 4 and shape[1] == shape[2] != shape[3])):
                return "channels may come last"
            value = value if value.dtype == torch.float64 or reduction == "token" else value.float()
            if reduction == "token":
                value = value[:, 0]
            else:
                value = value.mean(
                    tuple(range(2, value.ndim)) if reduction == "mean" else tuple(range(1, value.ndim - 1))
                )
        length = len(case.images[number * BATCH : (number + 1) * BATCH])
        if value.ndim < 1 or len(value) != length:
            return "first axis is not the image"
        if not value[0].numel():
            return "no numbers"
        rows.append(value.reshape(length, -1))
    if len({row.shape[1] for row in rows}) > 1:
        return "size depends on the batch"
    return storable(torch.cat(rows), case.dtype)


def storable(rows: torch.Tensor, dtype: str) -> torch.Tensor | str:
    rounded = rows.to(getattr(torch, dtype))
    if not rounded.isfinite().all():
        return "not finite"
    if not rows.is_floating_point() and (rounded.double() != rows.double()).any():
        return "integers"
    if (rounded == rounded[0]).all():
        return "the same for all"
    first, kept = rows[0].double(), rounded[0].double()
    vanished = (first != 0) & (kept == 0)
    if vanished.sum() > (first != 0).sum() / 2 or (first - kept).abs().sum() > 0.002 * first.abs().sum():
        return "too small"
    return rows.double()


def noise(rows: torch.Tensor) -> bool:
    """Whether rows differ by no more than another order of sums makes them, as in a network whose signal has died."""
    return bool((rows - rows[0]).abs().max() <= 1e-4 * rows.abs().max())


# --- judging

REFUSALS = (TypeError, ValueError)


def judge(case: Case, folder: Path) -> Iterator[tuple[str, str]]:
    """Each layer of a case with what became of it: "right", "refused: ..." or "WRONG: ..."."""
    batches = outputs_of(case)
    expected = {layer: wanted(case, layer, batches) for layer in case.layers}
    left, store = dict(case.layers), None
    while left and store is None:
        options = {name: {k: v for k, v in getattr(case, name).items() if k in left} for name in ("select", "reduce")}
        try:
            model = copy.deepcopy(case.model)
            out = folder / str(len(left))
            store = extract(model, case.images, left, out, dtype=case.dtype, batch_size=BATCH, device="cpu", **options)
        except REFUSALS as error:
            named = next((layer for layer in left if f"{layer!r}" in str(error)), None)
            if named is None:
                yield "network", f"WRONG: {type(error).__name__} that names no layer: {error}"
                return
            why = expected[named]
            if "is the same for all" in str(error) and not isinstance(why, str) and noise(why):
                why = "the same for all, but for the order of its sums"
            yield named, f"refused: {why}" if isinstance(why, str) else f"WRONG: refused, but is sound: {error}"
            del left[named]
        except Exception as error:
            yield "network", f"WRONG: {type(error).__name__}: {error}"
            return
    precision = {torch.bfloat16: 2e-2, torch.float16: 5e-3}
    loose = max((precision.get(p.dtype, 0) for p in case.model.parameters()), default=0)
    for layer in left:
        right = expected[layer]
        if isinstance(right, str):
            yield layer, f"WRONG: stored, but {right}"
            continue
        found = torch.from_numpy(np.array(store[layer])).double()
        tolerance = (max(loose, 5e-3 if case.dtype == "float16" else 1e-3)) * right.abs().max()
        same = found.shape == right.shape and bool(((found - right).abs() <= tolerance).all())
        yield layer, "right" if same else f"WRONG: other values, {found.shape} and {right.shape}"


def soak(networks: int, seed: int = 0, kinds: tuple[Callable, ...] = (hand_made, by_name), say=print) -> Counter:
    """Judge random networks; what became of how many layers."""
    counts: Counter[str] = Counter()
    for number in range(networks):
        rng = random.Random(seed + number)
        torch.manual_seed(seed + number)
        case = kinds[number % len(kinds)](rng)
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for layer, what in judge(case, Path(folder)):
                counts[what.split(": ")[0] + (": " + what.split(": ")[1] if what.startswith("refused") else "")] += 1
                if what.startswith("WRONG"):
                    path = case.layers.get(layer)
                    say(f"{seed + number}: {case.name}, {layer} = {path} {case.reduce.get(layer)}: {what}")
        counts["networks"] += 1
        if number % 20 == 19:
            say(f"{number + 1} networks: {dict(counts)}")
    return counts


# --- kills

VICTIM = """
import sys
sys.path.insert(0, sys.argv[1])
import soak
from nbutils.extraction import writing
writing.SYNC_SECONDS = 0.1
print("ready", flush=True)
soak.long_run(sys.argv[2], int(sys.argv[3]))
"""


class Slow(torch.utils.data.Dataset):
    """Pictures that take a while."""

    def __init__(self, n: int, seconds: float):
        self.n, self.seconds = n, seconds

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> torch.Tensor:
        time.sleep(self.seconds)
        return torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(i))


def long_run(out: str | Path, images: int, seconds: float = 0.02) -> ActivationStore:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 22 * 22, 10))
    layers = {"input": "", "mean": "0", "conv": "0", "relu": "2", "logits": "4"}
    return extract(model, Slow(images, seconds), layers, out, batch_size=4, device="cpu", reduce={"mean": "mean"})


def kills(count: int, folder: Path, seed: int = 0, images: int = 600) -> dict[str, int]:
    """Kill a run at random moments again and again, let it end, and compare with an undisturbed run."""
    rng, killed, progress, out = random.Random(seed), Counter(), {0}, folder / "killed"
    command = [sys.executable, "-c", VICTIM, str(Path(__file__).parent), str(out), str(images)]
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    for _ in range(count):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 1))
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed["by the signal" if process.returncode == -signal.SIGKILL else "ended before"] += 1
        manifest = read_manifest(out)
        progress.add(manifest["done"] if manifest else 0)
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    long_run(folder / "whole", images, seconds=0)
    names = {path.name for path in out.iterdir()}
    assert names == {path.name for path in (folder / "whole").iterdir()}, names
    different = [name for name in names if (out / name).read_bytes() != (folder / "whole" / name).read_bytes()]
    return {
        **killed,
        "moments of progress": len(progress) - 1,
        "files": len(names),
        "files that differ": len(different),
    }


# --- a full disk


class Filling(torch.utils.data.Dataset):
    """Pictures, at one of which another process would take all space that is left."""

    def __init__(self, other: Path | None = None):
        self.other = other

    def __len__(self) -> int:
        return 600

    def __getitem__(self, i: int) -> torch.Tensor:
        if i == 200 and self.other:
            with contextlib.suppress(OSError), self.other.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(i))


def full_disk(folder: Path) -> str:
    """Fill a small disk while a store is being written to it, make room, and go on."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    torch.manual_seed(0)
    model, layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), {"input": "", "relu": "1"}
    options = {"batch_size": 4, "device": "cpu", "dtype": "float32"}
    try:
        try:
            extract(model, Filling(disk / "other"), layers, disk / "a", **options)
            return "WRONG: the disk was not full"
        except OSError as error:
            said = str(error).replace(str(disk), "DISK")
        (disk / "other").unlink()
        resumed = extract(model, Filling(), layers, disk / "a", **options)
        whole = extract(model, Filling(), layers, folder / "b", **options)
        same = all(np.array_equal(resumed[name], whole[name]) for name in layers)
        return f"{said}; then with room: {'identical' if same else 'WRONG: other values'}"
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--disk", action="store_true", help="mount and fill a small disk, which needs to be root")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    print("layers:", dict(soak(options.networks, options.seed)), flush=True)
    with TemporaryDirectory() as folder:
        if options.kills:
            print("kills:", kills(options.kills, Path(folder), options.seed), flush=True)
        if options.disk:
            print("full disk:", full_disk(Path(folder)), flush=True)


if __name__ == "__main__":
    main()
