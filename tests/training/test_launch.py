"""What training verbs say first and last: what they are about to do, and how an interrupted run goes on."""

import pytest
from conftest import TINY, interrupt, pretrain, stop_at

import srkd
from srkd import UsageError
from srkd.cli import main
from srkd.training import run as run_module
from srkd.weights.catalogue import list_shipped


@pytest.fixture
def untrained(monkeypatch):
    """Runs that end before their first step."""

    def stop(*_, **__):
        raise UsageError("not now")

    monkeypatch.setattr(run_module, "run", stop)


def test_distill_says_which_teacher_it_takes(photos, tmp_path, untrained, capsys, weights):
    name = "srgan_teacher_psnr"
    for teacher in (None, weights):
        with pytest.raises(UsageError, match="not now"):
            srkd.distill(photos, strategy="g2g_al", out=tmp_path / "run", teacher=teacher)
        said = capsys.readouterr().out
        psnr = f"{list_shipped()[name]['scores']['Set5']['psnr']:.2f} dB on Set5"
        assert (name in said and psnr in said) == (teacher is None)
    srkd_control = {"strategy": "g2g_al", "control": True, "out": tmp_path / "run"}
    with pytest.raises(UsageError, match="not now"):
        srkd.distill(photos, **srkd_control)
    assert "teacher" not in capsys.readouterr().out


def test_training_speaks_before_it_loads(photos, tmp_path, untrained, capsys):
    with pytest.raises(UsageError, match="not now"):
        srkd.train(photos, strategy="pretrain", model="srgan_tiny", out=tmp_path / "run")
    assert capsys.readouterr().out.startswith(f"pretrain: srgan_tiny, x4, on {photos}")


def test_ctrl_c_advises_what_the_command_has(photos, tmp_path, monkeypatch, capsys, weights):
    """`train` has --resume; `extend` is run again, and has no --allow-changes either."""
    run = tmp_path / "run"
    stop_at(monkeypatch, 5, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pretrain(photos, run)
    said = capsys.readouterr().out
    assert "stopped at step 6 of pretrain" in said and "--resume continues from there" in said
    with pytest.raises(UsageError, match=r"seed was 0, now 3.*--allow-changes"):
        pretrain(photos, run, resume=True, seed=3)
    words = [
        "extend",
        weights,
        photos,
        "--out",
        tmp_path / "extend",
        "--steps",
        8,
        "--crop",
        32,
        "--batch",
        2,
    ]
    stop_at(monkeypatch, 3, interrupt)
    assert main([str(word) for word in words]) == 130
    said = capsys.readouterr().out
    assert "run the same command again to resume" in said and "--resume" not in said
    assert main([*map(str, words), "--seed", "3"]) == 2
    error = capsys.readouterr().err
    assert "seed was 0, now 3" in error and "--out" in error and "--allow-changes" not in error


def test_the_first_ctrl_c_without_a_checkpoint_advises_nothing(photos, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        srkd.train(photos, strategy="pretrain", out=tmp_path / "run", **TINY)
    assert "--resume" not in capsys.readouterr().out
