"""`srkd card`: what weights are, what they score, and what they are not for, in Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srkd.errors import UsageError
from srkd.files import StrPath, publish
from srkd.metrics.named import METRICS, describe
from srkd.terminal import Progress, reports, say
from srkd.weights.catalogue import find_weights, list_shipped

# The photograph of the picture: scikit-image installs it, and no training of this package sees it.
_PHOTO, _ORIGIN = "chelsea.png", "Chelsea the cat, by Stefan van der Walt, from scikit-image (CC0)"
_SIDE = 160
# Measured now, beside PSNR, SSIM and LPIPS. Recorded scores may have others.
_ARTEFACTS = "halo,flat-noise,tint,lattice,niqe"


@reports
def card(
    weights: StrPath,
    *,
    out: StrPath | None = None,
    data: Sequence[str] | str | None = None,
    lpips: str = "st-lpips-alex",
    overwrite: bool = False,
    verbose: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Write the model card of weights, with a picture beside it.

    Facts that were not recorded are given as unknown.

    Args:
        weights: weights of this package (safetensors or ONNX), or a shipped name.
        out: the Markdown file. Without it, the weights' name with the suffix `.md`, beside the weights; in
            the current folder for shipped weights.
        data: a benchmark to score on now, beside bicubic, as `NAME=FOLDER` with the folder in the forms of
            `srkd evaluate`. May be given several times. Replaces a recorded score of the same name.
        lpips: LPIPS variants of these scores, separated by commas.
        overwrite: replace an existing card.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The card.

    Raises:
        UsageError: no such weights or data, weights of another package, or a card that exists.
    """
    from srkd.reports.templates import render
    from srkd.weights.store import load_generator

    path, name = find_weights(weights), str(weights)
    target = _target(path, name, out, overwrite)
    folders = dict(map(_named, [data] if isinstance(data, str) else data or []))
    model = load_generator(path)
    entry, info = list_shipped().get(name, {}), model.info
    # ONNX files keep it in their metadata.
    config = model.config or info.get("config")
    if not config:
        raise UsageError(
            f"{path} holds weights of another package; srkd writes cards for its own weights only"
        )
    known = [row for row in _known_scores(entry.get("scores", {})) if row["data"] not in folders]
    rows = known + _measure(path, folders, lpips, model.scale)
    artefacts = _list_artefacts(rows)
    picture = target.with_suffix(".png")
    text = render(
        "card.md.j2",
        name=path.stem,
        # Weights shipped before this fact was recorded saw bicubic LR images, as their entry's data says.
        info={"degradation": "none" if entry else None, "objective": None, **info},
        entry={"description": None, "command": None, "terms": None, **entry},
        facts=_facts(path, config, entry.get("license") or info.get("license")),
        training=_training(info, entry),
        scores=_align([{key: x for key, x in row.items() if key not in METRICS} for row in rows]),
        artefacts=artefacts,
        legend=[describe(METRICS[name]) for name in (artefacts or [{}])[0] if name in METRICS],
        photo=_PHOTO,
        origin=_ORIGIN,
        picture=picture.name,
        degradation=_degrade(info),
        scale=model.scale,
        weights=name,
    )
    with publish(target, [picture.suffix]) as draft:
        _draw(path, model.scale, _degrade(info), draft.with_suffix(picture.suffix))
        draft.write_text(text, encoding="utf-8")
    say(f"-> {target}, {picture}")
    return target


