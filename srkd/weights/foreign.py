"""Networks of other packages behind this package's interface."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from srkd.errors import SrkdError, UsageError
from srkd.runtimes.onnxruntime import open_onnx


def load_foreign(path: Path) -> nn.Module:
    import spandrel

    # A transformer of its own gives it on every run.
    warnings.filterwarnings("ignore", message="torch.meshgrid")
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_file(path)
    except spandrel.UnsupportedModelError as error:
        raise UsageError(f"{path} holds no architecture that srkd or spandrel knows") from error
    except Exception as error:  # spandrel passes on whatever a damaged or hostile file raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SrkdError(f"{path} holds no weights that can be loaded safely: {reason}") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.input_channels != 3:
        raise UsageError(f"{path} holds a {descriptor.architecture.name} model that does not map RGB to RGB")
    return ForeignGenerator(descriptor)


class ForeignGenerator(nn.Module):
    """A spandrel model behind this package's interface."""

    def __init__(self, descriptor: Any):
        super().__init__()
        self.model = descriptor.model
        self.scale = descriptor.scale
        self.info = {"kind": "generator", "architecture": descriptor.architecture.name}
        # Called rather than the model: it pads to the sizes that the architecture needs.
        self._call = descriptor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Its call runs in inference mode; the copy is an ordinary tensor, which losses can use.
        return self._call(x).clone()


class OnnxGenerator(nn.Module):
    """An ONNX file behind this package's interface."""

    def __init__(self, path: Path):
        super().__init__()
        model = open_onnx(path)
        self.scale, self.radius = model.scale, model.radius
        self.info = {"kind": "generator", "architecture": "onnx", **model.info}
        self.path, self._run = path, model.run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self._run(np.ascontiguousarray(x.detach().float().cpu().numpy()))
        return torch.from_numpy(found).to(x)

    def __deepcopy__(self, memo: dict) -> "OnnxGenerator":
        return OnnxGenerator(self.path)
