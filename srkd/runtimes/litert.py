"""LiteRT (TensorFlow Lite), on the CPU: files that srkd exported, of one size."""

import importlib
from pathlib import Path

import numpy as np
import torch

from srkd.errors import SrkdError, first_line
from srkd.runtimes.runner import Run


def open_file(path: Path, threads: int | None = None) -> Run:
    """Opens a `.tflite` file that srkd exported.

    Args:
        path: the file.
        threads: of the CPU; as many as torch runs on when None.

    Returns:
        A function from float32 `(N, 3, H, W)` in [0, 1], of the file's size, to `(N, 3, scale*H, scale*W)`.

    Raises:
        SrkdError: the file is damaged.
    """
    interpreters = importlib.import_module("ai_edge_litert.interpreter")
    try:
        runner = interpreters.Interpreter(str(path), num_threads=threads or torch.get_num_threads())
        runner.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise SrkdError(f"{path} is not a model that LiteRT can open: {first_line(error)}") from error
    (entry,), (result,) = runner.get_input_details(), runner.get_output_details()

    def run(batch: np.ndarray) -> np.ndarray:
        # The file has channels last.
        runner.set_tensor(entry["index"], np.ascontiguousarray(batch.transpose(0, 2, 3, 1), np.float32))
        runner.invoke()
        return np.ascontiguousarray(runner.get_tensor(result["index"]).transpose(0, 3, 1, 2))

    return run
