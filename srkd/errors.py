"""The two ways a command can end badly."""

from collections.abc import Hashable, Iterable
from importlib.util import find_spec
from typing import TypeVar

T = TypeVar("T")


class SrkdError(Exception):
    """Something went wrong that the user can fix; the message is one line and says how.

    The command line prints the message without a traceback and exits with `exit_code`.
    """

    exit_code = 1

    def __init__(self, message: object = ""):
        text = str(message)
        # Values that messages quote, such as arrays, may have lines.
        super().__init__(" ".join(text.split()) if "\n" in text else text)


class UsageError(SrkdError):
    """The request itself cannot be carried out: a wrong path, name, option or combination of them."""

    exit_code = 2


def choose(kind: str, name: T, choices: Iterable[T]) -> T:
    """Returns `name` when it is one of `choices`; raises UsageError listing them otherwise."""
    choices = list(choices)
    # Arrays, which are not hashable, compare item by item and have lines.
    if not isinstance(name, Hashable) or name not in choices:
        raise UsageError(
            f"unknown {kind} '{' '.join(str(name).split())}'; choose from: {', '.join(map(str, choices))}"
        )
    return name


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name where it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# Packages that an extra of their own brings; all others that can be missing come with `train`.
_EXTRAS = {
    "av": "video",
    "openvino": "openvino",
    "ncnn": "ncnn",
    "pnnx": "ncnn",
    "pyiqa": "pyiqa",
    "litert_torch": "litert",
    "ai_edge_litert": "litert",
    "ai_edge_quantizer": "litert",
    "coremltools": "coreml",
    "ray": "ray",
    "fsspec": "remote",
    "aiohttp": "remote",
}


def name_missing_extra(error: ModuleNotFoundError, what: str = "this") -> UsageError:
    """The error that says which extra brings a missing package.

    Args:
        error: the import that failed.
        what: what needs the package, for the message.

    Raises:
        ModuleNotFoundError: what is missing belongs to srkd or to an installed package: no extra brings it.
    """
    package = (error.name or "").partition(".")[0]
    spec = find_spec(package) if package else None
    # A folder without modules, such as one of data in the current folder, is taken for a package too.
    if package in ("", "srkd") or (spec is not None and spec.origin is not None):
        raise error
    extra = _EXTRAS.get(package, "train")
    return UsageError(f"{what} needs {package}: pip install 'srkd[{extra}]'")
