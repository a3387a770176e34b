"""Many images enlarged, here or on a cluster, with a journal of what is begun and done."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from srkd.engines import Cluster, Needs
from srkd.errors import SrkdError, first_line
from srkd.runtimes.runner import Runner
from srkd.terminal import note
from srkd.terminal import progress as progress_of
from srkd.upscaling import tasks
from srkd.upscaling.journal import Job, Journal
from srkd.upscaling.moving import measure_job
from srkd.upscaling.shards import Shard
from srkd.upscaling.sizes import Size
from srkd.upscaling.tasks import Opening


class Outcome(NamedTuple):
    """The files written, and what went wrong, in the order of the jobs; and how many images there were."""

    made: list[Path]
    failures: list[str]
    images: int


# Images that are begun together: what is noted in a store costs a file each time.
BLOCK = 32
# What `srkd.files` names a file that is being written.
_PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part(\.\w+)?")
# What enlarges images: their numbers, each with what `enlarge_file` returned or raised, as it is known.
Enlarge = Callable[[Iterable[Job], Size, Any], Iterator[tuple[int, Any]]]


def enlarge_all(enlarge: Enlarge, jobs: Sequence[Job], size: Size, journal: Journal | None) -> Outcome:
    """Enlarges images, and says what they lose by their formats.

    Args:
        enlarge: what enlarges them.
        jobs: the images and their outputs.
        size: the results'.
        journal: takes note of what is begun and done; without it the first error is raised.
    """
    found: dict[int, Any] = {}

    def begin() -> Iterator[Job]:
        for start in range(0, len(jobs), BLOCK):
            block = jobs[start : start + BLOCK]
            if journal is not None:
                journal.begin(block)
            yield from block

    try:
        with progress_of("upscaling", sum(map(measure_job, jobs)), every=30) as advance:
            for number, result in enlarge(begin(), size, advance):
                found[number] = result
                if not isinstance(result, Exception):
                    if journal is not None:
                        journal.add(jobs[number])
                elif journal is None:
                    raise result
    finally:
        if journal is not None:
            journal.publish()
            _sweep(jobs)
    made, failures, unchanged, more = [], [], [], 0
    lost: dict[str, list[str]] = {}
    for number, job in enumerate(jobs):
        result = found[number]
        if isinstance(result, Exception):
            told = str(result) if isinstance(result, SrkdError) else first_line(result)
            failures.append(told if str(job.source) in told else f"{job.source}: {told}")
            continue
        made.append(job.target)
        if isinstance(result, Shard):
            failures += result.failures
            more += result.images - 1
            shrunk, sentences = bool(result.shrunk), result.sentences
        else:
            shrunk, sentences = result
        unchanged += [job.source.name] if shrunk else []
        for sentence in sentences:
            lost.setdefault(sentence, []).append(job.source.name)
    for sentence, names in lost.items():
        note(f"{sentence}: {_count(names)}", "left out")
    if unchanged:
        note(f"as large already, so resampled without the network: {_count(unchanged)}")
    return Outcome(made, failures, len(jobs) + more)


def _count(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} images, such as {names[0]}"


def _sweep(jobs: Sequence[Job]) -> None:
    """Removes what killed processes left of these outputs: files that were not yet renamed."""
    stems = {(job.target.parent, job.target.stem) for job in jobs}
    for folder in {folder for folder, _ in stems}:
        for path in folder.glob(".*.part*"):
            found = _PART.fullmatch(path.name)
            if found and (folder, found[1]) in stems:
                path.unlink(missing_ok=True)


def enlarge_here(
    runner: Runner, options: dict[str, Any], jobs: Iterable[Job], size: Size, advance: Any
) -> Iterator[tuple[int, Any]]:
    """Enlarges images in this process, one after another, as `Enlarge` says."""
    for number, job in enumerate(jobs):
        try:
            yield number, tasks.enlarge_job(runner, job, size, advance=advance, **options)
        except Exception as error:  # whatever one image does must not end the others
            yield number, error


def enlarge_there(
    cluster: Cluster,
    opening: Opening,
    needs: Needs,
    options: dict[str, Any],
    jobs: Iterable[Job],
    size: Size,
    advance: Any,
) -> Iterator[tuple[int, Any]]:
    """Enlarges images by the workers of a cluster, as `Enlarge` says."""
    taken: list[Job] = []

    def take() -> Iterator[Job]:
        for job in jobs:
            taken.append(job)
            yield job

    for number, result in tasks.enlarge_all(cluster, opening, needs, take(), size, options):
        advance(measure_job(taken[number]))
        yield number, result
