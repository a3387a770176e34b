"""What runtimes leave in the user's home: nothing."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, write_compact
from PIL import Image


def run_at_home(folder, text: str) -> set[str]:
    """Runs a program whose home is an empty folder; gives the files in it afterwards."""
    home = folder / "home"
    home.mkdir()
    keys = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    env = {key: value for key, value in os.environ.items() if key not in keys}
    env |= {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", text], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


PROGRAMS = {
    "upscale": "srkd.upscale('x.png', 'y.png')",
    "teach": f"srkd.load_generator({str(ROOT / 'weights' / 'span_s_psnr.onnx')!r})",
    "onnx": "srkd.export('compact.pth', precision='fp16', out='x.onnx')",
    "openvino": "srkd.export('compact.pth', format='openvino', out='x.xml')",
    "run openvino": "srkd.upscale('x.png', 'y.png', backend='openvino')",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_left_behind(tmp_path, name):
    write_compact(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "x.png")
    assert run_at_home(tmp_path, f"import srkd; {PROGRAMS[name]}") == set()


def test_a_wish_of_the_user_stays(tmp_path):
    program = "import os; os.environ['ORT_DISABLE_TELEMETRY'] = 'true'\n"
    program += "from srkd.runtimes.onnxruntime import import_onnxruntime; import_onnxruntime()\n"
    program += "assert os.environ['ORT_DISABLE_TELEMETRY'] == 'true'"
    assert run_at_home(tmp_path, program) == set()
