"""`srkd runs`."""

import pytest
from conftest import interrupt, pretrain, stop_at

import srkd
from srkd.cli import main


def test_runs_lists_what_there_is(photos, tmp_path, monkeypatch, capsys):
    pretrain(photos, tmp_path / "a")
    stop_at(monkeypatch, 5, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pretrain(photos, tmp_path / "deep" / "b")
    capsys.readouterr()
    assert main(["runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "finished" in shown and "stopped" in shown and "6/12" in shown
    (tmp_path / "a" / "run.json").write_text("{")
    (tmp_path / "run.json").write_text('{"state": "of another program"}')
    assert [run["state"] for run in srkd.list_runs(str(tmp_path))] == ["stopped"]
    assert main(["runs", str(tmp_path / "none")]) == 2 and main(["runs", str(photos)]) == 2
