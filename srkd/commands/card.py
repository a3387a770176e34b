"""Model cards: what weights are, what they score, and what they are not for, in Markdown."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srkd.errors import UsageError
from srkd.files import publish
from srkd.terminal import console
from srkd.weights.catalogue import find_weights, list_shipped

# The photograph of the picture: scikit-image installs it, and no training of this package sees it.
_PHOTO, _ORIGIN = "chelsea.png", "Chelsea the cat, by Stefan van der Walt, in scikit-image (CC0)"


_SIDE = 160


# What weights are not for, by what they say of their training.
_MADE_FOR: dict[str | None, str] = {
    "none": "by an antialiased bicubic and otherwise clean. Noise, JPEG blocks and blur are taken for detail "
    "and enlarged with it.",
    "real": "with random blur, noise and JPEG compression. It may smooth what is fine and clean.",
}


_TEXTURE = "Its detail is plausible, not true: do not read text, faces or measurements off it."


_DETAIL: dict[str | None, str] = {
    "psnr": "It was trained for fidelity: smooth where it is not certain, without invented texture.",
    "perceptual": _TEXTURE,
    "gan": _TEXTURE,
}


def card(
    weights: str,
    *,
    out: str | None = None,
    data: list[str] | str | None = None,
    lpips: str = "st-lpips-alex",
    overwrite: bool = False,
) -> Path:
    """Write the model card of weights, with a picture beside it.

    What nobody recorded is said to be unknown.

    Args:
        weights: weights of this package (safetensors or ONNX), or a shipped name.
        out: the Markdown file; when not given beside the weights, of shipped ones in the current folder.
        data: benchmarks to score on now, beside bicubic, each `NAME=FOLDER` with the folder in the forms of
            `srkd evaluate`; may be given several times. A recorded score of the same name gives way.
        lpips: LPIPS variants of these scores, with commas between.
        overwrite: replace a card that exists.

    Returns:
        The card.

    Raises:
        UsageError: no such weights or data, weights of another package, or a card that exists.
    """
    from srkd.models import create_generator
    from srkd.models.cost import count_macs, count_parameters
    from srkd.weights.store import load_generator

    path = find_weights(weights)
    target = (
        Path(out)
        if out
        else Path(f"{path.stem}.md" if weights in list_shipped() else path.with_suffix(".md"))
    )
    if target.suffix != ".md":
        raise UsageError(f"{target} does not end in .md")
    picture = target.with_suffix(".png")
    existing = [file for file in (target, picture) if file.exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; replace it with --overwrite, or choose another --out")
    folders = dict(_named(item) for item in ([data] if isinstance(data, str) else data or []))
    model: Any = load_generator(path)
    info = model.info
    config = info.get("config") or getattr(model, "config", None)
    if not config:
        raise UsageError(f"{path} holds weights of another package; cards are made of those of srkd")
    entry = list_shipped().get(weights, {})
    network = create_generator(**config)
    facts = {
        "architecture": f"`{config['name']}`, {_options(config)}",
        "scale": f"x{model.scale}",
        "parameters": f"{count_parameters(network):,}",
        "multiply-accumulates": f"{count_macs(network, model.scale) / 1e9:.1f} G for a 1280x720 output",
        "receptive field": f"{2 * model.radius + 1} x {2 * model.radius + 1} LR pixels",
        "file": f"`{path.name}`, {path.stat().st_size / 2**20:.2f} MiB",
        "licence": entry.get("license") or info.get("license") or "unknown",
    }
    known = [row for row in _known_scores(entry.get("scores", {})) if row["data"] not in folders]
    scores = known + _measure(path, folders, lpips, model.scale)
    parts = [
        f"# {path.stem}",
        entry.get("description", ""),
        "## What it is",
        _list(facts),
        "## How it was trained",
        _list(_training(info, entry)),
        *([f"```sh\n{entry['command']}\n```"] if "command" in entry else []),
        "## Scores",
        _table(scores) if scores else "None recorded; `srkd card WEIGHTS --data NAME=FOLDER` measures them.",
        f"![{_PHOTO}: bicubic, this model, original]({picture.name})",
        "From left to right: the LR image enlarged by bicubic, by this model, and the original. "
        f"The photograph is {_ORIGIN}; its LR image is MATLAB's bicubic x1/{model.scale}.",
        "## Limits",
        # Shipped weights older than this record saw bicubic LR images; their entry's data says so.
        _limits({"degradation": "none", **info} if entry else info, model.scale),
        "## Use",
        f"```sh\nsrkd upscale photo.jpg -o photo_x{model.scale}.png --weights {weights}\n```",
    ]
    with publish(target, [picture.suffix]) as draft:
        _draw(path, model.scale, draft.with_suffix(picture.suffix))
        draft.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    console.print(f"-> {target}, {picture}", markup=False)
    return target


def _named(item: str) -> tuple[str, str]:
    name, found, folder = item.partition("=")
    if not found or not name or not folder:
        raise UsageError(f"--data {item}: give NAME=FOLDER, as Set5=benchmark/Set5")
    return name, folder


def _options(config: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in config.items() if key not in ("name", "scale")}
    return ", ".join(f"{key} {value}" for key, value in rest.items()) or "as published"


def _training(info: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, str]:
    distilled = info.get("teacher") or ("none" if "stage" in info else None)
    steps = info.get("steps")
    return {
        "strategy": str(info.get("strategy") or "unknown"),
        "last stage": f"{info['stage']}, {steps:,} steps" if "stage" in info and steps else "unknown",
        "objective": str(info.get("objective") or "unknown"),
        "teacher": distilled or "unknown",
        "seed": str(info.get("seed", "unknown")),
        **({"interpolated": _shares(info["interpolation"])} if "interpolation" in info else {}),
        "data": entry.get("data") or "unknown",
        **({"hours": entry["hours"]} if "hours" in entry else {}),
        "command": "below" if "command" in entry else "unknown",
    }


def _shares(interpolation: Mapping[str, Any]) -> str:
    alpha, (first, second) = interpolation["alpha"], interpolation["of"]
    return f"{1 - alpha:g} {first} + {alpha:g} {second}"


def _known_scores(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    protocol = scores.get("protocol", "unknown")
    sets = {name: found for name, found in scores.items() if name != "protocol"}
    return [{"data": name, "model": "this", "protocol": protocol, **found} for name, found in sets.items()]


def _measure(path: Path, folders: Mapping[str, str], lpips: str, scale: int) -> list[dict[str, Any]]:
    from srkd.commands.evaluate import evaluate

    rows = []
    for name, folder in folders.items():
        for label, weights in (("bicubic", "bicubic"), ("this", str(path))):
            found = evaluate(weights, folder, lpips=lpips, scale=scale)
            rows.append({"data": name, "model": label, "protocol": found["protocol"], **found["mean"]})
    return rows


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        cells = [_cell(key, row.get(key, "")) for key in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\nPSNR in dB; of LPIPS, lower is nearer."


def _cell(key: str, value: Any) -> str:
    return (f"{value:.2f}" if key == "psnr" else f"{value:.4f}") if isinstance(value, float) else str(value)


def _list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in facts.items())


def _limits(info: Mapping[str, Any], scale: int) -> str:
    made, detail = _MADE_FOR.get(info.get("degradation")), _DETAIL.get(info.get("objective"))
    return " ".join(
        [
            f"Made for photographs shrunk x1/{scale} {made}"
            if made
            else f"Made for x1/{scale}, of images that are unknown; the default is an antialiased bicubic.",
            detail or "What its training aimed at is unknown: its detail may be invented.",
        ]
    )


def _draw(path: Path, scale: int, target: Path) -> None:
    """Bicubic, this model and the original, side by side."""
    from srkd.data import embedded_photos, read_pair
    from srkd.reports.page import busiest_window
    from srkd.upscaling.opening import open_runner

    pair = read_pair(embedded_photos([_PHOTO])[0], None, scale)
    images = [open_runner(weights, "cpu", scale)(pair.lr) for weights in ("bicubic", path)]
    top, left = busiest_window(pair.hr, _SIDE)
    crops = [image[top : top + _SIDE, left : left + _SIDE] for image in (*images, pair.hr)]
    gap = np.full((_SIDE, 4, 3), 255, np.uint8)
    sheet = np.concatenate([crops[0], gap, crops[1], gap, crops[2]], axis=1)
    Image.fromarray(sheet.repeat(2, 0).repeat(2, 1)).save(target)
