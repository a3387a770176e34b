"""Reads and writes weights: safetensors files whose header rebuilds their network."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, replacing
from srkd.models import ARCHITECTURES, create_discriminator, create_generator
from srkd.models.base import Discriminator, Generator
from srkd.weights.catalogue import find_weights, is_own, read_header
from srkd.weights.foreign import ForeignGenerator, load_foreign
from srkd.weights.tensors import describe_mismatch

N = TypeVar("N", Generator, Discriminator)


def save_generator(module: nn.Module, path: StrPath, **info: Any) -> Path:
    """Writes a generator made by `create_generator` to a safetensors file, atomically.

    Args:
        module: the generator.
        path: a name ending in `.safetensors`.
        info: facts to keep beside the weights (strategy, stage, steps, teacher): anything JSON can hold.

    Returns:
        The file.

    Raises:
        UsageError: `create_generator` did not make this network.
        SrkdError: the file cannot be written.
    """
    return save_module("generator", module, path, **info)


def save_module(kind: str, module: nn.Module, path: StrPath, **info: Any) -> Path:
    """Like `save_generator`, for a `generator` or a `discriminator`."""
    if not isinstance(module, Generator | Discriminator) or module.config is None:
        raise UsageError(f"only a {kind} made by create_{kind} can be saved; this one has no config")
    header = {"format": 1, "kind": kind, "config": module.config, **info}
    # Plain contiguous copies: channels_last weights would not be stored as the shapes say.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in module.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, {"srkd": json.dumps(header, sort_keys=True)}))
    return Path(path)


def save_spandrel(module: nn.Module, path: StrPath, facts: dict[str, str]) -> None:
    """Writes a generator that spandrel loaded to a safetensors file that spandrel loads, atomically.

    Args:
        module: the generator.
        path: a name ending in `.safetensors`.
        facts: kept in the file's metadata.

    Raises:
        UsageError: it is not, or it does more than spandrel's module.
        SrkdError: the file cannot be written.
    """
    if not isinstance(module, ForeignGenerator) or module.resize is not None:
        raise UsageError("safetensors holds networks of srkd and of spandrel, and this is neither; use onnx")
    tensors = {key: value.detach().cpu().contiguous() for key, value in module.model.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, facts))


def load_generator(weights: StrPath) -> Generator:
    """Loads a generator from a file, or a shipped one by its name, in eval mode on the CPU.

    Weights of this package rebuild their own architecture. Files of others, of torch and safetensors, are
    known by their content and by the names of their tensors, most through spandrel; no code of theirs is run.
    ncnn files (`.param`, with the `.bin` beside) of the RRDBNet and SRVGG families become torch modules.
    Other ncnn files, and ONNX, run in their own runtimes, on the CPU and without gradients.

    Returns:
        A network that maps LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`. For weights of this
        package `config` rebuilds it and `info` holds what `save_generator` was given; for others `config` is
        None.

    Raises:
        UsageError: no such file or shipped name; not a generator of RGB images.
        SrkdError: the file is damaged or holds something other than weights; it is for another architecture
            than it seems (the message says what differs).
    """
    path = find_weights(weights)
    if is_own(path):
        return _rebuild(path, read_header(path), "generator", create_generator).eval()
    return load_foreign(path).eval()


def load_own_generator(weights: StrPath) -> Generator:
    """Like `load_generator`, where only a network of this package will do: training and interpolation.

    Raises:
        UsageError: the weights are another package's; otherwise as `load_generator`.
    """
    model = load_generator(weights)
    if model.config is None:
        raise UsageError(
            f"{weights} does not hold a network of srkd ({', '.join(ARCHITECTURES)}); networks of other "
            "packages can run, teach and be exported, but not be trained or interpolated"
        )
    return model


def load_discriminator(path: StrPath) -> Discriminator:
    """Loads a discriminator that this package wrote, in eval mode. Raises as `load_generator` does."""
    path = find_weights(path)
    header = read_header(path) if is_own(path) else {}
    if not header:
        raise UsageError(f"{path} was not written by srkd; a discriminator must be a .safetensors of srkd")
    return _rebuild(path, header, "discriminator", create_discriminator).eval()


def blend(near: Generator, far: Generator, alpha: float) -> None:
    """Interpolates a generator's weights in place: far := (1 - alpha) near + alpha far. Both have one
    architecture; integers, the counters of batch norm, stay as they are."""
    weights = near.state_dict()
    for key, value in far.state_dict().items():
        if value.is_floating_point():
            value.copy_(weights[key].lerp(value, alpha))


def copy_weights(source: nn.Module, target: nn.Module, name: StrPath, fresh: str = "") -> bool:
    """Copies weights between modules of the same architecture and size.

    Args:
        source: whose weights to take.
        target: whose weights to replace.
        name: the source's name, for messages.
        fresh: the name of a part that keeps the target's own weights where the two differ: a generator's
            `tail_name`.

    Returns:
        Whether all of it was copied.

    Raises:
        UsageError: they differ; the first difference is named, with `name` for the source.
    """
    other, own = source.state_dict(), target.state_dict()
    same = all(key in own and key in other and own[key].shape == other[key].shape for key in [*own, *other])
    if fresh and not same:
        prefix = f"{fresh}."
        other = {key: value for key, value in other.items() if not key.startswith(prefix)}
        other |= {key: value for key, value in own.items() if key.startswith(prefix)}
    for key in [*own, *other]:
        theirs, ours = other.get(key), own.get(key)
        if theirs is None or ours is None or theirs.shape != ours.shape:
            detail = " and ".join(
                f"{tuple(t.shape)} in the {where}" if t is not None else f"absent from the {where}"
                for t, where in ((theirs, "file"), (ours, "model"))
            )
            raise UsageError(f"{name} holds another architecture than the model: '{key}' is {detail}")
    target.load_state_dict(other)
    return same


def _rebuild(path: Path, header: dict[str, Any], kind: str, create: Callable[..., N]) -> N:
    if header.get("kind") != kind:
        raise UsageError(f"{path} holds a {header.get('kind', 'model of unknown kind')}, not a {kind}")
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
    module = create(**header["config"])
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        detail = describe_mismatch(error)
        raise SrkdError(f"{path} does not fit the architecture it names: {detail}") from error
    module.info = {key: value for key, value in header.items() if key != "config"}
    return module
