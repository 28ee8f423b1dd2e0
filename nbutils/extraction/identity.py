"""Digests that tell networks, functions and images apart, so that no extraction goes on with others."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset

from .inputs import Given, image_of, parts


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers: of one architecture, it tells which weights."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(bytes_of(value))
    return digest.hexdigest()


def bytes_of(value: object) -> bytes:
    """The numbers of a tensor of any kind; of another object, which a module may keep as its state, a text."""
    if not isinstance(value, torch.Tensor):
        return text_of(value).encode()
    value = value.detach().cpu()
    if value.is_quantized:
        value = value.dequantize()
    if value.layout != torch.strided:
        value = value.to_dense()
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    return value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def sha256_of(image: Given) -> str:
    """SHA-256 of the numbers of an image, with their types and shapes."""
    digest = hashlib.sha256()
    for key, value in parts(image).items():
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(bytes_of(value))
    return digest.hexdigest()


def structure(model: nn.Module) -> str:
    """SHA-256 of how the modules of a network are nested and set, and of the code of those that are not installed."""
    digest = hashlib.sha256(text_of(model).encode())
    for kind in sorted({type(module) for module in model.modules()}, key=lambda kind: f"{kind.__module__} {kind}"):
        digest.update(f"{kind.__module__}.{kind.__qualname__}".encode())
        if not installed(kind):
            digest.update(source_of(kind).encode())
    return digest.hexdigest()


def installed(kind: type) -> bool:
    """Whether a class comes from an installed package. Its version may change where its results do not."""
    if kind.__module__ == "__main__":  # of a notebook, whose file is that of the kernel
        return False
    try:
        return bool({"site-packages", "dist-packages"} & set(Path(inspect.getfile(kind)).parts))
    except (OSError, TypeError):
        return False


def described(what: object) -> dict[str, str] | str | None:
    """A function, or an object that is called, as a manifest records it: its name, and the SHA-256 of its source."""
    if what is None or isinstance(what, str):
        return what
    return {"name": name_of(what), "sha256": hashlib.sha256(source_of(what).encode()).hexdigest()}


def name_of(what: object) -> str:
    """The qualified name of a function or class, and of the class of any other object."""
    if isinstance(what, functools.partial):
        return f"partial of {name_of(what.func)}"
    named = what if hasattr(what, "__qualname__") else type(what)
    return f"{named.__module__}.{named.__qualname__}"  # type: ignore[union-attr]


def source_of(what: object) -> str:
    """A text that differs if a function computes something else: its source, and the values that it holds."""
    held: object = None
    if isinstance(what, functools.partial):
        return source_of(what.func) + text_of([what.args, what.keywords])
    if inspect.isfunction(what):
        cells = [getattr(cell, "cell_contents", None) for cell in what.__closure__ or ()]
        held = [what.__defaults__, what.__kwdefaults__, *(code_of(c) if inspect.isfunction(c) else c for c in cells)]
    elif not inspect.isroutine(what) and not inspect.isclass(what):
        held = what if type(what).__repr__ is not object.__repr__ else getattr(what, "__dict__", None)
        what = type(what)
    return code_of(what) + text_of(held)


def code_of(what: object) -> str:
    """The source of a function or class, and of a lambda or what was typed at a prompt the compiled code.

    A lambda has no source of its own, only that of the lines where it stands.
    """
    code = getattr(what, "__code__", None)
    try:
        return text_of(code) if code and code.co_name == "<lambda>" else inspect.getsource(what)  # type: ignore[arg-type]
    except (OSError, TypeError):
        held = vars(what) if inspect.isclass(what) else {"": what}
        codes = {name: value.__code__ for name, value in held.items() if inspect.isfunction(value)}
        return text_of(codes) if codes else name_of(what)


def text_of(value: object) -> str:
    """A text that says what a value is, and not where in memory."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return hashlib.sha256(bytes_of(torch.as_tensor(value))).hexdigest()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{text_of(key)}: {text_of(held)}' for key, held in value.items())}}}"
    if isinstance(value, CodeType):
        return text_of([value.co_code.hex(), value.co_consts, value.co_names])
    if type(value) in (list, tuple):
        return f"[{', '.join(map(text_of, value))}]"  # type: ignore[call-overload]
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def transform_of(images: object) -> Callable | None:
    """The transform of a data set that has one, also if it is a part of another."""
    while isinstance(images, Subset):
        images = images.dataset
    return getattr(images, "transform", None)


def names_of(images: Sequence) -> list[str] | None:
    """What tells each image from any other without running a transform; None if the data set does not say.

    Of files, the name, the bytes and the time of the last change; of images in memory, a SHA-256.
    """
    if isinstance(images, Subset):
        names = names_of(images.dataset)  # type: ignore[arg-type]
        return None if names is None else [names[i] for i in images.indices]
    if isinstance(images, (torch.Tensor, list, tuple)) or type(images) is np.ndarray:
        return [sha256_of(image_of(image))[:16] for image in images]
    try:
        paths = getattr(images, "paths", None)
        paths = [Path(path) for path in (paths if paths is not None else [path for path, *_ in images.samples])]
        stats = [path.stat() for path in paths]
    except (AttributeError, TypeError, ValueError, OSError):  # attributes with these names that are no files
        return None
    root = Path(getattr(images, "root", None) or "")
    names = [f"{shown(path, root)} {stat.st_size} {stat.st_mtime_ns}" for path, stat in zip(paths, stats, strict=True)]
    return names if len(names) == len(images) else None


def shown(path: Path, root: Path) -> str:
    """A path as seen from the folder of the images, which may have moved."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
