"""What enlarging costs: our command over the bare network, our student beside others, and the first image.

    python benchmarks/upscale.py PHOTO_OR_FOLDER --ncnn_models DIR --dat DAT_light_x4.pth
        [--json benchmarks/results/upscale.json] [--picture benchmarks/results/upscale.png]

Contenders take turns within one run, in an order that rotates; a ratio is the median over turns, with its
quartiles. `--ncnn_models` holds Real-ESRGAN's published networks in ncnn's format, `--dat` is a published
transformer; what is not given is left out. A crop of the first photograph is enlarged by all: a contender
whose result is not that photograph ends the run.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

import srkd
from srkd import metrics, resample
from srkd.backends import open_upscaler
from srkd.errors import SrkdError, UsageError
from srkd.files import replacing, write_text
from srkd.images import FORMATS, list_images, read_image, read_photo, write_image, write_photo
from srkd.tiling import Upscaler
from srkd.upscaling import enlarge

SCALE = 4
TEACHER = "srgan_teacher"
NCNN = {
    "Real-ESRGAN animevideov3": "realesr-animevideov3-x4",
    "Real-ESRGAN x4plus": "realesrgan-x4plus",
}
ENCODINGS = (".jpg", ".png")
# In RGB, where swapped channels count. Below it a network is fed something else than it was made for.
PROTOCOL, LEAST = "rgb-crop4", 18.0
# Threads of a pool go on spinning for a while when its work is done; they are not to do so in the next's.
PAUSE = 0.05

Size = tuple[int, int]
# Does its work for a turn, given by number; returns seconds by row of the table.
Entry = Callable[[int], Mapping[str, float]]


class Contender(NamedTuple):
    """What enlarges `(H, W, 3)` uint8; whether its weights are real, so that there is something to see."""

    enlarge: Callable[[np.ndarray], np.ndarray]
    runtime: str
    trained: bool = True


def time_parts(photo: Path, model: Upscaler, out: Path) -> tuple[dict[str, float], int]:
    """One image's way through `srkd upscale`: seconds of its parts, and into how many tiles it was cut."""
    tiles = 0

    def count(pixels: float) -> None:
        nonlocal tiles
        tiles += 1

    began = time.perf_counter()
    image = read_photo(photo)
    decoded = time.perf_counter()
    picture = enlarge(model, image, FORMATS[".png"], advance=count)
    enlarged = time.perf_counter()
    seconds = {"decode": decoded - began, "enlarge": enlarged - decoded}
    for suffix in ENCODINGS:
        began = time.perf_counter()
        write_photo(out.with_suffix(suffix), picture)
        seconds[f"encode {suffix}"] = time.perf_counter() - began
    return {"decode + enlarge": seconds["decode"] + seconds["enlarge"], **seconds}, tiles


def command_to_bare(
    paths: Sequence[Path], size: Size, onnx: Path, threads: int, turns: int, folder: Path
) -> dict[str, Any]:
    """The parts of our command, over ONNX Runtime alone on the same file, threads and pixels: nothing but
    the forward pass of the whole image, its input ready-made."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    model = open_upscaler(onnx, backend="onnxruntime", threads=threads)
    photos = []
    for number, path in enumerate(paths):
        photos.append(folder / f"{number}.jpg")
        write_image(photos[-1], np.asarray(ImageOps.fit(Image.fromarray(read_image(path)), size)))
    tiles = 0

    def ours(turn: int) -> Mapping[str, float]:
        nonlocal tiles
        seconds, tiles = time_parts(photos[turn % len(photos)], model, folder / "out.png")
        return seconds

    def bare(turn: int) -> Mapping[str, float]:
        batch = to_batch(read_image(photos[turn % len(photos)]))
        return clock("bare forward", lambda: session.run(None, {"lr": batch}))

    found = take_turns([ours, bare], turns)
    return {"tiles": tiles, **to_base(found, "bare forward")}


def find_contenders(
    onnx: Path, models: Path | None, dat: Path | None, name: str, threads: int, folder: Path
) -> tuple[dict[str, Contender], dict[str, str]]:
    """The contenders by name, ours first; and those that are left out, with the reason."""
    found = {
        name: Contender(on_pixels(open_run(onnx, threads)), "ONNX Runtime"),
        f"{TEACHER}, random weights": Contender(
            on_pixels(open_run(export_teacher(folder), threads)), "ONNX Runtime", trained=False
        ),
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


def open_run(onnx: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    run = open_upscaler(onnx, backend="onnxruntime", threads=threads).run
    assert run is not None  # of bicubic alone
    return run


def export_teacher(folder: Path) -> Path:
    """The SRGAN paper's generator as an ONNX file. Its speed does not depend on its weights."""
    import torch

    torch.manual_seed(0)
    weights = srkd.save_generator(srkd.create_generator(TEACHER), folder / f"{TEACHER}.safetensors")
    return srkd.export(str(weights), format="onnx")


