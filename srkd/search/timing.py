"""The runtimes that a student is made for, and the time of networks in them on this machine."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import psutil

from srkd.errors import UsageError
from srkd.exports.formats import FORMATS
from srkd.exports.writing import count_bytes, write_draft
from srkd.models.base import Generator
from srkd.runtimes import Settings, litert, ncnn, onnxruntime, openvino
from srkd.search.candidates import Candidate
from srkd.search.measuring import TURNS, make_image, summarise, take_turns
from srkd.terminal import note, progress

# The share of the CPU, in per cent, from which other programs disturb times.
BUSY = 20.0
Precision = Literal["fp32", "fp16", "int8"]
Run = Callable[[np.ndarray], object]


class Target(NamedTuple):
    """A runtime that students are timed in.

    Args:
        package: that it needs.
        extra: of srkd, that installs it.
        format: what it opens, a key of srkd.exports.formats.FORMATS.
        open: opens such a file, with so many threads; None where it runs the torch module itself.
    """

    package: str
    extra: str
    format: str
    open: Callable[[Path, int | None], Run] | None


# A line for each runtime; one of a new format takes its exporter and its opener.
TARGETS: dict[str, Target] = {
    "onnxruntime": Target("onnxruntime", "train", "onnx", onnxruntime.open_file),
    "openvino": Target("openvino", "openvino", "openvino", openvino.open_file),
    "ncnn": Target("ncnn", "ncnn", "ncnn", ncnn.open_file),
    "litert": Target("ai_edge_litert", "litert", "litert", litert.open_file),
    "torch-cuda": Target("torch", "train", "onnx", None),
}


@dataclass(frozen=True)
class Place:
    """Where the student will run.

    Args:
        runtime: a key of TARGETS.
        threads: CPU threads; all cores when None.
        precision: of the exported file.

    Raises:
        UsageError: the runtime is not installed, has no such precision, or there is no GPU for it.
    """

    runtime: str
    threads: int | None
    precision: Precision

    def __post_init__(self) -> None:
        if self.runtime not in TARGETS:
            raise UsageError(f"unknown runtime '{self.runtime}'; choose from: {', '.join(TARGETS)}")
        target = TARGETS[self.runtime]
        known = FORMATS[target.format].precisions if target.open else ("fp32", "fp16")
        if self.precision not in known:
            raise UsageError(f"{self.runtime} takes {' or '.join(known)}, not {self.precision}")
        for package in (target.package, *FORMATS[target.format].packages):
            if importlib.util.find_spec(package) is None:
                raise UsageError(
                    f"{self.runtime} needs the package {package}; pip install 'srkd[{target.extra}]'"
                )
        if target.open is None:
            import torch

            if not torch.cuda.is_available():
                raise UsageError(
                    f"{self.runtime} needs a GPU with CUDA, and there is none; give another --runtime"
                )

    @property
    def format(self) -> str:
        """The format of its files."""
        return TARGETS[self.runtime].format

    @property
    def sized(self) -> bool:
        """Whether a file runs on one size alone."""
        return FORMATS[self.format].shape.size is not None

    def describe(self) -> str:
        """In words: `onnxruntime, 2 threads, fp32`."""
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}" if self.threads else "all cores"
        return ", ".join([self.runtime, *([] if self.runtime == "torch-cuda" else [threads]), self.precision])

    def open(self, path: Path, model: Generator | None) -> Run:
        """A written file as a function of a batch; runtimes that need none run the model."""
        target = TARGETS[self.runtime]
        if target.open is not None:
            return target.open(path, self.threads)
        from srkd.runtimes.torch import open_runner

        run = open_runner(model, path.stem, Settings("cuda", None, self.precision)).run  # pyright: ignore[reportArgumentType]  # int8 was refused above
        assert run is not None
        return run


def warn_if_busy(place: Place) -> bool:
    """Whether other programs keep this machine's CPU busy, so that times come out too long; says so."""
    busy = 0.0 if place.runtime == "torch-cuda" else psutil.cpu_percent(0.5)
    if busy > BUSY:
        note(
            f"other programs take {busy:.0f} % of this machine's CPU, and times that are measured beside "
            "them are too long; stop them, and run this again",
            "warning",
        )
    return busy > BUSY


class Stopwatch:
    """Times candidates on this machine, each once; files are kept in a folder.

    Args:
        place: where they run.
        scale: the super-resolution factor.
        sizes: of the LR images, width and height.
        folder: for their files; those that are there are not written again.
    """

    def __init__(self, place: Place, scale: int, sizes: Sequence[tuple[int, int]], folder: Path):
        self.place, self.scale, self.sizes, self.folder = place, scale, list(sizes), folder
        # By candidate's name and size: median and quartiles in seconds.
        self.times: dict[tuple[str, tuple[int, int]], dict[str, Any]] = {}
        self.bytes: dict[str, int] = {}

    def measure(self, candidates: Sequence[Candidate], turns: int = TURNS) -> None:
        """Times those that have not been timed, in turns with one another."""
        todo = [one for one in candidates if one.name not in self.bytes]
        if not todo:
            return
        # Where a file runs on one size alone, one for each.
        sizes = self.sizes if self.place.sized and self.sizes else [None]
        files, models = {}, {one.name: one.create(self.scale).eval() for one in todo}
        with progress(f"writing {len(todo)} candidates", len(todo) * len(sizes), every=30) as advance:
            for one in todo:
                for size in sizes:
                    files[one.name, size] = self._write(one, models[one.name], size)
                    advance(1)
        if not self.sizes:
            return
        runs = {key: self.place.open(path, models[key[0]]) for key, path in files.items()}
        with progress(
            f"timing {len(todo)} candidates", (turns + 1) * len(todo) * len(self.sizes), every=30
        ) as advance:
            for size in self.sizes:
                own = {name: run for (name, only), run in runs.items() if only in (None, size)}
                found = time_runs(own, size, turns, lambda: advance(1))
                self.times |= {(name, size): facts for name, facts in found.items()}

    def _write(self, one: Candidate, model: Generator, size: tuple[int, int] | None) -> Path:
        kind, place = FORMATS[self.place.format], self.place
        sized = f".{size[0]}x{size[1]}" if size else ""
        path = self.folder / f"{one.name.replace(' ', '_')}{sized}.{place.precision}{kind.suffix}"
        if not path.is_file():
            write_draft(model, path, place.format, place.precision, size)
        self.bytes[one.name] = count_bytes(path, place.format)
        return path


def time_runs(
    runs: Mapping[str, Run],
    size: tuple[int, int],
    turns: int = TURNS,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, dict[str, Any]]:
    """Median and quartiles of each network's time, in turns.

    Args:
        runs: networks by name, as functions of a batch.
        size: width and height of the LR image.
        turns: how many are counted.
        advance: called after each network of each turn.
    """
    image = make_image(*size)
    works = {name: (lambda run=run: run(image)) for name, run in runs.items()}
    return {name: summarise(seconds) for name, seconds in take_turns(works, turns, advance).items()}
