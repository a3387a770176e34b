"""Static int8 for ONNX: the images that set its ranges, and what is quantized."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srkd.terminal import console

# Ranges hardly move after a few dozen images of this side, in LR pixels.
_IMAGES, _SIDE = 32, 192


def read_calibration(folder: str | None, scale: int) -> list[np.ndarray]:
    """LR images `(1, 3, H, W)` in [0, 1], the middle of each, made from the photographs of a folder and those
    below it; of scikit-image's when None.

    Raises:
        UsageError: there is no such folder, or no image in it that is large enough.
        SrkdError: an image cannot be read.
    """
    from srkd.data import EMBEDDED_TRAIN, embedded_photos, read_pair
    from srkd.images.reading import list_images

    paths = list_images(folder, recursive=True) if folder is not None else embedded_photos(EMBEDDED_TRAIN)
    chosen = paths[:: -(-len(paths) // _IMAGES)]
    console.print(f"calibrating on {len(chosen)} images of {folder or 'scikit-image'}", markup=False)
    # Not the HR photographs themselves: LR ones have the sharper edges, and clipping shows at edges.
    images = [_middle(read_pair(path, None, scale).lr) for path in chosen]
    return [image.transpose(2, 0, 1)[None].astype(np.float32) / 255 for image in images]


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (side - _SIDE) // 2) for side in image.shape[:2])
    return image[top : top + _SIDE, left : left + _SIDE]


def quantize(proto: Any, images: Sequence[np.ndarray]) -> Any:
    """The graph with int8 convolutions, per channel, but for the first and the last.

    Those two see and make pixels: with them SPAN loses 2.7 dB, without them 0.12. What lies between the
    convolutions stays float32, which costs no time that could be measured and 0.02 dB less.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> Any:
            image = next(self.images, None)
            return None if image is None else {"lr": image}

    convolutions = [node.name for node in proto.graph.node if node.op_type == "Conv"]
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
            nodes_to_exclude=[convolutions[0], convolutions[-1]],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)
