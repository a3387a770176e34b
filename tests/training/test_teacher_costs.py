"""What is said of a teacher that runs live."""

import re

import pytest
from conftest import SHORT

import srkd
from srkd.training import TeacherCost
from srkd.training.teacher_costs import describe_teachers


@pytest.mark.parametrize(
    ("cost", "steps", "said"),
    [
        (TeacherCost(0.5, None), 7200, "0.5 s of each step, 60 min in all"),
        (TeacherCost(0.5, 0.25), 7200, "storing its outputs takes about 15 min, once"),
        (TeacherCost(0.5, 2.0), 7200, "storing its outputs first would take longer, 2 h"),
        (TeacherCost(0.5, None), 7200, "stored outputs cannot take its place here"),
        (TeacherCost(0.5, 0.25), 7200, "srkd prepare PHOTOS PACKED --teacher FILE"),
        (TeacherCost(0.01, None), 1000, "0.01 s of each step, 10 s in all"),
        (TeacherCost(1.0, None), 7200, "1 s of each step, 2 h in all"),
    ],
)
def test_costs_in_words(cost, steps, said):
    assert said in describe_teachers(cost, "transfer", steps)


def test_a_run_says_what_its_live_teacher_costs(photos, teacher, tmp_path, capsys):
    options = {"start": teacher / "pretrain.safetensors", "teacher": teacher / "gan.safetensors", **SHORT}
    stages = {"finetune": None}
    srkd.distill(photos, strategy="g2g_al", model="srgan_tiny", out=tmp_path / "a", stages=stages, **options)
    out = capsys.readouterr().out
    assert len(re.findall(r"transfer: the teacher runs live, [\d.e-]+ s of each step", out)) == 1
    # Degradations are drawn anew in each step: nothing could be stored beforehand.
    srkd.distill(
        photos,
        strategy="g2g_al",
        model="srgan_tiny",
        out=tmp_path / "b",
        stages=stages,
        degradation="web",
        **options,
    )
    assert "stored outputs cannot take its place here" in capsys.readouterr().out
    srkd.distill(
        photos,
        strategy="g2g_al",
        model="srgan_tiny",
        out=tmp_path / "c",
        stages=stages,
        control=True,
        **options,
    )
    assert "runs live" not in capsys.readouterr().out
