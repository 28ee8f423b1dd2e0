"""A network that can be trained in two minutes on a laptop, its training, and the weights saved during training.

``python -m nbutils.smallworld.training`` (``make train``) makes the weights in ``data/small_world`` again. The same
machine with the same number of threads gives the same bytes. Another machine rounds differently and gives other weights
that are as good.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .._data import DATA
from .._device import as_device
from .._files import sha256, write_atomically, write_json
from .._progress import progress_bar
from ..extraction.models import Network, calibrate
from .drawing import Drawing, draw, to_tensor
from .network import Block as Block
from .network import SmallNet as SmallNet
from .network import small_network
from .things import load_things

WEIGHTS = DATA / "small_world" / "weights.json"
PER_THING, EPOCHS, BY_HEART, RATE = 1000, 8, 60, 0.01
SAVED = (0, 0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 8)  # epochs after which the weights are saved
LEFT_OUT = "bird"


def train(
    model: nn.Module,
    images: torch.Tensor,
    labels: Sequence[int],
    *,
    epochs: float = EPOCHS,
    batch_size: int = 64,
    rate: float = RATE,
    seed: int = 0,
    device: torch.device | str | None = None,
    watch: Callable[[float], None] | None = None,
) -> list[float]:
    """Train a network to predict the labels of images, in place; it is left in evaluation mode.

    The loss is the cross entropy, minimised with AdamW in batches that are shuffled in each epoch. The learning rate
    rises to `rate` and falls again ("one cycle").

    Parameters
    ----------
    images : (n, 3, height, width) float32.
    labels : (n,) int, from 0 to the number of logits minus one.
    epochs : how often each image is used, not necessarily a whole number.
    rate : the largest learning rate.
    seed : seed of the shuffling.
    device : by default the best there is.
    watch : called with the number of epochs so far, at the beginning and after every batch, for instance to save the
        weights; the network is in evaluation mode during the call.

    Returns
    -------
    The loss of each batch.

    Source: Smith and Topin (2019) for the one cycle; Loshchilov and Hutter (2019) for AdamW.

    Raises
    ------
    ValueError
        If there is not one label for each image, there are fewer images than in a batch, or the loss becomes infinite.
    """
    labels = torch.as_tensor(np.asarray(labels), dtype=torch.long)
    if len(labels) != len(images):
        raise ValueError(f"labels has {len(labels)} entries for {len(images)} images: give one for each")
    if len(images) < batch_size:
        raise ValueError(f"images has {len(images)} entries, less than one batch: use a batch_size below {batch_size}")
    device = as_device(device)
    model.to(device, memory_format=torch.channels_last)
    per_epoch = len(images) // batch_size
    steps = max(1, round(epochs * per_epoch))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    shuffle = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    watch = watch or (lambda epoch: None)
    watch(0.0)
    with progress_bar(total=steps, desc="training", unit="batch") as progress:
        while len(losses) < steps:
            order = torch.randperm(len(images), generator=shuffle)
            for batch in order[: per_epoch * batch_size].split(batch_size)[: steps - len(losses)]:
                seen = images[batch].to(device, memory_format=torch.channels_last)
                losses.append(learn(model, optimizer, seen, labels[batch].to(device)))
                schedule.step()
                if not np.isfinite(losses[-1]):
                    raise ValueError(
                        f"rate={rate}: the loss is infinite after {len(losses)} batches; use a smaller rate"
                    )
                watch(len(losses) / per_epoch)
                progress.set_postfix(loss=f"{losses[-1]:.2f}", refresh=False)
                progress.update()
    return losses


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor) -> float:
    """One step of the optimizer on a batch; returns the loss before the step."""
    model.train()
    loss = F.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    return loss.item()


def predict(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    """The index (n,) of the largest logit of each image (n, 3, height, width)."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        return torch.cat([model(batch.to(device)).argmax(1).cpu() for batch in images.split(500)]).numpy()


