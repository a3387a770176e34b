"""Networks of other packages as generators: their `config` is None, unless they are srkd's `srgan` by another
name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import SrkdError, UsageError
from srkd.files import hash_file
from srkd.models.base import Generator
from srkd.runtimes.foreign import Opened
from srkd.runtimes.ncnn import open_ncnn
from srkd.runtimes.ncnn_files import read_network, weights_of
from srkd.runtimes.onnxruntime import open_onnx
from srkd.runtimes.runner import FOREIGN_RADIUS
from srkd.terminal import note
from srkd.weights.catalogue import kind_of
from srkd.weights.layouts import load_msrresnet, load_srgan
from srkd.weights.ncnn import convert
from srkd.weights.quiet import ignoring_warnings
from srkd.weights.tensors import State, check_states, describe_mismatch, describe_state, read_states

# The licence of files that many people have, by their SHA-256: Real-ESRGAN's networks in ncnn's format.
LICENSES: dict[str, str] = dict.fromkeys(
    (
        # realesr-animevideov3, realesrgan-x4plus-anime, realesrgan-x4plus
        "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
        "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
        "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
    ),
    "BSD-3-Clause (Real-ESRGAN, Xintao Wang)",
)


def load_foreign(path: Path) -> Generator:
    """Loads a file of another program, whatever its suffix. No code in it is run.

    Raises:
        UsageError: the architecture is unknown, or it does not map RGB to RGB.
        SrkdError: the file is damaged, holds something other than weights, or is for another architecture
            than its names say.
    """
    kind = kind_of(path)
    if kind == "onnx":
        return RuntimeGenerator(path, "ONNX Runtime", open_onnx)
    if kind == "ncnn":
        return _load_ncnn(path)
    return _load_torch(path)


def _load_ncnn(path: Path) -> Generator:
    network = read_network(path)
    converted = convert(network)
    descriptor = None
    if converted is not None:
        try:
            descriptor = _describe(path, converted.state)
        except (SrkdError, *_MISFITS):
            # A relative of the family, such as an RRDBNet of other growth.
            descriptor = None
    if converted is None or descriptor is None:
        generator: Generator = RuntimeGenerator(path, "ncnn", open_ncnn)
    else:
        generator = ForeignGenerator(descriptor, converted.resize)
    generator.info["source"] = path.name
    license = LICENSES.get(hash_file(weights_of(path)))
    generator.info |= {"license": license} if license else {}
    return generator


# What spandrel and torch raise for weights of another form than their names promise.
_MISFITS = (RuntimeError, KeyError, IndexError, ValueError, TypeError, AttributeError, AssertionError)


def _load_torch(path: Path) -> Generator:
    states = read_states(path)
    check_states(path, states)
    misfit = None
    for name, state in states:
        for load in (load_msrresnet, load_srgan, lambda state: _load_spandrel(path, state)):
            try:
                found = load(state)
            except UsageError as error:
                raise UsageError(f"{path}: {error}") from error
            except _MISFITS as error:
                misfit = misfit or error
                continue
            if found is None:
                continue
            parts = len({part for part, _ in states})
            if parts > 1:
                note(f"{path.name}: of {parts} parts with weights '{name or 'the outermost'}' is taken")
            return found
    if misfit is not None:
        raise SrkdError(
            f"{path} does not fit the architecture that its names belong to: {describe_mismatch(misfit)}"
        ) from misfit
    raise UsageError(
        f"{path} holds no architecture that srkd or spandrel knows: {describe_state(states[0][1])}"
    )


def _load_spandrel(path: Path, state: State) -> Generator | None:
    descriptor = _describe(path, state)
    return None if descriptor is None else ForeignGenerator(descriptor)


def _describe(path: Path, state: State) -> Any:
    """Spandrel's description of a network; None where it does not know it."""
    import spandrel

    try:
        with ignoring_warnings():
            descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(state))
    except spandrel.UnsupportedModelError:
        return None
    colour = isinstance(descriptor, spandrel.ImageModelDescriptor) and descriptor.input_channels == 3
    if not colour or descriptor.output_channels != 3:
        raise UsageError(f"it holds a {descriptor.architecture.name} model that does not map RGB to RGB")
    return descriptor


def _list_taps(descriptor: Any) -> list[str]:
    """The blocks of the architectures whose forward pass is known to be that of a plain module."""
    kind, model = descriptor.architecture.id, descriptor.model
    if kind == "ESRGAN":
        return [f"model.model.1.sub.{k}" for k in range(len(model.model[1].sub) - 1)]
    if kind == "Compact":
        return [f"model.body.{2 * k + 1}" for k in range(1, model.num_conv + 1)]
    return []


def _merge(model: nn.Module) -> nn.Module:
    """SPAN's re-parameterised convolutions, merged once; upstream's merge anew with every image, which takes
    time, and which torch's exporter does not survive."""
    for module in model.eval().modules():
        merge = getattr(module, "update_params", None)
        if callable(merge) and isinstance(getattr(module, "eval_conv", None), nn.Conv2d):
            merge()
            object.__setattr__(module, "update_params", _merged)
    return model


def _merged() -> None:
    """In the place of the merging that was done."""


class ForeignGenerator(Generator):
    """A spandrel model. Its images are clamped to [0, 1].

    Its receptive field is not known, so its tiles are blended.

    Args:
        descriptor: spandrel's.
        resize: a factor by which the output is resized, and torch's name for how.
    """

    def __init__(self, descriptor: Any, resize: tuple[float, str] | None = None):
        factor = resize[0] if resize else 1
        super().__init__(round(descriptor.scale * factor), FOREIGN_RADIUS, _list_taps(descriptor))
        self.exact = False
        self.model: nn.Module = _merge(descriptor.model.requires_grad_(False))
        self.resize, self.info = resize, {"kind": "generator", "architecture": descriptor.architecture.name}
        # Called in place of the model: it pads to the sizes that the architecture needs.
        self._call = descriptor

    def forward(self, x: Tensor) -> Tensor:
        if self.taps:
            return self.compute(x)
        # The call runs in inference mode; the copy is an ordinary tensor, which losses can use.
        return self._call(x).clone()

    def compute(self, x: Tensor) -> Tensor:
        """The forward pass in plain operations, for export; without padding to the sizes that some
        architectures need."""
        out = self.model(x)
        if self.resize is not None:
            out = F.interpolate(out, scale_factor=self.resize[0], mode=self.resize[1], align_corners=False)
        return out.clamp(0, 1)


class RuntimeGenerator(Generator):
    """A network that another runtime runs on the CPU, without gradients.

    Args:
        path: its file.
        runtime: its name.
        opener: opens it.
    """

    def __init__(self, path: Path, runtime: str, opener: Callable[[Path], Opened]):
        model = opener(path)
        super().__init__(model.scale, model.radius)
        self.exact = model.exact
        self.info = {"kind": "generator", "architecture": kind_of(path), **model.info}
        self.path, self.runtime, self._run, self._opener = path, runtime, model.run, opener

    def forward(self, x: Tensor) -> Tensor:
        images = np.ascontiguousarray(x.detach().float().cpu().numpy())
        # One at a time: not all runtimes take more.
        found = np.concatenate([self._run(image[None]) for image in images])
        return torch.from_numpy(found).to(x)

    def __deepcopy__(self, memo: dict) -> "RuntimeGenerator":
        return RuntimeGenerator(self.path, self.runtime, self._opener)
