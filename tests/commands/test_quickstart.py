"""The quickstart: in miniature, and as it is."""

import re
import shlex

import pytest

import srkd
from srkd.cli import main
from srkd.commands import quickstart as quickstart_command
from srkd.search.budgets import parse_budgets
from srkd.weights.catalogue import list_shipped
from srkd.weights.cost import count_cost


def check(found, photographs):
    """That all is there."""
    assert found.files.keys() == {"safetensors", "onnx"}
    assert all(path.is_file() for path in found.files.values())
    assert [row["model"] for row in found.scores] == ["bicubic", "control", "student", "teacher"]
    page = found.report.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=.(?!data:image/png;base64,)(?!#)", page.replace("xlink:", ""))
    assert page.count("<figure>") == photographs * 6 and "<svg" in page and "validation PSNR" in page
    assert f"{found.scores[0]['psnr']:.2f}" in page
    assert srkd.load_generator(found.files["safetensors"]).info["strategy"] == "pretrain"


def test_it_is_the_compress_command_that_it_prints(quick, tmp_path, monkeypatch, capsys):
    small = srkd.create_generator("compact", 4, channels=8, convs=3)
    teacher = srkd.save_generator(small, tmp_path / "teacher.safetensors", objective="psnr")
    monkeypatch.setattr(quickstart_command, "TEACHER", str(teacher))
    monkeypatch.setitem(quickstart_command.OPTIONS, "budget", "9000params")
    found = srkd.quickstart(tmp_path / "out")
    check(found, 2)
    said = capsys.readouterr().out.splitlines()
    printed = next(line for line in said if line.startswith("this is: ")).removeprefix("this is: ")
    assert printed in found.report.read_text(encoding="utf-8")
    words = shlex.split(printed)
    assert words[:2] == ["srkd", "compress"] and main(words[1:]) == 0
    again = capsys.readouterr().out
    assert again.count("done before") == len(found.hours), again


def test_no_shipped_network_keeps_its_budget():
    """The report would say that training one was needless."""
    (budget,) = parse_budgets(quickstart_command.OPTIONS["budget"])
    assert budget.kind == "parameters"
    assert all(count_cost(name).parameters > budget.limit for name in list_shipped())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_quickstart_as_it_is(tmp_path):
    found = srkd.quickstart(tmp_path / "out")
    check(found, 4)
    assert found.worth and found.budgets[0]["kept"] and sum(found.hours.values()) < 0.25
    scores = {row["model"]: row for row in found.scores}
    # Far from bicubic, and most of the teacher's way.
    gain, whole = (scores[name]["psnr"] - scores["bicubic"]["psnr"] for name in ("student", "teacher"))
    assert gain > 1 and gain > 0.6 * whole
    assert found.traits["kind"] == "psnr" and found.traits["restoring"] is False
