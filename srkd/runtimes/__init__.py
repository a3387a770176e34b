"""The runtimes that a generator may run on: a file each, and a line in RUNTIMES. Importing this package
imports none of them."""

from typing import Literal, NamedTuple

# `auto`, `cpu`, `mps`, `cuda`, or one of several GPUs: `cuda:1`.
Device = str
Backend = Literal["auto", "onnxruntime", "torch", "openvino", "ncnn"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]


class Settings(NamedTuple):
    """How a network runs: device, CPU threads (all when None) and torch's precision."""

    device: Device = "auto"
    threads: int | None = None
    precision: Precision = "auto"


class Runtime(NamedTuple):
    """A runtime.

    Args:
        module: the file with its `open_runner(model, name, settings) -> Runner`.
        takes: the model that it opens: the path of an `onnx` file or of a `param` file, or a torch `module`.
        package: the distribution that has to be installed.
        extra: the extra of srkd that installs it; empty where srkd alone does.
        runs: what it runs and where, for the user.
    """

    module: str
    takes: Literal["onnx", "param", "module"]
    package: str
    extra: str
    runs: str


RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": Runtime(
        "srkd.runtimes.onnxruntime",
        "onnx",
        "onnxruntime",
        "",
        "ONNX files; other weights, converted once; CPU",
    ),
    "torch": Runtime(
        "srkd.runtimes.torch",
        "module",
        "torch",
        "train",
        "all weights but ONNX files; of ncnn's those it can convert; CUDA, MPS, CPU",
    ),
    "openvino": Runtime(
        "srkd.runtimes.openvino",
        "onnx",
        "openvino",
        "openvino",
        "srkd's ONNX files and weights, converted once; CPU",
    ),
    "ncnn": Runtime("srkd.runtimes.ncnn", "param", "ncnn", "ncnn", "ncnn files; CPU"),
}
