"""The cost of upscaling: the command over the bare network, the student beside other upscalers, start-up.

    python benchmarks/upscale.py PHOTO_OR_FOLDER --ncnn_models DIR --dat DAT_light_x4.pth
        [--json benchmarks/results/upscale.json] [--picture benchmarks/results/upscale.png]

Contenders take turns in one run, in rotating order; a ratio is the median over turns, with its quartiles.
`--ncnn_models` holds Real-ESRGAN's published networks in ncnn's format, `--dat` is a published transformer;
contenders without a file are left out. All enlarge a crop of the first photograph; the run ends with an error
if a result does not resemble that photograph.
"""

import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

import srkd
from srkd import metrics
from srkd.errors import SrkdError, UsageError
from srkd.files import replacing
from srkd.images import resample
from srkd.images.folders import list_images
from srkd.images.formats import FORMATS
from srkd.images.reading import read_image, read_photo
from srkd.images.writing import write_image, write_photo
from srkd.runtimes.runner import Runner
from srkd.upscaling.enlarge import enlarge
from srkd.upscaling.opening import open_runner

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import (
    Size,
    check_at_least,
    check_folder,
    check_output,
    machine,
    make_parser,
    parse_size,
    run_script,
    versions,
    write_json,
)
from benchmarks.runtimes import (
    RANDOM_TEACHER,
    SCALE,
    Enlarge,
    enlarge_bicubic,
    export_teacher,
    on_pixels,
    open_ncnn,
    open_onnx,
    open_session,
    open_torch,
    to_batch,
)
from benchmarks.timing import compare_to, take_turns, time_call, timed

NCNN = {
    "Real-ESRGAN animevideov3": "realesr-animevideov3-x4",
    "Real-ESRGAN x4plus": "realesrgan-x4plus",
}
ENCODINGS = (".jpg", ".png")
# RGB, so that swapped channels show. A PSNR below LEAST means that the network was fed wrongly.
PROTOCOL, LEAST = "rgb-crop4", 18.0


class Contender(NamedTuple):
    """Enlarges `(H, W, 3)` uint8; without trained weights its output is not scored."""

    enlarge: Enlarge
    runtime: str
    trained: bool = True


def time_parts(photo: Path, model: Runner, out: Path) -> tuple[dict[str, float], int]:
    """One image through the parts of `srkd upscale`: seconds of each, and the number of tiles."""
    tiles = 0

    def count(pixels: float) -> None:
        nonlocal tiles
        tiles += 1

    start = time.perf_counter()
    image = read_photo(photo)
    decoded = time.perf_counter()
    picture = enlarge(model, image, FORMATS[".png"], advance=count)
    enlarged = time.perf_counter()
    seconds = {"decode": decoded - start, "enlarge": enlarged - decoded}
    for suffix in ENCODINGS:
        target = out.with_suffix(suffix)
        seconds[f"encode {suffix}"] = time_call(lambda target=target: write_photo(target, picture))
    return {"decode + enlarge": enlarged - start, **seconds}, tiles


def time_command(
    paths: Sequence[Path], size: Size, onnx: Path, threads: int, turns: int, folder: Path
) -> dict[str, Any]:
    """The parts of the command over ONNX Runtime alone, on the same file, threads and pixels: the forward
    pass of the whole image, with the input prepared."""
    session = open_session(onnx, threads)
    model = open_runner(onnx, backend="onnxruntime", threads=threads)
    photos = [folder / f"{number}.jpg" for number in range(len(paths))]
    for path, photo in zip(paths, photos, strict=True):
        write_image(photo, np.asarray(ImageOps.fit(Image.fromarray(read_image(path)), size)))
    tiles = 0

    def ours(turn: int) -> Mapping[str, float]:
        nonlocal tiles
        seconds, tiles = time_parts(photos[turn % len(photos)], model, folder / "out.png")
        return seconds

    def bare(turn: int) -> Mapping[str, float]:
        batch = to_batch(read_image(photos[turn % len(photos)]))
        return {"bare forward": time_call(lambda: session.run(None, {"lr": batch}))}

    found = take_turns([ours, bare], turns)
    return {"tiles": tiles, **compare_to("bare forward", found)}


