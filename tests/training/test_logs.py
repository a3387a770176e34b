"""What a run tells."""

import json

import pytest
import torch
from conftest import pretrain, read_log
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from srkd import load_generator
from srkd.training.logs import RunLog


def test_a_log_goes_back_by_place(tmp_path):
    """Stages that no recipe knows, before and after the one that goes on; and a line cut within."""
    lines = [
        {"stage": s, "step": n} for s, n in (("old", 9), ("now", 1), ("now", 2), ("now", 3), ("late", 1))
    ]
    lines.insert(4, {"stage": "now", "step": 3, "note": "went back"})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "log.jsonl").write_text(text + '{"stage": "late", "losses": {"l1": 0.1}')
    log = RunLog(tmp_path, "pretrain")
    log.rewind("now", 2, notes=True)
    assert [(e["stage"], e["step"]) for e in read_log(tmp_path)] == [
        ("old", 9),
        ("now", 1),
        ("now", 2),
        ("now", 3),
    ]
    log.begin("now", 2)
    assert [e["step"] for e in read_log(tmp_path)] == [9, 1, 2]
    log.begin()
    assert read_log(tmp_path) == []


def test_a_run_leaves_what_it_was(photos, tmp_path):
    result = pretrain(photos, tmp_path / "run", tensorboard=True)
    facts = json.loads((result.folder / "run.json").read_text())
    assert facts["state"] == "finished" and facts["step"] == facts["steps"] == 12
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0] and facts["strategy"] == "pretrain"
    scores = {e["step"]: e["psnr"][0] for e in read_log(result.folder) if "psnr" in e}
    assert list(scores) == [4, 8, 12]
    assert facts["best"]["pretrain"] == pytest.approx(max(scores.values()), abs=1e-3)
    best = load_generator(result.folder / "pretrain_best.safetensors")
    assert best.info["psnr"] == facts["best"]["pretrain"]
    events = EventAccumulator(str(result.folder / "tensorboard")).Reload()
    assert [e.value for e in events.Scalars("pretrain/psnr/0")] == pytest.approx(
        list(scores.values()), abs=1e-3
    )
    assert len(events.Scalars("pretrain/loss/l1")) == 12 and events.Scalars("pretrain/rate/generators")
    assert events.Images("pretrain/bicubic, SR, HR/0")[0].width == 3 * 96
