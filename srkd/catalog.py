"""What there is to choose from: architectures, and the weights that come with the package."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from srkd.errors import SrkdError, UsageError
from srkd.files import console


def list_models(scale: int = 4, taps: str | None = None) -> list[dict[str, Any]]:
    """List the generators with their size and cost, or one's taps.

    Args:
        scale: the super-resolution factor, 2, 3 or 4.
        taps: a generator, by name or weights file, whose taps to list instead: the layers that feature
            distillation may look at.

    Returns:
        For each name: `parameters`, `macs` (multiply-accumulates for a 1280x720 output) and
        `receptive_field` (side, in LR pixels, of the input that one output pixel depends on). For each tap:
        `name`, `depth` (relative, in (0, 1]) and `channels`.

    Raises:
        UsageError: an impossible scale, or no such generator.
    """
    if taps is not None:
        return _list_taps(taps, scale)
    from srkd.models import GENERATORS, create_generator
    from srkd.models.cost import count_macs, count_parameters

    rows = []
    table = Table(title=f"generators at x{scale}")
    for column in ("name", "parameters", "MACs, 1280x720 output", "receptive field"):
        table.add_column(column, justify="left" if column == "name" else "right")
    for name, (_, options) in GENERATORS.items():
        if not options:
            continue
        model = create_generator(name, scale)
        side = 2 * model.radius + 1  # type: ignore[operator]
        row = {
            "name": name,
            "parameters": count_parameters(model),
            "macs": count_macs(model, scale),
            "receptive_field": side,
        }
        rows.append(row)
        table.add_row(name, f"{row['parameters']:,}", f"{row['macs'] / 1e9:.1f} G", f"{side}x{side}")
    console.print(table)
    return rows


def _list_taps(name: str, scale: int) -> list[dict[str, Any]]:
    from srkd.losses.base import Taps
    from srkd.models import GENERATORS, create_generator
    from srkd.weights import load_generator

    model = create_generator(name, scale) if name in GENERATORS else load_generator(name)
    found = Taps(model, list(getattr(model, "taps", ())))
    table = Table("tap", "relative depth", "channels", title=f"taps of {name}")
    rows = []
    for number, (tap, channels) in enumerate(zip(found.names, found.widths(), strict=True), 1):
        rows.append({"name": tap, "depth": number / len(found.names), "channels": channels})
        table.add_row(tap, f"{number / len(found.names):.3f}", str(channels))
    console.print(table)
    return rows


def find_weights(weights: str | Path) -> Path:
    """The file for a path or a shipped name.

    Raises:
        UsageError: neither exists; the shipped names are listed.
    """
    shipped = list_shipped()
    if str(weights) in shipped:
        return shipped_folder() / shipped[str(weights)]["file"]
    path = Path(weights)
    if path.is_file():
        return path
    names = f"; shipped names: {', '.join(shipped)}" if shipped else ""
    raise UsageError(f"there is no weights file {path}{names}")


def find_onnx(weights: str | Path) -> Path | None:
    """The ONNX file that comes with shipped weights, or the path itself when it is one."""
    entry = list_shipped().get(str(weights), {})
    path = shipped_folder() / entry["onnx"] if "onnx" in entry else Path(weights)
    return path if path.suffix == ".onnx" and path.is_file() else None


def read_header(path: Path) -> dict[str, Any]:
    """What `save_generator` stored beside the tensors; empty for a safetensors file of other origin.

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
    """Where the shipped weights lie: inside the installed package, or beside it in a checkout."""
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "weights"


def list_shipped() -> dict[str, dict[str, Any]]:
    """The shipped weights: name to its entry of `weights/index.json` (`file`, `description`, ...)."""
    index = shipped_folder() / "index.json"
    return json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
