"""Shards: tar archives of many small images, as WebDataset has them, enlarged into tar archives.

Python's own tarfile writes them: members are copied one after another with what they say of themselves, so
that a shard is the same each time; the package webdataset writes times and users of its own.
"""

import io
import tarfile
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from srkd.errors import SrkdError, first_line
from srkd.files import replacing
from srkd.images.folders import IMAGES
from srkd.images.formats import FORMATS
from srkd.runtimes.runner import Runner
from srkd.upscaling.enlarge import enlarge_file
from srkd.upscaling.sizes import Size

SUFFIX = ".tar"


class Shard(NamedTuple):
    """What became of a shard.

    Args:
        shrunk: whether images were as large already as was asked for.
        sentences: what of the images' descriptions was left out, and why.
        failures: a message for each image that failed.
        images: how many it has.
    """

    shrunk: bool
    sentences: tuple[str, ...]
    failures: tuple[str, ...]
    images: int


class _Member(NamedTuple):
    info: tarfile.TarInfo
    data: bytes


def enlarge_shard(
    model: Runner, source: Path, target: Path, size: Size, format: str, **options: Any
) -> Shard:
    """Enlarges the images of a tar archive into another, which appears whole or not at all. What is no image
    is copied. A sample, the files of one name up to its first dot, one of whose images fails is left out.

    Args:
        model: what enlarges.
        source, target: the archives.
        size: the results'.
        format: of the images; `keep` is their own, PNG where that cannot be written.
        options: of `enlarge_file`.

    Raises:
        SrkdError: the archive cannot be read or written.
    """
    found: list[tuple[bool, tuple[str, ...]]] = []
    failures: list[str] = []
    images = 0
    try:
        with (
            tempfile.TemporaryDirectory(prefix="srkd-") as name,
            replacing(target) as temporary,
            tarfile.open(temporary, "w") as result,
        ):
            for sample in _read_samples(source):
                made: list[_Member] = []
                try:
                    for member in sample:
                        if PurePosixPath(member.info.name).suffix.lower() in IMAGES:
                            images += 1
                            member = _enlarge(model, member, Path(name), size, format, found, options)
                        made.append(member)
                except SrkdError as error:
                    said = str(error).replace(str(Path(name)), str(source))
                    failures.append(said)
                    continue
                for member in made:
                    result.addfile(member.info, io.BytesIO(member.data))
    except (tarfile.TarError, EOFError) as error:
        raise SrkdError(f"{source} is damaged: {first_line(error)}") from error
    sentences = dict.fromkeys(sentence for _, said in found for sentence in said)
    return Shard(any(shrunk for shrunk, _ in found), tuple(sentences), tuple(failures), images)


def _read_samples(source: Path) -> Iterator[list[_Member]]:
    """The files of a shard, those of a sample together; they follow one another."""
    with tarfile.open(source, "r:*") as archive:

        def read() -> Iterator[_Member]:
            for info in archive:
                file = archive.extractfile(info) if info.isfile() else None
                if file is not None:
                    yield _Member(info, file.read())

        for _, sample in groupby(read(), key=lambda member: _key(member.info.name)):
            yield list(sample)


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def _enlarge(
    model: Runner,
    member: _Member,
    folder: Path,
    size: Size,
    format: str,
    found: list[tuple[bool, tuple[str, ...]]],
    options: dict[str, Any],
) -> _Member:
    """An image of a shard, by way of files."""
    name = PurePosixPath(member.info.name)
    suffix = name.suffix.lower() if format == "keep" else f".{format}"
    suffix = suffix if suffix in FORMATS else ".png"
    source, target = folder / name.name, folder / f"result{suffix}"
    try:
        source.write_bytes(member.data)
        found.append(enlarge_file(model, source, target, size, **options))
        data = target.read_bytes()
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
    # A name keeps its capitals where its format stays.
    kept = suffix == name.suffix.lower()
    info = tarfile.TarInfo(str(name if kept else name.with_suffix(suffix)))
    info.size, info.mtime, info.mode = len(data), member.info.mtime, member.info.mode
    return _Member(info, data)
