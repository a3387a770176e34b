"""`srkd models`."""

from srkd.cli import main


def test_models_lists_every_named_size(capsys, fails):
    assert main(["models", "--scale", "2"]) == 0
    shown = capsys.readouterr().out
    assert all(
        row in shown for row in ("srgan_teacher", "srgan_student_lite", "compact_m", "receptive field")
    )
    assert "scale" in fails(2, "models", "--scale", "5")
