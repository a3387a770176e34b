"""Trained generators in the formats of other programs, each checked against torch before it counts."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any, Literal

from srkd.catalog import find_weights
from srkd.errors import SrkdError, UsageError
from srkd.files import console, replacing

OPSET = 18
# Largest difference to torch, in image units of [0, 1]: a tenth of an 8-bit level.
BOUND = 0.1 / 255


def export(
    weights: str,
    *,
    format: Literal["onnx", "safetensors"] = "onnx",
    branch: int | None = None,
    out: str | None = None,
) -> Path:
    """Export a trained generator, and check that the result computes the same.

    Args:
        weights: a weights file of this package, or a shipped name.
        format: `onnx` (float32, dynamic batch, height and width) or `safetensors`.
        branch: of a generator of several branches, the one to export alone, from 0; their mean when not
            given.
        out: the file to write; beside the weights, with the format's suffix, when not given.

    Returns:
        The file written.

    Raises:
        UsageError: no such weights, weights of another package, or an output that is its own input.
        SrkdError: the exported model differs from torch by more than a tenth of an 8-bit level.
    """
    from srkd.weights import load_generator

    source = find_weights(weights)
    target = Path(out) if out else source.with_suffix(f".{format}")
    if target.suffix != f".{format}":
        raise UsageError(f"{target} does not end in .{format}")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the file to export; give another --out")
    model: Any = load_generator(source)
    if not hasattr(model, "config"):
        raise UsageError(f"{source} holds weights of another package; export takes those of srkd")
    if branch is not None:
        if not hasattr(model, "select_branch"):
            raise UsageError(f"{source} has no branches to choose from")
        info = model.info
        model = model.select_branch(branch).eval()
        model.info = info
    maximum, mean = (_onnx if format == "onnx" else _safetensors)(model, target)
    console.print(f"{target}: {format}, difference to torch at most {maximum:.2g}, {mean:.2g} on average")
    return target


def _onnx(model: Any, target: Path) -> tuple[float, float]:
    import onnx
    import torch

    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            model,
            (torch.rand(2, 3, 24, 32),),
            input_names=["lr"],
            output_names=["sr"],
            dynamic_shapes=(dict.fromkeys(axes, torch.export.Dim.DYNAMIC),),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for value, prefix in ((proto.graph.input[0], ""), (proto.graph.output[0], "sr_")):
        for axis, name in axes.items():
            value.type.tensor_type.shape.dim[axis].dim_param = prefix + name
    header = {"config": model.config, "radius": model.radius, **model.info}
    onnx.helper.set_model_props(proto, {"srkd": json.dumps(header, sort_keys=True)})
    with replacing(target) as temporary:
        temporary.write_bytes(proto.SerializeToString())
        return _compare(model, temporary)


def _safetensors(model: Any, target: Path) -> tuple[float, float]:
    from srkd.weights import save_generator

    info = {key: value for key, value in model.info.items() if key not in ("format", "kind")}
    with replacing(target) as temporary:
        save_generator(model, temporary, **info)
        return _compare(model, temporary)


def _compare(model: Any, path: Path) -> tuple[float, float]:
    """Greatest and mean absolute difference between torch and the exported file on several sizes."""
    import numpy as np
    import torch

    from srkd.upscaling import open_upscaler

    run = open_upscaler(path, device="cpu").run
    assert run is not None
    rng = np.random.default_rng(0)
    differences = []
    for size in ((1, 3, 24, 32), (1, 3, 37, 23), (1, 3, 1, 5)):
        batch = rng.random(size, dtype=np.float32)
        with torch.inference_mode():
            expected = model(torch.from_numpy(batch)).numpy()
        differences.append(np.abs(run(batch) - expected).ravel())
    every = np.concatenate(differences)
    if not every.max() <= BOUND:
        raise SrkdError(
            f"the export differs from torch by {every.max():.2g}, more than {BOUND:.2g}; nothing was written"
        )
    return float(every.max()), float(every.mean())
