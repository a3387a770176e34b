"""Runs that go on after their end."""

import json
import shutil

import pytest
import yaml
from conftest import GAN, interrupt, pretrain, read_log, run_strategy, same, small_critics, stop_at

from srkd import UsageError, load_generator

# A rate that does not fall: then a run that goes on is the run that was longer from the start.
FLAT = {"stages": {"pretrain": {"rate": 1e-3, "final_rate": 1e-3}}}


def test_more_steps_after_the_end_are_those_of_a_longer_run(photos, tmp_path, capsys):
    long = pretrain(photos, tmp_path / "long", **FLAT, steps=20)
    pretrain(photos, tmp_path / "run", **FLAT)
    capsys.readouterr()
    more = pretrain(photos, tmp_path / "run", **FLAT, steps=20, resume=True)
    said = capsys.readouterr().out
    assert "goes on from step 12 to 20" in said and "the schedule" not in said
    assert same(long.weights["pretrain"], more.weights["pretrain"])
    assert load_generator(more.weights["pretrain"]).info["steps"] == 20
    entries = [entry["step"] for entry in read_log(tmp_path / "run") if "losses" in entry]
    assert entries == list(range(1, 21))
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert state["state"] == "finished" and (state["step"], state["steps"]) == (20, 20)


def test_the_restated_schedule_is_said_and_moments_are_kept(photos, tmp_path, monkeypatch, capsys):
    pretrain(photos, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    capsys.readouterr()
    whole = pretrain(photos, tmp_path / "run", steps=24, resume=True)
    assert "the schedule is that of 24 steps" in capsys.readouterr().out
    # Stopped on its way, it goes on to the same bits; and without the moments it would not.
    stop_at(monkeypatch, 4, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pretrain(photos, tmp_path / "cut", steps=24, resume=True)
    resumed = pretrain(photos, tmp_path / "cut", steps=24, resume=True)
    assert same(whole.weights["pretrain"], resumed.weights["pretrain"])
    fresh = pretrain(
        photos, tmp_path / "fresh", steps=12, start=str(tmp_path / "run" / "pretrain.safetensors")
    )
    assert not same(whole.weights["pretrain"], fresh.weights["pretrain"])


def test_only_the_last_stage_gets_more_steps(photos, teacher, tmp_path, monkeypatch):
    options = {"stages": small_critics("gan2g_al"), "steps": 8, "save_every": 3}
    first = run_strategy(photos, teacher, tmp_path / "run", "gan2g_al", **options)
    transfer = first.weights["transfer"].read_bytes()
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    more = options | {"steps": 14, "resume": True}
    whole = run_strategy(photos, teacher, tmp_path / "run", "gan2g_al", **more)
    assert whole.weights["transfer"].read_bytes() == transfer
    stages = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["stages"]
    assert {name: stage["steps"] for name, stage in stages.items()} == {"transfer": 8, "finetune": 14}
    stop_at(monkeypatch, 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_strategy(photos, teacher, tmp_path / "cut", "gan2g_al", **more)
    resumed = run_strategy(photos, teacher, tmp_path / "cut", "gan2g_al", **more)
    assert same(whole.weights["finetune"], resumed.weights["finetune"])


def test_what_is_no_going_on_is_refused(photos, tmp_path):
    pretrain(photos, tmp_path / "run")
    for steps in (12, 6):
        with pytest.raises(UsageError, match="finished, with 12 steps of pretrain"):
            pretrain(photos, tmp_path / "run", steps=steps, resume=True)
    with pytest.raises(UsageError, match="seed was 0, now 1"):
        pretrain(photos, tmp_path / "run", steps=20, seed=1, resume=True)
    with pytest.raises(UsageError, match=r"stages\.pretrain was"):
        stages = {"pretrain": {"rate": 1e-5}}
        pretrain(photos, tmp_path / "run", steps=20, stages=stages, resume=True)
    with pytest.raises(UsageError, match="--resume"):
        pretrain(photos, tmp_path / "run", steps=20)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(UsageError, match="its last checkpoint is gone"):
        pretrain(photos, tmp_path / "run", steps=20, resume=True)


def test_a_run_killed_before_it_said_that_it_is_finished_finishes(photos, tmp_path):
    whole = pretrain(photos, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    state = json.loads((tmp_path / "cut" / "run.json").read_text())
    (tmp_path / "cut" / "run.json").write_text(json.dumps(state | {"state": "running"}))
    (tmp_path / "cut" / "pretrain.safetensors").unlink()
    again = pretrain(photos, tmp_path / "cut", resume=True)
    assert same(whole.weights["pretrain"], again.weights["pretrain"])
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "cut")


def test_an_adversarial_run_keeps_its_critics(photos, tmp_path):
    """Bit for bit, where nothing is scheduled over the steps."""
    flat = {"rate": 1e-4, "final_rate": 1e-4, "steps": 6}
    options = {
        "strategy": "srgan",
        "stages": {"pretrain": {"steps": 4}, "gan": {**GAN["gan"], **flat}},
        "steps": None,
    }
    longer = {**options, "stages": {**options["stages"], "gan": {**options["stages"]["gan"], "steps": 10}}}
    long = pretrain(photos, tmp_path / "long", **longer)
    pretrain(photos, tmp_path / "run", **options)
    more = pretrain(photos, tmp_path / "run", **longer, resume=True)
    for name in ("gan", "gan_discriminator"):
        assert same(long.folder / f"{name}.safetensors", more.folder / f"{name}.safetensors")
