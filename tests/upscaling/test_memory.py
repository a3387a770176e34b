"""Peak memory of upscaling."""

from pathlib import Path

import pytest
from conftest import run_python
from PIL import Image

PEAK = """
import re, sys
from pathlib import Path
from srkd.cli import main
code = main(sys.argv[1:])
# Of this process alone; what getrusage tells begins with the parent's.
print(code, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is measured the Linux way")
def test_memory_is_bounded_by_the_tile(tmp_path):
    """Twice the area costs no more than the picture's own growth."""
    peaks = []
    for width in (800, 1600):
        Image.effect_noise((width, 600), 50).convert("RGB").save(tmp_path / f"{width}.jpg")
        words = ["upscale", tmp_path / f"{width}.jpg", "-o", tmp_path / f"{width}.bmp", "--threads", "1"]
        out = run_python(PEAK, *map(str, words)).split()
        assert out[-2] == "0"
        peaks.append(int(out[-1]) * 1024)
    picture = 1600 * 600 * 16 * 4
    assert peaks[1] - peaks[0] <= picture / 2 + 60 * 2**20
    assert peaks[1] <= picture + 600 * 2**20
