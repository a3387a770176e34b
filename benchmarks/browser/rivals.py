"""srkd's students and UpscalerJS's networks in one Chromium: time, PSNR and LPIPS on the same images.

    mkdir -p runs/npm && (cd runs/npm && npm pack upscaler@1.0.0 @upscalerjs/esrgan-slim@1.0.0 \
        @upscalerjs/esrgan-medium@1.0.0 @upscalerjs/esrgan-thick@1.0.0 @tensorflow/tfjs@4.22.0 \
        @tensorflow/tfjs-backend-wasm@4.22.0)
    python benchmarks/browser/rivals.py --npm runs/npm --data BENCHMARKS/Set5

needs Debian's chromium and chromium-driver, and selenium. Both sides run on WASM, with as many threads as
each takes. Scores are those of the pixels that the page gives; times are of one 80x60 LR image, from bytes to
bytes, in turns, without the first run of each.
"""

import base64
import os
import shutil
import sys
import tarfile
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from srkd.commands.demo import HEADERS, HOST, bind
from srkd.data.benchmarks import open_set
from srkd.errors import SrkdError, UsageError
from srkd.exports.web import write_site
from srkd.files import hash_file
from srkd.metrics import psnr, ssim
from srkd.metrics.perceptual import lpips
from srkd.terminal import console, track
from srkd.weights.catalogue import find_weights

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import check_at_least, check_folder, make_parser, run_script, write_report
from benchmarks.timing import compare_to, take_turns

HERE = Path(__file__).parent
# Where the page looks for each package, and its archive's name.
PACKAGES = {
    "upscaler": "upscaler",
    "esrgan-slim": "upscalerjs-esrgan-slim",
    "esrgan-medium": "upscalerjs-esrgan-medium",
    "esrgan-thick": "upscalerjs-esrgan-thick",
    "tfjs": "tensorflow-tfjs",
    "wasm": "tensorflow-tfjs-backend-wasm",
}
RIVALS = ("esrgan-slim", "esrgan-medium", "esrgan-thick")
OURS = ("span_s_psnr", "span_s_gan", "compact_48x8_psnr")
# TensorFlow.js compiles JavaScript as it runs, which srkd's page forbids.
_HEADERS = {name: value for name, value in HEADERS.items() if name != "Content-Security-Policy"}
VARIANTS = ("st-lpips-alex", "st-lpips-vgg")
TIMED = (60, 80)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


def build_site(folder: Path, archives: Path, runtime: str | None) -> dict[str, int]:
    """Puts the page, our networks and theirs into a folder; returns the bytes of each network's files."""
    write_site(OURS, folder / "ours", runtime)
    for name, archive in PACKAGES.items():
        found = sorted(archives.glob(f"{archive}-[0-9]*.tgz"))
        if len(found) != 1:
            raise UsageError(f"{archives} holds {len(found)} archives {archive}-VERSION.tgz, not one")
        with tarfile.open(found[0]) as file:
            file.extractall(folder / "npm" / name, filter="data")
        (folder / "npm" / name / "package").rename(folder / "npm" / "unpacked")
        (folder / "npm" / name).rmdir()
        (folder / "npm" / "unpacked").rename(folder / "npm" / name)
    for name in ("page.html", "page.js"):
        shutil.copy(HERE / name, folder)
    theirs = {name: folder / "npm" / name / "models" / "x4" for name in RIVALS}
    sizes = {name: sum(file.stat().st_size for file in place.iterdir()) for name, place in theirs.items()}
    return sizes | {name: find_weights(name).with_suffix(".onnx").stat().st_size for name in OURS}