def label_sets(drawing: Drawing, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray, list[str]]]:
    """The training sets of the book's four networks: indices of pictures, their labels, and the names of the labels.

    ``"things"``: the thing that is drawn. ``"families"``: only its family. ``"left out"``: the thing, but without the
    pictures of one family. ``"random"``: a random permutation of the labels of a tenth of the pictures, which can only
    be memorised.
    """
    things, families = drawing.things, sorted({thing.family for thing in drawing.things})
    everything = np.arange(len(drawing))
    shown = [i for i, thing in enumerate(things) if thing.family != LEFT_OUT]
    family = np.array([families.index(thing.family) for thing in things])
    some = everything[np.isin(drawing.labels, shown)]
    few = everything[: len(drawing) // 10]
    names = [thing.name for thing in things]
    return {
        "things": (everything, drawing.labels, names),
        "families": (everything, family[drawing.labels], families),
        "left out": (some, np.searchsorted(shown, drawing.labels[some]), [names[i] for i in shown]),
        "random": (few, np.random.default_rng(seed).permutation(drawing.labels[few]), names),
    }


def load(run: str = "things", epoch: float | None = None) -> Network:
    """A network of the book as it was at `epoch` of its training, by default at the end.

    Parameters
    ----------
    run : its training set, as in `label_sets`.
    epoch : one of `saved_epochs`; 0 is before training, with the statistics of the batch normalisation measured on the
        pictures (see `models.calibrate`).

    Raises
    ------
    ValueError
        If there are no such weights, or their file is not the one that ``weights.json`` describes.
    """
    described = _runs().get(run)
    if described is None:
        raise ValueError(f"run must be one of {list(_runs())}, not {run!r}")
    epochs = saved_epochs(run)
    epoch = epochs[-1] if epoch is None else epoch
    if epoch not in epochs:
        raise ValueError(f"epoch={epoch} of {run!r} was not saved: choose one of {epochs}")
    saved = described["saved"][epochs.index(epoch)]
    path = WEIGHTS.parent / saved["file"]
    if not path.exists() or sha256(path) != saved["sha256"]:
        raise ValueError(
            f"{path} is missing, or not the file that {WEIGHTS.name} describes: fetch it again, or "
            "make it again with `make train`"
        )
    network = small_network(described["classes"])
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.model.load_state_dict(state)  # which converts float16 to float32
    return replace(network, weights=f"{run}, epoch {epoch:g}")


def saved_epochs(run: str = "things") -> list[float]:
    """The epochs of a training whose weights were saved, in ascending order."""
    return [saved["epoch"] for saved in _runs()[run]["saved"]]


def _runs() -> dict[str, dict]:
    return json.loads(WEIGHTS.read_text())["runs"]


def make(run: str, drawing: Drawing) -> dict:
    """Train one of the book's networks, save its weights during training, and describe them for ``weights.json``."""
    chosen, labels, names = label_sets(drawing)[run]
    images = to_tensor(drawing.images[chosen])
    epochs = EPOCHS if run != "random" else BY_HEART
    moments = list(SAVED) if run == "things" else [epochs]
    network, saved = small_network(names), []

    def save(epoch: float) -> None:
        if not moments or epoch < moments[0]:
            return
        moment = moments.pop(0)
        if moment == 0:
            calibrate(network.model, images[:4096].split(512))
        path = WEIGHTS.parent / f"{run.replace(' ', '_')}_{moment:g}.pt"
        state = {
            name: value.half() if value.is_floating_point() else value
            for name, value in network.model.state_dict().items()
        }
        with write_atomically(path) as file:
            torch.save(state, file)
        saved.append({"epoch": moment, "file": path.name, "sha256": sha256(path)})

    train(network.model, images, labels, epochs=epochs, device="cpu", watch=save)
    right = float((predict(network.model, images) == labels).mean())
    print(f"{run}: {right:.1%} of the {len(images)} pictures it was taught")
    return {"pictures": len(images), "classes": list(names), "saved": saved}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m nbutils.smallworld.training", description=__doc__.split("\n")[0])
    choices = ["things", "families", "left out", "random"]
    parser.add_argument("runs", nargs="*", default=choices, help=f"what to teach, of {choices} (default: all)")
    things = load_things()
    drawing = draw(things, PER_THING * len(things), seed=0)
    runs = _runs() if WEIGHTS.exists() else {}
    for run in parser.parse_args(arguments).runs:
        runs[run] = make(run, drawing)
        write_json(WEIGHTS, {"network": "SmallNet", "torch": torch.__version__, "runs": runs})


if __name__ == "__main__":
    main()
