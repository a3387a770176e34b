"""The bundles that gpu.sh needs on a machine without network; made where there is one.

    python benchmarks/gpu/pack.py OUT --photos PHOTOS --teacher realesrgan-x4plus.param --sets SETS
        [--most 62] [--python 3.12]

Writes OUT/1-base.tar.xz (the code, weights, packages, Set5 and Set14, trunks: speed), OUT/2-tests.tar.xz
(what tests need besides: check), OUT/3-photos.tar (the photographs: psnr, gan) and OUT/4-teacher.tar.xz
(x4plus: teacher, real). All are unpacked into one folder, the first one first. Prints their sizes, and fails
where one is larger than `--most` MiB.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import check_folder, run_script
from benchmarks.gpu.places import HELD_OUT, ROOT
from srkd.data.sets import read_hash_list
from srkd.errors import SrkdError, UsageError
from srkd.files import hash_file
from srkd.images.folders import list_images

# What a usual installation of torch lacks, besides stlpips-pytorch, whose weights are stored smaller. Without
# openvino, pnnx and ncnn, which are for the CPU, and of which the first two are large.
PACKAGES = (
    *("cyclopts", "docstring_parser", "rich-rst", "docutils", "platformdirs", "lightning-fabric", "spandrel"),
    *("kornia", "kornia_rs", "lpips", "onnxscript"),
)
FOR_TESTS = ("imagecodecs", "pillow-heif", "pillow-jxl-plugin")
# Code and data of the checkout; all else stays.
FOLDERS = ("srkd/", "tests/", "benchmarks/", "weights/")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", ".ci/run")
LEFT_OUT = ("benchmarks/strategies/weights/",)
# JPEG photographs are stored as WebP of this quality, and those of the validation list as they are.
QUALITY = 93
GLIBC = (40, 39, 36, 35, 34, 31, 28, 27, 24, 17)

Member = tuple[str, bytes]


def code(for_tests: bool) -> Iterator[Member]:
    """The checkout's files, those that tests alone need or the others."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        wanted = name.startswith(FOLDERS) or name in FILES
        needed = name.startswith("tests/") or (
            name.startswith("weights/") and name.endswith((".onnx", ".png"))
        )
        if wanted and not name.startswith(LEFT_OUT) and needed == for_tests and (ROOT / name).is_file():
            yield name, (ROOT / name).read_bytes()


def wheels(python: str, packages: Sequence[str]) -> Iterator[Member]:
    """The packages as wheels whose content is not compressed, for xz to do that better.

    Raises:
        SrkdError: one cannot be downloaded.
    """
    with tempfile.TemporaryDirectory() as text:
        words = [
            sys.executable,
            *["-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d"],
            text,
        ]
        words += ["--python-version", python, "--implementation", "cp", "--platform", "manylinux2014_x86_64"]
        for number in GLIBC:
            words += ["--platform", f"manylinux_2_{number}_x86_64"]
        if subprocess.run([*words, *[f"{name}{version(name)}" for name in packages]]).returncode:
            raise SrkdError("pip could not download the packages; see above")
        for path in sorted(Path(text).glob("*.whl")):
            buffer = io.BytesIO()
            with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
                for entry in old.infolist():
                    new.writestr(entry.filename, old.read(entry))
            yield f"given/wheels/{path.name}", buffer.getvalue()


def version(name: str) -> str:
    """The version that is installed here, so that both machines have one."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as find

    try:
        return f"=={find(name)}"
    except PackageNotFoundError:
        return ""


def trunks() -> Iterator[Member]:
    """ST-LPIPS's AlexNet and VGG16. Convolutions are stored in half precision, which changed the distances of
    an image by a ten-thousandth of themselves.

    Raises:
        UsageError: stlpips-pytorch is not installed.
    """
    spec = find_spec("stlpips_pytorch")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            "stlpips-pytorch is not installed; fix: python -m pip install stlpips-pytorch==0.0.2"
        )
    package = Path(next(iter(spec.submodule_search_locations)))
    yield "given/packages/stlpips_pytorch/__init__.py", b""
    for name in ("alex", "vgg"):
        file = Path("weights") / "vST0.0" / f"{name}_shift_tolerant.pth"
        tensors = torch.load(package / file, weights_only=True, map_location="cpu")
        kept = {
            k: v.half() if k.startswith("net.") and v.is_floating_point() else v for k, v in tensors.items()
        }
        buffer = io.BytesIO()
        torch.save(kept, buffer)
        yield f"given/packages/stlpips_pytorch/{file.as_posix()}", buffer.getvalue()


def photographs(folder: Path) -> Iterator[Member]:
    held = {digest for _, digest in read_hash_list(HELD_OUT)}
    for path in list_images(folder):
        name = path.relative_to(folder)
        if path.suffix.lower() not in (".jpg", ".jpeg") or hash_file(path) in held:
            yield f"given/photos/{name}", path.read_bytes()
            continue
        buffer = io.BytesIO()
        with Image.open(path) as image:
            image.convert("RGB").save(buffer, "WEBP", quality=QUALITY)
        yield f"given/photos/{name.with_suffix('.webp')}", buffer.getvalue()


def sets(folder: Path) -> Iterator[Member]:
    for name in ("Set5", "Set14"):
        for path in sorted((folder / "benchmark" / name).rglob("*.png")):
            yield f"given/sets/{path.relative_to(folder)}", path.read_bytes()


def write(path: Path, members: Iterable[Member]) -> float:
    """A tar file, compressed by its suffix; returns its size in MiB."""
    mode: Any = "w:xz" if path.suffix == ".xz" else "w"
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if name.endswith((".sh", "run")) else 0o644
            tar.addfile(entry, io.BytesIO(content))
    size = path.stat().st_size / 2**20
    print(f"{path}: {size:.1f} MiB", flush=True)
    return size


def work(arguments: Namespace) -> None:
    for option in ("photos", "sets"):
        check_folder(f"--{option}", getattr(arguments, option))
    teacher = arguments.teacher
    weights = teacher.with_suffix(".bin")
    if not (teacher.is_file() and weights.is_file()):
        raise UsageError(f"--teacher: there is no {teacher}, or no {weights.name} beside it")
    arguments.out.mkdir(parents=True, exist_ok=True)
    python, models = arguments.python, [teacher, weights]
    bundles: dict[str, Iterable[Member]] = {
        "1-base.tar.xz": chain(code(False), wheels(python, PACKAGES), trunks(), sets(arguments.sets)),
        "2-tests.tar.xz": chain(code(True), wheels(python, FOR_TESTS)),
        "3-photos.tar": photographs(arguments.photos),
        "4-teacher.tar.xz": ((f"given/models/{path.name}", path.read_bytes()) for path in models),
    }
    sizes = [write(arguments.out / name, members) for name, members in bundles.items()]
    if max(sizes) > arguments.most:
        raise SrkdError(f"the largest is {max(sizes):.1f} MiB, more than --most {arguments.most:g}")


def main() -> None:
    parser = ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("out", type=Path, help="folder for the bundles")
    add("--photos", type=Path, required=True)
    add("--teacher", type=Path, required=True, help="realesrgan-x4plus.param")
    add("--sets", type=Path, required=True, help="folder with benchmark/Set5 and benchmark/Set14")
    add("--python", default="3.12", help="the machine's version")
    add("--most", type=float, default=62, help="MiB that a bundle may have")
    run_script(parser, work)


if __name__ == "__main__":
    main()