@contextmanager
def open_page(folder: Path, backend: str) -> Iterator[Any]:
    """The page in a headless Chromium, with TensorFlow.js on a backend."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    if not options.binary_location or not shutil.which("chromedriver"):
        raise UsageError(
            "there is no chromium with its chromedriver; fix: apt install chromium chromium-driver"
        )
    with bind(0, str(folder), _HEADERS) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver = webdriver.Chrome(
            options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
        )
        try:
            driver.set_script_timeout(1800)
            driver.get(f"http://{HOST}:{server.server_port}/page.html")
            call(driver, f"return ready && start({backend!r})")
            yield driver
        finally:
            driver.quit()
            server.shutdown()


def call(driver: Any, script: str, *words: Any) -> Any:
    """Runs an asynchronous script of the page. Raises SrkdError with what it throws."""
    wrapped = (
        "const done = arguments[arguments.length - 1];"
        f"(async (...words) => {{ {script} }})(...arguments).then("
        "value => done({value}), error => done({error: String(error?.stack ?? error)}));"
    )
    found = driver.execute_async_script(wrapped, *words)
    if "error" in found:
        raise SrkdError(f"the page failed: {found['error']}")
    return found["value"]


def enlarge(driver: Any, name: str, lr: np.ndarray, keep: bool = True) -> dict[str, Any]:
    """One run of a network on `(H, W, 3)` uint8: `seconds`, `backend` and with `keep` the `pixels`."""
    height, width = lr.shape[:2]
    text = base64.b64encode(lr.tobytes()).decode()
    found = call(driver, "return enlarge(...words)", name, text, height, width, keep)
    if keep:
        flat = np.frombuffer(bytearray(base64.b64decode(found["pixels"])), np.uint8)
        found["pixels"] = flat.reshape(4 * height, 4 * width, 3)
    return found


def score(driver: Any, name: str, pairs: Sequence[Any]) -> dict[str, Any]:
    """Mean scores over a benchmark, and what ran the network."""
    rows = []
    for pair in track(pairs, f"{name} on {len(pairs)} images", len(pairs)):
        found = enlarge(driver, name, np.ascontiguousarray(pair.lr))
        sr = found["pixels"]
        distances = {variant: lpips(sr, pair.hr, variant) for variant in VARIANTS}
        rows.append({"psnr": psnr(sr, pair.hr, "y-crop4"), "ssim": ssim(sr, pair.hr, "y-crop4"), **distances})
    means = {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}
    return {**means, "backend": found["backend"]}


def to_markdown(result: Any) -> str:
    """The table."""
    time, rows = result["time"], []
    for name, row in result["networks"].items():
        ratio = time["to_base"].get(name, {"median": 1.0, "quartiles": [1.0, 1.0]})
        low, high = ratio["quartiles"]
        cells = [
            *(
                name,
                row["backend"],
                f"{row['bytes'] / 1e6:.2f}",
                f"{ratio['median']:.3g} ({low:.3g} to {high:.3g})",
            ),
            *(f"{row['psnr']:.2f}", *(f"{row[variant]:.4f}" for variant in VARIANTS)),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    lines = [
        f"{result['data']}, x4, `y-crop4`; LPIPS lower is nearer. Time of one 80x60 LR image from bytes to "
        f"bytes in one {result['browser']}, to that of {time['base']}, {1000 * time['base_seconds']:.0f} ms: "
        f"medians of {result['turns']} turns, with quartiles; {result['threads']} CPUs.",
        "",
        "|  | runs on | MB | time | PSNR | st-lpips-alex | st-lpips-vgg |",
        "|---|---|---:|---:|---:|---:|---:|",
        *rows,
    ]
    return "\n".join([*lines, ""])


def work(arguments: Namespace) -> None:
    check_folder("--npm", arguments.npm)
    check_at_least(2, turns=arguments.turns)
    pairs = list(open_set(arguments.data, 4).read())
    height, width = TIMED
    largest = max(pairs, key=lambda pair: pair.lr.shape[0] * pair.lr.shape[1]).lr
    if largest.shape[0] < height or largest.shape[1] < width:
        raise UsageError(f"--data: no LR image there has {width}x{height} pixels")
    timed_lr = np.ascontiguousarray(largest[:height, :width])
    with tempfile.TemporaryDirectory(prefix="srkd-browser-") as name:
        folder = Path(name)
        sizes = build_site(folder, arguments.npm, arguments.runtime)
        with open_page(folder, arguments.backend) as driver:
            scores = {one: score(driver, one, pairs) | {"bytes": sizes[one]} for one in (*OURS, *RIVALS)}
            entries = [
                lambda turn, one=one: {one: enlarge(driver, one, timed_lr, keep=False)["seconds"]}
                for one in (*OURS, *RIVALS)
            ]
            times = compare_to(OURS[0], take_turns(entries, arguments.turns))
            browser = driver.capabilities["browserVersion"]
    result = {
        "data": Path(arguments.data).name,
        "browser": f"Chromium {browser}",
        "threads": os.cpu_count(),
        "turns": arguments.turns,
        "weights": {one: hash_file(find_weights(one), 16) for one in OURS},
        "networks": scores,
        "time": times,
    }
    markdown = to_markdown(result)
    console.print(markdown, markup=False)
    write_report(arguments.json, result, markdown)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--npm", type=Path, required=True, help="folder of the packages' archives, by npm pack"
    )
    parser.add_argument("--data", required=True, help="a benchmark, in the forms of srkd evaluate")
    parser.add_argument("--runtime", help="ONNX Runtime Web, as for srkd export; downloaded when not given")
    parser.add_argument(
        "--backend", choices=("wasm", "webgl", "cpu"), default="wasm", help="of TensorFlow.js"
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path, default=HERE / "rivals.json", help="file for the figures")
    run_script(parser, work)


if __name__ == "__main__":
    main()
