"""The recipes of the trained parts, from those of the benchmarks, and how several are trained at a time."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from benchmarks.gpu.places import ROOT, TINY, Places
from benchmarks.ship import convert
from srkd.config import merge
from srkd.files import write_text


def base(path: str) -> dict[str, Any]:
    """A recipe of the benchmarks."""
    return yaml.safe_load((ROOT / "benchmarks" / path).read_text(encoding="utf-8"))


def write(places: Places, name: str, recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> Path:
    """A recipe with changes, on the part's device, as work/NAME.yaml with its run in work/NAME; that of a dry
    run is tiny."""
    where = {"out": str(places.work / name), "device": places.device}
    where["precision"] = "32-true" if places.dry else "bf16-mixed"
    content = {**merge(dict(recipe), dict(changes)), **where, **(TINY if places.dry else {})}
    if places.dry:
        for stage in filter(None, content.get("stages", {}).values()):
            for key in TINY:
                stage.pop(key, None)
    path = places.work / f"{name}.yaml"
    write_text(path, yaml.safe_dump(content, sort_keys=False))
    return path


def train_beside(
    places: Places, runs: Mapping[str, tuple[Sequence[Path], Sequence[float]]], minutes: float
) -> list[str]:
    """Trains chains of recipes side by side, each with the shares of its time; returns the names of those
    that failed. What small networks take is mostly the time to tell the GPU, so several share one."""

    def one(name: str) -> int:
        recipes, shares = runs[name]
        words = [
            ROOT / "benchmarks" / "gpu" / "train.py",
            *recipes,
            "--minutes",
            f"{minutes:.2f}",
            "--shares",
            *shares,
        ]
        return places.run(*words, *["--dry-run"] * places.dry, seconds=60 * minutes + 60, log=f"train-{name}")

    with ThreadPoolExecutor(1 if places.dry else len(runs)) as pool:
        codes = dict(zip(runs, pool.map(one, runs), strict=True))
    for name, code in codes.items():
        lines = (
            (places.results / f"train-{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        )
        print(
            f"{name}: " + ("done" if code == 0 else f"exit {code}") + "".join(f"\n  {x}" for x in lines[-4:]),
            flush=True,
        )
    return [name for name, code in codes.items() if code]


def finish(places: Places, part: str, found: Mapping[str, Path], failed: Sequence[str]) -> None:
    """Keeps weights under their names, merged and in half precision, and scores them on the benchmarks; ends
    with 1 where some failed."""
    kept = []
    (places.results / "weights").mkdir(exist_ok=True)
    for name, path in found.items():
        if path.is_file():
            critic = "teacher" in name and path.with_name(f"{path.stem}_discriminator.safetensors").is_file()
            target = convert(path, name, places.results / "weights", critic)
            shutil.copy(path.parent / "log.jsonl", places.results / f"{name}.jsonl")
            kept.append(target)
    sets = places.benchmarks()
    if sets and kept and places.dry:
        sets = {}
        print("scores are left out of a dry run", flush=True)
    if sets and kept:
        places.run(
            *("-m", "srkd", "evaluate", *kept, "span_s_psnr", "span_s_gan", "--data", *sets.values()),
            *("--device", places.device, "--lpips", "st-lpips-alex", "--metrics", "halo,lattice,flat-noise"),
            *("--json", places.results / f"gpu-{part}-scores.json"),
            seconds=120,
        )
    if failed:
        sys.exit(f"{part}: {', '.join(failed)} not finished; call it again to go on")
