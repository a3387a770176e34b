"""A student's files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srkd.commands.compressing.pipeline import Pipeline
from srkd.files import hash_file


def export_student(pipeline: Pipeline, weights: Path, formats: Sequence[str]) -> dict[str, str]:
    """Writes the student's files, or takes those of an earlier call: paths by format."""
    from srkd.exports.formats import FORMATS

    folder, place = pipeline.steps.folder, pipeline.request.place
    photos = str(pipeline.steps.place("photographs") / "crops")

    # Where a file runs on one size alone, the first that a time was asked for.
    size = next((budget.size for budget in pipeline.request.budgets if budget.kind == "time"), None)

    def work(_place: Path) -> dict[str, str]:
        return write_files(weights, folder, formats, place.precision, place.format, photos, size)

    def list_files(found: Mapping[str, str]) -> list[Path]:
        return [
            path
            for name, file in found.items()
            for path in (folder / file, *map((folder / file).with_suffix, FORMATS[name].beside))
        ]

    inputs = {
        "student": hash_file(weights, 16),
        "formats": list(dict.fromkeys(formats)),
        "runtime": [place.format, place.precision],
        "size": size,
    }
    found = pipeline.steps.do("export", "export", inputs, work, list_files)
    return {name: str(folder / file) for name, file in found.items()}


def write_files(
    weights: Path,
    out: Path,
    formats: Sequence[str],
    precision: str,
    needed: str,
    data: str,
    size: tuple[int, int] | None,
) -> dict[str, str]:
    """Writes the student: safetensors, ONNX, the format that its runtime reads, and those that were asked
    for.

    Args:
        weights: what training left.
        out: the folder.
        formats: asked for.
        precision: of the files, where their format has it.
        needed: the runtime's format.
        data: a folder of photographs for int8's ranges.
        size: width and height of the LR image, for formats whose files have one; their own when None.

    Returns:
        The files' names by format.
    """
    from srkd.commands.export import export
    from srkd.exports.formats import FORMATS

    files = {}
    for name in dict.fromkeys(["safetensors", "onnx", needed, *formats]):
        own = precision if precision in FORMATS[name].precisions else "fp32"
        # OpenVINO and ncnn both write a .bin.
        stem = "student" if name != "ncnn" else "student_ncnn"
        target = out / f"{stem}{FORMATS[name].suffix}"
        calibrate = data if own == "int8" else None
        if not target.exists():
            # Export would refuse to replace what is left of a file's parts.
            for ending in FORMATS[name].beside:
                target.with_suffix(ending).unlink(missing_ok=True)
        options: dict[str, Any] = {"format": name, "precision": own, "calibrate": calibrate}
        if size is not None and FORMATS[name].shape.size is not None:
            options["size"] = f"{size[1]}x{size[0]}"
        export(weights, out=target, **options)
        files[name] = target.name
    return files
