"""Networks of other packages as generators: their `config` is None, and they have no taps."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srkd.errors import SrkdError, UsageError, first_line
from srkd.models.base import Generator
from srkd.runtimes.onnxruntime import open_onnx
from srkd.runtimes.runner import FOREIGN_RADIUS


def load_foreign(path: Path) -> Generator:
    """Loads a file through spandrel, whose unpickler refuses code.

    Raises:
        UsageError: spandrel does not know the architecture, or it does not map RGB to RGB.
        SrkdError: the file is damaged or holds something other than weights.
    """
    import spandrel

    # One of spandrel's transformers triggers it on every run.
    warnings.filterwarnings("ignore", message="torch.meshgrid")
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_file(path)
    except spandrel.UnsupportedModelError as error:
        raise UsageError(f"{path} holds no architecture that srkd or spandrel knows") from error
    except Exception as error:  # spandrel passes on whatever a damaged or hostile file raises
        raise SrkdError(f"{path} holds no weights that can be loaded safely: {first_line(error)}") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.input_channels != 3:
        raise UsageError(f"{path} holds a {descriptor.architecture.name} model that does not map RGB to RGB")
    return ForeignGenerator(descriptor)


class ForeignGenerator(Generator):
    """A spandrel model. Its images are clamped to [0, 1]."""

    def __init__(self, descriptor: Any):
        super().__init__(descriptor.scale, FOREIGN_RADIUS)
        self.model = descriptor.model
        self.info = {"kind": "generator", "architecture": descriptor.architecture.name}
        # Called in place of the model: it pads to the sizes that the architecture needs.
        self._call = descriptor

    def forward(self, x: Tensor) -> Tensor:
        # The call runs in inference mode; the copy is an ordinary tensor, which losses can use.
        return self._call(x).clone()


class OnnxGenerator(Generator):
    """An ONNX file, run by ONNX Runtime on the CPU, without gradients."""

    def __init__(self, path: Path):
        model = open_onnx(path)
        super().__init__(model.scale, model.radius)
        self.info = {"kind": "generator", "architecture": "onnx", **model.info}
        self.path, self._run = path, model.run

    def forward(self, x: Tensor) -> Tensor:
        found = self._run(np.ascontiguousarray(x.detach().float().cpu().numpy()))
        return torch.from_numpy(found).to(x)

    def __deepcopy__(self, memo: dict) -> "OnnxGenerator":
        return OnnxGenerator(self.path)
