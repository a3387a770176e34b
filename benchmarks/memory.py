"""The peak memory of `srkd upscale` on a large photograph, on Linux.

    python benchmarks/memory.py PHOTO [--size 4000x3000] [--json benchmarks/results/memory.json]

The photograph is resized to SIZE, and enlarged to a JPEG by the shipped default in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from srkd.files import write_text

# What getrusage tells begins with the parent's peak; this is the process's own.
CHILD = """
import re, sys
from pathlib import Path
from srkd.cli import main
code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text()
print(code, re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""


def measure(photo: Path, size: tuple[int, int]) -> dict[str, float]:
    """Peak memory, and that of the picture that Pillow encodes (4 bytes a pixel), in MB."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.jpg", Path(folder) / "out.jpg"
        with Image.open(photo) as image:
            image.convert("RGB").resize(size).save(source, quality=92)
        command = [sys.executable, "-c", CHILD, "upscale", str(source), "-o", str(target)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        if out[-2] != "0":
            raise SystemExit("srkd upscale failed")
        with Image.open(target) as large:
            picture = large.width * large.height * 4
    peak = int(out[-1]) * 1024
    return {"peak": peak / 1e6, "picture": picture / 1e6, "beside": (peak - picture) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--size", default="4000x3000")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    width, height = map(int, arguments.size.split("x"))
    found = measure(arguments.photo, (width, height))
    print(", ".join(f"{name} {value:.0f} MB" for name, value in found.items()))
    if arguments.json:
        write_text(arguments.json, json.dumps({"size": arguments.size, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