def open_ncnn(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A network of blobs `data` and `output`, with ncnn's own settings but for the threads."""
    try:
        import ncnn as library
    except ImportError as error:
        raise UsageError("--ncnn_models needs the package ncnn; pip install 'srkd[ncnn]'") from error
    ncnn: Any = library
    net = ncnn.Net()
    net.opt.num_threads = threads
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise SrkdError(f"ncnn cannot load {path} and the .bin file beside it")

    def run(batch: np.ndarray) -> np.ndarray:
        # Held until the network has run: ncnn reads this memory and keeps no hold of it.
        image = np.ascontiguousarray(batch[0])
        with net.create_extractor() as extractor:
            extractor.input("data", ncnn.Mat(image))
            failed, output = extractor.extract("output")
            if failed:
                raise SrkdError(f"ncnn cannot run {path} on {image.shape[2]}x{image.shape[1]} pixels")
            return np.array(output)[None]

    return run


def open_torch(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A network that spandrel loads."""
    import torch

    torch.set_num_threads(threads)
    model = srkd.load_generator(path)
    if model.scale != SCALE:
        raise UsageError(f"{path} is x{model.scale}, and the comparison is at x{SCALE}")

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(batch)).numpy()

    return run


def enlarge_bicubic(image: np.ndarray) -> np.ndarray:
    size = (image.shape[1] * SCALE, image.shape[0] * SCALE)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def to_batch(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)


def on_pixels(run: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A network's run from float32 `(1, 3, H, W)` to the like, as one from 8-bit images to the like."""

    def enlarge(image: np.ndarray) -> np.ndarray:
        result = run(to_batch(image))[0].transpose(1, 2, 0)
        return np.rint(result.clip(0, 1) * 255).astype(np.uint8)

    return enlarge


def cut_pair(path: Path, size: Size, place: Sequence[int] | None) -> tuple[np.ndarray, np.ndarray]:
    """A crop of a photograph that was shrunk as the benchmarks' LR is, and the same of the photograph."""
    hr = metrics.crop_to_multiple(read_image(path), SCALE)
    lr = resample.downscale(hr, SCALE)
    left, top = place or ((lr.shape[1] - size[0]) // 2, (lr.shape[0] - size[1]) // 2)
    right, bottom = left + size[0], top + size[1]
    if min(left, top) < 0 or right > lr.shape[1] or bottom > lr.shape[0]:
        raise UsageError(
            f"{path} shrunk is {lr.shape[1]}x{lr.shape[0]}, which does not hold a crop of "
            f"{size[0]}x{size[1]}; choose another --crop, --at or photograph"
        )
    whole = (slice(top * SCALE, bottom * SCALE), slice(left * SCALE, right * SCALE))
    return lr[top:bottom, left:right], hr[whole]


def score(pictures: Mapping[str, np.ndarray], hr: np.ndarray) -> dict[str, float]:
    """PSNR of each in dB.

    Raises:
        SrkdError: one is not that photograph.
    """
    scores = {name: metrics.psnr(picture, hr, PROTOCOL) for name, picture in pictures.items()}
    for name, value in scores.items():
        if not value >= LEAST:
            raise SrkdError(f"{name} reaches {value:.1f} dB only, so it is not run as it should be")
    return scores


def first_image(lr: np.ndarray, name: str, threads: int, turns: int, folder: Path) -> dict[str, Any]:
    """Of new processes: our command on a small image, over the import of ONNX Runtime; and Pillow."""
    image = folder / "small.png"
    write_image(image, lr)
    size = (lr.shape[1] * SCALE, lr.shape[0] * SCALE)
    # Not replaced: a file that exists would be refused.
    targets = (folder / f"first-{number}.png" for number in range(turns + 1))
    pillow = (
        "from PIL import Image; "
        f"Image.open({str(image)!r}).resize({size}, Image.Resampling.BICUBIC).save({str(folder / 'p.png')!r})"
    )

    def python(row: str, *words: str) -> Mapping[str, float]:
        command = [sys.executable, *words]
        return clock(row, lambda: subprocess.run(command, capture_output=True, check=True))

    def ours(turn: int) -> Mapping[str, float]:
        words = ["upscale", image, "-o", next(targets), "--weights", name, "--threads", threads]
        return python("srkd upscale", "-m", "srkd", *map(str, words))

    def bare(turn: int) -> Mapping[str, float]:
        return python("import onnxruntime", "-c", "import onnxruntime")

    def floor(turn: int) -> Mapping[str, float]:
        return python("Pillow alone", "-c", pillow)

    return to_base(take_turns([ours, bare, floor], turns), "import onnxruntime")


def clock(row: str, work: Callable[[], object]) -> Mapping[str, float]:
    began = time.perf_counter()
    work()
    return {row: time.perf_counter() - began}


def take_turns(entries: Sequence[Entry], turns: int) -> dict[str, list[float]]:
    """Seconds of each row, turn by turn."""
    found: dict[str, list[float]] = {}
    for turn in range(-1, turns):
        first = turn % len(entries)
        for entry in (*entries[first:], *entries[:first]):
            time.sleep(PAUSE)
            for row, seconds in entry(turn).items():
                if turn >= 0:  # the first turn warms up
                    found.setdefault(row, []).append(seconds)
    return found


def to_base(found: Mapping[str, Sequence[float]], base: str) -> dict[str, Any]:
    """The base's median in seconds, and every row's ratios to it within a turn: median and quartiles."""
    ratios = {}
    for row, seconds in found.items():
        if row != base:
            each = np.divide(seconds, found[base])
            low, middle, high = (float(f"{value:.4g}") for value in np.percentile(each, (25, 50, 75)))
            ratios[row] = {"median": middle, "quartiles": [low, high], "turns": len(each)}
    return {"base": base, "base_seconds": round(float(np.median(found[base])), 4), "to_base": ratios}


def draw(pictures: Mapping[str, np.ndarray], scores: Mapping[str, float], path: Path) -> None:
    """The pictures side by side, named, with their PSNR where they have one."""
    from matplotlib.figure import Figure

    columns = 2 if len(pictures) <= 4 else 3
    rows = -(-len(pictures) // columns)
    height, width, _ = next(iter(pictures.values())).shape
    # A little more than a pixel for a pixel.
    figure = Figure(figsize=(columns * 4, rows * (4 * height / width + 0.4)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    for panel, (name, picture) in zip(panels, pictures.items(), strict=False):
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(f"{name}, {scores[name]:.2f} dB" if name in scores else name, fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=max(100, width / 3.8))


def show(title: str, found: Mapping[str, Any]) -> None:
    print(f"\n{title}: over {found['base']} ({found['base_seconds']:.3f} s), median (quartiles)")
    for row, ratio in sorted(found["to_base"].items(), key=lambda item: item[1]["median"]):
        low, high = ratio["quartiles"]
        print(f"  {row:<34}{ratio['median']:9.3f}  ({low:.3f} to {high:.3f})")


def parse_size(text: str) -> Size:
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) >= 16 for side in sides):
        raise argparse.ArgumentTypeError(f"{text} is no WIDTHxHEIGHT of at least 16 pixels each")
    return int(sides[0]), int(sides[1])


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """All measurements, printed as they come."""
    source, name, threads, turns = (
        Path(arguments.photos),
        arguments.weights,
        arguments.threads,
        arguments.turns,
    )
    if min(threads, turns) < 1:
        raise UsageError("--threads and --turns are at least 1")
    if arguments.ncnn_models is not None and not arguments.ncnn_models.is_dir():
        raise UsageError(f"--ncnn_models: there is no folder {arguments.ncnn_models}")
    paths = list_images(source) if source.is_dir() else [source]
    lr, hr = cut_pair(paths[0], arguments.crop, arguments.at)
    packages = ["onnxruntime", "torch", "pillow", *["ncnn"] * (arguments.ncnn_models is not None)]
    result: dict[str, Any] = {
        "weights": name,
        "machine": platform.processor() or platform.machine(),
        "threads": threads,
        "versions": {package: version(package) for package in packages},
        "sizes": {},
    }
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        onnx = srkd.export(name, format="onnx", out=str(folder / "ours.onnx"))
        if open_upscaler(onnx, backend="onnxruntime", threads=threads).scale != SCALE:
            raise UsageError(f"{name} is not x{SCALE}, as the comparison is")
        contenders, left_out = find_contenders(
            onnx, arguments.ncnn_models, arguments.dat, name, threads, folder
        )
        for title, reason in left_out.items():
            print(f"left out: {title}, {reason}")
        # Before what takes long, so that a contender that is fed wrongly is seen at once.
        pictures = {title: entry.enlarge(lr) for title, entry in contenders.items() if entry.trained}
        scores = score(pictures, hr)
        if arguments.picture:
            draw({"HR": hr, **pictures}, scores, arguments.picture)
        for size in arguments.sizes:
            found = command_to_bare(paths, size, onnx, threads, turns, folder)
            key = f"{size[0]}x{size[1]}"
            tiles = f"{found['tiles']} tile{'s' * (found['tiles'] != 1)}"
            show(f"our command on {key}, {tiles}", found)
            result["sizes"][key] = found

        def entry(title: str, contender: Contender) -> Entry:
            return lambda turn: clock(title, lambda: contender.enlarge(lr))

        found = take_turns([entry(title, contender) for title, contender in contenders.items()], turns)
        result["contenders"] = {
            "size": f"{lr.shape[1]}x{lr.shape[0]}",
            "runtimes": {title: contender.runtime for title, contender in contenders.items()},
            "left_out": left_out,
            "photograph": paths[0].name,
            "protocol": PROTOCOL,
            "psnr": {title: round(value, 2) for title, value in scores.items()},
            **to_base(found, name),
        }
        show(f"contenders on {lr.shape[1]}x{lr.shape[0]}", result["contenders"])
        for title, value in scores.items():
            print(f"  {title:<34}{value:9.2f} dB, {PROTOCOL}")
        result["first_image"] = first_image(lr, name, threads, turns, folder)
        show("the first image of a new process", result["first_image"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photos", help="a photograph, or a folder of them that take turns")
    parser.add_argument("--weights", default="srgan_student_lite_psnr", help="ours: a file or shipped name")
    parser.add_argument("--ncnn_models", type=Path, help="a folder with Real-ESRGAN's .param and .bin files")
    parser.add_argument("--dat", type=Path, help="a network that spandrel loads: DAT_light_x4.pth")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument(
        "--sizes",
        type=parse_size,
        nargs="+",
        default=[(320, 240), (640, 480), (960, 720)],
        help="of LR images that our command enlarges",
    )
    parser.add_argument(
        "--crop", type=parse_size, default=(128, 96), help="LR size that all contenders enlarge"
    )
    parser.add_argument("--at", type=int, nargs=2, metavar=("LEFT", "TOP"), help="the crop's place in LR")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--picture", type=Path, help="file for the crop as each contender enlarges it")
    arguments = parser.parse_args()
    try:
        result = compare(arguments)
        if arguments.json:
            write_text(Path(arguments.json), json.dumps(result, indent=1) + "\n")
    except SrkdError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
