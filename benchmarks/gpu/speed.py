"""Speed on the GPU: the training step, what it waits for, and upscaling.

    python benchmarks/gpu/speed.py [--photos PHOTOS] [--sets SETS] [--minutes 4] [--dry-run]

Writes gpu-upscale.json, gpu-loader.json and, for each precision, gpu-train_step-PRECISION.json.
"""

import sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import run_script
from benchmarks.gpu import loader, upscaling
from benchmarks.gpu.places import Places, options, timed

# The one that training uses first; it alone is compiled, which takes a minute.
PRECISIONS = ("bf16-mixed", "32-true", "16-mixed")


def work(arguments: Namespace) -> None:
    places = Places(arguments)
    with timed("upscaling"):
        places.write("upscale", upscaling.measure(places, places.pictures))
    packed = places.prepared("few", places.pictures)
    with timed("loader"):
        places.write("loader", loader.measure(places, packed))
    for number, precision in enumerate(PRECISIONS[1:2] if places.dry else PRECISIONS):
        words: list[object] = ["benchmarks/train_step.py", "--data", packed, "--precision", precision]
        words += ["--device", places.device, "--json", places.results / f"gpu-train_step-{precision}.json"]
        words += (
            ["--turns", "2", "--batch", "2", "--crop", "32"]
            if places.dry
            else ["--turns", "6", "--batch", "16"]
        )
        words += ["--no-compile"] if number or places.dry else []
        share = max(40.0, places.left / (1 if number else 1.7))
        with timed(f"training step in {precision}"):
            code = places.run(*words, seconds=share, log=f"train_step-{precision}")
        print(
            (places.results / f"train_step-{precision}.log").read_text(encoding="utf-8")[-3000:], flush=True
        )
        if code:
            print(f"train_step.py in {precision}: exit {code}", flush=True)


if __name__ == "__main__":
    run_script(options(__doc__, 4), work)
