"""Where the parts of gpu.sh find and leave things, and how small a dry run is."""

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks.common import machine, write_json
from srkd.data.sets import read_hash_list
from srkd.errors import UsageError
from srkd.files import hash_file
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.images.writing import write_image

ROOT = Path(__file__).resolve().parents[2]
HELD_OUT = ROOT / "benchmarks" / "validation.sha256"
# Of a dry run: photographs, their sides, and what is trained on.
FEW, SIDE, STEPS = 3, 192, 2
TINY = {"batch": 2, "crop": 64}


class Places:
    """The folders and files that a part was given.

    Attributes:
        work: what is made on the way, and kept so that a part that is called again goes on.
        results: what is worth keeping.
        dry: whether everything is tiny and on the CPU.
        device: `cuda`, or `cpu` in a dry run.
        minutes: for the part.
        began: when the part began, in seconds of `time.monotonic`.
    """

    def __init__(self, given: Namespace):
        self.dry, self.minutes = given.dry_run, given.minutes
        self.work = given.work.resolve() / ("dry" if self.dry else "")
        self.results = self.work / "results"
        self.results.mkdir(parents=True, exist_ok=True)
        self._photos, self.sets, self._teacher = (
            path and path.resolve() for path in (given.photos, given.sets, given.teacher)
        )
        self.device, self.began = "cpu" if self.dry else "cuda", time.monotonic()

    @property
    def left(self) -> float:
        """Seconds left of the part's minutes."""
        return 60 * self.minutes - (time.monotonic() - self.began)

    @cached_property
    def photos(self) -> Path:
        """The photographs; of a dry run, the middles of a few.

        Raises:
            UsageError: none were given.
        """
        if not self.dry and not self._photos:
            raise UsageError("give --photos, a folder of photographs")
        if not self.dry:
            return self._photos
        folder = self.work / "photos"
        folder.mkdir(exist_ok=True)
        for number, path in enumerate(self._some_photos()):
            image = read_image(path)
            top, left = ((side - SIDE) // 2 for side in image.shape[:2])
            write_image(folder / f"{number}.png", image[top : top + SIDE, left : left + SIDE])
        return folder

    def _some_photos(self) -> Sequence[Path]:
        from srkd.data.pairs import EMBEDDED_TRAIN, embedded_photos

        paths = list_images(self._photos) if self._photos else embedded_photos(EMBEDDED_TRAIN)
        return [path for path in paths if min(read_image(path).shape[:2]) >= SIDE][:FEW]

    @cached_property
    def held_out(self) -> Path | None:
        """The list of the photographs that the project holds out, if they are among the given ones."""
        if self.dry:
            return None
        there = {hash_file(path) for path in list_images(self.photos)}
        return HELD_OUT if {digest for _, digest in read_hash_list(HELD_OUT)} <= there else None

    @property
    def teacher(self) -> Path:
        """Real-ESRGAN x4plus. Raises UsageError where it was not given."""
        if self._teacher is None or not self._teacher.is_file():
            raise UsageError("give --teacher, realesrgan-x4plus.param with its .bin beside it")
        return self._teacher

    def benchmarks(self) -> dict[str, Path]:
        """Set5 and Set14, where they were given."""
        folders = {name: self.sets / "benchmark" / name for name in ("Set5", "Set14")} if self.sets else {}
        return {name: folder for name, folder in folders.items() if folder.is_dir()}

    @property
    def pictures(self) -> Path:
        """What speed is measured on: photographs, or where there are none Set14's."""
        sets = self.benchmarks()
        return sets["Set14"] / "HR" if "Set14" in sets and not self._photos else self.photos

    def prepared(self, name: str, photos: Path | None = None, **options: Any) -> Path:
        """A set packed from the photographs, or from others, which is packed once."""
        import srkd

        jobs = 1 if self.dry else os.cpu_count() or 1
        options = {
            "val": None if photos else self.held_out,
            "jobs": jobs if "degradation" in options else 1,
            **options,
        }
        # Another part may be preparing the same.
        with timed(f"preparing {name}"), FileLock(self.work / f"{name}.lock"):
            srkd.prepare(photos or self.photos, self.work / name, **options)
        return self.work / name

    def write(self, name: str, result: dict[str, Any]) -> None:
        """A result with the machine's name, as results/gpu-NAME.json."""
        path = self.results / f"gpu-{name}.json"
        write_json(path, {"machine": describe(self.device), "dry_run": self.dry, **result})
        print(f"-> {path}", flush=True)

    def run(self, *words: object, seconds: float | None = None, log: str | None = None) -> int:
        """Runs a Python script or module and returns its exit code; past its time it is stopped as by Ctrl-C,
        so that it keeps what it has."""
        command = [sys.executable, *map(str, words)]
        print("+ " + " ".join(command), flush=True)
        with (self.results / f"{log}.log").open("a", encoding="utf-8") if log else nullcontext() as file:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT if log else None
            )
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                print(f"stopped after {seconds:.0f} s", flush=True)
                process.terminate()
            except BaseException:
                process.terminate()
                process.wait()
                raise
            try:
                return process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()


def options(doc: str | None, minutes: float) -> ArgumentParser:
    """The options of every part, with its usual minutes."""
    parser = ArgumentParser(description=(doc or "").split("\n")[0])
    add = parser.add_argument
    add("--work", type=Path, default=Path("runs/gpu"), help="folder for what is made; kept between calls")
    add("--photos", type=Path, help="folder of photographs")
    add("--teacher", type=Path, help="realesrgan-x4plus.param")
    add("--sets", type=Path, help="folder with benchmark/Set5/{HR,LR} and benchmark/Set14/{HR,LR}")
    add("--minutes", type=float, default=minutes)
    add("--dry-run", action="store_true", help="tiny, on the CPU; what needs CUDA is left out")
    return parser


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Says how long something took."""
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)


def skip(what: str) -> None:
    print(f"left out, since it needs CUDA: {what}", flush=True)


def describe(device: str) -> dict[str, Any]:
    """The card, the driver, torch, and the processor."""
    import torch

    found: dict[str, Any] = {"processor": machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    if device == "cuda":
        facts = torch.cuda.get_device_properties(0)
        found |= {"card": facts.name, "memory": facts.total_memory, "cuda": torch.version.cuda}
        asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm", "--format=csv,noheader"]
        try:
            found["driver"] = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            found["driver"] = None
    return found


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
