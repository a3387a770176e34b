"""Fills in the templates that lie beside this file."""

import base64
import io
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image


def render(template: str, /, **values: Any) -> str:
    """A template with its values; HTML is escaped.

    Args:
        template: name of its file.
        values: the values of its variables.
    """
    environment = Environment(
        loader=PackageLoader("srkd", "reports"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": format_score, "png": _embed}
    return environment.get_template(template).render(values)


def format_score(value: Any, name: str) -> str:
    """A value of a table: PSNR with two digits, other scores with four, numbers with separators."""
    if isinstance(value, float):
        return f"{value:.2f}" if "psnr" in name.lower() else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _embed(image: np.ndarray) -> str:
    """An image `(H, W, 3)` uint8 as a data URL."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
