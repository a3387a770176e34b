"""Printed recipes."""

import pytest
import yaml
from conftest import same

from srkd.cli import main


@pytest.mark.parametrize("command", ["train", "distill", "finetune", "mutual"])
def test_print_config_shows_what_would_run(capsys, command):
    words = [command, "--data", "photos", "--print_config", "--start", "w.safetensors"]
    nested = {"train": "gan", "distill": "finetune", "finetune": "finetune", "mutual": "finetune"}[command]
    assert (
        main([*words, f"--stages.{nested}.losses.perceptual.weight", "7", f"--stages.{nested}.steps=5"]) == 0
    )
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["stages"][nested]["losses"]["perceptual"]["weight"] == 7
    assert printed["stages"][nested]["steps"] == 5 and printed["data"] == "photos"


@pytest.mark.parametrize("command", ["finetune", "mutual", "distill"])
def test_a_printed_recipe_runs_the_same(photos, teacher, tmp_path, capsys, command):
    """Its stages are all there, and what was removed stays removed."""
    words = [command, "--data", str(photos), "--start", str(teacher / "pretrain.safetensors"), "--steps", "3"]
    words += ["--model", "srgan_tiny", "--crop", "32", "--batch", "2", "--stages.finetune.losses.l1", "null"]
    words += ["--stages.finetune.critics.hr.options.channels", "4", "--validate_every", "3"]
    words += ["--teacher", str(teacher / "gan.safetensors")] if command == "distill" else []
    assert main([*words, "--print_config"]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    stage = yaml.safe_load(printed.read_text())["stages"]["finetune"]
    assert stage["steps"] == 3 and stage["losses"]["l1"] is None and stage["losses"]["perceptual"]["weight"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    assert main([command, "--config", str(printed), "--out", str(tmp_path / "b")]) == 0
    weights = sorted(path.name for path in (tmp_path / "a").glob("*.safetensors"))
    assert weights and all(same(tmp_path / "a" / name, tmp_path / "b" / name) for name in weights)
