"""The tests with CUDA, and how near half precision comes to full when upscaling.

    python benchmarks/gpu/check.py [--sets SETS] [--minutes 4] [--dry-run]

Writes gpu-parity.json and gpu-tests.json (counts, what failed and why, apart what failed for a missing
package), and pytest's log.
"""

import os
import re
import sys
from argparse import Namespace
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import run_script
from benchmarks.gpu.places import Places, options, skip, timed
from srkd import metrics
from srkd.data.pairs import EMBEDDED_TEST, embedded_photos, find_pairs, read_pair
from srkd.terminal import silence
from srkd.upscaling.opening import open_runner
from srkd.weights.catalogue import find_weights, list_shipped

# Of the test extra; what is missing fails tests that have nothing to do with the GPU.
PACKAGES = (
    "openvino",
    "ncnn",
    "pnnx",
    "pillow_heif",
    "pillow_jxl",
    "selenium",
    "imagecodecs",
    "kornia",
    "spandrel",
)
RESULT = re.compile(r"\[gw\d+\] \[ *\d+%\] (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) (\S+)")
REASON = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?: - (.*))?$", re.MULTILINE)


def parity(places: Places) -> dict[str, Any]:
    """Each network in each precision on the device against float32 on the CPU: levels of 255, and PSNR to
    HR."""
    if places.dry:
        files = [(path, None) for path in embedded_photos(EMBEDDED_TEST)[:1]]
        kinds = [("cpu", "bf16")]
    else:
        sets = places.benchmarks()
        files = (
            find_pairs(sets["Set5"]) if sets else [(path, None) for path in embedded_photos(EMBEDDED_TEST)]
        )
        kinds = [("cuda", "fp32"), ("cuda", "fp16"), ("cuda", "bf16")]
    pairs = [read_pair(*file, 4) for file in files]
    names: dict[str, str | Path] = {name: name for name in list_shipped() if find_weights(name).is_file()}
    if places.dry:
        names = {"span_s_psnr": "span_s_psnr"}
    found: dict[str, Any] = {}
    for name, weights in names.items():
        exact = open_runner(weights, "cpu", backend="torch", precision="fp32")
        pictures = [exact(pair.lr).astype(int) for pair in pairs]
        found[name] = {"cpu fp32": {"psnr": score(pictures, pairs)}}
        for device, precision in kinds:
            made = open_runner(weights, device, backend="torch", precision=precision)
            others = [made(pair.lr).astype(int) for pair in pairs]
            gaps = [np.abs(a - b) for a, b in zip(pictures, others, strict=True)]
            found[name][f"{device} {precision}"] = {
                "largest": int(max(gap.max() for gap in gaps)),
                "mean": float(f"{np.mean([gap.mean() for gap in gaps]):.3g}"),
                "psnr": score(others, pairs),
            }
        print(name, found[name], flush=True)
    return found


def score(pictures: list[np.ndarray], pairs: list[Any]) -> float:
    """Mean PSNR in dB."""
    each = [metrics.psnr(x.astype(np.uint8), p.hr, "y-crop4") for x, p in zip(pictures, pairs, strict=True)]
    return round(float(np.mean(each)), 4)


def tests(places: Places) -> dict[str, Any]:
    """The whole suite in eight processes; in a dry run, a file with tests that need CUDA, in one."""
    words: list[object] = ["tests", "-n", "8", "--maxprocesses=8"]
    if places.dry:
        skip("the whole suite; tests/runtimes/test_runtimes.py stands for it")
        words = ["tests/runtimes/test_runtimes.py", "-k", "cuda", "-n", "1"]
    if places.sets:
        os.environ["SRKD_DATA"] = str(places.sets.resolve())
    log = places.results / "tests.log"
    log.unlink(missing_ok=True)
    code = places.run(
        *("-m", "pytest", *words, "-v", "-p", "no:cacheprovider", "--continue-on-collection-errors"),
        seconds=max(30.0, places.left - 10),
        log="tests",
    )
    return {"exit": code, **read_log(log.read_text(encoding="utf-8", errors="replace"))}


def read_log(text: str) -> dict[str, Any]:
    """What a log of pytest -v with xdist says: counts, and failures with their reasons, those for a missing
    package apart. It need not be whole."""
    results = {name: result for result, name in RESULT.findall(text)}
    reasons = dict(REASON.findall(text))
    missing = [name for name in PACKAGES if find_spec(name) is None]
    failures = {
        name: reasons.get(name, "") for name, result in results.items() if result in ("FAILED", "ERROR")
    }
    failures |= {name: why for name, why in reasons.items() if name not in results}
    apart = {n: why for n, why in failures.items() if any(p in why or p in n for p in missing)}
    return {
        "counts": Counter(results.values()),
        "missing_packages": missing,
        "failed_for_a_missing_package": sorted(apart),
        "failed": {name: why for name, why in failures.items() if name not in apart},
        "finished": bool(re.search(r"^=+ .*(passed|failed|skipped|error).* in [\d.]+s", text, re.MULTILINE)),
    }


def work(arguments: Namespace) -> None:
    places = Places(arguments)
    with timed("parity"), silence():
        places.write("parity", parity(places))
    with timed("tests"):
        result = tests(places)
    print(dict(result["counts"]), f"failed: {len(result['failed'])}", flush=True)
    places.write("tests", result)


if __name__ == "__main__":
    run_script(options(__doc__, 4), work)
