"""Puts trained weights among the shipped ones: half-precision safetensors, ONNX, scores and card.

    python benchmarks/ship.py RUN/pretrain.safetensors NAME --data BENCHMARKS [--onnx fp32] [--discriminator]

weights/index.json has the words first: an entry NAME with `description`, `license`, `data` and `command`;
`file`, `onnx`, `scale` and `scores` are written by this. BENCHMARKS holds Set5/, Set14/ and BSD100/. The
scores are those of the shipped file; `scores/NAME-SET.json` has them by image.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import srkd
from srkd.catalog import shipped_folder
from srkd.errors import SrkdError, UsageError
from srkd.exports import write_onnx
from srkd.files import console, write_text
from srkd.models.fusing import merge
from srkd.weights import load_discriminator, save_module

SETS = ("Set5", "Set14", "BSD100")
LPIPS = "st-lpips-alex"
# What half precision may cost, in dB on the first set.
COST = 0.005


def halve(module: Any, path: Path, kind: str) -> Path:
    """Writes a network's weights in half precision and merged, with what is known of it.

    Raises:
        SrkdError: a weight is too large for half precision.
    """
    info = {key: value for key, value in module.info.items() if key not in ("format", "kind")}
    half = merge(module).half()
    if not all(bool(torch.isfinite(value).all()) for value in half.state_dict().values()):
        raise SrkdError(f"{path.name} has weights that are too large for half precision")
    return save_module(kind, half, path, **info)


def measure(weights: Path, data: Path, folder: Path, name: str) -> dict[str, Any]:
    """Scores on every set, by image in `folder`; their means."""
    scores: dict[str, Any] = {"protocol": "y-crop4"}
    for part in SETS:
        found = srkd.evaluate(str(weights), str(data / part), lpips=LPIPS)
        write_text(folder / f"{name}-{part}.json", json.dumps({**found, "model": name}, indent=1) + "\n")
        scores[part] = {key: round(value, 4) for key, value in found["mean"].items()}
    return scores


def ship(
    source: Path,
    name: str,
    data: Path,
    onnx: str | None,
    discriminator: bool,
    weights: Path,
    scores: Path,
) -> None:
    """Writes all of it, the index last."""
    index_file = weights / "index.json"
    index = json.loads(index_file.read_text(encoding="utf-8"))
    if name not in index:
        raise UsageError(f"{index_file} has no entry {name}; write its words there first")
    model: Any = srkd.load_generator(source)
    target = halve(model, weights / f"{name}.safetensors", "generator")
    if discriminator:
        beside = source.with_name(f"{source.stem}_discriminator.safetensors")
        halve(load_discriminator(beside), weights / f"{name}_discriminator.safetensors", "discriminator")
    shipped: Any = srkd.load_generator(target)
    entry = index[name] | {"file": target.name, "scale": shipped.scale}
    entry["scores"] = measure(target, data, scores, name)
    before = srkd.evaluate(str(source), str(data / SETS[0]), lpips="none")["mean"]["psnr"]
    cost = before - entry["scores"][SETS[0]]["psnr"]
    if cost > COST:
        raise SrkdError(f"half precision costs {name} {cost:.3f} dB on {SETS[0]}")
    if onnx:
        file = target.with_suffix(".onnx")
        facts = {key: entry[key] for key in ("license", "scores") if key in entry}
        write_onnx(shipped, file, onnx, **facts)  # type: ignore[arg-type]
        entry["onnx"] = file.name
    index[name] = entry
    write_text(index_file, json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    if weights.resolve() == shipped_folder().resolve():
        srkd.card(name, out=str(weights / f"{name}.md"), overwrite=True)
    size = sum(path.stat().st_size for path in weights.iterdir())
    console.print(f"{name}: {entry['scores'][SETS[0]]}; {weights} has {size / 2**20:.1f} MiB", markup=False)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path, help="the weights to ship")
    parser.add_argument("name", help="their name, which the index has words for")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the benchmarks' folders")
    parser.add_argument("--weights", type=Path, default=shipped_folder(), help="the shipped weights' folder")
    parser.add_argument(
        "--scores", type=Path, default=Path(__file__).parent / "scores", help="folder for scores by image"
    )
    parser.add_argument("--onnx", choices=("fp32", "fp16"), help="write ONNX too, in this precision")
    parser.add_argument("--discriminator", action="store_true", help="ship the one beside the weights, too")
    arguments = parser.parse_args(words)
    try:
        ship(**vars(arguments))
    except SrkdError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
