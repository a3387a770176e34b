"""`srkd extend`."""

import json

import pytest
from conftest import write_compact

import srkd
from srkd import UsageError, load_generator
from srkd.cli import main


def test_extend_reports_what_was_forgotten_and_goes_on(photos, teacher, tmp_path):
    start = str(teacher / "pretrain.safetensors")
    options = {"steps": 40, "batch": 2, "crop": 32, "rate": 2e-3, "taps": "all"}
    result = srkd.extend(start, str(photos), out=str(tmp_path / "out"), weight=10.0, **options)
    assert set(result) == {"before", "without", "with"}
    lost = {name: result["before"]["old"] - result[name]["old"] for name in ("with", "without")}
    # Held strongly, the student stays where it was; free, it moves.
    assert abs(lost["with"]) < abs(lost["without"])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["psnr"] == result and report["taps"] == "all"
    model = load_generator(tmp_path / "out" / "extended.safetensors")
    assert model.info["strategy"] == "extend"
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*.safetensors")}
    again = srkd.extend(start, str(photos), out=str(tmp_path / "out"), weight=10.0, **options)
    assert again == result and len(stamps) >= 2
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*.safetensors")}
    with pytest.raises(UsageError, match=r"of another recipe: stages\.extend\.\S+ was"):
        srkd.extend(start, str(photos), out=str(tmp_path / "out"), weight=5.0, **options)
    replayed = srkd.extend(
        start, str(photos), out=str(tmp_path / "replay"), replay=str(photos), **{**options, "steps": 2}
    )
    assert replayed["before"]["old"] == pytest.approx(replayed["before"]["new"])
    assert main(["extend", str(write_compact(tmp_path)), str(photos)]) == 2
