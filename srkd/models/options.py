"""The options of architectures and losses, checked against their annotations before anything is built."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from srkd.errors import UsageError

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}


def check_options(
    build: Callable[..., Any], options: Mapping[str, Any], where: str, apart: Sequence[str] = ()
) -> None:
    """Checks options by name, type and size: whole numbers are counts, at least 1, and numbers are finite.

    Args:
        build: the class that takes them.
        options: what it will be given.
        where: whose they are, for messages.
        apart: parameters that are no options.

    Raises:
        UsageError: naming the option.
    """
    parameters = inspect.signature(build).parameters.values()
    # A class without options of its own shows those of nn.Module, `*args` and `**kwargs`.
    known = [
        p.name for p in parameters if p.name not in apart and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    hints = get_type_hints(build.__init__ if isinstance(build, type) else build)
    for name, value in options.items():
        if name not in known:
            choices = f"choose from: {', '.join(known)}" if known else "it has none"
            raise UsageError(f"{where}: unknown option '{name}'; {choices}")
        if not _fits(value, hints[name]):
            raise UsageError(f"{where}: {name} must be {_describe(hints[name])}, not {value!r}")
        if type(value) is int and hints[name] is int and value < 1:
            raise UsageError(f"{where}: {name} must be at least 1, not {value}")


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in args
    if origin in (Union, UnionType):
        return any(_fits(value, choice) for choice in args)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(_fits(item, args[0]) for item in value)
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    # Of True, int would say that it is one.
    return type(value) is hint


def _describe(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin in (Union, UnionType):
        return " or ".join(map(_describe, args))
    if origin is Sequence:
        return f"a list, each {_describe(args[0])}"
    return _NAMES[hint] if hint in _NAMES else str(hint)
