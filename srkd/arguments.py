"""Arguments of public functions, checked against their annotations before anything is done."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from srkd.errors import UsageError
from srkd.files import StrPath, check_path, describe_type, describe_value

# What annotations ask for, in words. Numbers and their ranges are left to the functions, which know both.
_TEXT, _FLAG, _MAPPING = "a text", "True or False", "a mapping"
# Those that print, and `images`, of which `upscale` says what takes arrays.
_UNCHECKED = {"verbose", "progress", "images"}


def check_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Raises UsageError for the first argument that is not what the function's annotation says: a path, a
    list of them, a text, one of several words, a mapping, True or False."""
    hints = _hints(function)
    for name, value in arguments.items():
        if name in hints:
            _check(name, value, hints[name])


def check_whole(name: str, value: Any, least: int, greatest: int | None = None) -> None:
    """Raises UsageError where an argument is not a whole number in its range."""
    within = isinstance(value, int) and least <= value <= (value if greatest is None else greatest)
    if isinstance(value, bool) or not within:
        bounds = f"of at least {least}" if greatest is None else f"from {least} to {greatest}"
        raise UsageError(f"{name} must be a whole number {bounds}, not {describe_value(value)}")


def check_device(device: str) -> None:
    """Raises UsageError for what is no device."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise UsageError(
            f"unknown device '{device}'; choose from: auto, cpu, mps, cuda, cuda:N (GPU number N)"
        )


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
    mapping = dict in {get_origin(kind) for kind in kinds}
    # A word or a mapping, as of degradations, is checked by what it is for.
    if {int, float} & kinds or (mapping and str in kinds):
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
    elif str in kinds and not isinstance(value, str):
        raise UsageError(f"{name} must be {_TEXT}, not {describe_type(value)}")
    elif mapping and not isinstance(value, dict):
        raise UsageError(f"{name} must be {_MAPPING}, not {describe_type(value)}")


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
