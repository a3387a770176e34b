"""Weights files in half precision."""

from pathlib import Path
from typing import Any

import torch

from srkd.errors import SrkdError
from srkd.weights.store import save_module


def save_half(module: Any, info: dict[str, Any], path: Path, kind: str = "generator") -> Path:
    """Converts a network to half precision and writes it with its `info`.

    Raises:
        SrkdError: a weight overflows in half precision.
    """
    half = module.half()
    if not all(bool(torch.isfinite(value).all()) for value in half.state_dict().values()):
        raise SrkdError(f"{path} would hold weights that are too large for half precision")
    facts = {key: value for key, value in info.items() if key not in ("format", "kind")}
    return save_module(kind, half, path, **facts)
