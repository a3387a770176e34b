"""Adds trained weights to the shipped ones: half-precision safetensors, ONNX, scores and card.

    python benchmarks/ship.py RUN/pretrain.safetensors NAME --data BENCHMARKS [--onnx fp32] [--discriminator]

First add an entry NAME to weights/index.json with `description`, `license`, `data` and `command`; this script
adds `file`, `onnx`, `scale` and `scores`. BENCHMARKS holds Set5/, Set14/ and BSD100/. The scores are those of
the shipped file; `scores/NAME-SET.json` has them per image.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import srkd
from srkd.errors import SrkdError, UsageError
from srkd.exports.writing import write_onnx
from srkd.files import write_text
from srkd.models.fusing import merge
from srkd.terminal import console
from srkd.weights.catalogue import shipped_folder
from srkd.weights.store import load_discriminator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import check_file, check_folder, make_parser, run_script, write_json
from benchmarks.halving import save_half

SETS = ("Set5", "Set14", "BSD100")
LPIPS = "st-lpips-alex"
# Largest accepted loss by half precision, in dB on the first set.
COST = 0.005


def measure(weights: Path, data: Path, folder: Path, name: str) -> dict[str, Any]:
    """Mean scores on every set; those per image go into `folder`."""
    scores: dict[str, Any] = {"protocol": "y-crop4"}
    for part in SETS:
        found = srkd.evaluate(str(weights), str(data / part), lpips=LPIPS)
        write_json(folder / f"{name}-{part}.json", {**found, "model": name})
        scores[part] = {key: round(value, 4) for key, value in found["mean"].items()}
    return scores


def convert(source: Path, name: str, weights: Path, discriminator: bool) -> Path:
    """Writes the weights merged and in half precision; returns the generator's file."""
    network: Any = srkd.load_generator(source)
    target = save_half(merge(network), network.info, weights / f"{name}.safetensors")
    if discriminator:
        critic: Any = load_discriminator(source.with_name(f"{source.stem}_discriminator.safetensors"))
        beside = weights / f"{name}_discriminator.safetensors"
        save_half(merge(critic), critic.info, beside, "discriminator")
    return target


def ship(arguments: Namespace) -> None:
    """Writes all files, the index last."""
    source, name, data, weights = arguments.source, arguments.name, arguments.data, arguments.weights
    index_file = weights / "index.json"
    check_file("--weights", index_file)
    for part in SETS:
        check_folder("--data", data / part)
    index = json.loads(index_file.read_text(encoding="utf-8"))
    if name not in index:
        raise UsageError(f"{index_file} has no entry {name}; add its description there first")
    target = convert(source, name, weights, arguments.discriminator)
    shipped: Any = srkd.load_generator(target)
    entry = index[name] | {"file": target.name, "scale": shipped.scale}
    entry["scores"] = measure(target, data, arguments.scores, name)
    before = srkd.evaluate(str(source), str(data / SETS[0]), lpips="none")["mean"]["psnr"]
    cost = before - entry["scores"][SETS[0]]["psnr"]
    if cost > COST:
        raise SrkdError(f"half precision costs {name} {cost:.3f} dB on {SETS[0]}, more than {COST}")
    if arguments.onnx:
        file = target.with_suffix(".onnx")
        facts = {key: entry[key] for key in ("license", "scores") if key in entry}
        write_onnx(shipped, file, arguments.onnx, **facts)
        entry["onnx"] = file.name
    index[name] = entry
    write_text(index_file, json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    if weights.resolve() == shipped_folder().resolve():
        srkd.card(name, out=str(weights / f"{name}.md"), overwrite=True)
    size = sum(path.stat().st_size for path in weights.iterdir())
    console.print(f"{name}: {entry['scores'][SETS[0]]}; {weights} has {size / 2**20:.1f} MiB", markup=False)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    scores = Path(__file__).parent / "scores"
    add = parser.add_argument
    add("source", type=Path, help="the trained weights")
    add("name", help="name of the shipped weights, which must have an entry in index.json")
    add("--data", type=Path, required=True, help="the folder that holds Set5/, Set14/ and BSD100/")
    add("--weights", type=Path, default=shipped_folder(), help="folder of the shipped weights")
    add("--scores", type=Path, default=scores, help="folder for the scores per image")
    add("--onnx", choices=("fp32", "fp16"), help="also write ONNX in this precision")
    add("--discriminator", action="store_true", help="also ship the discriminator beside the weights")
    run_script(parser, ship, words)


if __name__ == "__main__":
    main()
