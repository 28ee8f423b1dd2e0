"""What was asked of an extraction, and whether a folder holds a part of just that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from .._files import write_json
from .store import read_manifest
from .writing import full_disk_named, make_files


def asked(plan: dict) -> str:
    """SHA-256 of all that was asked for."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def begin(out: Path, plan: dict, names: Sequence[str] | None) -> int:
    """Make the files of a new store, or check that `out` holds a part of this very plan.

    While a store is unfinished, what is not done yet may change. So it goes on after a file that could not be read was
    removed, or a transform that failed was mended.

    Parameters
    ----------
    names : what tells the images apart, as `identity.names_of` gives it.

    Returns
    -------
    How many images are done already.

    Raises
    ------
    ValueError
        If two layers would share a file, or `out` holds a part of another plan, or a damaged file.
    OSError
        If the disk has too little space.
    """
    if len({layer["file"].lower() for layer in plan["layers"].values()}) < len(plan["layers"]):
        raise ValueError(f"layers: {list(plan['layers'])} would share files: let their letters or digits differ")
    found = read_manifest(out)
    done = found["done"] if found else 0
    if found and done:
        if "asked" not in found:
            raise ValueError(
                f"out={str(out)!r} holds activations of an earlier version of this package, which did not record all "
                "that this one compares; choose another folder or delete this one"
            )
        if changed := differences(out, found, plan, names):
            raise ValueError(
                f"out={str(out)!r} holds activations made with another {', another '.join(changed)}; "
                "choose another folder or delete this one"
            )
        if found["n"] == plan["n"] == done:
            return done
    if names is not None:
        with full_disk_named(out, plan, done):
            write_json(list_file(out, plan), list(names))
    make_files(out, plan, done)
    for file in files_of(out, found) - files_of(out, plan) if found else ():
        file.unlink(missing_ok=True)
    return done


def files_of(out: Path, plan: dict) -> set[Path]:
    files = {out / layer["file"] for layer in plan["layers"].values()}
    return files | ({list_file(out, plan)} if plan.get("images") else set())


def list_file(out: Path, plan: dict) -> Path:
    """The file with the names of the images of a plan."""
    return out / f"images-{plan['images'][:12]}.json"


def differences(out: Path, found: dict, plan: dict, names: Sequence[str] | None) -> list[str]:
    """What was asked for otherwise when the store was begun: what it was, and what it is now."""
    keys = [key for key in plan if key != "asked" and plan[key] != found.get(key)]
    changed = {key: difference(key, found.get(key), plan[key]) for key in keys}
    done, unfinished = found["done"], found["done"] < found["n"]
    if unfinished:
        changed.pop("transform", None)  # what it makes of the images that are done is compared below
    if "images" in changed and names is not None and found.get("images"):
        before = read_list(list_file(out, found))
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, names, strict=False)))
        changed["images"] = f"images ({other_image(before, names, same)})"
        if unfinished and same >= done:
            changed.pop("n", None)
            changed.pop("images")
    was, now = found.get("probes", {}), plan["probes"]
    compared = [i for i in now if i in was and not (unfinished and int(i) >= done)]
    if "images" in changed or all(was[i] == now[i] for i in compared):
        changed.pop("probes", None)
    return list(changed.values())


def difference(key: str, was: Any, now: Any) -> str:
    if key == "model":
        return "model (other weights)"
    if key == "structure":
        return "structure of the model"
    if key == "images":
        return "images (other ones)"
    if key == "probes":
        number = next((i for i in now if (was or {}).get(i, now[i]) != now[i]), "0")
        return f"images (number {number} is not the same after preprocessing)"
    if key == "transform":
        was, now = ((value or {}).get("name") for value in (was, now))
        return f"transform (was {was}, now {now})" if was != now else f"transform ({now} with other code or settings)"
    if key == "layers":
        both = [name for name in was if name in now]
        said = [f"without {name!r}" for name in now if name not in was]
        said += [f"with {name!r}" for name in was if name not in now]
        said += [
            f"{name!r} with {entry}={was[name].get(entry)!r}, now {value!r}"
            for name in both
            for entry, value in now[name].items()
            if was[name].get(entry) != value
        ]
        return f"layers ({', '.join(said)})"
    return f"{key} (was {was!r}, now {now!r})"


def other_image(before: Sequence[str], now: Sequence[str], i: int) -> str:
    """How the image of number i differs in two lists of `identity.names_of`."""
    if not i < len(before) or not i < len(now):
        return f"number {i} was {'missing' if i < len(now) else 'there'}, now {'there' if i < len(now) else 'missing'}"
    (was, *_), (file, *of_a_file) = before[i].rsplit(" ", 2), now[i].rsplit(" ", 2)
    if was != file and of_a_file:
        return f"number {i} was {was}, now {file}"
    return f"number {i}{f', {file},' if of_a_file else ''} has changed"


def read_list(file: Path) -> list[str]:
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(names, list):
            raise ValueError("it holds no list")
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is missing or damaged ({error}); delete the folder and extract again") from error
    return names
