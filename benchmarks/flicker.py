"""Flicker that networks make of a still scene with noise.

    python benchmarks/flicker.py [WEIGHTS...] [--sigma 3] [--json benchmarks/results/flicker.json]

A photograph (scikit-image's astronaut, shrunk to 128x128) with other Gaussian noise in each of 24 frames
is enlarged. The temporal deviation (`srkd.metrics.flicker`) of the result is given beside that of the
frames, and their ratio: below 1 a network smooths the noise, above it makes it stronger.
"""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
from PIL import Image

from srkd.data import embedded_photos
from srkd.images.reading import read_image
from srkd.metrics.flicker import temporal_deviation
from srkd.upscaling.opening import open_fastest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import check_output, make_parser, run_script, write_json

FRAMES, SIDE = 24, 128
DEFAULTS = ["bicubic", "span_s_psnr", "span_s_gan", "srgan_student_lite_psnr", "srgan_student_lite_gan"]


def make_scene(sigma: float) -> list[np.ndarray]:
    """The noisy frames, uint8."""
    photo = Image.fromarray(read_image(embedded_photos(["astronaut.png"])[0]))
    still = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64)
    noise = np.random.default_rng(0)
    return [
        np.rint(still + noise.normal(0, sigma, still.shape)).clip(0, 255).astype(np.uint8)
        for _ in range(FRAMES)
    ]


def work(arguments: Namespace) -> None:
    check_output("--json", arguments.json)
    frames = make_scene(arguments.sigma)
    before = temporal_deviation(frames)
    rows = {}
    for name in arguments.weights or DEFAULTS:
        model = open_fastest(name)
        after = temporal_deviation(model(frame) for frame in frames)
        rows[name] = {"deviation": round(after, 3), "ratio": round(after / before, 3)}
        print(f"{name}: {after:.2f} levels, {after / before:.2f} of the frames' {before:.2f}")
    if arguments.json:
        write_json(
            arguments.json,
            {"sigma": arguments.sigma, "frames": FRAMES, "before": round(before, 3), "after": rows},
        )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("weights", nargs="*", help="shipped names or files; some when none")
    parser.add_argument("--sigma", type=float, default=3.0, help="of the noise, in levels of 255")
    parser.add_argument("--json", type=Path, help="write the result here")
    run_script(parser, work)


if __name__ == "__main__":
    main()
