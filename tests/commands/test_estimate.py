"""`srkd estimate`: what a run would take."""

import pytest
import torch
from conftest import GAN, TINY
from torchvision.models import VGG19_Weights, vgg19

import srkd
from srkd import load_recipe


def test_it_measures_every_stage_and_writes_nothing(photos, tmp_path, capsys):
    out = tmp_path / "run"
    options = {"stages": GAN, **TINY, "steps": 1000, "tensorboard": True}
    found = srkd.estimate(photos, strategy="srgan", out=out, **options)
    shown = capsys.readouterr().out
    assert not out.exists() and "GiB" in shown and "1,000" in shown
    assert list(found) == ["pretrain", "gan"]
    for name, cost in found.items():
        assert name in shown and cost.steps == 1000 and cost.teraflops_per_step > 0
        assert cost.hours == pytest.approx(cost.seconds_per_step * 1000 / 3600)
    # The GAN stage trains a discriminator besides, and passes images through the perceptual trunk.
    assert found["gan"].parameters > found["pretrain"].parameters
    assert found["gan"].teraflops_per_step > found["pretrain"].teraflops_per_step


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_papers_runs_are_ready(monkeypatch, tmp_path, scale):
    """Two steps of each stage of full size, with a file in the place of torchvision's VGG19 (random)."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / VGG19_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    file.parent.mkdir(parents=True)
    torch.save(vgg19(weights=None).state_dict(), file)
    recipe = {**load_recipe(f"paper_x{scale}"), "data": "embedded", "precision": "32-true", "batch": 2}
    found = srkd.estimate(**{**recipe, "out": tmp_path / "run"})
    assert {name: cost.steps for name, cost in found.items()} == {"pretrain": 1_000_000, "gan": 200_000}
    assert not (tmp_path / "run").exists()
