"""The parts of gpu.sh: what they make of logs, recipes and photographs; not their speed."""

import io
import subprocess
import sys
import tarfile
from argparse import Namespace
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, load_script
from PIL import Image
from torch import nn

from srkd.errors import UsageError
from srkd.files import hash_file
from srkd.training import loop
from srkd.weights.store import load_generator

check = load_script("benchmarks/gpu/check.py")
places, recipes, pack, train, real = (
    import_module(f"benchmarks.gpu.{name}") for name in ("places", "recipes", "pack", "train", "real")
)

LOG = """
[gw0] [  1%] PASSED tests/a.py::one
[gw1] [ 20%] FAILED tests/a.py::two[cuda]
tests/a.py::three
[gw1] [ 30%] SKIPPED tests/a.py::four
[gw0] [ 40%] FAILED tests/b.py::runs_nowhere
=========================== short test summary info ============================
FAILED tests/a.py::two[cuda] - AssertionError: 0.3 != 0.2
FAILED tests/b.py::runs_nowhere - ModuleNotFoundError: No module named 'nowhere'
ERROR tests/c.py - SyntaxError
"""
END = "=== 2 failed, 1 passed, 1 skipped, 1 error in 12.31s ===\n"


def make_places(tmp_path, dry=True, **given):
    options = {"photos": None, "sets": None, "teacher": None, "minutes": 1, **given}
    return places.Places(Namespace(work=tmp_path / "work", dry_run=dry, **options))


def test_a_log_of_tests_tells_failures_from_missing_packages(monkeypatch):
    monkeypatch.setattr(check, "PACKAGES", ("nowhere", "numpy"))
    found = check.read_log(LOG + END)
    assert found["counts"] == {"PASSED": 1, "FAILED": 2, "SKIPPED": 1} and found["finished"]
    assert found["missing_packages"] == ["nowhere"]
    assert found["failed_for_a_missing_package"] == ["tests/b.py::runs_nowhere"]
    assert found["failed"] == {
        "tests/a.py::two[cuda]": "AssertionError: 0.3 != 0.2",
        "tests/c.py": "SyntaxError",
    }
    cut = check.read_log(LOG[: LOG.index("===")])
    assert not cut["finished"] and "tests/a.py::two[cuda]" in cut["failed"]


def test_recipes_are_those_of_the_benchmarks_with_changes(tmp_path):
    changes = {"batch": 32, "start": None, "stages": {"pretrain": None, "transfer": {"rate": 1e-3}}}
    base = recipes.base("real/student.yaml")
    tiny = yaml.safe_load(recipes.write(make_places(tmp_path), "a", base, changes).read_text())
    full = yaml.safe_load(recipes.write(make_places(tmp_path, dry=False), "b", base, changes).read_text())
    assert (full["batch"], full["device"], full["precision"]) == (32, "cuda", "bf16-mixed")
    assert (tiny["batch"], tiny["device"], tiny["precision"]) == (2, "cpu", "32-true")
    assert full["out"] == str(tmp_path / "work" / "b") and tiny["out"].endswith("dry/a")
    assert full["stages"]["transfer"] == {**base["stages"]["transfer"], "rate": 1e-3}
    assert full["stages"]["pretrain"] is None and full["stages"]["finetune"] is None


def test_students_of_real_photographs_go_through_the_recipes_of_the_shipped_one(tmp_path):
    (tmp_path / "x4.param").touch()
    given = make_places(tmp_path, dry=False, teacher=tmp_path / "x4.param")
    given.__dict__["held_out"] = None
    for name in ("real", "held_packed"):
        (given.work / name).mkdir()
    (given.work / "held_packed" / "manifest.json").touch()
    runs = real.make_recipes(given)
    assert list(runs) == ["span_s_real", "span_m_real"]
    for name, (files, shares) in runs.items():
        found = [yaml.safe_load(path.read_text()) for path in files]
        assert len(shares) == len(found) == 3
        assert [Path(recipe["out"]).name for recipe in found] == [f"{name}_pixels", f"{name}_lpips", name]
        # Each starts from the one before; of the larger one, the first from the smaller one's weights.
        assert found[0]["start"] == "span_s_psnr"
        assert found[0].get("model") == ("span_m" if name == "span_m_real" else None)
        for before, recipe in pairwise(found):
            assert recipe["start"] == f"{before['out']}/transfer.safetensors" and "model" not in recipe
        for recipe in found[1:]:
            losses = recipe["stages"]["transfer"]["losses"]
            assert {"lpips", "lpips_output", "blocking", "grid"} <= losses.keys()


