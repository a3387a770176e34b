"""Batches of random crops."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from srkd.data.pairs import Pair
from srkd.degradation import Degradation
from srkd.errors import UsageError

_MOST_WORKERS = 4  # that degrade; each makes a batch


class Batch(NamedTuple):
    """Aligned crops: `lr` `(N, h, w, 3)` and `hr` `(N, scale*h, scale*w, 3)` uint8, and the teachers' stored
    outputs in the same places, uint8 or float16."""

    lr: np.ndarray
    hr: np.ndarray
    targets: tuple[np.ndarray, ...] = ()


class Crops:
    """Batches of random aligned crops, flipped and transposed at random.

    A row of a batch depends only on the seed, the step and its number: a run that is resumed, spread over
    processes, or worked through in parts, and its control, all see the same batches in the same
    order without any state to keep.

    Args:
        pairs: the images, each at least `crop` pixels high and wide at HR size.
        crop: side of the HR crops, a multiple of `scale`.
        batch: crops in a batch.
        scale: the super-resolution factor.
        seed: any integers; stages use their own so that they do not repeat one another's batches.
        replay: images of another domain, which give half of the crops.
        targets: cut the teachers' stored outputs too.
        rows: which rows of each batch to make, all when not given.
        check: called before each batch is read.
        mix: how to make LR, in place of the pairs' own.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        crop: int,
        batch: int,
        scale: int,
        seed: Sequence[int],
        rows: range | None = None,
        replay: Sequence[Pair] = (),
        targets: bool = False,
        check: Callable[[], None] = lambda: None,
        mix: Degradation | None = None,
    ):
        if crop % scale or crop < scale:
            raise UsageError(f"a crop of {crop} is not a multiple of the scale {scale}")
        for pair in (*pairs, *replay):
            if min(pair.hr.shape[:2]) < crop:
                size = f"{pair.hr.shape[1]}x{pair.hr.shape[0]}"
                raise UsageError(f"{pair.name} is {size}, smaller than a crop of {crop}; lower --crop")
        self.pairs, self.crop, self.scale, self.seed = pairs, crop, scale, list(seed)
        self.rows = range(batch) if rows is None else rows
        self.replay, self.check, self.mix = replay, check, mix
        self.kinds = [np.uint8, *(stored.dtype for stored in pairs[0].targets if targets)]

    def __call__(self, step: int) -> Batch:
        """The crops of a step."""
        self.check()
        small = self.crop // self.scale
        count = len(self.rows)
        lr = np.empty((count, small, small, 3), np.uint8)
        large = [np.empty((count, self.crop, self.crop, 3), kind) for kind in self.kinds]
        for row, number in enumerate(self.rows):
            rng = np.random.default_rng([*self.seed, step, number])
            pair = self._draw(rng)
            y, x = (int(rng.integers(side - small + 1)) for side in pair.lr.shape[:2])
            vertical, horizontal, transpose = rng.integers(2, size=3)
            for target, source in zip((lr, *large), (pair.lr, pair.hr, *pair.targets), strict=False):
                factor = target.shape[1] // small
                side = small * factor
                cut = _pixels(source[y * factor : y * factor + side, x * factor : x * factor + side])
                cut = cut[:: 1 - 2 * vertical, :: 1 - 2 * horizontal]
                _pixels(target[row])[:] = cut.T if transpose else cut
            if self.mix is not None:
                lr[row] = self._draw_lr(lr[row], large[0][row], rng, self.mix)
        return Batch(lr, large[0], tuple(large[1:]))

    def _draw(self, rng: np.random.Generator) -> Pair:
        pairs = self.pairs
        if self.replay and rng.random() < 0.5:
            pairs = self.replay
        return pairs[int(rng.integers(len(pairs)))]

    @staticmethod
    def _draw_lr(lr: np.ndarray, hr: np.ndarray, rng: np.random.Generator, mix: Degradation) -> np.ndarray:
        # Imported late: it needs torch.
        from srkd.data.degrade import draw_lr

        return draw_lr(lr, hr, rng, mix)

    def stream(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of the steps from `first` to before `last`, made while those before are used."""
        cores = os.cpu_count() or 1
        # Without degradation one is enough for a CPU, and beside a fast GPU two.
        ahead = min(cores, _MOST_WORKERS) if self.mix is not None else 2 if cores >= 8 else 1
        with ThreadPoolExecutor(ahead) as pool:
            steps = iter(range(first, last))
            coming = deque(pool.submit(self, step) for step in islice(steps, ahead))
            while coming:
                batch = coming.popleft().result()
                coming.extend(pool.submit(self, step) for step in islice(steps, 1))
                yield batch


def _pixels(image: np.ndarray) -> np.ndarray:
    """An image `(H, W, 3)` with a single element for each pixel, `(H, W)`, which is turned round in a third
    less time."""
    if image.strides[2] != image.itemsize:
        image = np.ascontiguousarray(image)
    return image.view(np.dtype((np.void, 3 * image.itemsize)))[..., 0]