def find_contenders(
    onnx: Path, arguments: Namespace, folder: Path
) -> tuple[dict[str, Contender], dict[str, str]]:
    """The contenders by name, the student first, and reasons for those left out."""
    models, dat, threads = arguments.ncnn_models, arguments.dat, arguments.threads
    teacher = on_pixels(open_onnx(export_teacher(folder), threads))
    found = {
        arguments.weights: Contender(on_pixels(open_onnx(onnx, threads)), "ONNX Runtime"),
        RANDOM_TEACHER: Contender(teacher, "ONNX Runtime", trained=False),
    }
    left_out = {}
    for title, stem in NCNN.items():
        path = None if models is None else models / f"{stem}.param"
        if path is None or not path.is_file():
            left_out[title] = "--ncnn_models was not given" if path is None else f"there is no {path}"
        else:
            found[title] = Contender(on_pixels(open_ncnn(path, threads)), "ncnn")
    if dat is None:
        left_out["DAT-light"] = "--dat was not given"
    else:
        found["DAT-light"] = Contender(on_pixels(open_torch(dat, threads)), "torch")
    found["bicubic"] = Contender(enlarge_bicubic, "Pillow")
    return found, left_out


def cut_pair(path: Path, size: Size, place: Sequence[int] | None) -> tuple[np.ndarray, np.ndarray]:
    """A crop of a photograph, downscaled as the benchmarks' LR is, and the same crop in HR."""
    hr = metrics.crop_to_multiple(read_image(path), SCALE)
    lr = resample.downscale(hr, SCALE)
    left, top = place or ((lr.shape[1] - size[0]) // 2, (lr.shape[0] - size[1]) // 2)
    right, bottom = left + size[0], top + size[1]
    if min(left, top) < 0 or right > lr.shape[1] or bottom > lr.shape[0]:
        raise UsageError(
            f"the LR of {path} is {lr.shape[1]}x{lr.shape[0]}, which does not contain the crop of "
            f"{size[0]}x{size[1]}; choose another --crop, --at or photograph"
        )
    whole = (slice(top * SCALE, bottom * SCALE), slice(left * SCALE, right * SCALE))
    return lr[top:bottom, left:right], hr[whole]


def score(pictures: Mapping[str, np.ndarray], hr: np.ndarray) -> dict[str, float]:
    """PSNR of each in dB.

    Raises:
        SrkdError: a result does not resemble the photograph.
    """
    scores = {name: metrics.psnr(picture, hr, PROTOCOL) for name, picture in pictures.items()}
    for name, value in scores.items():
        if not value >= LEAST:
            raise SrkdError(f"{name} reaches only {value:.1f} dB; its input or output is handled wrongly")
    return scores


def time_first_image(lr: np.ndarray, name: str, threads: int, turns: int, folder: Path) -> dict[str, Any]:
    """The command on a small image, and Pillow alone, over importing ONNX Runtime; a new process each."""
    image = folder / "small.png"
    write_image(image, lr)
    size = (lr.shape[1] * SCALE, lr.shape[0] * SCALE)
    # A new file each time, since the command refuses to overwrite.
    targets = (folder / f"first-{number}.png" for number in range(turns + 1))
    pillow = (
        "from PIL import Image; "
        f"Image.open({str(image)!r}).resize({size}, Image.Resampling.BICUBIC).save({str(folder / 'p.png')!r})"
    )

    def python(*words: object) -> None:
        command = [sys.executable, *map(str, words)]
        subprocess.run(command, capture_output=True, check=True)

    def ours() -> None:
        options = ("--weights", name, "--threads", threads)
        python("-m", "srkd", "upscale", image, "-o", next(targets), *options)

    bare = "import onnxruntime"
    entries = [
        timed("srkd upscale", ours),
        timed(bare, lambda: python("-c", bare)),
        timed("Pillow alone", lambda: python("-c", pillow)),
    ]
    return compare_to(bare, take_turns(entries, turns))


def draw(pictures: Mapping[str, np.ndarray], scores: Mapping[str, float], path: Path) -> None:
    """The pictures side by side, titled with name and PSNR."""
    from matplotlib.figure import Figure

    columns = 2 if len(pictures) <= 4 else 3
    rows = -(-len(pictures) // columns)
    height, width, _ = next(iter(pictures.values())).shape
    figure = Figure(figsize=(columns * 4, rows * (4 * height / width + 0.4)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    for panel, (name, picture) in zip(panels, pictures.items(), strict=False):
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(f"{name}, {scores[name]:.2f} dB" if name in scores else name, fontsize=10)
    with replacing(path) as temporary:
        # At least one pixel of the figure per pixel of a picture.
        figure.savefig(temporary, dpi=max(100, width / 3.8))


def show(title: str, found: Mapping[str, Any]) -> None:
    print(f"\n{title}: over {found['base']} ({found['base_seconds']:.3f} s), median (quartiles)")
    for row, ratio in sorted(found["to_base"].items(), key=lambda item: item[1]["median"]):
        low, high = ratio["quartiles"]
        print(f"  {row:<34}{ratio['median']:9.3f}  ({low:.3f} to {high:.3f})")


def measure(arguments: Namespace, paths: Sequence[Path], folder: Path) -> dict[str, Any]:
    """All measurements, printed as they finish."""
    name, threads, turns = arguments.weights, arguments.threads, arguments.turns
    lr, hr = cut_pair(paths[0], arguments.crop, arguments.at)
    onnx = srkd.export(name, format="onnx", out=str(folder / "ours.onnx"))
    if open_runner(onnx, backend="onnxruntime", threads=threads).scale != SCALE:
        raise UsageError(f"{name} is not x{SCALE}; the benchmark needs x{SCALE}")
    contenders, left_out = find_contenders(onnx, arguments, folder)
    for title, reason in left_out.items():
        print(f"left out: {title}, {reason}")
    # First, so that wrong input to a contender is found before the long part.
    pictures = {title: each.enlarge(lr) for title, each in contenders.items() if each.trained}
    scores = score(pictures, hr)
    if arguments.picture:
        draw({"HR": hr, **pictures}, scores, arguments.picture)
    sizes = {}
    for size in arguments.sizes:
        key = f"{size[0]}x{size[1]}"
        sizes[key] = found = time_command(paths, size, onnx, threads, turns, folder)
        show(f"the command on {key}, {found['tiles']} tile{'s' * (found['tiles'] != 1)}", found)
    entries = [timed(title, lambda each=each: each.enlarge(lr)) for title, each in contenders.items()]
    size = f"{lr.shape[1]}x{lr.shape[0]}"
    compared = {
        "size": size,
        "runtimes": {title: each.runtime for title, each in contenders.items()},
        "left_out": left_out,
        "photograph": paths[0].name,
        "protocol": PROTOCOL,
        "psnr": {title: round(value, 2) for title, value in scores.items()},
        **compare_to(name, take_turns(entries, turns)),
    }
    show(f"contenders on {size}", compared)
    for title, value in scores.items():
        print(f"  {title:<34}{value:9.2f} dB, {PROTOCOL}")
    first = time_first_image(lr, name, threads, turns, folder)
    show("the first image of a new process", first)
    return {"sizes": sizes, "contenders": compared, "first_image": first}


def work(arguments: Namespace) -> None:
    check_at_least(1, threads=arguments.threads, turns=arguments.turns)
    check_folder("--ncnn_models", arguments.ncnn_models)
    check_output("--json", arguments.json)
    check_output("--picture", arguments.picture)
    paths = list_images(arguments.photos) if arguments.photos.is_dir() else [arguments.photos]
    packages = ["onnxruntime", "torch", "pillow", *["ncnn"] * (arguments.ncnn_models is not None)]
    result = {
        "weights": arguments.weights,
        "machine": machine(),
        "threads": arguments.threads,
        "versions": versions(*packages),
    }
    with tempfile.TemporaryDirectory() as folder:
        result |= measure(arguments, paths, Path(folder))
    if arguments.json:
        write_json(arguments.json, result)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("photos", type=Path, help="a photograph, or a folder of photographs that take turns")
    add("--weights", default="srgan_student_lite_psnr", help="the student: a file or a shipped name")
    add("--ncnn_models", type=Path, help="folder of Real-ESRGAN's .param and .bin files")
    add("--dat", type=Path, help="a network that spandrel loads: DAT_light_x4.pth")
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--turns", type=int, default=10, help="measured turns, after one to warm up")
    sizes = [(320, 240), (640, 480), (960, 720)]
    add("--sizes", type=parse_size, nargs="+", default=sizes, help="LR sizes for the command")
    add("--crop", type=parse_size, default=(128, 96), help="LR size of the crop that all contenders enlarge")
    add("--at", type=int, nargs=2, metavar=("LEFT", "TOP"), help="place of the crop in the LR image")
    add("--json", type=Path, help="file for the figures")
    add("--picture", type=Path, help="file for the crop as each contender enlarges it")
    run_script(parser, work, words)


if __name__ == "__main__":
    main()
