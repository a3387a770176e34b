"""What becomes what: the images and clips of a job, and the names of their outputs."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from srkd.errors import UsageError
from srkd.files import is_file, is_folder
from srkd.images.folders import describe
from srkd.images.formats import FORMATS
from srkd.terminal import note
from srkd.upscaling.inputs import collect
from srkd.upscaling.journal import Job
from srkd.upscaling.moving import check_target, choose_suffix
from srkd.upscaling.shards import SUFFIX
from srkd.video.formats import ALWAYS_ANIMATED, ANIMATIONS, CLIPS_BY_NAME, CONTAINERS


class Plan(NamedTuple):
    """What becomes what.

    Args:
        jobs: the images and their outputs.
        failures: images and folders that cannot be reached, a message each.
        alone: whether it is one image given by its name.
    """

    jobs: list[Job]
    failures: list[str]
    alone: bool


def plan_outputs(texts: Sequence[str], out: Path, format: str) -> Plan:
    """Finds the images and names their outputs.

    Raises:
        UsageError: there are none, or outputs that would replace inputs or one another.
    """
    inputs = collect(texts, out)
    if inputs.left_out:
        note(describe(inputs.left_out), "left out")
    alone = not inputs.from_folder and len(inputs.images) == 1 and not inputs.failures
    to_file = out.suffix != "" and not is_folder(out)
    if alone and to_file:
        (source,) = inputs.images
        if SUFFIX not in (source.suffix.lower(), out.suffix.lower()):
            check_target(source, out)
        elif source.suffix.lower() != out.suffix.lower():
            raise UsageError(f"a shard becomes a shard: {source} and {out} must both end in {SUFFIX}")
        if _same_place(out, source):
            raise UsageError(f"{out} is the image to upscale; give another -o")
        return Plan([Job(source, out)], inputs.failures, alone)
    if is_file(out) or (to_file and out.suffix.lower() in {*FORMATS, *CONTAINERS, *ANIMATIONS}):
        raise UsageError(f"several images do not fit into the file {out}; give -o a folder")
    jobs = [Job(source, out / name) for source, name in _name_outputs(inputs.images, format).items()]
    _check_targets(jobs)
    return Plan(jobs, inputs.failures, alone)


def _name_outputs(found: Mapping[Path, Path], format: str) -> dict[Path, Path]:
    """The outputs' paths inside their folder. Of images that differ in their suffixes alone and would become
    one file, each keeps its suffix in its name, which is said."""
    names = {source: _rename(relative, format) for source, relative in found.items()}
    sources: dict[Path, list[Path]] = {}
    for source, name in names.items():
        sources.setdefault(name, []).append(source)
    kept = []
    for name, same in sources.items():
        # What has one name in two folders is no matter of suffixes.
        if len(same) > 1 and len({found[source] for source in same}) == len(same):
            for source in same:
                names[source] = name.with_name(found[source].name + name.suffix)
                kept.append(str(names[source]))
    if kept:
        some = ", ".join(kept[:4]) + (", ..." if len(kept) > 4 else "")
        note(f"images that differ in their suffixes alone keep them in their names: {some}")
    return names


def _check_targets(jobs: Sequence[Job]) -> None:
    # Windows and macOS take IMG.png and img.png for one file.
    fold = str.casefold if sys.platform in ("win32", "darwin") else str
    taken: dict[str, Path] = {}
    for job in jobs:
        other = taken.setdefault(fold(str(job.target)), job.source)
        if other is not job.source:
            raise UsageError(f"{other} and {job.source} would both become {job.target}; rename one of them")
        if _same_place(job.target, job.source):
            raise UsageError(f"{job.source} would replace itself; give another -o")


def _same_place(a: Path, b: Path) -> bool:
    # Unlike Path.resolve, this does not raise where links lead in a circle.
    return os.path.realpath(a) == os.path.realpath(b)


def _rename(path: Path, format: str) -> Path:
    suffix = path.suffix.lower()
    if suffix == SUFFIX:
        return path
    if suffix in CLIPS_BY_NAME:
        return path if suffix in CONTAINERS else path.with_suffix(choose_suffix(path, format))
    if format != "keep":
        return path.with_suffix(f".{format}")
    return path if suffix in FORMATS or suffix in ALWAYS_ANIMATED else path.with_suffix(".png")
