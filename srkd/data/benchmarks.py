"""Sets of images to score on, and SR images that any program made of them."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from srkd.data.names import kind_of, parse_stem
from srkd.data.packed import is_packed, open_packed
from srkd.data.pairs import EMBEDDED_TEST, Pair, Source, embedded_photos, find_pairs, name_images, read_pair
from srkd.errors import UsageError
from srkd.files import StrPath
from srkd.images.folders import find_images
from srkd.images.reading import read_image
from srkd.remote import available
from srkd.terminal import note, say

# What may stand behind an image's name: `_x4`, `-SwinIR`, `x4_out`. A letter would make it another name.
_BEHIND = re.compile(r"|[ _.@(+-].*|x\d.*", re.I)


@dataclass(frozen=True)
class Benchmark:
    """Images to score on.

    Args:
        name: for tables.
        names: of the images.
        files: HR and LR, where they are files of their own.
        read: reads the pairs, one after another, in the order of `names`.
    """

    name: str
    names: list[str]
    files: list[Source]
    read: Callable[[], Iterable[Pair]]


def open_set(data: StrPath, scale: int, lr: StrPath | None = None, only_hr: bool = False) -> Benchmark:
    """Opens a benchmark in the forms that `evaluate` takes.

    Args:
        data, scale, lr, only_hr: as for `find_pairs`; of a packed set, the images for validation are taken.

    Raises:
        UsageError, SrkdError: as `find_pairs` and `open_packed` do.
    """
    if lr is not None and (str(data) == "embedded" or is_packed(data)):
        raise UsageError(f"--lr goes with a folder of HR images, not with {data}")
    if is_packed(data):
        _, held = open_packed(Path(data), scale)
        return Benchmark(_label(data), [pair.name for pair in held], [], lambda: held)
    if str(data) == "embedded":
        files: list[Source] = [(path, None) for path in embedded_photos(EMBEDDED_TEST)]
    else:
        files = find_pairs(data, scale, lr, only_hr=only_hr)
    names = name_images(files)

    def read() -> Iterable[Pair]:
        for name, paths in zip(names, files, strict=True):
            yield replace(read_pair(*paths, scale), name=name)

    return Benchmark(_label(data), names, files, read)


def _label(data: StrPath) -> str:
    """A name for a data set: its folder's, or that of the folder around one that is just called HR."""
    place = Path(data).resolve()
    if str(data) == "embedded":
        return str(data)
    return place.parent.name if kind_of(place.name) == "HR" and len(place.name) == 2 else place.name


@dataclass(frozen=True)
class Results:
    """SR images that are there already.

    Args:
        name: for tables.
        scale: their size over that of the LR images.
        files: by the names of the HR images.
    """

    name: str
    scale: int
    files: dict[str, Path]

    def __call__(self, pair: Pair) -> np.ndarray:
        """The SR image `(H, W, 3)` uint8 of a pair, cut as its HR image is.

        Raises:
            UsageError: it has another size.
            SrkdError: it cannot be read.
        """
        path = self.files[pair.name]
        with available(path):
            image = read_image(path)
        cut, full = pair.hr.shape[:2], pair.full or pair.hr.shape[:2]
        # Whole, cut to fit the scale, or made from an LR image that was rounded up.
        rounded = [-(-side // self.scale) * self.scale for side in full]
        if any(
            side not in allowed for side, *allowed in zip(image.shape[:2], cut, full, rounded, strict=True)
        ):
            raise UsageError(
                f"{path} is {image.shape[1]}x{image.shape[0]}, and its HR image {full[1]}x{full[0]}"
            )
        return np.ascontiguousarray(image[: cut[0], : cut[1]])


def find_results(folder: StrPath, benchmark: Benchmark, scale: int) -> Results:
    """Finds the SR images of a benchmark in a folder, or in the one of the benchmark's name inside, by their
    names: those of the HR images, with something behind them that is the same for all. Says how.

    Raises:
        UsageError: an image is missing, what belongs together is unclear, or they are the HR images.
        SrkdError: something in the folder cannot be reached.
    """
    top = Path(folder)
    place = top / benchmark.name if (top / benchmark.name).is_dir() else top
    found = find_images(place)
    found.check()
    if {hr for hr, _ in benchmark.files} & set(found.images):
        raise UsageError(f"{folder} holds the HR images themselves; give the folder of SR images")
    stems: dict[str, list[Path]] = defaultdict(list)
    for path in found.images:
        stems[path.relative_to(place).with_suffix("").as_posix()].append(path)
    files, behind = _match(stems, benchmark.names, place)
    several = [paths for paths in files.values() if len(paths) > 1]
    if several:
        raise UsageError(f"{' and '.join(map(str, several[0]))} have one HR image; which is meant is unclear")
    chosen = {name: paths[0] for name, paths in files.items()}
    extra = sorted(set(found.images) - set(chosen.values()))
    if extra:
        note(f"{_count(extra, 'image')} in {place} without HR image, such as {extra[0].name}", "left out")
    said = f", then {behind}" if behind else ""
    say(f"{_count(chosen, 'SR image')} in {place}, paired by name{said}")
    return Results(top.name or str(top), scale, chosen)


def _match(
    stems: dict[str, list[Path]], names: Sequence[str], place: Path
) -> tuple[dict[str, list[Path]], str]:
    """The files by HR names, and what stands behind these names."""
    best, expected, ending = {}, dict(zip(names, map(_whole, names), strict=True)), ""
    for key in (_whole, _unmarked):
        keys = {key(name): name for name in names}
        matches: dict[str, dict[str, list[Path]]] = defaultdict(dict)
        for stem, paths in stems.items():
            for end in range(1, len(stem) + 1):
                if stem[:end] in keys and _BEHIND.fullmatch(stem[end:]):
                    matches[stem[end:]][keys[stem[:end]]] = paths
        whole = sorted(behind for behind, files in matches.items() if len(files) == len(names))
        if len(whole) > 1:
            endings = " and ".join(f"{key(names[0])}{behind}" for behind in whole)
            raise UsageError(
                f"{place} holds several SR images of each HR image (such as {endings}); put those of each "
                "method into a folder of its own"
            )
        if whole:
            return matches[whole[0]], whole[0]
        for behind, files in matches.items():
            if len(files) > len(best):
                best, expected, ending = files, {name: key(name) for name in names}, behind
    if not best:
        raise UsageError(f"no image in {place} is named as an HR image, such as {names[0]}")
    missing = next(name for name in names if name not in best)
    raise UsageError(
        f"{place} has no SR image for {missing} ({expected[missing]}{ending}); {len(best)} of {len(names)} "
        "are there, and a score on part of a benchmark would not be its score"
    )


def _whole(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _unmarked(name: str) -> str:
    """An HR image's name without what marks it as such."""
    path = PurePosixPath(name)
    return path.with_name(parse_stem(path.stem).prefix).as_posix()


def _count(items: Sized, noun: str) -> str:
    return f"{len(items)} {noun}{'s' * (len(items) != 1)}"
