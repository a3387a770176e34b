"""Static int8 quantization of ONNX graphs, and the images that set its ranges."""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srkd.exports.request import Shape
from srkd.files import StrPath
from srkd.images.tensors import to_planes
from srkd.runtimes.onnxruntime import import_onnxruntime
from srkd.terminal import say

# Ranges hardly move after a few dozen images of this side, in LR pixels.
_IMAGES, _SIDE = 32, 192
# Kernels are rounded to so many steps on either side of zero, seven bits. x86 without VNNI adds two products
# of bytes in 16 bits, where those of eight bits do not fit: SPAN lost 0.5 dB there for 0.1 elsewhere, in ONNX
# Runtime and OpenVINO.
WEIGHT_STEPS = 64


def read_calibration(
    folder: StrPath | None, scale: int, degradation: str | Mapping[str, Any] = "none"
) -> list[np.ndarray]:
    """Reads the images that set the ranges.

    Args:
        folder: of HR photographs, with subfolders; those that scikit-image installs when None.
        scale: the super-resolution factor.
        degradation: the one that the network was trained with, as its file says; its LR images are such.

    Returns:
        The centres of the photographs' LR images, `(1, 3, H, W)` in [0, 1].

    Raises:
        UsageError: there is no such folder, or no image in it is large enough.
        SrkdError: an image cannot be read.
    """
    from srkd.data import EMBEDDED_TRAIN, embedded_photos, read_pair
    from srkd.data.degrade import draw_lr, draw_rng
    from srkd.degradation import make_degradation
    from srkd.images.folders import list_images

    paths = list_images(folder) if folder is not None else embedded_photos(EMBEDDED_TRAIN)
    chosen = paths[:: -(-len(paths) // _IMAGES)]
    mix = make_degradation(degradation)
    how = f", degraded as in training ({mix.preset})" if mix else ""
    say(f"calibrating on {len(chosen)} images of {folder or 'scikit-image'}{how}")
    # Not the HR photographs: LR images have sharper edges, and it is at edges that clipping shows.
    images = []
    for number, path in enumerate(chosen):
        pair = read_pair(path, None, scale)
        images.append(draw_lr(pair.lr, pair.hr, draw_rng(0, "0", number), mix) if mix else pair.lr)
    return [to_planes(_centre(image)) for image in images]


def _centre(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (side - _SIDE) // 2) for side in image.shape[:2])
    return image[top : top + _SIDE, left : left + _SIDE]


def fit(image: np.ndarray, shape: Shape) -> np.ndarray:
    """An image `(1, 3, H, W)` as a graph of this shape takes it: its middle, with its edges continued where
    it is too small, as often as the graph takes images at once."""
    if shape.size is not None:
        sides = image.shape[2:]
        more = [max(0, wanted - side) for wanted, side in zip(shape.size, sides, strict=True)]
        image = np.pad(image, [(0, 0), (0, 0), *((n // 2, n - n // 2) for n in more)], mode="edge")
        top, left = ((n - wanted) // 2 for n, wanted in zip(image.shape[2:], shape.size, strict=True))
        image = image[:, :, top : top + shape.size[0], left : left + shape.size[1]]
    return np.repeat(image, shape.batch or 1, axis=0)


def quantize(
    proto: Any, images: Sequence[np.ndarray], floats: Collection[str] = (), outputs: bool = True
) -> Any:
    """A graph's int8 form: convolutions per channel, with kernels of WEIGHT_STEPS, except the first and the
    last, which read and write pixels. What lies between convolutions stays float32, which took no measurable
    time and lost 0.02 dB less.

    Args:
        proto: an ONNX `ModelProto`.
        images: `(N, 3, H, W)` in [0, 1] that it takes, to set the ranges.
        floats: names of torch's convolutions that stay float32, too.
        outputs: whether what convolutions give is int8, too. ONNX Runtime computes them in float32 otherwise
            and is slower than fp32; OpenVINO is faster without, and loses 0.04 dB less on SPAN.
    """
    import onnx

    import_onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> Any:
            image = next(self.images, None)
            return None if image is None else {name: image}

    name = proto.graph.input[0].name
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    # torch's exporter names kernels as the state dict does.
    kernels = {f"{name}.weight" for name in floats}
    kept = [convolutions[0], convolutions[-1], *(one for one in convolutions if one.input[1] in kernels)]
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / name for name in ("a.onnx", "b.onnx", "c.onnx"))
        source.write_bytes(proto.SerializeToString())
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[node.name for node in kept],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            extra_options={} if outputs else {"OpTypesToExcludeOutputQuantization": ["Conv"]},
        )
        return onnx.load(target)
