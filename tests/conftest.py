"""Small photographs, a shared tiny teacher, and where the benchmark data lies when it is there."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes with several threads each would stand in one another's way.
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch

import srkd
from srkd.cli import main
from srkd.data import embedded_photos
from srkd.images import read_image, write_image

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("SRKD_DATA", ROOT.parent / "shared" / "data"))


def load_script(path: str) -> Any:
    """A script of the project as a module, by its path from the top, such as `benchmarks/ship.py`."""
    file = ROOT / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def benchmark() -> Path:
    """The folder of Set5, Set14 and BSD100, each with HR and MATLAB's LR."""
    if not (DATA / "benchmark").is_dir():
        pytest.skip("no benchmark data; set SRKD_DATA to the folder that holds benchmark/Set5 ...")
    return DATA / "benchmark"


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A folder of six small photographs of different, partly odd sizes."""
    folder = tmp_path_factory.mktemp("photos")
    sources = embedded_photos(["astronaut.png", "coffee.png", "rocket.jpg"])
    boxes = [(0, 0, 96, 96), (120, 200, 97, 110)]
    for source in sources:
        image = read_image(source)
        for number, (top, left, height, width) in enumerate(boxes):
            crop = image[top : top + height, left : left + width]
            write_image(folder / f"{source.stem}_{number}.png", np.ascontiguousarray(crop))
    return folder


@pytest.fixture(scope="session")
def teacher(tmp_path_factory, photos) -> Path:
    """A run folder with `pretrain.safetensors`, `gan.safetensors` and its discriminator."""
    out = tmp_path_factory.mktemp("teacher") / "run"
    srkd.train(
        str(photos),
        model="srgan_tiny",
        out=str(out),
        stages={"gan": {"critics": {"hr": {"options": {"channels": 8}}}}},
        **{**SHORT, "steps": 20},
    )
    return out


# Arguments that make any run short.
SHORT = {"steps": 6, "crop": 32, "batch": 2, "validate_every": 20}


def on_full_disk(words: list[str], limit: int) -> tuple[int, str]:
    """Runs a command in a process whose files cannot grow beyond `limit` bytes; its exit code and stderr."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
    code += "import sys; from srkd.cli import main; sys.exit(main(sys.argv[1:]))"
    # No compiled modules are written: the limit would cut them.
    command = [sys.executable, "-B", "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stderr


def fails(capsys, code, *words):
    """Runs a command that must fail; returns its single line of complaint."""
    assert main([str(word) for word in words]) == code
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1 and "Traceback" not in error, error
    return error


def python(text, *words):
    command = [sys.executable, "-c", text, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
