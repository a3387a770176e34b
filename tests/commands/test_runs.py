"""`srkd runs`."""

import pytest
from conftest import interrupt, pretrain, read_log, stop_at

import srkd
from srkd.cli import main
from srkd.images.reading import read_image
from srkd.reports.runs import losses_over_steps, psnr_over_steps


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


def test_runs_are_compared_and_drawn(photos, tmp_path, capsys):
    pretrain(photos, tmp_path / "a")
    pretrain(photos, tmp_path / "b", seed=1, stages={"pretrain": {"rate": 1e-3}})
    capsys.readouterr()
    plot = tmp_path / "runs.png"
    runs = srkd.list_runs([str(tmp_path / "a"), str(tmp_path / "b")], compare=True, plot=str(plot))
    shown = capsys.readouterr().out
    assert "options that differ" in shown and "stages.pretrain.rate" in shown and "pretrain l1" in shown
    assert [set(run["options"]) for run in runs] == [{"seed", "stages.pretrain.rate"}] * 2
    assert [run["options"]["seed"] for run in runs] == [0, 1]
    last = read_log(tmp_path / "a")[-2]  # behind it comes the last validation
    assert runs[0]["losses"] == {"pretrain l1": last["losses"]["l1"]}
    assert read_image(plot).std() > 10
    # The same run twice is one; what was not asked for is not there.
    (only,) = srkd.list_runs([str(tmp_path / "a"), str(tmp_path / "a")])
    assert "losses" not in only and "log" not in only


def test_curves_go_on_over_stages(tmp_path):
    recipe = {"stages": {"one": {"steps": 10}, "two": {"steps": 5}}}
    log = [
        *({"stage": "one", "step": step, "losses": {"l1": 1.0 / step}} for step in (5, 10)),
        {"stage": "one", "step": 10, "psnr": [20.0, 22.0]},
        {"stage": "two", "step": 5, "losses": {"l1": 0.5}},
        {"stage": "two", "step": 5, "psnr": [24.0, 24.0]},
    ]
    run = {"recipe": recipe, "log": log}
    assert psnr_over_steps(run) == ([10, 15], [21.0, 24.0])
    assert losses_over_steps(run, "two", "l1") == ([15], [0.5])


def test_what_cannot_be_drawn_or_read_is_said(photos, tmp_path, capsys):
    pretrain(photos, tmp_path / "a")
    capsys.readouterr()
    assert main(["runs", str(tmp_path), "--plot", "runs.txt"]) == 2
    assert ".png, .svg or .pdf" in capsys.readouterr().err
    (tmp_path / "a" / "recipe.yaml").write_text("[")
    (run,) = srkd.list_runs(str(tmp_path), compare=True)
    assert run["options"] == {} and "cannot be read" in capsys.readouterr().out
