"""ncnn, on the CPU: for checking exports. It takes one image at a time."""

from pathlib import Path
from typing import Any

import numpy as np

from srkd.runtimes.runner import Run


def open_file(path: Path) -> Run:
    """Opens a `.param` file that srkd exported, with the `.bin` beside it.

    Returns:
        A function from float32 `(1, 3, H, W)` in [0, 1] to `(1, 3, scale*H, scale*W)`.
    """
    import ncnn as library

    ncnn: Any = library
    net = ncnn.Net()
    # Computes in float32, as the other runtimes do; only what is stored may be half.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))

    def run(batch: np.ndarray) -> np.ndarray:
        # Kept until the network has run: ncnn reads this memory without holding a reference to it.
        image = np.ascontiguousarray(batch[0])
        with net.create_extractor() as extractor:
            extractor.input("data", ncnn.Mat(image))
            _, found = extractor.extract("output")
            return np.array(found)[None]

    return run
