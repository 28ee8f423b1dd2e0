"""Adapt an ImageNet network to small pictures: a few epochs on Tiny ImageNet, whose categories are among ImageNet's.

    python -m nbutils.extraction.adaptation --images tiny-imagenet --out adapted.pt

The classifier keeps its 1,000 outputs, and the labels are not smoothed: smoothing erases the similarity between classes
from the logits (Müller, Kornblith and Hinton, 2019), and that similarity is what the book measures. Interrupted at any
moment, the same command continues from its last checkpoint. `load` opens the weights that come with the book.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from .._data import data_folder
from .._device import as_device
from .._files import sha256, write_atomically, write_json
from .._progress import progress_bar
from ..wordnet import imagenet_ids
from .activations import ahead
from .models import Network
from .models import load as load_network
from .photographs import ImageFolder, photographs

NETWORK = "efficientnet_lite0_128"
ATLAS = "tiny-imagenet"
EPOCHS, RATE, BATCH = 2, 0.02, 64
CHECKPOINT = 100  # batches between two checkpoints


def load() -> Network:
    """The adapted network that comes with the book.

    Raises
    ------
    ValueError
        If its weights are missing, or are not those that ``adapted.json`` describes.
    """
    folder = data_folder(ATLAS)
    described = json.loads((folder / "adapted.json").read_text())
    path = folder / described["file"]
    if not path.exists() or sha256(path) != described["sha256"]:
        raise ValueError(f"{path} is missing, or not the file that adapted.json describes: fetch it again")
    network = load_network(NETWORK, str(path))
    return replace(network, weights="ImageNet, adapted to Tiny ImageNet")


class Batchable(Dataset):
    """Images in a given order, some of them mirrored, each with its class."""

    def __init__(self, images: ImageFolder, classes: np.ndarray, rows: np.ndarray, mirrored: np.ndarray):
        self.images, self.classes, self.rows, self.mirrored = images, classes, rows, mirrored

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = self.images[self.rows[i]]
        return image.flip(-1) if self.mirrored[i] else image, int(self.classes[self.rows[i]])


def adapt(
    model: nn.Module,
    images: ImageFolder,
    classes: np.ndarray,
    rows: np.ndarray,
    checkpoint: Path,
    *,
    epochs: int = EPOCHS,
    rate: float = RATE,
    seed: int = 0,
    workers: int = 0,
    device: torch.device | str | None = None,
) -> None:
    """Train the network further, in place; it is left in evaluation mode.

    Stochastic gradient descent with momentum on the cross entropy, one cycle of the learning rate up to `rate`, half of
    the images mirrored. The order of the images depends on `seed` and the epoch alone, so that a run that was
    interrupted continues with the very batches that it had not seen.

    Parameters
    ----------
    classes : (n,) int, the number of the logit of each image.
    rows : (m,) int, which images to learn from.
    checkpoint : file that is written every `CHECKPOINT` batches, and read if it exists.

    Source: Smith and Topin (2019) for the one cycle.

    Raises
    ------
    ValueError
        If there are fewer rows than in a batch, or the loss becomes infinite.
    """
    if len(rows) < BATCH:
        raise ValueError(f"rows has {len(rows)} entries, less than one batch of {BATCH}: give more images")
    device = as_device(device)
    model.to(device, memory_format=torch.channels_last)
    per_epoch = len(rows) // BATCH
    total = epochs * per_epoch
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=total)
    done = 0
    if checkpoint.exists():
        stored = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(stored["model"])
        optimizer.load_state_dict(stored["optimizer"])
        schedule.load_state_dict(stored["schedule"])
        done = stored["done"]
    model.train()
    with progress_bar(total=total, initial=done, desc="adaptation", unit="batch") as progress:
        while done < total:
            epoch, start = divmod(done, per_epoch)
            rng = np.random.default_rng([seed, epoch])
            order, mirrored = rng.permutation(rows)[: per_epoch * BATCH], rng.random(per_epoch * BATCH) < 0.5
            left = Batchable(images, classes, order[start * BATCH :], mirrored[start * BATCH :])
            for pictures, wanted in ahead(DataLoader(left, BATCH, num_workers=workers)):
                logits = model(pictures.to(device, memory_format=torch.channels_last))
                loss = F.cross_entropy(logits, wanted.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                done += 1
                if not torch.isfinite(loss):
                    raise ValueError(f"rate={rate}: the loss is infinite after {done} batches; use a smaller rate")
                progress.set_postfix(loss=f"{loss.item():.2f}", refresh=False)
                progress.update()
                if done % CHECKPOINT == 0 or done == total:
                    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "done": done}
                    with write_atomically(checkpoint) as file:
                        torch.save({**state, "schedule": schedule.state_dict()}, file)
    model.eval()


def accuracy(
    model: nn.Module,
    images: ImageFolder,
    classes: np.ndarray,
    rows: np.ndarray,
    among: Sequence[int] | None = None,
    device: torch.device | str | None = None,
) -> float:
    """Share of the images whose largest logit is that of their class.

    Parameters
    ----------
    among : numbers of the logits that count, by default all.
    """
    device = as_device(device)
    model.to(device, memory_format=torch.channels_last).eval()
    right = 0
    plain = Batchable(images, classes, rows, np.zeros(len(rows), bool))
    with torch.inference_mode():
        for pictures, wanted in ahead(DataLoader(plain, 4 * BATCH)):
            logits = model(pictures.to(device, memory_format=torch.channels_last)).cpu()
            chosen = torch.as_tensor(np.arange(logits.shape[1]) if among is None else np.asarray(among))
            right += int((chosen[logits[:, chosen].argmax(1)] == wanted).sum())
    return right / len(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m nbutils.extraction.adaptation", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--images",
        required=True,
        metavar="DIR",
        help="tiny-imagenet, which is fetched, or a folder "
        "with one folder of images for each category, named by its WordNet id",
    )
    parser.add_argument(
        "--per-category", type=int, default=300, help="use the first so many images of each category (default 300)"
    )
    parser.add_argument(
        "--hold-out",
        type=int,
        default=0,
        help="of these, learn from all but the last so many, and "
        "measure the accuracy on them before and after (default 0)",
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--workers", type=int, default=0, help="processes that read images (default: a thread)")
    parser.add_argument("--device", help="cuda, cpu ... (default: the best there is)")
    parser.add_argument("--out", required=True, type=Path, help="file for the weights, in float16")
    options = parser.parse_args(arguments)

    network = load_network(NETWORK)
    images = photographs(options.images, network.transform)
    ids = imagenet_ids()
    logits = np.array([ids.index(name) for name in images.class_names])
    classes = logits[images.labels]
    place = np.concatenate([np.arange(size) for size in np.bincount(images.labels)])
    learned = np.flatnonzero(place < options.per_category - options.hold_out)
    unseen = np.flatnonzero((place >= options.per_category - options.hold_out) & (place < options.per_category))
    report: dict = {"images": len(learned), "epochs": options.epochs, "unseen": len(unseen), "accuracy": {}}

    def judge(when: str) -> None:
        if len(unseen):
            for among in (np.arange(len(ids)), logits):
                name = f"unseen pictures, among {len(among):,} classes"
                right = accuracy(network.model, images, classes, unseen, among, options.device)
                report["accuracy"].setdefault(name, []).append(right)
                print(f"{name}, {when}: {right:.3f}", flush=True)

    judge("before")
    adapt(
        network.model,
        images,
        classes,
        learned,
        options.out.with_suffix(".checkpoint"),
        epochs=options.epochs,
        workers=options.workers,
        device=options.device,
    )
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in network.model.cpu().state_dict().items()
    }
    with write_atomically(options.out) as file:
        torch.save(state, file)
    network.model.load_state_dict(state)
    judge("after")
    write_json(options.out.with_suffix(".json"), {"file": options.out.name, "sha256": sha256(options.out), **report})


if __name__ == "__main__":
    main()
