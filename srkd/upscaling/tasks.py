"""Images enlarged by the workers of a Ray cluster."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from srkd.engines import Cluster, Needs
from srkd.errors import SrkdError
from srkd.files import StrPath
from srkd.remote import available, delivered
from srkd.runtimes import Backend, Device, Precision
from srkd.runtimes.runner import Runner, average_flips
from srkd.upscaling.enlarge import enlarge_file
from srkd.upscaling.journal import Job
from srkd.upscaling.moving import DEFAULTS, ClipOptions, enlarge_moving, is_moving
from srkd.upscaling.opening import open_fastest
from srkd.upscaling.shards import SUFFIX, Shard, enlarge_shard
from srkd.upscaling.sizes import Size


class Opening(NamedTuple):
    """What opens a network, in any process: the arguments of `open_fastest`, and whether to average flips."""

    weights: StrPath
    scale: float | None
    backend: Backend
    device: Device
    precision: Precision
    threads: int | None
    sharpness: float | None
    tta: bool

    def open(self) -> Runner:
        weights, scale, *_ = self
        names = ("backend", "device", "precision", "threads", "sharpness")
        model = open_fastest(weights, scale, **{name: getattr(self, name) for name in names})
        return average_flips(model) if self.tta else model


class Facts(NamedTuple):
    """What a command says of a network that runs elsewhere."""

    name: str
    scale: int
    runtime: str


# What `enlarge_file` returns, or `enlarge_shard`.
Made = tuple[bool, tuple[str, ...]] | Shard
# A worker keeps its network open from image to image.
_open = lru_cache(maxsize=1)(Opening.open)


def place(cluster: Cluster, opening: Opening) -> tuple[Opening, Needs]:
    """An opening with its device decided, the same for all workers, so that results do not depend on which
    takes an image; and what each worker needs for it: a GPU, or as many cores as threads, one when they are
    not given."""
    by_gpu = opening.backend in ("auto", "torch") and str(opening.weights) != "bicubic"
    if opening.device.startswith("cuda") or (opening.device == "auto" and by_gpu and cluster.has_gpus):
        return opening._replace(device="cuda"), Needs(opening.threads or 1, 1)
    threads = opening.threads or 1
    return opening._replace(device="cpu", threads=threads), Needs(threads)


def describe(cluster: Cluster, opening: Opening, needs: Needs) -> Facts:
    """Opens the network on a worker, which shows what is wrong with it before the first image.

    Raises:
        SrkdError, UsageError: as `open_runner`.
    """
    ((_, found),) = cluster.run(_describe, None, [opening], needs)
    if isinstance(found, SrkdError):
        raise found
    return found


def enlarge_all(
    cluster: Cluster,
    opening: Opening,
    needs: Needs,
    jobs: Iterable[Job],
    size: Size,
    options: dict[str, Any],
) -> Iterator[tuple[int, Any]]:
    """Enlarges images; yields the number of each, and what `enlarge_file` returned or raised."""
    return cluster.run(_enlarge, (opening, size, options), jobs, needs)


def _describe(_common: None, opening: Opening) -> Facts:
    model = _open(opening)
    return Facts(model.name, model.scale, model.runtime)


def _enlarge(common: tuple[Opening, Size, dict[str, Any]], job: Job) -> Made:
    opening, size, options = common
    return enlarge_job(_open(opening), job, size, **options)


def enlarge_job(
    model: Runner,
    job: Job,
    size: Size,
    *,
    format: str = "keep",
    clips: ClipOptions = DEFAULTS,
    **options: Any,
) -> Made:
    """`enlarge_file`, `enlarge_moving` or `enlarge_shard`, from and to stores too."""
    with available(job.source), delivered(job.target):
        if job.source.suffix.lower() == SUFFIX:
            return enlarge_shard(model, *job, size, format, **options)
        if is_moving(*job):
            return enlarge_moving(model, job, size, clips=clips, **options)
        return enlarge_file(model, *job, size, **options)
