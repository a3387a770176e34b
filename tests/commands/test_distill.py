"""`srkd distill`."""

from conftest import TINY

import srkd


def test_it_ends_with_how_to_see_what_the_teacher_was_worth(photos, teacher, tmp_path, capsys):
    out, weights = tmp_path / "run", teacher / "gan.safetensors"
    options = {**TINY, "strategy": "gan2g", "stages": {"pretrain": None, "finetune": None}, "steps": 2}
    srkd.distill(photos, teacher=weights, out=out, **options)
    assert f"--control --out {out}_control" in capsys.readouterr().out.splitlines()[-1]
    srkd.distill(photos, teacher=weights, out=f"{out}_control", control=True, **options)
    assert "--control" not in capsys.readouterr().out
