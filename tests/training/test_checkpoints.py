"""Checkpoints are kept, passed over when damaged, and appear with their weights."""

import json

import pytest
from conftest import kill, pretrain, read_log, run_strategy, same, stop_at

from srkd import SrkdError, UsageError, load_generator
from srkd.training.checkpoints import drop_checkpoints, list_checkpoints, load_newest, save_checkpoint


def test_the_last_checkpoints_are_kept_and_a_damaged_one_is_passed_over(
    photos, tmp_path, monkeypatch, capsys
):
    whole = pretrain(photos, tmp_path / "whole")
    stop_at(monkeypatch, 10, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "cut")
    found = sorted(path.name for path in (tmp_path / "cut" / "checkpoints").iterdir())
    assert found == ["00_pretrain_000000006.pt", "00_pretrain_000000009.pt"]
    newest = tmp_path / "cut" / "checkpoints" / found[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = pretrain(photos, tmp_path / "cut", resume=True)
    said = capsys.readouterr().out
    assert "000000009.pt is damaged" in said and "resuming pretrain at step 6" in said
    assert same(whole.weights["pretrain"], resumed.weights["pretrain"])
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")


def test_a_checkpoint_that_was_being_written_is_none(tmp_path):
    """As a kill during the first one leaves it; the run starts over."""
    part = tmp_path / "checkpoints" / ".00_a_000000003.0123abcd.part.pt"
    part.parent.mkdir()
    part.write_bytes(b"PK half")
    assert list_checkpoints(tmp_path) == [] and load_newest(tmp_path) is None
    save_checkpoint(tmp_path, 0, {"stage": "a", "step": 6}, 1)
    assert load_newest(tmp_path) == {"stage": "a", "step": 6}
    drop_checkpoints(tmp_path)
    assert not part.parent.exists()


def test_checkpoints_of_an_abandoned_future_are_removed(tmp_path):
    """Of later steps and stages: a run that went back to an older checkpoint must not resume from them."""
    for number, stage, step in ((0, "a", 3), (0, "a", 6), (0, "a", 9), (1, "b", 3)):
        save_checkpoint(tmp_path, number, {"stage": stage, "step": step}, 9)
    assert load_newest(tmp_path) == {"stage": "b", "step": 3}
    save_checkpoint(tmp_path, 0, {"stage": "a", "step": 7}, 9)
    assert [path.stem for path in list_checkpoints(tmp_path)] == [f"00_a_{step:09d}" for step in (3, 6, 7)]
    assert load_newest(tmp_path) == {"stage": "a", "step": 7}


def test_a_run_without_a_checkpoint_restarts_and_a_finished_one_is_left(
    photos, tmp_path, monkeypatch, capsys
):
    stop_at(monkeypatch, 1, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run")
    whole = pretrain(photos, tmp_path / "whole")
    again = pretrain(photos, tmp_path / "run", resume=True)
    assert "it restarts" in capsys.readouterr().out
    assert same(whole.weights["pretrain"], again.weights["pretrain"])
    assert read_log(tmp_path / "run") == read_log(tmp_path / "whole")
    with pytest.raises(UsageError, match="is finished"):
        pretrain(photos, tmp_path / "run", resume=True)


def test_best_weights_appear_with_their_checkpoint(photos, tmp_path, monkeypatch):
    stop_at(monkeypatch, 5, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run")
    assert not (tmp_path / "run" / "pretrain_best.safetensors").exists()
    stop_at(monkeypatch, 4, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run", resume=True)
    assert load_generator(tmp_path / "run" / "pretrain_best.safetensors").info["steps"] == 4
    found = json.loads((tmp_path / "run" / "run.json").read_text())
    assert list(found["best"]) == ["pretrain"]


def test_a_damaged_checkpoint_is_named(photos, teacher, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "00_transfer_000000005.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(SrkdError, match=r"no checkpoint in .* can be read"):
        run_strategy(photos, teacher, tmp_path, "gan2g", resume=True)


@pytest.mark.parametrize("save_every", [2, 500])
def test_a_full_disk_ends_training_in_one_line(photos, teacher, tmp_path, save_every, on_full_disk):
    """No file may grow beyond 20 kB: first the checkpoint does not fit, then the weights."""
    words = ["finetune", photos, "--start", teacher / "pretrain.safetensors", "--out", tmp_path / "run"]
    words += ["--steps", 4, "--crop", 32, "--batch", 2, "--save-every", save_every]
    error = on_full_disk(20_000, *words)
    assert "cannot write" in error and "File too large" in error
    left = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert left == {"log.jsonl", "recipe.yaml", "run.json", ".lock"}
