"""The light installation: `pip install srkd` alone upscales photographs, to the same pixels."""

import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import srkd

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "scipy", "skimage", "spandrel", "onnx", "kornia", "lightning_fabric")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run(*words: str | Path, folder: Path, code: int = 0) -> str:
    """The output of a command that starts away from the checkout and sees nothing but its own packages."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> Path:
    """The Python of an environment with the wheel and what the wheel asks for."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    reach = subprocess.run(
        [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder / "reach", "lazy-loader"],
        capture_output=True,
        text=True,
    )
    if reach.returncode:
        pytest.skip(f"pip reaches no package index: {(reach.stderr.splitlines() or ['no message'])[-1]}")
    run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder / "wheel", ROOT, folder=folder)
    (wheel,) = (folder / "wheel").glob("srkd-*.whl")
    # The versions of this environment, so that pixels are compared and not releases.
    names = ("numpy", "onnxruntime", "pillow")
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in names]
    run(python, "-m", "pip", "install", "--quiet", wheel, *pins, folder=folder)
    return python


@pytest.fixture
def photo(tmp_path) -> Path:
    rows, columns = np.mgrid[:60, :80]
    waves = [127 + 120 * np.sin(columns / (5 + k) + rows / (9 - k)) for k in range(3)]
    Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(tmp_path / "photo.jpg", quality=92)
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize("package", HEAVY)
def test_brings_nothing_heavy(light, package, tmp_path):
    source = f"import importlib.util; print(importlib.util.find_spec({package!r}))"
    assert run(light, "-c", source, folder=tmp_path).strip() == "None"


def test_is_small(light):
    # numpy, imagecodecs and onnxruntime, with their libraries, are most of it; pip is not counted.
    (packages,) = light.parents[1].glob("**/site-packages")
    own = ("pip", "setuptools", "pkg_resources")
    files = (path for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc")
    size = sum(
        path.stat().st_size for path in files if not path.relative_to(packages).parts[0].startswith(own)
    )
    assert size < 400e6, f"{size / 1e6:.0f} MB"


@pytest.mark.parametrize("options", [{}, {"weights": "bicubic"}, {"weights": "onnx"}])
def test_upscales_to_the_pixels_of_the_full_environment(light, photo, tmp_path, options):
    if options.get("weights") == "onnx":
        options = {"weights": str(ROOT / "weights" / "span_s_psnr.onnx")}
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    light_file, full_file = tmp_path / "light.png", tmp_path / "full.png"
    run(light, "-m", "srkd", "upscale", photo, "-o", light_file, *words, folder=tmp_path)
    srkd.upscale(str(photo), str(full_file), **options)
    with Image.open(light_file) as one, Image.open(full_file) as other:
        assert one.size == (320, 240)
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_upscales_transparency_and_sixteen_bits(light, tmp_path):
    ramp = np.linspace(0, 255, 32 * 32 * 4).reshape(32, 32, 4).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "clear.png")
    Image.fromarray(ramp[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("clear", "deep"):
        run(light, "-m", "srkd", "upscale", f"{name}.png", "-o", f"{name}_x4.png", folder=tmp_path)
        with Image.open(tmp_path / f"{name}_x4.png") as result:
            assert result.size == (128, 128)


def test_help_and_backends(light, tmp_path):
    assert "upscale" in run(light, "-m", "srkd", "--help", folder=tmp_path)
    assert srkd.__version__ in run(light, "-m", "srkd", "--version", folder=tmp_path)
    text = " ".join(run(light, "-m", "srkd", "backends", folder=tmp_path).split())
    assert "onnxruntime" in text and "not installed" in text


def test_training_says_what_installs_it(light, tmp_path):
    text = run(light, "-m", "srkd", "train", tmp_path, folder=tmp_path, code=2)
    assert "pip install 'srkd[train]'" in text and "Traceback" not in text and len(text.splitlines()) == 1
