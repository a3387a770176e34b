"""`srkd train`."""

import pytest
import torch
from conftest import GAN, TINY
from torchvision.models import VGG19_Weights, vgg19

import srkd
from srkd import load_generator
from srkd.cli import main


def test_training_by_recipe_from_the_command_line(tmp_path, photos):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "{model: srgan_tiny, strategy: pretrain, crop: 32, batch: 2, "
        "stages: {pretrain: {steps: 2, rate: 1e-3}}}"
    )
    out = tmp_path / "run"
    assert (
        main(["train", str(photos), "--config", str(recipe), "--out", str(out), "--stages.pretrain.steps=3"])
        == 0
    )
    assert load_generator(out / "pretrain.safetensors").info["steps"] == 3


def test_images_smaller_than_a_crop(fails, tmp_path, photos):
    error = fails(2, "train", photos, "--out", tmp_path / "run", "--crop", "200")
    assert "smaller than a crop of 200" in error


def test_a_dry_run_writes_nothing(photos, tmp_path, capsys):
    out = tmp_path / "run"
    options = {"stages": GAN, **TINY, "steps": 1000, "tensorboard": True}
    assert srkd.train(str(photos), out=str(out), dry_run=True, **options) is None
    shown = capsys.readouterr().out
    assert not out.exists() and "pretrain" in shown and "gan" in shown and "GiB" in shown and "1,000" in shown


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_papers_runs_are_ready(capsys, monkeypatch, tmp_path, scale):
    """Two steps of each stage of full size, with a file in the place of torchvision's VGG19 (random)."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / VGG19_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    file.parent.mkdir(parents=True)
    torch.save(vgg19(weights=None).state_dict(), file)
    words = [
        "train",
        "embedded",
        "--config",
        f"paper_x{scale}",
        "--dry_run",
        "--precision",
        "32-true",
        "--batch",
        "2",
    ]
    words += ["--out", str(tmp_path / "run")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "1,000,000" in shown and "200,000" in shown and not (tmp_path / "run").exists()
