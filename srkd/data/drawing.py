"""The degraded LR images of a packed data set, by one process or several."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from srkd.data.pairs import Pair
from srkd.degradation import make_degradation
from srkd.errors import SrkdError

Draw = tuple[dict[str, Any], np.ndarray]  # what the manifest says of an LR image, and the image


def draw_all(
    pairs: Iterable[Pair | SrkdError], request: Mapping[str, Any], done: int, jobs: int
) -> Iterator[tuple[Pair | SrkdError, Iterator[Draw]]]:
    """Pairs in their order, each with its draws in theirs; without random degradations its own LR.

    Args:
        pairs: the pairs, or the errors that reading them gave, which have no draws.
        request: `degradation`, `draws` and `seed`, as `srkd.data.packing.pack` has them.
        done: draws of the first pair that are not wanted.
        jobs: processes that draw. They draw the same.

    Raises:
        SrkdError: a process died.
    """
    draws = range(done, request.get("draws", 1))
    if jobs == 1 or "degradation" not in request:
        for pair in pairs:
            yield pair, iter(()) if isinstance(pair, SrkdError) else _draw_here(pair, request, draws)
            draws = draws if isinstance(pair, SrkdError) else range(draws.stop)
        return
    asked = {key: request[key] for key in ("degradation", "seed")}
    context = multiprocessing.get_context("spawn")  # a fork would copy threads' locks as they are
    pool = ProcessPoolExecutor(jobs, context, _start)
    waiting: deque[tuple[Pair | SrkdError, list[Any]]] = deque()
    try:
        for pair in pairs:
            coming = []
            if isinstance(pair, Pair):
                coming = [pool.submit(draw_one, pair, asked, draw) for draw in draws]
                draws = range(draws.stop)
            waiting.append((pair, coming))
            while sum(len(futures) for _, futures in waiting) > 2 * jobs and len(waiting) > 1:
                yield _results(waiting.popleft())
        while waiting:
            yield _results(waiting.popleft())
    except BrokenProcessPool as error:
        raise SrkdError(
            "a process that degraded images died; run the same again, with fewer --jobs if memory was short"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def draw_one(pair: Pair, request: Mapping[str, Any], draw: int) -> Draw:
    """A pair's draw of that number."""
    # Imported late: it needs torch.
    from srkd.data.degrade import draw_lr, draw_rng

    mix = make_degradation(request["degradation"])
    assert mix is not None
    steps: list[str] = []
    rng = draw_rng(request["seed"], pair.sha256, draw)
    lr = draw_lr(pair.lr, pair.hr, rng, mix, steps.append)
    return {"draw": draw, **({"clean": True} if steps == ["clean"] else {})}, lr


def _draw_here(pair: Pair, request: Mapping[str, Any], draws: range) -> Iterator[Draw]:
    if "degradation" not in request:
        yield {}, pair.lr
        return
    for draw in draws:
        yield draw_one(pair, request, draw)


def _results(entry: tuple[Pair | SrkdError, list[Any]]) -> tuple[Pair | SrkdError, Iterator[Draw]]:
    # Waited for here, where a dead process is explained.
    return entry[0], iter([future.result() for future in entry[1]])


def _start() -> None:
    """Of a drawing process: Ctrl-C is its parent's, and the cores are divided between the processes."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
