"""Peak memory of `srkd upscale` on a large photograph (Linux).

    python benchmarks/memory.py PHOTO [--size 4000x3000] [--json benchmarks/results/memory.json]

The photograph is resized to SIZE and enlarged to a JPEG with the default weights in a separate process.
"""

import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from PIL import Image

from srkd.errors import SrkdError
from srkd.images.reading import read_image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import Size, check_output, make_parser, parse_size, run_script, write_json

# VmHWM is the child's own peak; getrusage would start from that of the parent.
CHILD = """
import re, sys
from pathlib import Path
from srkd.cli import main
code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text()
print(code, re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""


def measure(photo: Path, size: Size) -> dict[str, float]:
    """In MB: peak memory, the image that Pillow encodes (4 bytes per pixel), and the rest."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.jpg", Path(folder) / "out.jpg"
        Image.fromarray(read_image(photo)).resize(size).save(source, quality=92)
        command = [sys.executable, "-c", CHILD, "upscale", str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
        out = done.stdout.split()
        if done.returncode or out[-2] != "0":
            raise SrkdError(f"srkd upscale failed: {(done.stderr.strip().splitlines() or [''])[-1]}")
        with Image.open(target) as large:
            picture = large.width * large.height * 4
    peak = int(out[-1]) * 1024
    return {"peak": peak / 1e6, "picture": picture / 1e6, "beside": (peak - picture) / 1e6}


def work(arguments: Namespace) -> None:
    check_output("--json", arguments.json)
    Image.MAX_IMAGE_PIXELS = None
    width, height = arguments.size
    found = measure(arguments.photo, arguments.size)
    print(", ".join(f"{name} {value:.0f} MB" for name, value in found.items()))
    if arguments.json:
        write_json(arguments.json, {"size": f"{width}x{height}", **found})


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--size", type=parse_size, default=(4000, 3000), help="WIDTHxHEIGHT of the input")
    parser.add_argument("--json", type=Path, help="file for the figures")
    run_script(parser, work)


if __name__ == "__main__":
    main()