def test_steps_are_fitted_once_and_a_finished_run_is_left_alone(photos, tmp_path, monkeypatch):
    recipe = {
        **{"data": str(photos), "strategy": "pretrain", "model": "srgan_tiny", "device": "cpu"},
        **{"crop": 32, "batch": 2, "out": str(tmp_path / "run"), "stages": {"pretrain": {"rate": 1e-3}}},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    train.train(path, 60, dry=True)
    weights = tmp_path / "run" / "pretrain.safetensors"
    assert load_generator(weights).info["steps"] == places.STEPS
    before = hash_file(weights)
    monkeypatch.setattr(loop, "train_step", lambda *_: pytest.fail("trained again"))
    train.train(path, 60, dry=True)
    assert hash_file(weights) == before


@pytest.mark.parametrize("seconds", [10, 100])
def test_stages_get_the_steps_that_fit_in_the_ratio_of_the_recipe(monkeypatch, seconds):
    class Job:
        stages = ("a", "b")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    costs = {
        "a": Namespace(seconds_per_step=0.01, steps=1000, teraflops_per_step=1),
        "b": Namespace(seconds_per_step=0.03, steps=3000, teraflops_per_step=1),
    }
    monkeypatch.setattr(train, "opened", lambda _: Job())
    monkeypatch.setattr(train, "measure_stage", lambda _job, name, _steps: costs[name])
    found = train.fit(Namespace(out="x"), seconds, dry=False)
    took = sum(costs[name].seconds_per_step * count for name, count in found.items())
    assert took == pytest.approx(train.STEPPING * seconds, rel=0.05)
    assert found["b"] == pytest.approx(3 * found["a"], rel=0.02)


def test_bundles_hold_photographs_smaller_and_those_held_out_as_they_are(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    rise = np.linspace(0, 200, 40 * 60 * 3).reshape(40, 60, 3).astype(np.uint8)
    for name in ("a.jpg", "inner/b.jpg", "c.png"):
        Image.fromarray(rise).save(folder / name, **({"quality": 97} if "jpg" in name else {}))
    (tmp_path / "held").write_text(f"{hash_file(folder / 'inner/b.jpg')}  b.jpg\n")
    Image.fromarray(255 - rise).save(folder / "a.jpg", quality=97)
    monkeypatch.setattr(pack, "HELD_OUT", tmp_path / "held")
    pack.write(tmp_path / "x.tar.xz", pack.photographs(folder))
    with tarfile.open(tmp_path / "x.tar.xz") as tar:
        found = {name: tar.extractfile(name).read() for name in tar.getnames()}
    assert found.keys() == {f"given/photos/{name}" for name in ("a.webp", "inner/b.jpg", "c.png")}
    assert found["given/photos/inner/b.jpg"] == (folder / "inner/b.jpg").read_bytes()
    webp = np.asarray(Image.open(io.BytesIO(found["given/photos/a.webp"])), int)
    assert np.abs(webp - (255 - rise.astype(int))).mean() < 3


def test_the_first_bundle_has_the_code_and_the_second_what_tests_need():
    first, second = ({name for name, _ in pack.code(for_tests)} for for_tests in (False, True))
    assert {
        "srkd/cli.py",
        "benchmarks/gpu.sh",
        "weights/index.json",
        "weights/span_s_psnr.safetensors",
    } <= first
    assert {"tests/conftest.py", "weights/span_s_psnr.onnx"} <= second and not first & second
    assert not [name for name in first | second if name.startswith("benchmarks/strategies/weights")]


def test_trunks_are_stored_in_half_but_for_their_heads():
    members = dict(pack.trunks())
    (vgg,) = (content for name, content in members.items() if name.endswith("vgg_shift_tolerant.pth"))
    tensors = torch.load(io.BytesIO(vgg), weights_only=True)
    assert all((value.dtype == torch.float16) == key.startswith("net.") for key, value in tensors.items())
    # A layer takes them as they are.
    layer = nn.Conv2d(3, 64, 3)
    layer.load_state_dict({key: tensors[f"net.slice1.0.{key}"] for key in ("weight", "bias")})
    assert layer.weight.dtype == torch.float32


def test_misuse_is_told(tmp_path):
    dry = make_places(tmp_path)
    with pytest.raises(UsageError, match="give --teacher"):
        _ = dry.teacher
    with pytest.raises(UsageError, match="give --photos"):
        _ = make_places(tmp_path, dry=False).photos
    if sys.platform == "win32":
        return
    script = ROOT / "benchmarks" / "gpu.sh"
    for words, told in (
        (["speeed"], "no part speeed; choose from: check"),
        (["real=x"], "minutes are a number"),
        ([], ""),
    ):
        done = subprocess.run([script, *words], capture_output=True, text=True)
        assert done.returncode == 2 and told in done.stderr
