"""Outputs of teachers, stored beside the images."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHORT, read_log, write_compact

import srkd
from srkd import UsageError, load_generator
from srkd.data import open_data
from srkd.files import hash_file
from srkd.runtimes.runner import Runner


def stored(folder, teachers):
    found = open_data(str(folder), 4, teachers=[hash_file(Path(t), 16) for t in teachers])
    return found.train + found.val


@pytest.mark.parametrize("precision", ["uint8", "float16"])
def test_stored_outputs_are_the_teachers_own(photos, packed, teacher, tmp_path, precision):
    """On whole images, to the precision of the storage; a set that is packed is extended, not rebuilt."""
    weights = [teacher / "pretrain.safetensors", write_compact(tmp_path)]
    before = (packed / "hr.u8").stat().st_mtime_ns
    for number, file in enumerate(weights):
        manifest = srkd.prepare(
            str(photos), str(packed), teacher=str(file), teacher_precision=precision, tile=number * 8
        )
    assert (packed / "hr.u8").stat().st_mtime_ns == before
    for number, file in enumerate(weights):
        model = load_generator(file)
        worst, pairs = 0.0, stored(packed, weights)
        assert len(pairs) == 6
        for pair in pairs:
            with torch.inference_mode():
                lr = torch.from_numpy(pair.lr.copy()).permute(2, 0, 1)[None].float() / 255
                exact = model(lr)[0].permute(1, 2, 0).numpy()
            if precision == "uint8":
                found, exact = pair.targets[number] / 255, exact.clip(0, 1)
                worst = max(worst, float(np.abs(found - exact).max()))
            else:
                assert pair.targets[number].dtype == np.float16
                worst = max(worst, float(np.abs(pair.targets[number] - exact).max()))
        assert worst <= (0.5 / 255 + 1e-5 if precision == "uint8" else 2e-3)
    facts = list(manifest["teachers"].values())
    assert [fact["precision"] for fact in facts] == [precision] * 2
    assert "tiling" not in facts[0] and facts[1]["tiling"]["largest"] < 1e-3


def test_a_teacher_may_compute_in_bfloat16(photos, packed, teacher, tmp_path):
    """Its images are then near those of float32, and not they; a set says which it holds."""
    file, half = str(teacher / "pretrain.safetensors"), tmp_path / "half"
    srkd.prepare(str(photos), str(packed), teacher=file, teacher_precision="float16")
    options = {"teacher": file, "teacher_precision": "float16", "precision": "bf16"}
    facts = srkd.prepare(str(photos), str(half), **options)["teachers"]
    assert [fact["arithmetic"] for fact in facts.values()] == ["bf16"]
    gaps = [
        float(np.abs(a.targets[0].astype(float) - b.targets[0]).mean())
        for a, b in zip(stored(packed, [file]), stored(half, [file]), strict=True)
    ]
    assert min(gaps) > 0 and max(gaps) < 0.01
    with pytest.raises(UsageError, match="as auto; give another folder for bf16"):
        srkd.prepare(str(photos), str(packed), **options)


def test_training_takes_stored_outputs_unless_it_looks_inside(photos, packed, teacher, tmp_path, capsys):
    file = str(teacher / "pretrain.safetensors")
    options = {**SHORT, "model": "srgan_tiny", "strategy": "pretrain", "teacher": file}
    options["stages"] = {"pretrain": {"losses": {"output": {"weight": 1.0}}}}
    live = srkd.train(str(packed), out=str(tmp_path / "live"), **options)
    assert "(stored outputs)" not in capsys.readouterr().out
    srkd.prepare(str(photos), str(packed), teacher=file, teacher_precision="float16")
    cached = srkd.train(str(packed), out=str(tmp_path / "cached"), **options)
    assert "(stored outputs)" in capsys.readouterr().out
    # Near, not equal: a crop's border is not the image's, and no network quite commutes with flips.
    pairs = list(zip(read_log(live.folder), read_log(cached.folder), strict=True))
    losses = [(a["losses"]["output"], b["losses"]["output"]) for a, b in pairs if "losses" in a]
    assert len(losses) == SHORT["steps"]
    for a, b in losses:
        assert a == pytest.approx(b, rel=0.7)
    assert load_generator(cached.weights["pretrain"]).info["teacher"].startswith("pretrain@")
    options["stages"]["pretrain"]["losses"]["hint"] = {"weight": 0.1}
    srkd.train(str(packed), out=str(tmp_path / "inside"), **options)
    assert "(stored outputs)" not in capsys.readouterr().out


def test_an_interrupted_teacher_goes_on(photos, packed, teacher, tmp_path, monkeypatch):
    file, real, calls = str(teacher / "pretrain.safetensors"), Runner.parts, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(Runner, "parts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        srkd.prepare(str(photos), str(packed), teacher=file)
    assert not stored(packed, [])[0].targets and "teachers" not in json.loads(
        (packed / "manifest.json").read_text()
    )
    monkeypatch.setattr(Runner, "parts", real)
    srkd.prepare(str(photos), str(packed), teacher=file)
    srkd.prepare(str(photos), str(tmp_path / "whole"), teacher=file)
    for a, b in zip(stored(packed, [file]), stored(tmp_path / "whole", [file]), strict=True):
        np.testing.assert_array_equal(a.targets[0], b.targets[0])
    assert not list(packed.glob("journal*"))
