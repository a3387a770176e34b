"""Tasks on a Ray cluster: many pieces of work, spread over cores, GPUs and machines."""

import os
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from srkd.errors import SrkdError, UsageError, first_line, name_missing_extra
from srkd.remote import Mirror, adopt, list_mirrors
from srkd.terminal import note, say, silence

Engine = Literal["local", "ray"]
# How often a piece of work is done again whose worker died; Ray's own default.
RETRIES = 3
# Of tasks that wait, beside those that run: enough that no worker waits for the driver.
_AHEAD = 2


class Needs(NamedTuple):
    """What a task takes of a cluster: CPU cores and GPUs."""

    cpus: float = 1
    gpus: float = 0


_PLAIN = Needs()
# Does a piece of work: what all pieces share, and the piece.
Work = Callable[[Any, Any], Any]


class Cluster:
    """A Ray cluster that this process is connected to.

    Args:
        ray: the module.
    """

    def __init__(self, ray: Any):
        self._ray = ray

    @property
    def has_gpus(self) -> bool:
        return self._ray.cluster_resources().get("GPU", 0) > 0

    def count_slots(self, needs: Needs) -> int:
        """How many such tasks run at a time, on the cluster as it is now."""
        held = self._ray.cluster_resources()
        pairs = ((held.get("CPU", 0), needs.cpus), (held.get("GPU", 0), needs.gpus))
        return int(min(have // want for have, want in pairs if want))

    def run(
        self, work: Work, common: Any, items: Iterable[Any], needs: Needs = _PLAIN, ordered: bool = False
    ) -> Iterator[tuple[int, Any]]:
        """Does pieces of work, each as a task; those of a worker that dies are done again elsewhere.

        No more are taken from `items`, or held with their results, than twice as many as run at a time.

        Args:
            work: a function of a module that all nodes have.
            common: what all pieces share; sent to each node once.
            items: the pieces, taken one by one as there is room.
            needs: what each takes.
            ordered: give results in the order of `items`, not as they come.

        Yields:
            The number of a piece, and its result; or the SrkdError that it raised, or that tells how it
            failed.
        """
        ray = self._ray
        options = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "max_retries": RETRIES, "max_calls": 0}
        task = ray.remote(**options)(_do)
        shared = ray.put((work, str(Path.cwd()), list_mirrors(), common))
        if self.count_slots(needs) < 1:
            note(f"the Ray cluster has not what a task needs ({_describe(needs)}); waiting for it", "warning")
        waiting: deque[tuple[int, Any]] = deque()
        source = iter(enumerate(items))
        try:
            while True:
                room = _AHEAD * max(self.count_slots(needs), 1) - len(waiting)
                for _, (number, item) in zip(range(room), source, strict=False):
                    waiting.append((number, task.remote(shared, item)))
                if not waiting:
                    return
                candidates = [waiting[0][1]] if ordered else [ref for _, ref in waiting]
                (done, *_), _ = ray.wait(candidates, num_returns=1)
                number = next(number for number, ref in waiting if ref == done)
                waiting = deque((n, ref) for n, ref in waiting if ref != done)
                yield number, self._get(done)
        finally:
            for _, ref in waiting:
                ray.cancel(ref, force=True)

    def _get(self, ref: Any) -> Any:
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            return SrkdError(f"{type(error.cause).__name__}: {first_line(error.cause)}")
        except self._ray.exceptions.RayError as error:
            return SrkdError(f"its worker died {RETRIES + 1} times ({first_line(error)})")


@contextmanager
def connect(address: str | None) -> Iterator[Cluster]:
    """A Ray cluster: the one that this process is connected to already, that of an address, that of
    RAY_ADDRESS, or one on this machine, which ends with the block.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise name_missing_extra(error, "--engine ray") from None
    if ray.is_initialized():
        yield Cluster(ray)
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    say("starting Ray on this machine" if address == "local" else f"connecting to Ray at {address}")
    own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, **own)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UsageError(
            f"there is no Ray cluster at {address} ({first_line(error)}); start one with ray start --head, "
            "or leave out --address"
        ) from error
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


@contextmanager
def open_engine(engine: Engine, address: str | None) -> Iterator[Cluster | None]:
    """The cluster that an engine names; None for this process itself.

    Raises:
        UsageError: an address without Ray, or what `connect` raises.
    """
    if engine == "local":
        if address is not None:
            raise UsageError("--address goes with --engine ray")
        yield None
        return
    with connect(address) as cluster:
        yield cluster


def _do(shared: tuple[Work, str, list[Mirror], Any], item: Any) -> Any:
    """A task, in a worker: in the driver's folder, for paths mean the same there."""
    work, folder, mirrors, common = shared
    adopt(mirrors)
    try:
        os.chdir(folder)
    except OSError as error:
        return SrkdError(
            f"{platform.node()} has no folder {folder}: the nodes "
            f"of a Ray cluster must share the folders that they work on ({error.strerror})"
        )
    try:
        with silence():
            return work(common, item)
    except SrkdError as error:
        return error


def _describe(needs: Needs) -> str:
    gpus = f", {needs.gpus:g} GPU{'s' * (needs.gpus != 1)}" if needs.gpus else ""
    return f"{needs.cpus:g} CPU{'s' * (needs.cpus != 1)}{gpus}"
