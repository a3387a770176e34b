"""`srkd stop`."""

import json
import subprocess
import threading
import time

import pytest
from conftest import interrupt, pretrain, same, stop_at, train_command
from filelock import FileLock

import srkd
from srkd import SrkdError, UsageError
from srkd.cli import main
from srkd.training.logs import LOCK, STATE, STOP


def change(folder, **facts):
    path = folder / STATE
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_a_run_stops_saves_and_goes_on_to_the_same_weights(photos, tmp_path):
    words = train_command(
        photos, tmp_path / "run", "--strategy", "pretrain", "--steps", 4000, "--save-every", 5000
    )
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "run" / STATE).exists():
            assert run.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        found = srkd.stop(str(tmp_path / "run"))
        out, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130 and found["state"] == "stopped" and not (tmp_path / "run" / STOP).exists()
    assert f"stopped by srkd stop at step {found['step']} of pretrain, which is saved" in out
    assert "--resume continues from there" in out
    assert (tmp_path / "run" / "checkpoints" / f"00_pretrain_{found['step']:09d}.pt").is_file()


def test_a_request_is_seen_at_the_next_step_and_changes_nothing(photos, tmp_path, monkeypatch):
    whole = pretrain(photos, tmp_path / "whole")
    stop_at(monkeypatch, 7, (tmp_path / "run" / STOP).touch)
    with pytest.raises(KeyboardInterrupt):
        pretrain(photos, tmp_path / "run")
    assert json.loads((tmp_path / "run" / STATE).read_text())["step"] == 8
    # What was meant for a process that is gone does not stop the next one.
    (tmp_path / "run" / STOP).touch()
    resumed = pretrain(photos, tmp_path / "run", resume=True)
    assert same(whole.weights["pretrain"], resumed.weights["pretrain"])


def test_what_does_not_run_is_said(photos, tmp_path, monkeypatch, capsys):
    pretrain(photos, tmp_path / "a")
    assert main(["stop", str(tmp_path / "a")]) == 0 and "is finished" in capsys.readouterr().out
    change(tmp_path / "a", state="running")  # as a killed run leaves it
    assert main(["stop", str(tmp_path / "a")]) == 0 and "was killed" in capsys.readouterr().out
    assert not (tmp_path / "a" / STOP).exists()
    assert main(["stop", str(tmp_path)]) == 2 and "name one of those inside" in capsys.readouterr().err
    assert main(["stop", str(tmp_path / "none")]) == 2 and main(["stop", str(photos)]) == 2
    assert not (photos / LOCK).exists()


def test_a_run_that_does_not_stop_in_time_is_a_failure_and_the_request_stands(photos, tmp_path):
    pretrain(photos, tmp_path / "a")
    change(tmp_path / "a", state="running")
    with FileLock(tmp_path / "a" / LOCK), pytest.raises(SrkdError, match=r"has not stopped in 0\.3 s"):
        srkd.stop(str(tmp_path / "a"), wait=0.3)
    assert (tmp_path / "a" / STOP).exists()


def test_a_run_on_another_machine_is_asked_by_its_folder(photos, tmp_path):
    """Whose lock need not be seen from here."""
    pretrain(photos, tmp_path / "a")
    change(tmp_path / "a", state="running", host="elsewhere")

    def obey():
        while not (tmp_path / "a" / STOP).exists():
            time.sleep(0.01)
        change(tmp_path / "a", state="stopped")

    other = threading.Thread(target=obey)
    other.start()
    assert srkd.stop(str(tmp_path / "a"), wait=30)["state"] == "stopped"
    other.join()
    change(tmp_path / "a", state="running")
    assert srkd.stop(str(tmp_path / "a"), wait=0)["state"] == "running" and (tmp_path / "a" / STOP).exists()


def test_a_run_that_is_being_set_up_is_asked_and_a_data_set_is_not(photos, packed, tmp_path):
    (tmp_path / "new").mkdir()
    with FileLock(tmp_path / "new" / LOCK), pytest.raises(SrkdError, match="has not stopped"):
        srkd.stop(str(tmp_path / "new"), wait=0.3)
    with FileLock(packed / LOCK), pytest.raises(UsageError, match="holds no run"):
        srkd.stop(str(packed), wait=0.3)
    stop_file = tmp_path / "new" / STOP
    assert stop_file.exists() and not (packed / STOP).exists()


def test_ctrl_c_still_says_so_without_srkd_stop(photos, tmp_path, monkeypatch, capsys):
    stop_at(monkeypatch, 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pretrain(photos, tmp_path / "a")
    assert "stopped at step 4 of pretrain, which is saved" in capsys.readouterr().out
