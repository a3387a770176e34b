"""Runs that stop, or change, go on or are refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from conftest import (
    GAN,
    SHORT,
    interrupt,
    kill,
    pretrain,
    read_log,
    run_strategy,
    same,
    small_critics,
    stop_at,
    train_command,
)

import srkd
from srkd import SrkdError, UsageError, load_generator
from srkd.training import loop
from srkd.training.step import train_step


def test_every_step_has_random_numbers_of_its_own(photos, tmp_path, monkeypatch):
    """By seed, stage and step: not those of the step before, and the same in every run."""
    found = {}
    for name, options in (("a", {}), ("again", {}), ("other", {"seed": 1})):
        seeds = found[name] = []

        def step_and_note(*args, seeds=seeds):
            seeds.append(torch.initial_seed())
            return train_step(*args)

        monkeypatch.setattr(loop, "train_step", step_and_note)
        pretrain(photos, tmp_path / name, **options)
    assert len(set(found["a"])) == 12 and found["a"] == found["again"]
    assert not set(found["a"]) & set(found["other"])


def test_degradations_go_on_where_they_stopped(photos, tmp_path, monkeypatch):
    """They depend on seed, stage, step and row alone, so a run that is cut short ends as one that was not."""
    options = {"degradation": {"preset": "real", "clean": 0.2}}
    whole = pretrain(photos, tmp_path / "whole", **options)
    stop_at(monkeypatch, 8, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pretrain(photos, tmp_path / "cut", **options)
    resumed = pretrain(photos, tmp_path / "cut", resume=True, **options)
    assert same(whole.weights["pretrain"], resumed.weights["pretrain"])
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "cut")
    with pytest.raises(UsageError, match="degradation was 'web', now 'real'"):
        stop_at(monkeypatch, 8, interrupt)
        with pytest.raises(KeyboardInterrupt):
            pretrain(photos, tmp_path / "other", degradation="web")
        pretrain(photos, tmp_path / "other", resume=True, degradation="real")


@pytest.mark.parametrize(("optimizer", "stop"), [("adam", 12), ("muon", 12), ("adam", 5)])
def test_a_stopped_run_goes_on_to_the_same_weights(photos, teacher, tmp_path, monkeypatch, optimizer, stop):
    """Ctrl-C in either stage; the resumed run ends where an undisturbed one does."""
    overrides = {"steps": 8, "optimizer": optimizer}
    options = {"stages": {k: v | overrides for k, v in small_critics("gan2g_al").items()}, "save_every": 3}
    whole = run_strategy(photos, teacher, tmp_path / "whole", "gan2g_al", **options)
    stop_at(monkeypatch, stop, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_strategy(photos, teacher, tmp_path / "cut", "gan2g_al", **options)
    assert list((tmp_path / "cut" / "checkpoints").glob("*.pt"))
    with pytest.raises(UsageError, match="--resume"):
        run_strategy(photos, teacher, tmp_path / "cut", "gan2g_al", **options)
    with pytest.raises(UsageError, match="seed was 0, now 1"):
        run_strategy(photos, teacher, tmp_path / "cut", "gan2g_al", seed=1, resume=True, **options)
    resumed = run_strategy(photos, teacher, tmp_path / "cut", "gan2g_al", resume=True, **options)
    for stage in ("transfer", "finetune"):
        assert same(whole.weights[stage], resumed.weights[stage])


def test_stages_after_resuming_hold_to_their_own_start(photos, teacher, tmp_path, monkeypatch):
    """The frozen copy of `forgetting` is part of a checkpoint."""
    options = {
        "strategy": "extend",
        "start": str(teacher / "pretrain.safetensors"),
        **SHORT,
        "steps": 15,
        "save_every": 5,
    }
    whole = srkd.train(str(photos), out=str(tmp_path / "whole"), **options)
    stop_at(monkeypatch, 12, kill)
    with pytest.raises(MemoryError):
        srkd.train(str(photos), out=str(tmp_path / "cut"), **options)
    resumed = srkd.train(str(photos), out=str(tmp_path / "cut"), resume=True, **options)
    assert same(whole.weights["extend"], resumed.weights["extend"])


def test_a_changed_recipe_is_refused_with_its_keys_or_allowed(photos, tmp_path, monkeypatch, capsys):
    stop_at(monkeypatch, 10, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run")
    with pytest.raises(UsageError, match=r"steps was 12, now 20.*seed was 0, now 3.*--allow-changes"):
        pretrain(photos, tmp_path / "run", resume=True, steps=20, seed=3)
    # Where it runs, and how often it reports, is no part of what it comes to.
    result = pretrain(
        photos, tmp_path / "run", resume=True, allow_changes=True, steps=20, save_every=7, threads=1
    )
    assert "changed since the run was started: steps was 12, now 20" in capsys.readouterr().out
    assert load_generator(result.weights["pretrain"]).info["steps"] == 20


def test_the_same_path_written_otherwise_is_no_other_recipe(photos, tmp_path, monkeypatch):
    stop_at(monkeypatch, 10, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run")
    monkeypatch.chdir(photos.parent)
    result = pretrain(Path("..") / photos.parent.name / photos.name, tmp_path / "run", resume=True)
    assert load_generator(result.weights["pretrain"]).info["steps"] == 12


def test_a_changed_rate_or_optimizer_takes_hold(photos, tmp_path, monkeypatch, capsys):
    """They are the stage's, not the checkpoint's."""

    def go(calls, **stage):
        stop_at(monkeypatch, calls, kill)
        again = {"resume": True, "allow_changes": True} if (tmp_path / "run").exists() else {}
        pretrain(photos, tmp_path / "run", steps=24, stages={"pretrain": stage}, **again)

    with pytest.raises(MemoryError):
        go(10, rate=1e-3, optimizer="adam")
    with pytest.raises(MemoryError):
        go(5, rate=4e-3, optimizer="adam")
    assert (
        max(entry["rates"]["generators"] for entry in read_log(tmp_path / "run") if "rates" in entry) > 1e-3
    )
    assert "starts without moments" not in capsys.readouterr().out
    go(100, rate=4e-3, optimizer="muon")
    assert "muon starts without moments, after adam" in capsys.readouterr().out


def test_another_architecture_cannot_be_allowed(photos, tmp_path, monkeypatch):
    stop_at(monkeypatch, 10, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run")
    with pytest.raises(UsageError, match="does not fit the recipe's networks"):
        pretrain(photos, tmp_path / "run", resume=True, allow_changes=True, model="compact_s")


def test_a_stage_may_leave_the_recipe_but_not_the_one_a_run_is_in(photos, tmp_path, monkeypatch):
    stop_at(monkeypatch, 12 + 5, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run", strategy="srgan", stages=GAN)
    options = {"strategy": "srgan", "resume": True, "allow_changes": True}
    before = read_log(tmp_path / "run")
    with pytest.raises(UsageError, match="is in its stage 'gan', which this recipe does not have"):
        pretrain(photos, tmp_path / "run", stages={"gan": None}, **options)
    result = pretrain(photos, tmp_path / "run", stages={**GAN, "pretrain": None}, **options)
    assert list(result.weights) == ["gan"]
    found = read_log(tmp_path / "run")
    assert [e for e in found if e["stage"] == "pretrain"] == [e for e in before if e["stage"] == "pretrain"]
    assert [e["step"] for e in found if e["stage"] == "gan" and "losses" in e] == list(range(1, 13))


def test_changed_data_is_refused(photos, tmp_path, monkeypatch):
    folder = shutil.copytree(photos, tmp_path / "folder")
    stop_at(monkeypatch, 10, kill)
    with pytest.raises(MemoryError):
        pretrain(folder, tmp_path / "run")
    sorted(folder.iterdir())[-1].unlink()
    with pytest.raises(UsageError, match="not those that the run"):
        pretrain(folder, tmp_path / "run", resume=True)


def test_data_that_changes_under_a_run_ends_it(photos, tmp_path, monkeypatch):
    packed = tmp_path / "packed"
    srkd.prepare(str(photos), str(packed))
    stop_at(monkeypatch, 7, lambda: os.truncate(packed / "lr.u8", 10))
    with pytest.raises(SrkdError, match=r"lr\.u8 was changed while training"):
        pretrain(packed, tmp_path / "run")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_killed_twenty_times_ends_as_an_undisturbed_one(photos, tmp_path):
    """SIGKILL, and now and then SIGTERM, at random moments of real processes, in both stages."""
    srkd.prepare(str(photos), str(tmp_path / "data"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "stages: {pretrain: {steps: 350}, gan: {steps: 250, critics: {hr: {options: {channels: 4}}}}}"
    )
    words = ["--config", recipe, "--save-every", 20, "--validate-every", 50]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(train_command(tmp_path / "data", whole, *words), check=True, stdout=subprocess.DEVNULL)
    dice, kills = random.Random(1), []

    def newest():
        return max((path.name for path in cut.glob("checkpoints/*.pt")), default="")

    while True:
        before = newest()
        process = subprocess.Popen(
            train_command(tmp_path / "data", cut, *words, "--resume"), stdout=subprocess.DEVNULL
        )
        if len(kills) == 20:
            break
        # At times even before it has got anywhere.
        patience = time.monotonic() + (1e9 if dice.random() < 0.9 else dice.uniform(0, 6))
        while process.poll() is None and newest() == before and time.monotonic() < patience:
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.25))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGTERM if dice.random() < 0.2 else signal.SIGKILL)
        process.wait(60)
        kills.append(newest()[:2])
    assert process.wait() == 0 and len(kills) == 20 and {"00", "01"} <= set(kills), kills
    names = sorted(path.name for path in whole.glob("*.safetensors"))
    assert names == sorted(path.name for path in cut.glob("*.safetensors")) and len(names) == 5
    for name in names:
        assert same(whole / name, cut / name), name
    assert read_log(cut) == read_log(whole)
    assert (
        json.loads((cut / "run.json").read_text())["best"]
        == json.loads((whole / "run.json").read_text())["best"]
    )


def test_sigterm_saves_and_exits(photos, tmp_path):
    command = train_command(photos, tmp_path / "run", "--strategy", "pretrain", "--steps", 100_000)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "log.jsonl"
    for _ in range(600):
        if log.exists():
            break
        time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 130 and "Traceback" not in process.stderr.read()
    assert list((tmp_path / "run" / "checkpoints").glob("*.pt"))
