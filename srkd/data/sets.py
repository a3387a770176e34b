"""A run's data: training and validation images, apart from one another, and watched for changes."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from srkd.data.packed import HR, LR, draws_identity, is_packed, open_packed, read_manifest, stored_teachers
from srkd.data.pairs import Pair, find_pairs, iter_pairs, name_images
from srkd.degradation import make_degradation, shorten
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath
from srkd.terminal import note, track

HashList = list[tuple[str, str]]  # name and SHA-256


@dataclass(frozen=True)
class DataSet:
    """Training and validation images.

    Args:
        train, val: the images; no file is in both.
        watched: files that are mapped, not read, with the state they were found in.
        degradation: the random one that LR was made by when the set was packed, as a recipe has it; None
            where LR is made otherwise.
        drawn: a hash of what decided the draws.
    """

    train: list[Pair]
    val: list[Pair]
    watched: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    degradation: str | dict[str, Any] | None = None
    drawn: str | None = None

    @property
    def identity(self) -> str:
        """A hash of what is trained on and in which order; a resumed run must find the same."""
        names = "\n".join(pair.sha256 for pair in self.train) + (self.drawn or "")
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def check_unchanged(self) -> None:
        """Raises SrkdError when a mapped file was changed or removed since it was opened.

        A mapping of a file that someone cut short kills the process that reads it.
        """
        for path, state in self.watched.items():
            if _stat(path) != state:
                raise SrkdError(
                    f"{path} was changed while training read it; earlier checkpoints are intact: restore it, "
                    "and resume"
                )


def open_data(
    data: StrPath,
    scale: int,
    val: StrPath | None = None,
    smallest: int = 1,
    skip_bad: bool = False,
    teachers: Sequence[str] = (),
) -> DataSet:
    """Opens a data set: a packed one is mapped, loose images are read into memory.

    Args:
        data: in the forms of training data.
        scale: the super-resolution factor.
        val: data for validation, or a list of images of `data` as `sha256sum` writes it; what `srkd prepare`
            set aside, or every 40th image, when not given.
        smallest: the least side of the HR images for training.
        skip_bad: leave out images that cannot be read or are too small, with a note, instead of failing.
        teachers: hashes of teachers whose stored outputs to take from a packed data set that has them all.

    Raises:
        SrkdError, UsageError: data that is missing, damaged or does not fit.
    """
    listed = read_hash_list(Path(val)) if val is not None and Path(val).is_file() else None
    watched: dict[Path, tuple[int, ...]] = {}
    degradation, drawn = None, None
    if is_packed(data):
        folder = Path(data)
        files = stored_teachers(folder)
        if any(digest not in files for digest in teachers):
            teachers = ()
        names = (HR, LR, *(files[digest] for digest in teachers))
        watched = {folder / name: _stat(folder / name) for name in names}
        train, held = open_packed(folder, scale, teachers)
        manifest = read_manifest(folder)
        drawn = draws_identity(manifest)
        if drawn is not None:
            degradation = shorten(make_degradation(manifest["degradation"]))
        everything = train + held
        if val is None:
            everything = train
    else:
        everything, held = _read(data, scale, smallest, skip_bad), []
    if val is not None and listed is None:
        held = _read_or_map(val, scale, skip_bad)
        train = everything
    elif listed is not None or not held:
        images = [(pair.name, pair.sha256) for pair in everything]
        if drawn is not None:  # all draws of an image serve one purpose
            images = list({digest: (name, digest) for name, digest in images}.values())
        chosen = choose_validation(images, listed)
        if drawn is not None:
            held_out = dict(zip((digest for _, digest in images), chosen, strict=True))
            chosen = [held_out[pair.sha256] for pair in everything]
        train = [pair for pair, out in zip(everything, chosen, strict=True) if not out]
        held = [pair for pair, out in zip(everything, chosen, strict=True) if out]
    else:
        train = everything
    return DataSet(_apart(_fitting(train, smallest, skip_bad), held), held, watched, degradation, drawn)


def choose_validation(images: HashList, listed: Sequence[Sequence[str]] | None) -> list[bool]:
    """Which images are for validation: those of a list, or every 40th beginning with the first.

    Raises:
        UsageError: a listed image is not there, or nothing is left to train on.
    """
    if listed is None:
        chosen = [index % 40 == 0 for index in range(len(images))]
    else:
        wanted = {digest for _, digest in listed}
        missing = wanted - {digest for _, digest in images}
        for name, digest in listed:
            if digest in missing:
                raise UsageError(f"the validation list names {name}, and no image has its hash {digest[:12]}")
        chosen = [digest in wanted for _, digest in images]
    if all(chosen):
        raise UsageError("no image is left to train on beside those for validation; give --val a folder")
    return chosen


def read_hash_list(path: Path) -> HashList:
    """Reads names and SHA-256 as `sha256sum` writes them.

    Raises:
        UsageError: there is no such file, or a line of it is something else.
    """
    try:
        # Lines end in what sha256sum ends them by: other separators may stand in names.
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = file.read().removesuffix("\n").split("\n")
    except OSError:
        raise UsageError(f"there is no list {path}, or it cannot be read") from None
    if lines == [""]:
        raise UsageError(f"the validation list {path} is empty")
    found = []
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r"(\\?)([0-9a-f]{64}) [ *](.+)", line.removesuffix("\r"))
        if match is None:
            raise UsageError(
                f"{path}, line {number}: expected a SHA-256 and a name, as sha256sum writes them"
            )
        name = re.sub(r"\\([\\nr])", lambda found: _ESCAPED[found[1]], match[3]) if match[1] else match[3]
        found.append((name, match[2]))
    return found


# How sha256sum writes a name that holds one of these; its line then begins with a backslash.
_ESCAPED = {"\\": "\\", "n": "\n", "r": "\r"}


def format_hash_list(images: HashList) -> str:
    """Names and SHA-256 as `sha256sum` writes them."""
    lines = []
    for name, digest in images:
        written = name.replace("\\", r"\\").replace("\n", r"\n").replace("\r", r"\r")
        lines.append(f"{chr(92) * (written != name)}{digest}  {written}\n")
    return "".join(lines)


def _read_or_map(data: StrPath, scale: int, skip_bad: bool) -> list[Pair]:
    if is_packed(data):
        train, held = open_packed(Path(data), scale)
        return train + held
    return _read(data, scale, 4 * scale, skip_bad)


def _read(data: StrPath, scale: int, smallest: int, skip_bad: bool) -> list[Pair]:
    """Reads loose images into memory."""
    files = find_pairs(data, scale, skip_bad=skip_bad)
    found = track(iter_pairs(files, scale, smallest), f"reading {len(files)} images", len(files))
    named = list(zip((pair for _, pair in found), name_images(files), strict=True))
    bad = [pair for pair, _ in named if isinstance(pair, SrkdError)]
    good = [replace(pair, name=name) for pair, name in named if isinstance(pair, Pair)]
    return _without_bad(good, bad, skip_bad)


def _fitting(pairs: list[Pair], smallest: int, skip_bad: bool) -> list[Pair]:
    """The images that a crop fits into."""
    bad: list[SrkdError] = [
        UsageError(f"{p.name} is {p.hr.shape[1]}x{p.hr.shape[0]}, smaller than a crop of {smallest}")
        for p in pairs
        if min(p.hr.shape[:2]) < smallest
    ]
    return _without_bad([p for p in pairs if min(p.hr.shape[:2]) >= smallest], bad, skip_bad)


def _without_bad(pairs: list[Pair], bad: list[SrkdError], skip_bad: bool) -> list[Pair]:
    if bad and not skip_bad:
        more = f" (and {len(bad) - 1} more like it)" if len(bad) > 1 else ""
        raise type(bad[0])(f"{bad[0]}{more}; fix it, or leave such images out with --skip-bad")
    for error in bad:
        note(str(error), "left out")
    if not pairs:
        raise UsageError("no image is left to work on")
    return pairs


def _apart(train: list[Pair], val: list[Pair]) -> list[Pair]:
    """The training images without those that validation has too."""
    held = {pair.sha256 for pair in val}
    kept = [pair for pair in train if pair.sha256 not in held]
    if len(kept) < len(train):
        left_out = len(train) - len(kept)
        note(f"{left_out} images that are also in the validation set (same SHA-256)", "left out of training")
    if not kept:
        raise UsageError("every training image is in the validation set too; give another --val")
    return kept


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
