"""Reads the tensors of any program's file, whatever its name, and runs none of its code."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from srkd.errors import SrkdError, UsageError, first_line
from srkd.weights.catalogue import kind_of
from srkd.weights.quiet import ignoring_warnings

State = dict[str, Tensor]

# Parts of a checkpoint that hold no generator.
_OTHERS = ("optim", "discriminator", "netd", "net_d", "scheduler", "critic", "loss")
# Parts that hold the generator, the best first: averaged weights before those of the last step.
_BEST = (
    ("ema",),
    ("params", "state_dict", "model_state_dict", "generator", "netg", "net_g", "g", "gen", "model"),
)
# What packages put before the names of a generator's layers.
_PREFIXES = (
    *("generator_ema.", "net_g_ema.", "netG_ema.", "model_ema.", "ema."),
    *("generator.", "netG.", "net_g.", "gen.", "G.", "module.", "_orig_mod.", "model.", "net."),
)
_DEEPEST = 4


def read_states(path: Path) -> list[tuple[str, State]]:
    """The state dicts of a file of torch or safetensors that may be its generator's, the likeliest first,
    each with the part of the file that it stands in, such as `params_ema`.

    Raises:
        SrkdError: the file is damaged or holds no weights.
    """
    try:
        if kind_of(path) == "safetensors":
            content: Any = load_file(path)
        else:
            # Its lock also keeps other threads from each other's stand-ins.
            with ignoring_warnings():
                content = _unpickle(path)
    except Exception as error:  # whatever a damaged or hostile file raises
        raise SrkdError(f"{path} holds no weights that can be loaded safely: {first_line(error)}") from error
    found = [(name, state) for name, state in _walk("", content, 0) if not _is_other(name)]
    if not found:
        raise SrkdError(f"{path} holds no weights of a generator")
    ranked = sorted(found, key=lambda item: _rank(item[0]))
    return [(name, form) for name, state in ranked for form in _strip(state)]


def _unpickle(path: Path) -> Any:
    """What torch reads of a file by `weights_only`, and `_Inert` in place of what that refuses."""
    with path.open("rb") as file:
        # A zip archive, or, before torch 1.6, a pickle. Of anything else unpickling says `KeyError: 105`.
        if not file.read(4).startswith((b"PK\x03\x04", b"\x80")):
            raise ValueError("it is no file of torch.save or safetensors")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # Whole modules, or what a trainer keeps beside. Torch still blocks what runs code by itself.
        try:
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except ValueError:  # it reads no file of before torch 1.6
            raise ValueError(
                "it is no file of torch.save, or holds more than tensors in torch's old format"
            ) from None
        with torch.serialization.safe_globals([(_Inert, name) for name in names]):
            return torch.load(path, map_location="cpu", weights_only=True)


class _Inert:
    """In place of any class: takes all that a pickle says of an object and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update({str(key): value for key, value in part.items()})


def _walk(name: str, content: Any, depth: int) -> Iterator[tuple[str, State]]:
    """The state dicts in a file's content, each with the names that lead to it."""
    if depth > _DEEPEST:
        return
    if isinstance(content, _Inert):
        if "_modules" in vars(content):
            yield name, dict(_flatten("", content))
            return
        content = vars(content)
    if not isinstance(content, dict):
        return
    state = {str(key): value.detach() for key, value in content.items() if isinstance(value, Tensor)}
    if state:
        yield name, state
    for key, value in content.items():
        yield from _walk(f"{name}.{key}".lstrip("."), value, depth + 1)


def _flatten(prefix: str, module: Any) -> Iterator[tuple[str, Tensor]]:
    """The state dict of a pickled module, in the order of its layers."""
    for part in ("_parameters", "_buffers"):
        for name, value in (getattr(module, part, None) or {}).items():
            if isinstance(value, Tensor):
                yield prefix + name, value.detach()
    for name, child in (getattr(module, "_modules", None) or {}).items():
        if isinstance(child, _Inert):
            yield from _flatten(f"{prefix}{name}.", child)


def _is_other(name: str) -> bool:
    return any(word in name.lower() for word in _OTHERS)


def _rank(name: str) -> int:
    words = name.lower().replace("-", "_").split(".")
    if any("ema" in word.split("_") for word in words):
        return 0
    return next((k for k, names in enumerate(_BEST) if set(words) & set(names)), len(_BEST))


def _strip(state: State, depth: int = 0) -> Iterator[State]:
    """A state dict as it is and without the prefixes of its names; averaged weights first."""
    found = {
        prefix: {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        for prefix in (_PREFIXES if depth < _DEEPEST else ())
    }
    for averaged in (True, False):
        for prefix, form in found.items():
            if form and averaged == ("ema." in prefix):
                yield from _strip(form, depth + 1)
        if averaged:
            yield state


def describe_mismatch(error: Exception, shown: int = 3) -> str:
    """What differs between a file and the network that it seemed to be for, in one line: torch's error lists
    every key on lines of its own."""
    if isinstance(error, KeyError):
        return f"{error} is absent"
    parts = []
    for line in filter(None, map(str.strip, str(error).splitlines()[1:])):
        head, _, keys = line.partition(": ")
        names = keys.rstrip(". ").split(", ")
        kind = {"Missing": "absent", "Unexpected": "unknown"}.get(head.split()[0])
        if kind is None:
            parts.append(line.rstrip(".").replace("torch.Size", "").replace("copying a param with ", ""))
        else:
            more = f" and {len(names) - shown} more" if len(names) > shown else ""
            parts.append(f"{kind}: {', '.join(names[:shown])}{more}".replace('"', "'"))
    more = f"; {len(parts) - shown} more" if len(parts) > shown else ""
    return "; ".join(parts[:shown]) + more if parts else first_line(error).rstrip(": ")


def describe_state(state: State) -> str:
    """A few of a state dict's names and shapes, for messages."""
    first = list(state.items())[:3]
    shown = [f"'{key}' {'x'.join(map(str, value.shape)) or 'scalar'}" for key, value in first]
    return f"{len(state)} tensors, {', '.join(shown)}{', ...' if len(state) > 3 else ''}"


def check_states(path: Path, states: list[tuple[str, State]]) -> None:
    """Raises UsageError where a file holds tensors that are no network's: none of four axes."""
    if not any(value.dim() == 4 for _, state in states for value in state.values()):
        raise UsageError(f"{path} holds no convolutional network: {describe_state(states[0][1])}")
