"""Arguments of public functions, checked against their annotations before anything is done."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from srkd.errors import UsageError
from srkd.files import StrPath, check_path, describe_type

# What annotations ask for, in words. Other numbers and all ranges are left to the functions.
_TEXT, _FLAG, _MAPPING, _WHOLE = "a text", "True or False", "a mapping", "a whole number"
# Those that print, and `images`, of which `upscale` says what takes arrays.
_UNCHECKED = {"verbose", "progress", "images"}


def check_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Raises UsageError for the first argument that is not what the function's annotation says: a path, a
    list of them, a text, one of several words, a mapping, True or False."""
    hints = _hints(function)
    for name, value in arguments.items():
        if name in hints:
            _check(name, value, hints[name])


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the parameters that are checked. Options of a recipe are checked by the recipe."""
    parameters = inspect.signature(function).parameters
    named = {name for name, parameter in parameters.items() if parameter.kind != parameter.VAR_KEYWORD}
    return {k: v for k, v in get_type_hints(function).items() if k in named - _UNCHECKED}


def _check(name: str, value: Any, hint: Any) -> None:
    kinds = _flatten(hint)
    if value is None and NoneType in kinds:
        return
    words = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if kinds <= {int, NoneType}:
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(f"{name} must be {_WHOLE}, not {describe_type(value)}")
        return
    if {int, float} & kinds:
        return
    if bool in kinds:
        if not isinstance(value, bool):
            raise UsageError(f"{name} must be {_FLAG}, not {describe_type(value)}")
    elif words:
        if not isinstance(value, str):
            raise UsageError(f"{name} must be {_TEXT}, not {describe_type(value)}")
        if value not in words:
            raise UsageError(f"unknown {name} '{value}'; choose from: {', '.join(words)}")
    elif any(get_origin(kind) is Sequence for kind in kinds):
        _check_list(name, value, kinds)
    elif kinds >= set(get_args(StrPath)):
        check_path(name, value)
    else:
        wanted = [(str, _TEXT)] * (str in kinds)
        wanted += [(dict, _MAPPING)] * any(get_origin(kind) is dict for kind in kinds)
        if wanted and not isinstance(value, tuple(kind for kind, _ in wanted)):
            told = " or ".join(text for _, text in wanted)
            raise UsageError(f"{name} must be {told}, not {describe_type(value)}")


def _check_list(name: str, value: Any, kinds: set[Any]) -> None:
    """One or several paths or texts."""
    single = check_path if kinds >= set(get_args(StrPath)) else _check_text
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        single(name, value)
        return
    for item in value:
        single(f"each of {name}", item)


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise UsageError(f"{name} must be {_TEXT}, not {describe_type(value)}")


def _flatten(hint: Any) -> set[Any]:
    """The members of a union, or the hint alone."""
    return set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
