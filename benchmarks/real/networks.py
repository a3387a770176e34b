"""The networks that are compared, and their pictures, which are kept in a cache."""

import hashlib
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import srkd
from benchmarks.common import check_at_least, check_file, check_folder
from benchmarks.runtimes import SCALE
from srkd.errors import SrkdError, UsageError
from srkd.files import hash_file
from srkd.images.reading import read_image
from srkd.images.writing import write_image
from srkd.runtimes.ncnn_files import weights_of
from srkd.runtimes.runner import Runner
from srkd.upscaling.opening import BICUBIC, open_runner
from srkd.weights.catalogue import find_weights, kind_of, list_shipped

ROOT = Path(__file__).resolve().parents[2]
HELD_OUT = ROOT / "benchmarks" / "validation.sha256"
# Beside the teacher's file.
RIVAL = "realesr-animevideov3-x4"


class Network(NamedTuple):
    """Weights under a label; `identity` is a hash of their files, `threads` those of the CPU."""

    label: str
    weights: Path | str
    identity: str
    threads: int


def add_options(parser: ArgumentParser) -> None:
    """The options that the scripts share."""
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of photographs that nothing was trained on")
    add("--held-out", type=Path, help=f"take those of this list alone, such as {HELD_OUT.relative_to(ROOT)}")
    add("--teacher", type=Path, required=True, help="realesrgan-x4plus.param, or other weights at x4")
    add("--students", nargs="*", default=[], metavar="[LABEL=]WEIGHTS", help="weights at x4")
    add("--seed", type=int, default=0, help="decides the degradations")
    add("--threads", type=int, default=1, help="CPU threads, also for the time")
    add("--cache", type=Path, default=Path("runs/real_cache"), help="folder of finished pictures and scores")


def check_options(arguments: Namespace) -> None:
    check_at_least(1, threads=arguments.threads)
    check_at_least(0, seed=arguments.seed)
    check_folder("--data", arguments.data)
    check_file("--held-out", arguments.held_out)
    check_file("--teacher", arguments.teacher)


def find_networks(teacher: Path, students: Sequence[str], threads: int) -> list[Network]:
    """Bicubic first, the teacher second, then animevideov3 where it lies beside the teacher, the shipped
    students that `srkd upscale --for` chooses among, and the given ones.

    Raises:
        UsageError: no such weights, or two of one label.
    """
    rival = teacher.with_name(f"{RIVAL}.param")
    named: list[tuple[str, Path | str]] = [(BICUBIC, BICUBIC), (teacher.stem, teacher)]
    named += [(RIVAL, rival)] if rival.is_file() else []
    named += [(name, name) for name, entry in list_shipped().items() if "for" in entry]
    for text in students:
        label, given, weights = text.rpartition("=")
        named.append((label if given else Path(weights).stem, weights))
    for label, weights in named:
        if sum(other == label for other, _ in named) > 1:
            raise UsageError(
                f"two networks would be called {label}; give {weights} another name as LABEL={weights}"
            )
    return [Network(label, weights, identify(weights), threads) for label, weights in named]


def identify(weights: Path | str) -> str:
    """A hash of a network's files."""
    if weights == BICUBIC:
        return BICUBIC
    path = find_weights(weights)
    both = [path, weights_of(path)] if kind_of(path) == "ncnn" else [path]
    return "-".join(hash_file(file, 16) for file in both)


@cache
def open_network(network: Network) -> Runner:
    """In torch on the CPU in float32, so that pictures agree between machines up to rounding."""
    runner = open_runner(network.weights, "cpu", SCALE, threads=network.threads, precision="fp32")
    if runner.scale != SCALE:
        raise UsageError(f"{network.weights} is x{runner.scale}; these scripts need x{SCALE}")
    return runner


def enlarge(network: Network, lr: np.ndarray, folder: Path) -> np.ndarray:
    """A network's picture of LR, `(4*H, 4*W, 3)` uint8; from the cache where it is there."""
    parts = (srkd.__version__.encode(), network.identity.encode(), repr(lr.shape).encode(), lr.tobytes())
    path = folder / f"{hashlib.sha256(b'-'.join(parts)).hexdigest()[:24]}.png"
    if path.is_file():
        try:
            return read_image(path)
        except SrkdError:
            path.unlink()  # damaged, as by a full disk
    picture = open_network(network)(lr)
    write_image(path, picture)
    return picture
