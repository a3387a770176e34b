"""A run's folder is its own."""

import pytest
import torch

from srkd import SrkdError, UsageError, create_generator
from srkd.recipe import Recipe
from srkd.training.logs import LOCK
from srkd.training.setup import lock_run, start_network
from srkd.weights.store import load_generator, save_generator


def start(tmp_path, model, scale=4, **options):
    weights = str(tmp_path / "w.safetensors")
    recipe = Recipe("embedded", "pretrain", model=model, model_options=options, scale=scale, start=weights)
    return start_network(recipe, 0)


def test_a_student_of_another_width_starts_from_the_trained_one(tmp_path, capsys):
    trained = create_generator("span", channels=8)
    save_generator(trained, tmp_path / "w.safetensors")
    wide = start(tmp_path, "span", channels=12)
    said = " ".join(capsys.readouterr().out.split())
    assert "are resized to the" in said
    assert "of span" in said
    image = torch.rand(1, 3, 9, 10)
    with torch.no_grad():
        expected = load_generator(tmp_path / "w.safetensors")(image)
        assert torch.allclose(wide.eval()(image), expected, atol=1e-3)
    assert "fresh" not in said
    start(tmp_path, "span", scale=2, channels=12)
    assert "whose other tail starts with fresh weights" in " ".join(capsys.readouterr().out.split())
    # As wide as the file, it is copied.
    start(tmp_path, "span", channels=8)
    assert "resized" not in capsys.readouterr().out


def test_a_student_of_another_architecture_is_refused(tmp_path):
    save_generator(create_generator("span", channels=8), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="holds another architecture than the model"):
        start(tmp_path, "compact", channels=8)


def test_a_folder_without_a_run_is_removed_again(tmp_path):
    folder = tmp_path / "runs" / "deep" / "run"
    with pytest.raises(RuntimeError, match="refused"), lock_run(folder, resume=False):
        assert (folder / LOCK).exists()
        raise RuntimeError("refused")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_run_stays(tmp_path):
    with lock_run(tmp_path, resume=False):
        (tmp_path / "recipe.yaml").write_text("strategy: pretrain")
    assert (tmp_path / "recipe.yaml").exists()
    with pytest.raises(UsageError, match="already holds a run"), lock_run(tmp_path, resume=False):
        pass
    with lock_run(tmp_path, resume=True):
        pass
    (tmp_path / "run.json").write_text('{"state": "finished"}')
    with pytest.raises(UsageError, match="is finished, and its last"), lock_run(tmp_path, resume=True):
        pass
    assert (tmp_path / "recipe.yaml").exists()


def test_a_folder_serves_one_run_at_a_time(tmp_path):
    with lock_run(tmp_path / "run", resume=False):
        with pytest.raises(UsageError, match="another process"), lock_run(tmp_path / "run", resume=False):
            pass
        # Who was refused does not take the lock from who has it.
        assert (tmp_path / "run" / LOCK).exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"), lock_run(tmp_path / "file", resume=False):
        pass
    with (
        pytest.raises(SrkdError, match="cannot write into"),
        lock_run(tmp_path / "file" / "run", resume=False),
    ):
        pass
