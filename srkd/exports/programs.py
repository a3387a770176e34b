"""The programs that exports are made for: what each one takes, what its files are called, where they go.

The rules were read in the programs' sources, at the commits below; of these programs, OpenCV alone has been
run on exports, by the tests.

- Upscayl a00d55fe (`common/check-model-scale.ts`, `electron/utils/get-models.ts`) and upscayl-ncnn d02fa88e
  (`src/main.cpp`, `src/realesrgan.cpp`): blobs `data` and `output`, the scale by the file's name, a folder
  whose path ends in `models`, tiles that overlap by 10 pixels.
- video2x 8a9e5711 (`src/filter_realesrgan.cpp`, `tools/video2x/src/validators.cpp`): `NAME-xSCALE.param` in
  `models/realesrgan`, scales 2 to 4, tiles that overlap by 10 pixels; the command takes four names alone.
- vs-mlrt 8cd6cf26 (`vsort/vs_onnxruntime.cpp`, `common/onnx_utils.cpp`, `scripts/vsmlrt.py`): one input and
  one output, four axes, one image, float32 or float16, three channels or one; sides may be any, and are set
  as the graph is opened.
- chaiNNer 874b8783 (`backend/src/nodes/impl/onnx`): float32 or float16, channels first or last; the scale by
  ONNX's shape inference on a 16x16 image.
- TensorRT: `trtexec` has options for what a dynamic graph is to be built for.
- OpenCV 4.14 and 5.0: version 4 refuses graphs of dynamic size, and constants in half precision.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from srkd.errors import UsageError
from srkd.exports.request import Precision, Shape

# What Upscayl and video2x add to their tiles on each side, in LR pixels.
_OVERLAP = 10
_SEAMS = " Its tiles overlap by {overlap} pixels, and this network sees {radius}: faint seams are possible."
# Where a network has any size: what TensorRT builds for, from the smallest to the largest, height first.
_SIDES = {"min": (32, 32), "opt": (360, 640), "max": (1080, 1920)}
# Names that video2x's command takes, after which it puts the scale.
_VIDEO2X = ("realesr-animevideov3", "realesr-generalv3", "realesrgan-plus", "realesrgan-plus-anime")


class Program(NamedTuple):
    """A program.

    Args:
        title: its name.
        format: what it reads.
        shape: its graph's, where no option says otherwise.
        options: those that may say otherwise.
        precisions: those it reads.
        scales: those it can be told; all when empty.
        name: a file's stem, from the weights' stem and the scale; None where any will do.
        scale_of: the scale that it reads from a stem; None where it reads none.
        place: where to put the file and how to run it; what stands in braces is filled in by `explain`.
        overlap: of its tiles in LR pixels, where it is fixed.
    """

    title: str
    format: str
    shape: Shape
    options: tuple[str, ...]
    precisions: tuple[Precision, ...]
    place: str
    scales: tuple[int, ...] = ()
    name: Callable[[str, int], str] | None = None
    scale_of: Callable[[str], int | None] | None = None
    overlap: int | None = None


def read_upscayl_scale(stem: str) -> int | None:
    """The scale that Upscayl takes a file of this name to have: its window and its program read it each in
    their own way. None where the two differ."""
    window = next((n for n in (2, 3) if f"x{n}" in stem.lower() or f"{n}x" in stem.lower()), 4)
    program = next((n for n in (1, 2, 3, 4, 8, 16) if f"x{n}" in stem or f"{n}x" in stem), 4)
    return program if program == window or program in (1, 8, 16) else None


def _name_for_upscayl(stem: str, scale: int) -> str:
    """`NAME-x4`, without anything before that reads as another scale, as in compact_64x16."""
    named = stem if re.search(rf"x{scale}(?!\d)|(?<!\d){scale}x", stem) else f"{stem}-x{scale}"
    if read_upscayl_scale(named) == scale:
        return named
    return re.sub(r"[xX](?=\d)|(?<=\d)[xX]", "-", stem) + f"-x{scale}"


def _name_with_scale(stem: str, scale: int) -> str:
    return stem if stem.endswith(f"-x{scale}") else f"{stem}-x{scale}"


def _read_last_scale(stem: str) -> int | None:
    found = re.search(r"-x(\d+)$", stem)
    return int(found[1]) if found else None


_HALF: tuple[Precision, ...] = ("fp32", "fp16")
_NAMED = Shape(names=("input", "output"))
_BLOBS = Shape(names=("data", "output"))
PROGRAMS: dict[str, Program] = {
    "upscayl": Program(
        "Upscayl",
        "ncnn",
        _BLOBS,
        (),
        _HALF,
        "Put {file} and {bin} into a folder called models, and choose that folder in Upscayl under Settings, "
        "Add Custom Models; its name in the list is {stem}. Keep the name: the scale is read from it.",
        (2, 3, 4),
        _name_for_upscayl,
        read_upscayl_scale,
        _OVERLAP,
    ),
    "video2x": Program(
        "video2x",
        "ncnn",
        _BLOBS,
        (),
        _HALF,
        "Put {file} and {bin} into video2x's folder models/realesrgan (on Linux below /usr/share/video2x). "
        "Its library takes any name; its command takes only "
        + ", ".join(_VIDEO2X)
        + ": for that, name the pair as one of them in a models/realesrgan of your own, as "
        "realesrgan-plus-x{scale}.param and .bin, and start there: video2x -i in.mp4 -o out.mp4 "
        "-p realesrgan -s {scale} --realesrgan-model realesrgan-plus.",
        (2, 3, 4),
        _name_with_scale,
        _read_last_scale,
        _OVERLAP,
    ),
    "vs-mlrt": Program(
        "vs-mlrt",
        "onnx",
        _NAMED._replace(batch=1),
        ("opset",),
        _HALF,
        "In the VapourSynth script, with clip in RGBS: vsmlrt.inference(clip, '{file}', overlap=({radius}, "
        "{radius}), tilesize=(TILE_W, TILE_H), backend=vsmlrt.Backend.ORT_CPU()); or core.ort.Model(clip, "
        "'{file}').",
    ),
    "tensorrt": Program(
        "TensorRT",
        "onnx",
        _NAMED,
        ("size", "batch", "names", "opset"),
        ("fp32",),
        "On the machine that will run it: trtexec --onnx={file} --saveEngine={stem}.engine --fp16{shapes}",
    ),
    "opencv": Program(
        "OpenCV",
        "onnx",
        _NAMED._replace(batch=1, size=(256, 256)),
        ("size", "batch", "names", "opset"),
        ("fp32",),
        "net = cv2.dnn.readNetFromONNX('{file}'); net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, "
        "swapRB=True)); sr = net.forward()[0][::-1].transpose(1, 2, 0) is BGR in [0, 1].",
    ),
    "chainner": Program(
        "chaiNNer",
        "onnx",
        _NAMED,
        ("size", "names", "opset"),
        _HALF,
        "Open {file} with the node Load Model (ONNX), and connect it to Upscale Image (ONNX).",
    ),
}


def name_file(program: Program, stem: str, precision: Precision, scale: int) -> str:
    """The stem of a program's file."""
    stem = stem if precision == "fp32" else f"{stem}-{precision}"
    # Beside the exports for other programs.
    return program.name(stem, scale) if program.name else f"{stem}-{program.title.lower()}"


def check_name(program: Program, target: Path, scale: int) -> None:
    """Raises UsageError where a program cannot run a network of this scale, or would take it for another by
    its file's name."""
    if program.scales and scale not in program.scales:
        known = ", ".join(map(str, program.scales))
        raise UsageError(f"{program.title} enlarges {known} times; this network {scale} times")
    if program.name and program.scale_of and program.scale_of(target.stem) != scale:
        better = f"{program.name(target.stem, scale)}{target.suffix}"
        raise UsageError(f"{program.title} reads the scale from the name {target.name}; call it {better}")


def explain(program: Program, target: Path, shape: Shape, scale: int, radius: int) -> str:
    """Where to put a program's file and how to run it, in words."""
    name, batch = shape.names[0], shape.batch or 1
    sides = "".join(f" --{key}Shapes={name}:{batch}x3x{h}x{w}" for key, (h, w) in _SIDES.items())
    text = program.place
    if program.overlap is not None and radius > program.overlap:
        text += _SEAMS
    return f"{program.title}: " + text.format(
        file=target.name,
        stem=target.stem,
        bin=target.with_suffix(".bin").name,
        scale=scale,
        radius=radius,
        shapes="" if shape.size and shape.batch else sides,
        overlap=program.overlap,
    )
