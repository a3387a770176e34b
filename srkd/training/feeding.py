"""Batches on their way to the device."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from srkd.data import Batch
from srkd.images.tensors import to_batch
from srkd.training.step import Part

T = TypeVar("T")

# Batches that are ready, or on their way, while one is trained on.
AHEAD = 2


def feed(
    batches: Iterator[Batch], device: torch.device, prefetch: bool | None = None
) -> Iterator[tuple[Batch, list[Tensor]]]:
    """Batches in their order, each with its images on the device, as `to_device` gives them.

    Args:
        batches: what to bring there.
        device: where to.
        prefetch: whether a thread does so ahead of time; the values are the same. On CUDA alone when not
            given: there it copies from pinned memory, in a stream of its own, while the GPU trains.

    Raises:
        Exception: what `batches` raises, when its turn comes.
    """
    on_cuda = device.type == "cuda"
    prefetch = on_cuda if prefetch is None else prefetch
    if not prefetch:
        for batch in batches:
            yield batch, to_device(batch, device)
        return
    stream = torch.cuda.Stream(device) if on_cuda else None

    def send() -> tuple[Batch, list[Tensor], Any] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        if stream is None:
            return batch, to_device(batch, device), None
        with torch.cuda.stream(stream):
            images = to_device(batch, device, pinned=True)
            return batch, images, stream.record_event()

    for batch, images, arrived in _ahead(send):
        if arrived is not None:
            training = torch.cuda.current_stream(device)
            training.wait_event(arrived)
            for image in images:
                # Their memory is the other stream's, which must not fill it again before this one is done.
                image.record_stream(training)
        yield batch, images


def to_device(batch: Batch, device: torch.device, pinned: bool = False) -> list[Tensor]:
    """LR, HR and the teachers' stored outputs of a batch, as `to_batch` makes them."""
    return [to_batch(images, device, pinned) for images in (batch.lr, batch.hr, *batch.targets)]


def cut(images: list[Tensor], parts: int) -> list[Part]:
    """A batch's LR, HR and stored outputs in parts of one size."""
    pieces = [image.chunk(parts) for image in images]
    return [(lr, hr, tuple(rest)) for lr, hr, *rest in zip(*pieces, strict=True)]


def _ahead(make: Callable[[], T | None]) -> Iterator[T]:
    """What a function gives until it gives None, made by one thread ahead of time."""
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(make) for _ in range(AHEAD))
        try:
            while (found := coming.popleft().result()) is not None:
                coming.append(pool.submit(make))
                yield found
        finally:
            for future in coming:
                future.cancel()
