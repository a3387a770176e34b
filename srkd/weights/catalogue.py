"""Finds weights by path or name, and lists those that come with the package."""

import json
from pathlib import Path
from typing import Any, Literal

from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, is_file


def find_weights(weights: StrPath) -> Path:
    """The file of a path or a shipped name.

    Raises:
        UsageError: neither exists; the shipped names are listed.
    """
    shipped = list_shipped()
    if str(weights) in shipped:
        return shipped_folder() / shipped[str(weights)]["file"]
    path = Path(weights)
    if is_file(path):
        return path
    names = f"; shipped names: {', '.join(shipped)}" if shipped else ""
    raise UsageError(f"there is no weights file {path}{names}")


def find_onnx(weights: StrPath) -> Path | None:
    """The ONNX file that comes with shipped weights, or the path itself if it is one; None otherwise."""
    entry = list_shipped().get(str(weights), {})
    path = shipped_folder() / entry["onnx"] if "onnx" in entry else Path(weights)
    return path if path.suffix == ".onnx" and is_file(path) else None


def kind_of(path: Path) -> Literal["onnx", "ncnn", "safetensors", "torch"]:
    """The format of a weights file. Its content says it; ONNX, which has no mark, is told by its suffix."""
    if path.suffix == ".onnx":
        return "onnx"
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix == ".param" or start[:8].rstrip() == b"7767517":
        return "ncnn"
    # The length of a JSON header, and the header.
    if path.suffix == ".safetensors" or (len(start) == 9 and start[8:] == b"{"):
        return "safetensors"
    return "torch"


def is_own(path: Path) -> bool:
    """Whether a file holds a network of this package. Raises SrkdError as `read_header` does."""
    return kind_of(path) == "safetensors" and bool(read_header(path))


def read_header(path: Path) -> dict[str, Any]:
    """What `save_generator` stored beside the tensors; empty for a safetensors file of another package.

    Raises:
        SrkdError: it is not a safetensors file, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {}).get("srkd", "{}"))
        if header and not isinstance(header.get("config"), dict):
            raise ValueError("its header names no architecture")
        return header
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        raise SrkdError(
            f"{path} is not a safetensors file, or is damaged ({error}); nothing was loaded"
        ) from error


def shipped_folder() -> Path:
    """The folder of the shipped weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent / "weights"


def list_shipped() -> dict[str, dict[str, Any]]:
    """The shipped weights: each name with its entry in `weights/index.json` (`file`, `description`, ...)."""
    index = shipped_folder() / "index.json"
    return json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
