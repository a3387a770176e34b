"""Steps that are not finite, and warnings."""

import json

import pytest
import torch
from conftest import pretrain, read_log, run_strategy, stop_at
from safetensors.torch import load_file

from srkd import SrkdError, load_generator
from srkd.training import loop
from srkd.training.guards import Watch
from srkd.training.step import NotFinite, train_step
from srkd.training.terms import Term


def term(kind, value, critic=None, member=0, cohort=False):
    player = "generators" if critic is None else "critics"
    return Term(player, kind, critic, member, torch.tensor(value), 1.0, cohort)


def fail():
    raise NotFinite("the loss 'l1'")


def test_a_step_that_is_not_finite_goes_back_at_half_the_rate(photos, tmp_path, monkeypatch, capsys):
    stop_at(monkeypatch, 7, fail)
    result = pretrain(photos, tmp_path / "run")
    assert "back to step 6 at 0.5 times the rate" in capsys.readouterr().out
    rates = {
        entry["step"]: entry["rates"]["generators"] for entry in read_log(result.folder) if "rates" in entry
    }
    undisturbed = pretrain(photos, tmp_path / "whole")
    others = {e["step"]: e["rates"]["generators"] for e in read_log(undisturbed.folder) if "rates" in e}
    assert rates[6] == others[6] and rates[9] == pytest.approx(others[9] / 2, rel=1e-3)
    assert any("back to step 6" in entry.get("note", "") for entry in read_log(result.folder))


def test_going_back_leaves_nothing_of_the_steps_that_never_were(photos, tmp_path, monkeypatch):
    """Not in the log, and not as the best weights: validation after step 8 is too good to last."""
    scores = iter([20.0, 99.0, 21.0, 19.0])
    monkeypatch.setattr(loop, "validate", lambda *_: (next(scores), []))
    stop_at(monkeypatch, 8, fail)
    result = pretrain(photos, tmp_path / "run")
    entries = read_log(result.folder)
    assert [e["step"] for e in entries if "losses" in e] == list(range(1, 13))
    assert [(e["step"], e["psnr"]) for e in entries if "psnr" in e] == [
        (4, [20.0]),
        (8, [21.0]),
        (12, [19.0]),
    ]
    assert sum("back to step 6" in e.get("note", "") for e in entries) == 1
    assert json.loads((result.folder / "run.json").read_text())["best"] == {"pretrain": 21.0}
    best = load_generator(result.folder / "pretrain_best.safetensors").info
    assert (best["psnr"], best["steps"]) == (21.0, 8)


def test_how_often_a_stage_went_back_is_remembered_when_it_is_resumed(photos, tmp_path, monkeypatch):
    stop_at(monkeypatch, 4, fail)
    inner = loop.train_step
    calls = iter(range(100))

    def fail_or_die(*args):
        if next(calls) == 9:
            raise MemoryError("as if killed")
        return inner(*args)

    monkeypatch.setattr(loop, "train_step", fail_or_die)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run", retries=1)
    stop_at(monkeypatch, 1, fail)
    with pytest.raises(SrkdError, match="1 times at falling rates"):
        pretrain(photos, tmp_path / "run", retries=1, resume=True)


def test_a_batch_that_cannot_be_trained_on_is_saved(photos, tmp_path, monkeypatch):
    calls = []

    def fail_later(*args):
        calls.append(1)
        if len(calls) > 4:
            raise NotFinite("the gradient of the generators")
        return train_step(*args)

    monkeypatch.setattr(loop, "train_step", fail_later)
    with pytest.raises(SrkdError, match=r"2 times at falling rates; its batch is in .*failed_batch"):
        pretrain(photos, tmp_path / "run", retries=2)
    saved = load_file(tmp_path / "run" / "failed_batch.safetensors")
    assert saved["lr"].shape == (2, 8, 8, 3) and saved["hr"].shape == (2, 32, 32, 3)
    assert (
        len(calls) == 4 + 3 and json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "failed"
    )


def test_a_loss_that_becomes_nan_stops_the_run(photos, teacher, tmp_path):
    with pytest.raises(SrkdError, match="became infinite or not a number"):
        run_strategy(photos, teacher, tmp_path / "run", "gan2g", stages={"transfer": {"rate": 1e18}})
    assert [path.name for path in (tmp_path / "run").glob("*.safetensors")] == ["failed_batch.safetensors"]


def test_warnings_come_once_and_in_plain_words(capsys):
    watch = Watch("gan", bicubic=26.0)
    for step in range(0, 2000, 20):
        watch.losses(step, [term("critic", 0.5 if step == 400 else 0.001, "hr"), term("l1", 0.001)])
        watch.validation(step, 25.0)
    said = capsys.readouterr().out
    assert said.count("is saturated") == 1 and said.count("below the 26.00 dB of bicubic") == 1
    watch = Watch("gan", bicubic=26.0)
    for step in range(0, 2000, 400):
        critics = term("critic", 0.5, "hr"), term("critic", 0.001 if step % 800 else 1.0, "hr", cohort=True)
        watch.losses(step, critics)
        watch.validation(step, 27.0)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("loss", ["l1", "output"])
def test_a_loss_that_grows_tenfold_is_pointed_out(capsys, loss):
    watch, calm = Watch("pretrain", bicubic=26.0), Watch("pretrain", bicubic=26.0)
    for step in range(0, 2000, 20):
        noise = 1 + 2 * (step % 60 == 0)
        calm.losses(step, [term(loss, 0.03 * noise), term("mse_like", 1000.0 if step == 1500 else 0.1)])
    assert not capsys.readouterr().out
    for step in range(0, 2000, 20):
        value = 0.03 * 1.002 ** max(0, step - 1000) + 0.9 * (step == 1600)
        watch.losses(step, [term(loss, value, member=1, cohort=True)])
    said = capsys.readouterr().out
    assert said.count("diverges") == 1 and f"the loss '1/{loss}' is 0." in said and "at step 1600" in said


def test_a_generator_that_amplifies_noise_is_pointed_out_once(capsys):
    watch = Watch("pretrain", bicubic=26.0)
    for value in (0.5, 4.0, 9.9):
        watch.noise(100, value)
    assert not capsys.readouterr().out
    for step, value in ((200, 83.2), (300, float("nan"))):
        watch.noise(step, value)
    said = " ".join(capsys.readouterr().out.split())
    assert (
        said.count("an image of noise comes out with values of up to 83.2,") == 1 and "weight_decay" in said
    )