def _target(path: Path, name: str, out: StrPath | None, overwrite: bool) -> Path:
    beside = Path(f"{path.stem}.md") if name in list_shipped() else path.with_suffix(".md")
    target = Path(out) if out else beside
    if target.suffix != ".md":
        raise UsageError(f"{target} does not end in .md")
    existing = [file for file in (target, target.with_suffix(".png")) if file.exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; replace it with --overwrite, or choose another --out")
    return target


def _named(item: str) -> tuple[str, str]:
    name, found, folder = item.partition("=")
    if not found or not name or not folder:
        raise UsageError(f"--data {item}: give NAME=FOLDER, as Set5=benchmark/Set5")
    return name, folder


def _facts(path: Path, config: Mapping[str, Any], licence: str | None) -> dict[str, str]:
    from srkd.models import create_generator
    from srkd.models.cost import count_macs, count_parameters

    network = create_generator(**config)
    side = 2 * network.radius + 1
    options = [f"{key} {value}" for key, value in config.items() if key not in ("name", "scale")]
    return {
        "architecture": f"`{config['name']}`, {', '.join(options) or 'as published'}",
        "scale": f"x{network.scale}",
        "parameters": f"{count_parameters(network):,}",
        "multiply-accumulates": f"{count_macs(network, network.scale) / 1e9:.1f} G for a 1280x720 output",
        "receptive field": f"{side} x {side} LR pixels",
        "file": f"`{path.name}`, {path.stat().st_size / 2**20:.2f} MiB",
        "licence": licence or "unknown",
    }


def _training(info: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, str]:
    teacher = info.get("teacher") or ("none" if "stage" in info else None)
    steps = info.get("steps")
    return {
        "strategy": str(info.get("strategy") or "unknown"),
        "last stage": f"{info['stage']}, {steps:,} steps" if "stage" in info and steps else "unknown",
        "objective": str(info.get("objective") or "unknown"),
        "teacher": teacher or "unknown",
        "seed": str(info.get("seed", "unknown")),
        **({"interpolated": _shares(info["interpolation"])} if "interpolation" in info else {}),
        "data": entry.get("data") or "unknown",
        "terms of the images": entry.get("terms") or "unknown",
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
            found = evaluate(weights, folder, lpips=lpips, metrics=_ARTEFACTS, scale=scale)
            row = {"data": name, "model": label, "protocol": found["protocol"], **found["mean"]}
            total = len(found["images"])
            for key, count in found["measured"].items():
                if 0 < count < total:
                    row[key] = f"{row[key]:.4f} ({count} of {total} images)"
            rows.append(row)
    return rows


def _list_artefacts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows that have scores of METRICS, with these alone, and a dash where one has none."""
    names = [name for name in METRICS if any(row.get(name) is not None for row in rows)]
    found = [row for row in rows if any(row.get(name) is not None for name in names)]
    return [
        {"data": row["data"], "model": row["model"]}
        | {name: "-" if row.get(name) is None else row[name] for name in names}
        for row in found
    ]


def _align(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the same columns in each, empty where one has none."""
    columns = dict.fromkeys((key for row in rows for key in row), "")
    return [{**columns, **row} for row in rows]


def _degrade(info: Mapping[str, Any]) -> str:
    """How the picture's LR image is made: as for training, but for `real`, most of whose draws are worse than
    what people have, `web`."""
    made = info.get("degradation") or "none"
    preset = made["preset"] if isinstance(made, Mapping) else made
    return "web" if preset == "real" else preset


def _draw(path: Path, scale: int, degradation: str, target: Path) -> None:
    """Bicubic, this model and the original, side by side."""
    from srkd.data import embedded_photos, read_pair
    from srkd.data.degrade import draw_lr, draw_rng
    from srkd.degradation import make_degradation
    from srkd.reports.page import busiest_window
    from srkd.upscaling.opening import open_runner

    pair = read_pair(embedded_photos([_PHOTO])[0], None, scale)
    mix = make_degradation(degradation)
    lr = draw_lr(pair.lr, pair.hr, draw_rng(0, "0", 0), mix) if mix else pair.lr
    images = [open_runner(weights, "cpu", scale)(lr) for weights in ("bicubic", path)]
    top, left = busiest_window(pair.hr, _SIDE)
    crops = [image[top : top + _SIDE, left : left + _SIDE] for image in (*images, pair.hr)]
    gap = np.full((_SIDE, 4, 3), 255, np.uint8)
    sheet = np.concatenate([crops[0], gap, crops[1], gap, crops[2]], axis=1)
    Image.fromarray(sheet.repeat(2, 0).repeat(2, 1)).save(target)
