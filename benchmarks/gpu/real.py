"""Students of Real-ESRGAN x4plus for real photographs: SPAN with 32 and with 48 channels, side by side.

    python benchmarks/gpu/real.py --photos PHOTOS --teacher realesrgan-x4plus.param [--minutes 6.5]
        [--dry-run]

Each is trained by benchmarks/real/pixels.yaml, then by lpips.yaml and critic.yaml, on what teacher.py made.
Then benchmarks/real/table.py, for as long as there is time; called again, it goes on.
"""

import shutil
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import srkd
from benchmarks.common import run_script
from benchmarks.gpu.places import Places, options, read_json, timed
from benchmarks.gpu.recipes import base, finish, train_beside, write
from srkd.data.sets import read_hash_list
from srkd.errors import UsageError
from srkd.files import hash_file
from srkd.images.folders import list_images

STUDENTS: dict[str, dict[str, Any]] = {
    "span_s_real": {"start": "span_s_psnr"},
    "span_m_real": {"start": "span_s_psnr", "model": "span_m"},
}
# Of benchmarks/real, in their order: a student's share of its time, and the crops of a step.
RECIPES = {"pixels": (1.0, 32), "lpips": (3.0, 16), "critic": (1.0, 16)}
# Of the part's time, for the table.
TABLE = 0.15


def validation(places: Places) -> Path:
    """The photographs that are held out, degraded once each, so that validating is short."""
    folder, packed = places.work / "held", places.work / "held_packed"
    if not (packed / "manifest.json").is_file():
        listed = {
            digest for _, digest in read_hash_list(places.held_out or places.work / "real/validation.sha256")
        }
        folder.mkdir(exist_ok=True)
        for path in list_images(places.photos):
            if hash_file(path) in listed:
                (folder / path.name).write_bytes(path.read_bytes())
        # Of a set, one is held out and the others are for training; both are taken here.
        if len(list_images(folder)) < 2:
            return places.work / "real" / "validation.sha256"
        srkd.prepare(folder, packed, degradation="real")
    return packed


def make_recipes(places: Places) -> dict[str, tuple[list[Path], list[float]]]:
    """Each student's recipes, every one from the weights of the one before, and their shares of its time. The
    last one's run has the student's name."""
    data = {"data": str(places.work / "real"), "teacher": str(places.teacher), "val": str(validation(places))}
    runs = {}
    for name, changes in STUDENTS.items():
        paths = []
        for recipe, (_, batch) in RECIPES.items():
            folder = name if recipe == list(RECIPES)[-1] else f"{name}_{recipe}"
            changes = {"batch": batch, **data, **changes}
            paths.append(write(places, folder, base(f"real/{recipe}.yaml"), changes))
            changes = {"start": str(places.work / folder / "transfer.safetensors")}
        runs[name] = (paths, [share for share, _ in RECIPES.values()])
    return runs


def table(places: Places, students: dict[str, Path]) -> None:
    named = [f"{name}={path}" for name, path in students.items() if path.is_file()]
    held = ("--held-out", places.held_out) if places.held_out else ()
    data = places.photos
    if places.dry:
        data = places.work / "one"
        data.mkdir(exist_ok=True)
        shutil.copy(list_images(places.photos)[0], data)
    with timed("table"):
        code = places.run(
            *("benchmarks/real/table.py", "--data", data, *held, "--teacher", places.teacher),
            *("--students", *named, "--kinds", "real" if places.dry else "real,clean", "--draws", "1"),
            *("--turns", "0" if places.dry else "3", "--threads", "1" if places.dry else "16"),
            *("--cache", places.work / "cache", "--json", places.results / "real_table.json"),
            seconds=max(60.0, places.left),
            log="table",
        )
    if code:
        print("the table is not finished; it needs no GPU, and goes on when called again", flush=True)


def work(arguments: Namespace) -> None:
    places = Places(arguments)
    if not (read_json(places.work / "real" / "manifest.json") or {}).get("teachers"):
        raise UsageError(
            "there are no stored pairs with the teacher's outputs; call the part `teacher` first"
        )
    runs = make_recipes(places)
    with timed("training"):
        failed = train_beside(places, runs, places.left / 60 * (1 - TABLE))
    students = {name: places.work / name / "transfer.safetensors" for name in runs}
    table(places, students)
    finish(places, "real", students, failed)


if __name__ == "__main__":
    run_script(options(__doc__, 6.5), work)
