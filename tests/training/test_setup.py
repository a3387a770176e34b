"""A run's folder is its own."""

import pytest

from srkd import SrkdError, UsageError
from srkd.training.logs import LOCK
from srkd.training.setup import lock_run


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
